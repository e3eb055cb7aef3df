//! Rotation chains: which of a refresh token's successors is current, and which token replaces it
//! in our store.

use super::*;

#[test]
fn what_was_stored_while_we_waited_is_adopted_and_recorded() {
    let world = World::new(2);
    let clawdbot = || put(&world.agents[0], PROFILE, &login("r2", LATER));
    let clock = Hook::at(2, clawdbot);
    let adopted = world.ask_as(0, &wanted(Force::No), &clock, &nobody()).unwrap();
    assert_eq!(adopted, "access-of-r2");
    assert_eq!(world.record("r1").unwrap().successor, Some(world.key("r2")));
    // So the copy in the other agent finds it.
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!(healed, "access-of-r2");
}

#[test]
fn an_older_token_that_was_saved_meanwhile_is_no_successor() {
    let world = World::new(1);
    let older = || put(&world.agents[0], PROFILE, &login("r0", Timestamp(PAST.0 - 1)));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    world.ask_as(0, &wanted(Force::No), &Hook::at(2, older), &issuer).unwrap();
    assert_eq!((world.state("r1"), issuer.sent()), (State::None, vec!["r0".to_owned()]));
}

#[test]
fn another_account_in_the_same_place_is_an_error_and_nothing_is_sent() {
    let world = World::new(1);
    let other = OAuthCredential { account_id: Some("you".to_owned()), ..login("r2", LATER) };
    let clock = Hook::at(2, || put(&world.agents[0], PROFILE, &other));
    let refused = world.ask_as(0, &wanted(Force::No), &clock, &nobody());
    assert!(matches!(refused, Err(RefreshError::OtherAccount { .. })), "{refused:?}");
    assert_eq!((world.state("r1"), world.refresh_token(0)), (State::None, "r2".to_owned()));
}

#[test]
fn a_used_up_token_is_healed_from_the_backup() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r2", LATER));
    world.note("r1", State::Consumed, Some("r2"));
    // Clawdbot writes an old copy; it knows nothing about the backup.
    let old = std::fs::read_to_string(world.agents[0].path()).unwrap().replace("-r2", "-r1");
    let old = old.replace("\"r2\"", "\"r1\"").replace(&LATER.to_string(), &PAST.to_string());
    auth_store::write_atomic(world.agents[0].path(), old.as_bytes()).unwrap();
    assert_eq!(world.refresh_token(0), "r1");
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r2");
    assert_eq!(world.refresh_token(0), "r2");
}

#[test]
fn a_used_up_token_is_healed_from_another_agent_and_along_its_chain() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    world.note("r2", State::Consumed, Some("r3"));
    put(&world.agents[1], PROFILE, &login("r3", LATER));
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r3");
    assert_eq!(world.refresh_token(0), "r3");
}

#[test]
fn a_healed_login_of_another_account_is_refused() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    let other = OAuthCredential { account_id: Some("you".to_owned()), ..login("r2", LATER) };
    put(&world.agents[1], PROFILE, &other);
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::OtherAccount { .. })), "{refused:?}");
    assert_eq!(world.refresh_token(0), "r1");
}

#[test]
fn a_used_up_token_whose_successor_is_nowhere_needs_a_login() {
    let world = World::new(1);
    world.note("r1", State::Consumed, Some("r2"));
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::NeedsLogin { .. })), "{refused:?}");
    assert_eq!(world.refresh_token(0), "r1");
}

#[test]
fn a_successor_that_may_be_in_a_store_that_cannot_be_read_is_not_said_to_be_gone() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    let other = world.agents[1].path();
    auth_store::write_atomic(other, b"{").unwrap();
    let _ = std::fs::remove_file(other.with_file_name(".auth-profiles.json.bak"));
    let refused = world.ask(&nobody());
    let damaged = matches!(&refused, Err(RefreshError::Store(StoreError::Damaged { path, .. })) if path == other);
    assert!(damaged, "{refused:?}");
    assert_eq!(world.refresh_token(0), "r1");

    // The control: without any other copy, a user has to log in.
    std::fs::remove_file(other).unwrap();
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::NeedsLogin { .. })), "{refused:?}");
}

#[test]
fn a_chain_that_closes_on_itself_ends_and_sends_nothing() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    world.note("r2", State::Consumed, Some("r1"));
    put(&world.agents[1], PROFILE, &login("r2", PAST));
    assert!(world.ask(&nobody()).is_err());
}

#[test]
fn of_a_chain_that_closes_on_itself_the_token_received_last_is_taken_and_nothing_sent() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    world.note("r2", State::Consumed, Some("r1"));
    put(&world.agents[1], PROFILE, &login("r2", LATER));
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r2");
    assert_eq!(world.refresh_token(0), "r2");

    let much_later = LATER.plus(Duration::from_hours(1));
    let ended = world.ask_as(0, &wanted(Force::No), &much_later, &nobody());
    assert!(matches!(ended, Err(RefreshError::NeedsLogin { .. })), "{ended:?}");
}

#[test]
fn an_issuer_may_give_a_token_once_more_that_was_used_up() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| match number % 2 {
        0 => tokens("a2", "r2"),
        _ => tokens("a1", "r1"),
    });
    for hours in 0..4_u32 {
        let clock = NOW.plus(Duration::from_hours(1) * hours);
        let access = world.ask_as(0, &wanted(Force::No), &clock, &issuer).unwrap();
        assert_eq!(access, ["a2", "a1"][hours as usize % 2], "after {hours} hours");
    }
    assert_eq!(issuer.sent(), ["r1", "r2", "r1", "r2"]);
}

#[test]
fn a_token_that_ends_no_later_than_ours_is_no_successor() {
    let world = World::new(1);
    let same_end = || put(&world.agents[0], PROFILE, &login("r0", PAST));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    world.ask_as(0, &wanted(Force::No), &Hook::at(2, same_end), &issuer).unwrap();
    assert_eq!((world.state("r1"), issuer.sent()), (State::None, vec!["r0".to_owned()]));
}

#[test]
fn of_a_chain_that_closes_on_itself_nothing_of_another_account_or_login_is_taken() {
    let other_account =
        OAuthCredential { account_id: Some("you".to_owned()), ..login("r2", LATER) };
    for other in [other_account, login("r9", LATER)] {
        let world = World::new(2);
        world.note("r1", State::Consumed, Some("r2"));
        world.note("r2", State::Consumed, Some("r1"));
        put(&world.agents[1], "acme:another", &other);
        world.agents[1].update(|document| document.remove(&PROFILE.into())).unwrap();
        let refused = world.ask(&nobody());
        assert!(matches!(refused, Err(RefreshError::NeedsLogin { .. })), "{refused:?}");
        assert_eq!(world.refresh_token(0), "r1");
    }
}

/// Runs `wait` in another thread, and `meanwhile` as soon as that waits for the lock on `file`.
/// Only the kernel's list of waiting threads shows that.
#[cfg(target_os = "linux")]
fn while_it_waits<T: Send>(
    file: &std::path::Path,
    wait: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(),
) -> T {
    use std::os::unix::fs::MetadataExt as _;
    let inode = format!(":{} ", std::fs::metadata(file).unwrap().ino());
    let waits = |line: &str| line.contains("->") && line.contains(&inode);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(wait);
        for _ in 0..30_000 {
            assert!(!waiting.is_finished(), "it does not wait");
            if std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        meanwhile();
        waiting.join().unwrap()
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_login_that_was_replaced_while_it_was_healed_stays() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    put(&world.agents[1], PROFILE, &login("r2", LATER));
    let theirs = OAuthCredential { account_id: Some("you".to_owned()), ..login("r9", LATER) };
    let mut lock = world.agents[0].lock_for_refresh().unwrap();
    let flock = world.agents[0].path().with_file_name(".auth-profiles.flock");
    let asked = while_it_waits(
        &flock,
        || world.ask(&nobody()),
        || {
            let theirs = Credential::OAuth(theirs.clone());
            lock.update(|document| document.renew(&PROFILE.into(), &theirs)).unwrap();
            drop(lock);
        },
    );
    assert_eq!((asked.unwrap().as_str(), world.refresh_token(0).as_str()), ("access-of-r9", "r9"));
}

#[cfg(target_os = "linux")]
#[test]
fn what_became_of_the_end_of_a_chain_while_it_was_waited_for_is_found() {
    for state in [State::None, State::Waiting, State::Consumed, State::Rejected] {
        let world = World::new(2);
        world.note("r1", State::Consumed, Some("r2"));
        world.agents[1].update(|document| document.remove(&PROFILE.into())).unwrap();
        let lock = world.records.lock(world.key("r2"), TIMEOUT).unwrap();
        let path = world.directory.path().join("locks/refresh").join(world.key("r2").to_string());
        let asked = while_it_waits(
            &path,
            || world.ask(&nobody()),
            || {
                let is_consumed = state == State::Consumed;
                let end = if is_consumed { "r3" } else { "r2" };
                if state != State::Rejected {
                    put(&world.agents[1], PROFILE, &login(end, LATER));
                }
                let store = world.agents[1].canonical_path();
                let record = Record::new(state, &store, &ProfileId::from(PROFILE), NOW);
                let successor = is_consumed.then(|| world.key("r3"));
                lock.write(&Record { successor, ..record }).unwrap();
                drop(lock);
            },
        );
        match state {
            State::Rejected => assert!(matches!(asked, Err(RefreshError::Rejected { .. }))),
            State::Consumed => assert_eq!(asked.unwrap(), "access-of-r3"),
            _ => assert_eq!(asked.unwrap(), "access-of-r2", "{state:?}"),
        }
    }
}

#[test]
fn the_end_of_a_chain_that_nobody_has_is_finished_or_needs_a_login() {
    // Its process crashed with the response, which is finished here.
    let world = World::new(1);
    world.note("r1", State::Consumed, Some("r2"));
    let body = json!({"access_token": "a3", "refresh_token": "r3", "expires_in": 3600});
    world.leave_response("r2", &body);
    assert_eq!(world.ask(&nobody()).unwrap(), "a3");
    assert_eq!((world.refresh_token(0).as_str(), world.response_files()), ("r3", 0));

    for state in [State::Intent, State::Waiting] {
        let world = World::new(1);
        world.note("r1", State::Consumed, Some("r2"));
        world.note("r2", state, None);
        let refused = world.ask(&nobody());
        assert!(matches!(refused, Err(RefreshError::NeedsLogin { .. })), "{state:?} {refused:?}");
    }
}
