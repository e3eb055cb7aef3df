//! The request itself: what is sent, how often, under which locks, and what happens to the
//! response.

use super::*;

#[test]
fn a_lost_response_is_asked_for_three_times_and_then_by_the_next_caller() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| if number < 3 { lost() } else { tokens("a2", "r2") });
    let refused = world.ask(&issuer);
    assert!(matches!(refused, Err(RefreshError::Unavailable { .. })), "{refused:?}");
    assert_eq!((issuer.sent().len(), world.state("r1")), (3, State::Intent));
    // The waiting callers get the same result.
    assert_eq!(world.record("r1").unwrap().code.as_deref(), Some("cut off"));
    assert_eq!((world.response_files(), world.refresh_token(0)), (0, "r1".to_owned()));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!(issuer.sent(), ["r1"; 4]);
}

#[test]
fn a_refusal_of_what_was_sent_again_is_the_outcome() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| match number {
        0 => lost(),
        _ => response(400, &json!({"error": "refresh_token_reused"})),
    });
    let refused = world.ask(&issuer);
    assert!(matches!(refused, Err(RefreshError::Rejected { .. })), "{refused:?}");
    assert_eq!((issuer.sent().len(), world.state("r1")), (2, State::Rejected));
}

#[test]
fn what_could_not_be_sent_is_waited_for_by_all() {
    let world = World::new(1);
    let connections = AtomicUsize::new(0);
    let unplugged = |_: HttpRequest| {
        connections.fetch_add(1, Ordering::SeqCst);
        Err(HttpError::NotSent("no route".to_owned()))
    };
    for _ in 0..3 {
        let refused = world.ask(&unplugged);
        let Err(RefreshError::Unavailable { retry_at: Some(at), .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(at > NOW && at <= NOW.plus(Duration::from_secs(5)));
    }
    assert_eq!((connections.load(Ordering::SeqCst), world.state("r1")), (1, State::Waiting));
    assert_eq!(world.record("r1").unwrap().code.as_deref(), Some("no route"));
    assert_eq!(world.response_files(), 0);
}

#[test]
fn a_directory_lock_lost_while_connecting_sends_nothing_and_starts_again() {
    let world = World::new(1).coexisting(Coexist::Always);
    let lock = world.agents[0].canonical_path().with_extension("json.lock");
    let thief = |number: usize| {
        assert!(lock.is_dir());
        if number == 0 {
            std::fs::remove_dir(&lock).unwrap();
        }
    };
    let issuer = Issuer::behind(thief, |_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    let connections = issuer.connections.load(Ordering::SeqCst);
    assert_eq!((connections, issuer.sent()), (2, vec!["r1".to_owned()]));
}

#[test]
fn a_directory_lock_lost_after_sending_does_not_lose_the_response() {
    let world = World::new(1).coexisting(Coexist::Always);
    let lock = world.agents[0].canonical_path().with_extension("json.lock");
    let issuer = Issuer::new(|_| {
        // Another process holds it now, and keeps it.
        std::fs::remove_dir(&lock).unwrap();
        std::fs::create_dir(&lock).unwrap();
        tokens("a2", "r2")
    });
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!(world.refresh_token(0), "r2");
    assert!(lock.is_dir(), "the lock of somebody else was removed");
}

#[test]
fn what_others_write_without_the_lock_is_kept() {
    let world = World::new(1);
    let path = world.agents[0].path();
    let issuer = Issuer::new(|_| {
        let mut document = world.agents[0].read().unwrap();
        let theirs = Credential::ApiKey("theirs".into());
        document.put(&"acme:theirs".into(), "acme", &theirs, &Map::new());
        auth_store::write_atomic(path, &document.to_bytes()).unwrap();
        tokens("a2", "r2")
    });
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    let theirs = world.agents[0].read().unwrap().credential(&"acme:theirs".into());
    assert_eq!(theirs.unwrap().bearer().expose(), "theirs");
    let backup = world.agents[0].backup().unwrap().unwrap();
    assert!(!backup.contains(&"acme:theirs".into()), "only ours is in the backup");
}

#[test]
fn a_response_for_another_account_stays_in_its_file_and_is_never_stored() {
    let world = World::new(1);
    let id_token = jwt(&json!({"sub": "you"}));
    let body = json!({"access_token": "a2", "refresh_token": "r2", "id_token": id_token});
    let issuer = Issuer::new(|_| response(200, &body));
    for _ in 0..3 {
        let kept = world.ask(&issuer);
        let Err(RefreshError::Unmerged { reason, .. }) = &kept else { panic!("{kept:?}") };
        assert!(reason.contains("another account"), "{reason}");
        assert_eq!((world.refresh_token(0), world.response_files()), ("r1".to_owned(), 1));
    }
    assert!(world.force(Force::Send, &issuer).is_err());
    assert_eq!((issuer.sent().len(), world.response_files()), (1, 1));
}

#[test]
fn a_response_without_an_access_token_stays_in_its_file() {
    let world = World::new(1);
    let issuer = Issuer::new(|_| response(200, &json!({"refresh_token": "r2"})));
    let kept = world.ask(&issuer);
    assert!(matches!(kept, Err(RefreshError::Unmerged { .. })), "{kept:?}");
    let response = world.agents[0].stored_response(world.key("r1")).unwrap().unwrap();
    assert_eq!(response.body, br#"{"refresh_token":"r2"}"#);
}

#[test]
fn without_rotation_the_token_stays_and_so_does_the_right_to_send_it() {
    for body in [
        json!({"access_token": "a2", "refresh_token": "r1", "expires_in": 3600}),
        json!({"access_token": "a2", "expires_in": 3600}),
        json!({"access_token": "a2", "refresh_token": "", "expires_in": 3600}),
    ] {
        let world = World::new(2);
        let issuer = Issuer::new(|_| response(200, &body));
        assert_eq!(world.ask(&issuer).unwrap(), "a2");
        assert_eq!((world.state("r1"), world.response_files()), (State::None, 0));
        assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r1", "r1"]);
        assert_eq!(world.stored(1).access.expose(), "a2");
        let next = NOW.plus(Duration::from_hours(2));
        world.ask_as(1, &wanted(Force::No), &next, &issuer).unwrap();
        assert_eq!(issuer.sent(), ["r1", "r1"]);
    }
}

#[test]
fn an_issuer_that_repeats_the_token_does_not_make_us_repeat_it() {
    let world = World::new(1);
    let secret = "CANARY-0123456789";
    put(&world.agents[0], PROFILE, &login(secret, PAST));
    let said = format!("the token {secret} is odd");
    for (status, code) in [(400, "odd"), (401, "invalid_client"), (400, "invalid_grant")] {
        let body = json!({"error": code, "error_description": said});
        let issuer = Issuer::new(|_| response(status, &body));
        let refused = world.force(Force::Send, &issuer).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains(secret), "{code}");
        let other_files = world.other_files();
        assert!(other_files.len() > 1);
        for path in other_files {
            let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!content.contains(secret), "{}", path.display());
        }
        assert_eq!(issuer.sent(), [secret]);
    }
}

#[test]
fn a_store_that_could_not_be_written_is_found_out_before_anything_is_sent() {
    let world = World::new(1);
    let database = world.agents[0].path().with_file_name("openclaw-agent.sqlite");
    auth_store::write_atomic(&database, b"").unwrap();
    assert!(world.ask(&nobody()).is_err());
    std::fs::remove_file(&database).unwrap();
    // The path of the next content is occupied.
    let next = world.agents[0].path().with_file_name(".auth-profiles.json.new");
    std::fs::create_dir(&next).unwrap();
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::CannotSave { .. })), "{refused:?}");
    assert_eq!((world.response_files(), world.state("r1")), (0, State::None));
    std::fs::remove_dir(&next).unwrap();
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
}

#[test]
fn who_waited_for_a_request_that_was_not_answered_does_not_send_another() {
    for (state, retry_at) in [(State::Intent, None), (State::Waiting, Some(NOW))] {
        let world = World::new(1);
        // It ended after we began to wait for it.
        let path = world.agents[0].canonical_path();
        let ended = NOW.plus(Duration::from_millis(1));
        let record = Record::new(state, &path, &ProfileId::from(PROFILE), ended);
        let record = Record { code: Some("no answer".to_owned()), retry_at, ..record };
        world.records.lock(world.key("r1"), TIMEOUT).unwrap().write(&record).unwrap();
        let waiting = Ticking::from(NOW);
        let shared = world.ask_as(0, &wanted(Force::No), &waiting, &nobody());
        assert!(matches!(shared, Err(RefreshError::Unavailable { .. })), "{shared:?}");
        // The controls: a later caller sends, and so does one whose clock was set back.
        let yesterday = Timestamp(NOW.0 - 86_400_000);
        for (clock, next) in [(NOW.plus(Duration::from_secs(1)), "r2"), (yesterday, "r3")] {
            let issuer = Issuer::new(|_| tokens("a2", next));
            assert_eq!(world.ask_as(0, &wanted(Force::No), &clock, &issuer).unwrap(), "a2");
            put(&world.agents[0], PROFILE, &login("r1", Timestamp(0)));
            world.records.lock(world.key("r1"), TIMEOUT).unwrap().write(&record).unwrap();
        }
    }
}

#[test]
fn a_store_that_keeps_changing_is_given_up_after_five_restarts() {
    let world = World::new(1).coexisting(Coexist::Always);
    let connections = AtomicUsize::new(0);
    let store = world.agents[0].clone();
    // Each time the connection is established, another process has taken the directory lock from
    // us.
    let issuer = Issuer::behind(
        |_| {
            connections.fetch_add(1, Ordering::SeqCst);
            let mut lock = store.canonical_path().into_os_string();
            lock.push(".lock");
            std::fs::remove_dir(lock).unwrap();
        },
        |_| panic!("something was sent"),
    );
    let given_up = world.ask(&issuer);
    assert!(matches!(given_up, Err(RefreshError::Unfinished { .. })), "{given_up:?}");
    assert_eq!(connections.into_inner(), 6);
}

#[test]
fn what_was_perhaps_sent_stays_so_though_it_cannot_be_sent_again() {
    let world = World::new(1);
    let attempts = AtomicUsize::new(0);
    let unplugged = |_: HttpRequest| match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => Err(HttpError::NoResponse("cut off".to_owned())),
        _ => Err(HttpError::NotSent("no route".to_owned())),
    };
    let refused = world.ask(&unplugged);
    assert!(matches!(refused, Err(RefreshError::Unavailable { .. })), "{refused:?}");
    assert_eq!((world.state("r1"), attempts.load(Ordering::SeqCst)), (State::Intent, 3));
}

#[test]
fn a_refresh_writes_a_record_of_the_token_that_was_sent_and_of_no_other() {
    let world = World::new(1);
    world.ask(&Issuer::new(|_| tokens("a2", "r2"))).unwrap();
    let known: Vec<_> = world.records.all().unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(known, [world.key("r1")]);
}

#[test]
fn why_nothing_came_is_recorded_for_those_who_wait() {
    for (status, body, state, code) in [
        (503, json!({}), State::Waiting, "503"),
        (400, json!({"error": "invalid_client"}), State::Waiting, "invalid_client"),
        (400, json!({"error": "invalid_grant"}), State::Rejected, "invalid_grant"),
    ] {
        let world = World::new(1);
        assert!(world.ask(&Issuer::new(|_| response(status, &body))).is_err());
        let record = world.record("r1").unwrap();
        assert_eq!(record.state, state);
        assert!(record.code.as_ref().is_some_and(|it| it.contains(code)), "{record:?}");
        // The next caller gets the same result without a request.
        let told = format!("{:?}", world.ask(&nobody()));
        assert!(told.contains(code), "{told}");
    }
}

#[test]
fn an_access_token_alone_is_not_put_into_another_login() {
    let world = World::new(1);
    let store = world.agents[0].clone();
    let issuer = Issuer::new(|_| {
        // During our request, a user logs in again.
        let mut document = store.read().unwrap();
        document.renew(&PROFILE.into(), &Credential::OAuth(login("r9", LATER)));
        auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
        response(200, &json!({"access_token": "a2", "expires_in": 3600}))
    });
    assert_eq!(world.ask(&issuer).unwrap(), "access-of-r9");
    assert_eq!(world.stored(0).access.expose(), "access-of-r9");
    assert_eq!((world.state("r1"), world.response_files()), (State::Intent, 1));
}

#[test]
fn a_copy_under_another_name_gets_the_response_whatever_became_of_the_others() {
    // A login of an account other than the response's stays unchanged, and the other one is
    // renewed.
    let world = World::new(1);
    let other = OAuthCredential { account_id: Some("you".to_owned()), ..login("r1", PAST) };
    put(&world.agents[0], "acme:other", &other);
    let id_token = jwt(&json!({"sub": "me"}));
    let body = json!({"access_token": "a2", "refresh_token": "r2", "id_token": id_token});
    assert_eq!(world.ask(&Issuer::new(|_| response(200, &body))).unwrap(), "a2");
    assert_eq!((world.state("r1"), world.response_files()), (State::Consumed, 0));
    let left = world.agents[0].read().unwrap().credential(&"acme:other".into()).unwrap();
    assert_eq!(left.bearer().expose(), "access-of-r1");

    // A profile that holds another login now stays unchanged, and the copy is renewed.
    let world = World::new(1);
    put(&world.agents[0], "acme:copy", &login("r1", PAST));
    let store = world.agents[0].clone();
    let theirs = OAuthCredential { account_id: Some("you".to_owned()), ..login("r9", LATER) };
    let issuer = Issuer::new(|_| {
        let mut document = store.read().unwrap();
        document.renew(&PROFILE.into(), &Credential::OAuth(theirs.clone()));
        auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
        tokens("a2", "r2")
    });
    let _ = world.ask(&issuer);
    let copy = store.read().unwrap().credential(&"acme:copy".into()).unwrap();
    assert_eq!((world.refresh_token(0).as_str(), copy.bearer().expose()), ("r9", "a2"));
    assert_eq!((world.state("r1"), world.response_files()), (State::Consumed, 0));
    assert_eq!(world.record("r1").unwrap().successor, Some(world.key("r2")));
}

#[test]
fn a_response_takes_the_place_of_what_was_there_before_and_of_nothing_else() {
    let sent = login("r1", PAST);
    let earlier = Some(Timestamp(PAST.0 - 60_000));
    let before =
        OAuthCredential { expires: earlier, obtained_at: sent.obtained_at, ..login("r0", PAST) };
    let other_time = OAuthCredential { obtained_at: Some(Timestamp(1)), ..before.clone() };
    let no_end = OAuthCredential { expires: None, ..before.clone() };
    let same_end = OAuthCredential { expires: sent.expires, ..before.clone() };
    let later = OAuthCredential { expires: Some(LATER), ..before.clone() };
    let other_account = OAuthCredential { account_id: Some("you".to_owned()), ..before.clone() };
    for (there, token, responses) in [
        (before, "r2", 0),
        (other_time, "r0", 1),
        (no_end, "r0", 1),
        (same_end, "r0", 1),
        // A Clawdbot made it of the token that we sent.
        (later, "r0", 0),
        (other_account, "r0", 1),
    ] {
        let world = World::new(1);
        let store = world.agents[0].clone();
        let issuer = Issuer::new(|_| {
            let mut document = store.read().unwrap();
            document.renew(&PROFILE.into(), &Credential::OAuth(there.clone()));
            auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
            tokens("a2", "r2")
        });
        let _ = world.ask(&issuer);
        assert_eq!(
            (world.refresh_token(0).as_str(), world.response_files()),
            (token, responses),
            "{there:?}"
        );
    }
}

#[test]
fn each_failure_in_a_row_is_waited_for_twice_as_long() {
    let world = World::new(1);
    let mut now = NOW;
    for longest in [5_000, 10_000, 20_000, 40_000, 60_000, 60_000] {
        let refused =
            world.ask_as(0, &wanted(Force::No), &now, &Issuer::new(|_| response(503, "")));
        let Err(RefreshError::Unavailable { retry_at: Some(at), .. }) = refused else {
            panic!("{refused:?}");
        };
        let wait = at.0 - now.0;
        assert!(wait > longest / 2 && wait <= longest, "{wait} ms of {longest}");
        now = at;
    }
}
