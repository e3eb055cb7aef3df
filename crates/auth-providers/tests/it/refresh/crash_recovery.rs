//! Crash recovery: processes that crashed after sending a token, or before storing the response.

use super::*;

#[test]
fn a_response_that_a_dead_process_left_is_finished_by_whoever_comes() {
    for agent in [0, 1] {
        let world = World::new(2);
        world.leave_response(
            "r1",
            &json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600}),
        );
        assert_eq!(world.response_files(), 1);
        assert_eq!(world.ask_as(agent, &wanted(Force::No), &NOW, &nobody()).unwrap(), "a2");
        assert_eq!((world.state("r1"), world.response_files()), (State::Consumed, 0));
        assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r2", "r2"]);
    }
}

#[test]
fn a_response_whose_token_was_used_up_since_is_finished_all_the_same() {
    // It was stored, its process crashed before writing the record, and its successor was
    // refreshed.
    let world = World::new(2);
    world.leave_response(
        "r1",
        &json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600}),
    );
    put(&world.agents[0], PROFILE, &login("r3", LATER));
    world.note("r2", State::Consumed, Some("r3"));
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!((healed.as_str(), world.response_files()), ("access-of-r3", 0));
    assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r3", "r3"]);
}

/// Writes like Clawdbot: only the store, ignoring the files beside it.
fn put_behind_our_back(store: &Store, login: &OAuthCredential) {
    let mut document = store.read().unwrap();
    document.renew(&PROFILE.into(), &Credential::OAuth(login.clone()));
    auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
}

/// The state after a crash between the store and the record: `r2` has replaced `r1`.
fn killed_before_the_record(agents: usize) -> World {
    let world = World::new(agents);
    world.leave_response(
        "r1",
        &json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600}),
    );
    put(
        &world.agents[0],
        PROFILE,
        &OAuthCredential { obtained_at: Some(NOW), ..login("r2", PAST) },
    );
    world
}

#[test]
fn a_response_that_was_left_by_a_crash_is_finished_before_its_token_is_sent() {
    let world = killed_before_the_record(2);
    let issuer = Issuer::new(|_| tokens("a3", "r3"));
    let ask = |agent, http: &dyn HttpClient| {
        world.ask_as(agent, &wanted(Force::No), &LATER, http).unwrap()
    };
    assert_eq!(ask(0, &issuer), "a3");
    assert_eq!(issuer.sent(), ["r2"]);
    assert_eq!((world.state("r1"), world.response_files()), (State::Consumed, 0));
    // Clawdbot writes an old copy: the rotation chain leads on, and its end is not overwritten.
    put_behind_our_back(&world.agents[0], &login("r1", PAST));
    assert_eq!(ask(0, &nobody()), "a3");
    assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r3", "r1"]);
    assert_eq!(ask(1, &nobody()), "a3");
}

#[test]
fn what_a_clawdbot_made_of_an_unfinished_response_is_its_successor() {
    let world = killed_before_the_record(2);
    // It keeps our `obtained_at` for the login that it refreshed.
    let moved_on = OAuthCredential { obtained_at: Some(NOW), ..login("r3", LATER) };
    put(&world.agents[0], PROFILE, &moved_on);
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!((healed.as_str(), world.state("r1")), ("access-of-r3", State::Consumed));
    assert_eq!(world.response_files(), 0);
}

#[test]
fn what_a_clawdbot_used_up_before_and_saved_again_makes_room_for_the_response() {
    let world = World::new(1);
    let (store, before) = (world.agents[0].clone(), login("r1", PAST));
    // There is no record of this token.
    let used_up = OAuthCredential {
        expires: Some(Timestamp(PAST.0 - 60_000)),
        obtained_at: before.obtained_at,
        ..login("r0", PAST)
    };
    let issuer = Issuer::new(|_| {
        put_behind_our_back(&store, &used_up);
        tokens("a2", "r2")
    });
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!((world.refresh_token(0).as_str(), world.response_files()), ("r2", 0));
}

#[test]
fn before_a_login_is_replaced_its_refresh_is_finished_and_given_to_the_copies() {
    let world = World::new(2);
    let tokens = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
    world.leave_response("r1", &tokens);
    assert_eq!(world.replace(0, |_| {}), "r2");
    assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r2", "r2"]);
}

#[test]
fn a_token_that_was_perhaps_sent_is_sent_again() {
    let world = World::new(1);
    world.note("r1", State::Intent, None);
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!((issuer.sent(), world.state("r1")), (vec!["r1".to_owned()], State::Consumed));
}

#[test]
fn a_later_token_at_the_store_of_an_intent_is_the_successor() {
    let world = World::new(2);
    world.note("r1", State::Intent, None);
    // Clawdbot keeps unknown fields.
    let obtained_at = login("r1", PAST).obtained_at;
    put(&world.agents[0], PROFILE, &OAuthCredential { obtained_at, ..login("r2", LATER) });
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!((healed.as_str(), world.state("r1")), ("access-of-r2", State::Consumed));
}

#[test]
fn only_a_later_token_of_the_same_account_is_taken_for_the_successor() {
    let later = OAuthCredential { account_id: Some("you".to_owned()), ..login("r2", LATER) };
    let earlier = login("r0", Timestamp(PAST.0 - 60_000));
    for other in [later, earlier, login("same", PAST)] {
        let world = World::new(2);
        world.note("r1", State::Intent, None);
        put(&world.agents[0], PROFILE, &other);
        let issuer = Issuer::new(|_| tokens("a2", "r3"));
        assert_eq!(world.ask_as(1, &wanted(Force::Send), &NOW, &issuer).unwrap(), "a2");
        assert_eq!(issuer.sent(), ["r1"]);
        assert_eq!(world.stored(0).refresh, other.refresh);
    }
}

#[test]
fn a_response_that_was_left_by_a_crash_does_not_make_us_repeat_the_token() {
    let token = "a-token-that-nobody-else-has";
    let words = json!({"error": "invalid_client", "error_description": format!("no {token} here")});
    // The token is in the store for which it was sent, besides another one; or the caller has it.
    for agent in [0, 1] {
        let world = World::new(2);
        put(&world.agents[agent], PROFILE, &login(token, PAST));
        put(&world.agents[0], "acme:another", &login("another", PAST));
        if agent == 1 {
            put(&world.agents[0], PROFILE, &login("third", PAST));
        }
        world.note(token, State::Intent, None);
        world.leave_file(token, 400, &words);
        let refused = world.ask_as(agent, &wanted(Force::No), &NOW, &nobody());
        let record = world.record(token).unwrap();
        assert!(record.code.as_ref().is_some_and(|code| code.contains("no ")), "{record:?}");
        assert!(!format!("{refused:?} {record:?}").contains(token), "{refused:?} {record:?}");
    }
}

#[test]
fn when_a_successor_was_found_is_recorded() {
    let world = World::new(2);
    world.note("r1", State::Intent, None);
    put(&world.agents[0], PROFILE, &login("r2", LATER));
    let later = NOW.plus(Duration::from_mins(5));
    world.ask_as(1, &wanted(Force::No), &later, &nobody()).unwrap();
    let record = world.record("r1").unwrap();
    assert_eq!((record.state, record.at), (State::Consumed, later));
}

#[test]
fn the_responses_of_others_are_left_beside_a_store() {
    let tokens_of = json!({"access_token": "a9", "refresh_token": "r9", "expires_in": 3600});
    for (status, body) in [(200, tokens_of), (400, json!({"error": "invalid_grant"}))] {
        let world = World::new(2);
        world.leave_file("r8", status, &body);
        let other = world.agents[1].canonical_path();
        let theirs = Record::new(State::Intent, &other, &ProfileId::from(PROFILE), NOW);
        world.records.lock(world.key("r8"), TIMEOUT).unwrap().write(&theirs).unwrap();
        assert_eq!(world.ask(&Issuer::new(|_| tokens("a2", "r2"))).unwrap(), "a2");
        assert_eq!((world.state("r8"), world.response_files()), (State::Intent, 1));
        assert_eq!(world.refresh_token(0), "r2");
    }
}

#[test]
fn what_is_in_the_store_already_is_cleared_up() {
    let tidy = |world: &World| {
        let context = RefreshContext {
            store: &world.agents[0],
            siblings: &[],
            records: &world.records,
            http: &nobody(),
            clock: &NOW,
            timeout: TIMEOUT,
        };
        refresh::clear_up(context);
    };
    let refresh = |world: &World| {
        world.ask(&Issuer::new(|_| tokens("a2", "r2"))).unwrap();
    };
    for tidy in [&tidy as &dyn Fn(&World), &refresh] {
        let world = World::new(1);
        world.leave_response("r0", &json!({"access_token": "a1", "refresh_token": "r1"}));
        world.note("r0", State::Consumed, Some("r1"));
        tidy(&world);
        assert_eq!(world.response_files(), 0);
    }
    // The control: a token that is not.
    let world = World::new(1);
    world.leave_response("r0", &json!({"access_token": "a1", "refresh_token": "r1"}));
    tidy(&world);
    assert_eq!(world.response_files(), 1);
}

#[test]
fn a_token_that_was_used_up_since_it_came_is_given_to_nobody() {
    let world = World::new(2);
    let body = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
    world.leave_response("r1", &body);
    put(&world.agents[0], PROFILE, &login("r3", LATER));
    let used_up = |successor: &str, state| {
        let path = world.agents[0].canonical_path();
        let at = NOW.plus(Duration::from_secs(1));
        let record = Record::new(state, &path, &ProfileId::from(PROFILE), at);
        let record = Record { successor: Some(world.key(successor)), ..record };
        world.records.lock(world.key("r2"), TIMEOUT).unwrap().write(&record).unwrap();
    };
    used_up("r3", State::Consumed);
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r3");
    assert_eq!(world.replace(1, |_| {}), "r1");
    assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r3", "r1"]);
    assert_eq!(world.state("r1"), State::Consumed);
}

#[test]
fn the_response_that_refused_a_token_goes_with_the_next_who_asks() {
    let world = World::new(1);
    world.leave_response("r1", &json!({"error": "invalid_grant"}));
    // Its process crashed after writing the record.
    world.note("r1", State::Rejected, None);
    assert_eq!(world.response_files(), 1);
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::Rejected { .. })), "{refused:?}");
    assert_eq!(world.response_files(), 0);
}

#[test]
fn what_was_rescued_stays_until_it_is_finished() {
    for (state, is_left) in
        [(State::Intent, true), (State::Unmerged, true), (State::Rejected, false)]
    {
        let mut world = World::new(1);
        world.records = world.records.clone().with_rescue(world.directory.path().join("rescue"));
        world.note("r0", state, None);
        let (headers, body) = (Vec::new(), Vec::new());
        let response = StoredResponse { status: 200, received_at: NOW, headers, body };
        let lock = world.records.lock(world.key("r0"), TIMEOUT).unwrap();
        lock.rescue(&response).unwrap();
        drop(lock);
        let context = RefreshContext {
            store: &world.agents[0],
            siblings: &[],
            records: &world.records,
            http: &nobody(),
            clock: &NOW,
            timeout: TIMEOUT,
        };
        refresh::clear_up(context);
        assert_eq!(world.records.rescued().len(), usize::from(is_left), "{state:?}");
    }
}
