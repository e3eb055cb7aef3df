//! The copies of one login in several agents.

use super::*;

#[test]
fn a_copy_that_was_left_by_a_crash_is_not_sent_unless_somebody_insists() {
    let world = World::new(2);
    put(&world.agents[1], PROFILE, &login("r2", LATER));
    let refused = world.ask(&nobody());
    let Err(RefreshError::StaleCopy { store, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(store, world.agents[1].path());
    let issuer = Issuer::new(|_| tokens("a3", "r3"));
    assert_eq!(world.force(Force::Send, &issuer).unwrap(), "a3");
    assert_eq!((issuer.sent(), world.refresh_token(1)), (vec!["r1".to_owned()], "r2".to_owned()));
}

#[test]
#[cfg(unix)]
fn an_agent_whose_store_cannot_be_read_keeps_nobody_from_refreshing() {
    let world = World::new(2);
    let other = world.agents[1].path();
    std::fs::remove_file(other).unwrap();
    std::os::unix::fs::symlink(other, other).unwrap();
    assert!(world.agents[1].read().is_err());
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!((issuer.sent(), world.refresh_token(0)), (vec!["r1".to_owned()], "r2".to_owned()));
}

#[test]
fn only_of_accounts_that_are_known_it_is_said_that_they_are_the_same() {
    for (ours, theirs, is_stale) in [
        ((Some("me"), None), (Some("me"), None), true),
        ((Some("me"), None), (Some("you"), None), false),
        ((Some("me"), None), (None, None), false),
        ((None, None), (Some("me"), None), false),
        ((None, Some("me@x")), (None, Some("me@x")), true),
        ((None, Some("me@x")), (None, Some("you@x")), false),
        ((None, Some("me@x")), (None, None), false),
        ((None, None), (None, Some("me@x")), false),
        ((Some("me"), None), (None, Some("me@x")), false),
        ((None, None), (None, None), false),
    ] {
        let world = World::new(2);
        let keep = |agent: usize, login: OAuthCredential, who: (Option<&str>, Option<&str>)| {
            let login = OAuthCredential { account_id: who.0.map(str::to_owned), ..login };
            let email = who.1.map(|email| ("email".to_owned(), json!(email)));
            let login = Credential::OAuth(login);
            let put = |document: &mut Document| {
                document.remove(&PROFILE.into());
                document.put(&PROFILE.into(), "acme", &login, &email.clone().into_iter().collect());
            };
            world.agents[agent].update(put).unwrap();
        };
        keep(0, login("r1", PAST), ours);
        keep(1, login("r2", LATER), theirs);
        let asked = world.ask(&Issuer::new(|_| tokens("a3", "r3")));
        match asked {
            Err(RefreshError::StaleCopy { .. }) => assert!(is_stale, "{ours:?} {theirs:?}"),
            other => assert_eq!((other.unwrap().as_str(), is_stale), ("a3", false), "{ours:?}"),
        }
    }
}

#[test]
fn logins_of_their_own_are_no_copies_of_each_other() {
    let world = World::new(2);
    let issuer = Issuer::new(|number| tokens("a", &format!("next-{number}")));
    // Our token comes from a refresh here, then from a login here; the other agent's token is
    // always later.
    world.ask(&issuer).unwrap();
    put(&world.agents[1], PROFILE, &login("theirs", LATER));
    let an_hour_later = NOW.plus(Duration::from_mins(61));
    assert_eq!(world.ask_as(0, &wanted(Force::No), &an_hour_later, &issuer).unwrap(), "a");

    let own = login("own", PAST);
    let siblings = [world.agents[1].clone()];
    let context = RefreshContext {
        store: &world.agents[0],
        siblings: &siblings,
        records: &world.records,
        http: &nobody(),
        clock: &NOW,
        timeout: TIMEOUT,
    };
    refresh::clear_record(&own, &PROFILE.into(), &world.provider, context).unwrap();
    put(&world.agents[0], PROFILE, &own);
    assert_eq!(world.ask(&issuer).unwrap(), "a");

    // The control: this token was not issued to us, although another one was.
    refresh::clear_record(&login("another", PAST), &PROFILE.into(), &world.provider, context)
        .unwrap();
    put(&world.agents[0], PROFILE, &login("copied", PAST));
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::StaleCopy { .. })), "{refused:?}");
    // Nor is it enough that it was issued to us, if the other is a refreshed copy of it.
    refresh::clear_record(&own, &PROFILE.into(), &world.provider, context).unwrap();
    put(&world.agents[0], PROFILE, &own);
    let moved_on = OAuthCredential { obtained_at: own.obtained_at, ..login("moved", LATER) };
    put(&world.agents[1], PROFILE, &moved_on);
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::StaleCopy { .. })), "{refused:?}");
}

#[test]
fn copies_in_three_agents_are_refreshed_once_and_all_updated() {
    let world = World::new(3);
    put(&world.agents[2], "acme:mine", &login("r1", PAST));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    for agent in 0..3 {
        assert_eq!(world.refresh_token(agent), "r2");
        assert_eq!(world.ask_as(agent, &wanted(Force::No), &NOW, &nobody()).unwrap(), "a2");
    }
    let other_name = world.agents[2].read().unwrap().credential(&"acme:mine".into()).unwrap();
    assert_eq!((other_name.bearer().expose(), issuer.sent().len()), ("a2", 1));
}

#[test]
fn the_response_for_a_login_that_was_replaced_goes_to_the_copies_of_it() {
    for asker in [None, Some(1)] {
        let world = World::new(3);
        // During our request, a user logs in with another account.
        let theirs =
            OAuthCredential { account_id: Some("you".to_owned()), ..login("theirs", LATER) };
        let store = world.agents[0].clone();
        let issuer = Issuer::new(|_| {
            let mut document = store.read().unwrap();
            let credential = Credential::OAuth(theirs.clone());
            document.put(&PROFILE.into(), "acme", &credential, &Map::new());
            auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
            tokens("a2", "r2")
        });
        match asker {
            None => {
                let refused = world.ask(&issuer);
                assert!(matches!(refused, Err(RefreshError::OtherAccount { .. })), "{refused:?}");
            }
            // The requesting process crashed with the response in its file.
            Some(agent) => {
                let body = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
                world.leave_response("r1", &body);
                put(&world.agents[0], PROFILE, &theirs);
                let given = world.ask_as(agent, &wanted(Force::No), &NOW, &nobody());
                assert_eq!(given.unwrap(), "a2");
            }
        }
        assert_eq!(world.refresh_token(0), "theirs");
        assert_eq!([world.refresh_token(1), world.refresh_token(2)], ["r2", "r2"]);
        assert_eq!((world.state("r1"), world.response_files()), (State::Consumed, 0));
        let record = world.record("r1").unwrap();
        assert_eq!(record.store, world.agents[1].canonical_path());
        assert_eq!(record.successor, Some(world.key("r2")));
    }
}

#[test]
fn the_response_for_a_login_that_nobody_has_any_more_is_kept() {
    let world = World::new(2);
    let body = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
    world.leave_response("r1", &body);
    let theirs = OAuthCredential { account_id: Some("you".to_owned()), ..login("theirs", LATER) };
    put(&world.agents[0], PROFILE, &theirs);
    put(&world.agents[1], PROFILE, &OAuthCredential { account_id: None, ..login("r1", PAST) });
    // A response that cannot be merged there either.
    let no_access = json!({"refresh_token": "r2"});
    world.leave_response("r1", &no_access);
    let kept = world.ask_as(1, &wanted(Force::No), &NOW, &nobody());
    assert!(matches!(kept, Err(RefreshError::Unmerged { .. })), "{kept:?}");
    assert_eq!((world.state("r1"), world.response_files()), (State::Intent, 1));
}
