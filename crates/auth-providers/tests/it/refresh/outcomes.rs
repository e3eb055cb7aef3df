//! The results for callers that request a token, and when nothing is sent for them.

use super::*;

#[test]
fn what_was_obtained_in_the_future_is_refreshed_once_and_used_meanwhile() {
    let world = World::new(1);
    let years = Duration::from_hours(24 * 3650);
    put(&world.agents[0], PROFILE, &login("r1", NOW.plus(years)));
    let away = Issuer::new(|_| response(503, ""));
    assert_eq!(world.ask(&away).unwrap(), "access-of-r1");
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    let later = NOW.plus(Duration::from_mins(2));
    assert_eq!(world.ask_as(0, &wanted(Force::No), &later, &issuer).unwrap(), "a2");
    assert_eq!(world.ask_as(0, &wanted(Force::No), &later, &nobody()).unwrap(), "a2");
}

#[test]
fn a_fresh_token_takes_no_lock_and_sends_nothing() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", LATER));
    let flock = world.agents[0].path().with_file_name(".auth-profiles.flock");
    std::fs::remove_file(&flock).unwrap();
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r1");
    let locks = world.directory.path().join("locks");
    assert!(!flock.exists() && !locks.exists());

    put(&world.agents[0], PROFILE, &login("r1", PAST));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert!(flock.exists() && locks.exists());
}

#[test]
fn a_refresh_stores_the_successor_then_its_record_and_leaves_no_response() {
    let world = World::new(1);
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    let stored = world.stored(0);
    assert_eq!((stored.refresh.expose(), stored.account_id.as_deref()), ("r2", Some("me")));
    assert_eq!(stored.expires, Some(NOW.plus(Duration::from_hours(1))));
    let record = world.record("r1").unwrap();
    assert_eq!((record.state, record.successor), (State::Consumed, Some(world.key("r2"))));
    let backup = world.agents[0].backup().unwrap().unwrap().credential(&PROFILE.into()).unwrap();
    assert_eq!(backup.bearer().expose(), "a2");
    assert_eq!((world.response_files(), issuer.sent()), (0, vec!["r1".to_owned()]));
}

#[test]
fn a_refused_token_is_not_sent_again_unless_somebody_insists() {
    let world = World::new(1);
    let issuer = Issuer::new(|_| response(400, &json!({"error": "invalid_grant"})));
    for _ in 0..3 {
        let refused = world.ask(&issuer);
        assert!(matches!(refused, Err(RefreshError::Rejected { .. })), "{refused:?}");
    }
    assert!(world.force(Force::Refresh, &issuer).is_err());
    assert_eq!((issuer.sent().len(), world.state("r1")), (1, State::Rejected));
    assert!(world.force(Force::Send, &issuer).is_err());
    assert_eq!((issuer.sent().len(), world.refresh_token(0)), (2, "r1".to_owned()));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.force(Force::Send, &issuer).unwrap(), "a2");
}

#[test]
fn a_time_set_by_the_issuer_is_waited_for_by_all_but_force() {
    let world = World::new(2);
    let headers = vec![("retry-after".to_owned(), "60".to_owned())];
    let issuer = Issuer::new(move |number| match number {
        0 => Ok(HttpResponse { status: 429, headers: headers.clone(), body: Vec::new() }),
        _ => tokens("a2", "r2"),
    });
    for agent in [0, 1, 0] {
        let refused = world.ask_as(agent, &wanted(Force::No), &NOW, &issuer);
        let Err(RefreshError::Unavailable { retry_at, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(retry_at, Some(NOW.plus(Duration::from_mins(1))));
    }
    assert_eq!(issuer.sent().len(), 1);
    let refused = world.ask_as(0, &wanted(Force::No), &Timestamp(NOW.0 + 59_999), &issuer);
    assert!(refused.is_err());
    assert_eq!(world.force(Force::Refresh, &issuer).unwrap(), "a2");
    assert_eq!(issuer.sent().len(), 2);

    let world = World::new(1);
    let issuer = Issuer::new(|number| match number {
        0 => response(503, ""),
        _ => tokens("a2", "r2"),
    });
    assert!(world.ask(&issuer).is_err());
    let much_later = Timestamp(NOW.0 + 61_000);
    assert_eq!(world.ask_as(0, &wanted(Force::No), &much_later, &issuer).unwrap(), "a2");
}

#[test]
fn a_refused_client_is_tried_again_after_five_seconds() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| match number {
        0 => response(401, &json!({"error": "invalid_client"})),
        _ => tokens("a2", "r2"),
    });
    let refused = world.ask(&issuer);
    assert!(matches!(refused, Err(RefreshError::Misconfigured { .. })), "{refused:?}");
    let at = |milliseconds| Timestamp(NOW.0 + milliseconds);
    assert!(world.ask_as(0, &wanted(Force::No), &at(4_999), &issuer).is_err());
    assert_eq!(issuer.sent().len(), 1);
    assert_eq!(world.ask_as(0, &wanted(Force::No), &at(5_000), &issuer).unwrap(), "a2");
}

#[test]
fn a_valid_token_is_used_while_the_issuer_is_away() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", SOON));
    let issuer = Issuer::new(|_| response(503, ""));
    assert_eq!(world.ask(&issuer).unwrap(), "access-of-r1");
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r1");
    assert_eq!(issuer.sent().len(), 1);
    // The control: only the token's validity made the difference.
    assert!(world.ask_as(0, &wanted(Force::No), &SOON, &issuer).is_err());
}

#[test]
fn a_valid_token_is_used_while_somebody_else_refreshes_it() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", SOON));
    let held = world.records.lock(world.key("r1"), TIMEOUT).unwrap();
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r1");
    drop(held);
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
}

#[test]
fn force_is_about_the_access_token_that_failed() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", LATER));
    let with_hash =
        |only_if: &str| Wanted { only_if: Some(only_if.to_owned()), ..wanted(Force::Refresh) };
    let other = with_hash(&"0".repeat(64));
    assert_eq!(world.ask_as(0, &other, &NOW, &nobody()).unwrap(), "access-of-r1");
    // SHA-256 of `access-of-r1`.
    let this = with_hash("812cb34822a1cc971c984556df1c231587eddb8f0625a36e3a8e1e769a45b1e6");
    let issuer = Issuer::new(|_| response(200, &json!({"access_token": "a2", "expires_in": 3600})));
    assert_eq!(world.ask_as(0, &this, &NOW, &issuer).unwrap(), "a2");
    assert_eq!(world.ask_as(0, &this, &NOW, &nobody()).unwrap(), "a2");
    assert_eq!(issuer.sent().len(), 1);
}

#[test]
fn a_force_that_waited_for_another_sends_nothing() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", LATER));
    // The same refresh token, another access token: an issuer that does not rotate.
    let renewed = OAuthCredential { access: "a2".into(), ..login("r1", LATER) };
    let clock = Hook::at(2, || put(&world.agents[0], PROFILE, &renewed));
    assert_eq!(world.ask_as(0, &wanted(Force::Refresh), &clock, &nobody()).unwrap(), "a2");
    let issuer = Issuer::new(|_| tokens("a3", "r3"));
    assert_eq!(world.force(Force::Refresh, &issuer).unwrap(), "a3");
}

#[test]
fn another_accounts_token_is_not_what_was_asked_for() {
    // It is stored before our token leaves, or after.
    for (coexist, is_sent) in [(Coexist::Never, false), (Coexist::Always, true)] {
        let world = World::new(1).coexisting(coexist);
        let theirs =
            OAuthCredential { account_id: Some("you".to_owned()), ..login("theirs", LATER) };
        let store = world.agents[0].clone();
        let issuer = Issuer::behind(
            |_| {
                let mut document = store.read().unwrap();
                let theirs = Credential::OAuth(theirs.clone());
                document.put(&PROFILE.into(), "acme", &theirs, &Map::new());
                auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
            },
            |_| response(503, ""),
        );
        let refused = world.ask(&issuer);
        let is_other = matches!(refused, Err(RefreshError::OtherAccount { .. }));
        assert!(refused.is_err() && is_other != is_sent, "{refused:?}");
        assert_eq!(issuer.sent().len(), usize::from(is_sent));
        assert_eq!(world.ask(&nobody()).unwrap(), "access-of-theirs", "the next caller gets it");
    }
}

#[test]
fn an_access_token_that_came_too_late_is_stored_and_not_used() {
    let world = World::new(1);
    let ended = jwt(&json!({"exp": PAST.0 / 1000}));
    let tokens = json!({"access_token": ended, "refresh_token": "r2"});
    let refused = world.ask(&Issuer::new(move |_| response(200, &tokens)));
    assert!(matches!(refused, Err(RefreshError::Unavailable { .. })), "{refused:?}");
    assert_eq!((world.refresh_token(0), world.state("r1")), ("r2".to_owned(), State::Consumed));
}

#[test]
fn what_cannot_be_refreshed_is_used_until_its_end() {
    let world = World::new(1);
    let keep = |credential: Credential| {
        let put = |document: &mut Document| {
            document.put(&PROFILE.into(), "acme", &credential, &Map::new());
        };
        world.agents[0].update(put).unwrap();
    };
    let reason = |asked: Result<String, RefreshError>| match asked {
        Err(RefreshError::NeedsLogin { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    keep(Credential::ApiKey("key".into()));
    assert_eq!(world.ask(&nobody()).unwrap(), "key");
    keep(Credential::ApiKey(" ".into()));
    assert_eq!(reason(world.ask(&nobody())), "it is empty");
    let token = |expires| Credential::Token { token: "t".into(), expires: Some(expires) };
    keep(token(SOON));
    assert_eq!(world.ask(&nobody()).unwrap(), "t");
    keep(token(PAST));
    assert_eq!(reason(world.ask(&nobody())), "it has expired and cannot be refreshed");
    keep(Credential::OAuth(login("", SOON)));
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-");
    keep(Credential::OAuth(login("", PAST)));
    assert!(reason(world.ask(&nobody())).contains("there is no refresh token"));
}
