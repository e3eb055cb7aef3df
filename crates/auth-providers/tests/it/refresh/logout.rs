//! Logout at the user's request.

use auth_providers::refresh::{LoggedOut, Revocation};

use super::*;

/// Logs the profile out of the first agent. Returns the refresh token that could be revoked, and
/// the result.
fn logout(
    world: &World,
    revocation: &Revocation,
) -> (Vec<String>, Result<LoggedOut, RefreshError>) {
    logout_while(world, revocation, |_| {})
}

/// The same; `meanwhile` runs during the revocation request.
fn logout_while(
    world: &World,
    revocation: &Revocation,
    meanwhile: impl Fn(&str),
) -> (Vec<String>, Result<LoggedOut, RefreshError>) {
    let revoked = Mutex::new(Vec::new());
    let context = RefreshContext {
        store: &world.agents[0],
        siblings: &world.agents[1..],
        records: &world.records,
        http: &nobody(),
        clock: &NOW,
        timeout: TIMEOUT,
    };
    let revoke = async |login: &OAuthCredential| {
        revoked.lock().unwrap().push(login.refresh.expose().to_owned());
        meanwhile(login.refresh.expose());
        revocation.clone()
    };
    let profile = ProfileId::from(PROFILE);
    let done = refresh::logout(&profile, Some(&world.provider), revoke, context);
    let done = crate::support::block_on(done);
    (revoked.into_inner().unwrap(), done)
}

fn is_gone(world: &World) -> bool {
    let has = |document: Document| document.contains(&PROFILE.into());
    !has(world.agents[0].read().unwrap()) && !world.agents[0].backup().unwrap().is_some_and(has)
}

#[test]
fn only_what_the_issuer_revoked_is_recorded_and_all_is_removed() {
    for (revocation, state) in [
        (Revocation::Done, State::Revoked),
        (Revocation::NotOffered, State::None),
        (Revocation::Failed("away".to_owned()), State::None),
    ] {
        let world = World::new(3);
        put(&world.agents[2], PROFILE, &login("r2", PAST));
        let (revoked, done) = logout(&world, &revocation);
        let done = done.unwrap();
        assert_eq!((revoked, done.revocation), (vec!["r1".to_owned()], revocation));
        assert_eq!(done.others, [world.agents[1].path()]);
        assert_eq!((world.state("r1"), is_gone(&world)), (state, true));
        assert_eq!([world.refresh_token(1), world.refresh_token(2)], ["r1", "r2"]);
        let (_, again) = logout(&world, &Revocation::Done);
        assert!(matches!(again, Err(RefreshError::UnknownProfile { .. })), "{again:?}");
    }
}

#[test]
fn who_could_find_the_login_nowhere_else_is_given_it_first() {
    let world = World::new(3);
    put(&world.agents[0], PROFILE, &login("r2", LATER));
    put(&world.agents[2], PROFILE, &login("r3", LATER));
    world.note("r1", State::Consumed, Some("r2"));
    let (_, done) = logout(&world, &Revocation::NotOffered);
    assert_eq!(done.unwrap().others, [world.agents[1].path()]);
    assert_eq!([world.refresh_token(1), world.refresh_token(2)], ["r2", "r3"]);
    assert!(is_gone(&world));
}

#[test]
#[cfg(unix)]
fn nothing_is_dropped_while_nobody_can_see_who_needs_it() {
    let world = World::new(2);
    put(&world.agents[0], PROFILE, &login("r2", LATER));
    world.note("r1", State::Consumed, Some("r2"));
    let (other, aside) = (world.agents[1].path(), world.agents[1].path().with_extension("aside"));
    std::fs::rename(other, &aside).unwrap();
    // Opening it fails, although it exists.
    std::os::unix::fs::symlink(other, other).unwrap();
    let (_, refused) = logout(&world, &Revocation::NotOffered);
    assert!(matches!(refused, Err(RefreshError::Store(_))), "{refused:?}");
    assert!(!is_gone(&world));

    std::fs::rename(&aside, other).unwrap();
    let (_, done) = logout(&world, &Revocation::NotOffered);
    assert_eq!(done.unwrap().others, [other]);
    assert_eq!((world.refresh_token(1), is_gone(&world)), ("r2".to_owned(), true));
}

#[test]
fn what_is_revoked_is_the_token_that_lives() {
    let world = World::new(1);
    let tokens = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
    world.leave_response("r1", &tokens);
    let (revoked, done) = logout(&world, &Revocation::Done);
    done.unwrap();
    assert_eq!(revoked, ["r2"]);
    assert_eq!([world.state("r1"), world.state("r2")], [State::Consumed, State::Revoked]);
    assert_eq!((world.response_files(), is_gone(&world)), (0, true));

    // Its state is unknown: it may be valid.
    let world = World::new(1);
    world.note("r1", State::Intent, None);
    let (revoked, done) = logout(&world, &Revocation::Done);
    done.unwrap();
    assert_eq!((revoked, world.state("r1")), (vec!["r1".to_owned()], State::Revoked));
}

#[test]
fn a_token_that_was_stored_during_the_revocation_is_revoked_too_before_it_is_removed() {
    let world = World::new(1);
    let (revoked, done) = logout_while(&world, &Revocation::Done, |token| {
        if token == "r1" {
            put(&world.agents[0], PROFILE, &login("r2", LATER));
        }
    });
    assert_eq!(
        (revoked, done.unwrap().revocation),
        (vec!["r1".into(), "r2".into()], Revocation::Done)
    );
    assert_eq!([world.state("r1"), world.state("r2")], [State::Revoked; 2]);
    assert!(is_gone(&world));

    // Another process removed it, which is the wanted result.
    let world = World::new(1);
    let (revoked, done) = logout_while(&world, &Revocation::Done, |_| {
        world.agents[0].update(|document| document.remove(&PROFILE.into())).unwrap();
    });
    assert_eq!((revoked, done.unwrap().revocation), (vec!["r1".to_owned()], Revocation::Done));
    assert!(is_gone(&world));
}

#[test]
fn nothing_is_revoked_that_could_not_be_removed() {
    let world = World::new(1);
    let database = world.agents[0].path().with_file_name("openclaw-agent.sqlite");
    auth_store::write_atomic(&database, b"").unwrap();
    let (revoked, refused) = logout(&world, &Revocation::Done);
    let is_refused = |error| matches!(error, Err(RefreshError::Store(_)));
    assert!(is_refused(refused) && revoked.is_empty(), "{revoked:?}");
    std::fs::remove_file(&database).unwrap();

    let store = std::fs::read_to_string(world.agents[0].path()).unwrap();
    let newer = store.replace("\"version\": 1", "\"version\": 2");
    assert_ne!(store, newer);
    auth_store::write_atomic(world.agents[0].path(), newer.as_bytes()).unwrap();
    let (revoked, refused) = logout(&world, &Revocation::Done);
    assert!(is_refused(refused) && revoked.is_empty(), "{revoked:?}");
    assert_eq!((world.state("r1"), is_gone(&world)), (State::None, false));
}

#[test]
fn no_response_with_the_token_in_it_is_left() {
    let world = World::new(1);
    let tokens = json!({"access_token": "a2", "expires_in": 3600});
    world.leave_response("r1", &tokens);
    // It was not rotated, and the process that stored it crashed before removing the response.
    world.note("r1", State::None, None);
    let (_, done) = logout(&world, &Revocation::NotOffered);
    done.unwrap();
    assert_eq!((world.response_files(), is_gone(&world)), (0, true));
}

#[test]
fn what_nobody_could_send_is_removed_without_a_lock() {
    let world = World::new(2);
    put(&world.agents[0], PROFILE, &login("", LATER));
    let (revoked, done) = logout(&world, &Revocation::Done);
    assert_eq!((revoked.len(), done.unwrap().revocation), (1, Revocation::Done));
    assert!(is_gone(&world));

    let world = World::new(1);
    let key = Credential::ApiKey("key".into());
    let put = |document: &mut Document| {
        document.remove(&PROFILE.into());
        document.put(&PROFILE.into(), "acme", &key, &Map::new());
    };
    world.agents[0].update(put).unwrap();
    let (revoked, done) = logout(&world, &Revocation::Done);
    assert_eq!((revoked.len(), done.unwrap().revocation), (0, Revocation::NotOffered));
    assert!(is_gone(&world));
}
