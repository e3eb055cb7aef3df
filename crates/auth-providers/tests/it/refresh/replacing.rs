//! A login that is replaced: its token may be on its way, and others may wait for it.

use std::sync::mpsc;

use super::*;

#[test]
fn a_login_whose_token_is_on_its_way_is_replaced_after_its_response_is_saved() {
    let world = World::new(1);
    let (looked, look) = mpsc::channel();
    let (begin, started) = mpsc::channel();
    let (looked, look) = (Mutex::new(looked), Mutex::new(look));
    let (begin, started) = (Mutex::new(begin), Mutex::new(started));
    let issuer = Issuer::new(|_| {
        begin.lock().unwrap().send(()).unwrap();
        // It has found the login whose token is here.
        look.lock().unwrap().recv().unwrap();
        tokens("a2", "r2")
    });
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            started.lock().unwrap().recv().unwrap();
            world.replace(0, |_| {
                let _ = looked.lock().unwrap().send(());
            })
        });
        assert_eq!(world.ask(&issuer).unwrap(), "a2");
        assert_eq!(replacing.join().unwrap(), "r2");
    });
    assert_eq!(issuer.sent(), ["r1"]);
}

#[test]
fn who_begins_to_wait_for_a_login_while_it_is_replaced_gets_it() {
    let world = World::new(2);
    put(&world.agents[1], PROFILE, &login("r0", PAST));
    let crash = || world.note("r0", State::Consumed, Some("r1"));
    // A refresh of the other agent's token is recorded when its store is locked already.
    let replaced = world.replace(0, |looks| {
        if looks == 1 {
            crash();
        }
    });
    assert_eq!([replaced, world.refresh_token(1)], ["r1", "r1"]);
}

#[test]
fn several_logins_are_replaced_at_once_and_none_is_on_its_way() {
    let world = World::new(1);
    put(&world.agents[0], "acme:other", &login("other", PAST));
    world.note("other", State::Intent, None);
    let busy = world.records.lock(world.key("other"), TIMEOUT).unwrap();
    let ids = [PROFILE.into(), ProfileId::from("acme:other")];
    let (looked, look) = mpsc::channel();
    let replace = || {
        let context = RefreshContext {
            store: &world.agents[0],
            siblings: &[],
            records: &world.records,
            http: &nobody(),
            clock: &NOW,
            timeout: TIMEOUT,
        };
        let going = |document: &Document| {
            looked.send(()).unwrap();
            let logins = ids.iter().map(|id| Replaced::find(id, document, Some(&world.provider)));
            Ok::<_, StoreError>(logins.flatten().collect())
        };
        refresh::replace(context, going, |_, found| Ok(Some(found.len()))).unwrap()
    };
    std::thread::scope(|scope| {
        let replacing = scope.spawn(replace);
        look.recv().unwrap();
        assert!(!replacing.is_finished());
        // Its process ends without a response.
        drop(busy);
        assert_eq!(replacing.join().unwrap(), 2);
    });
}

#[test]
fn who_begins_to_wait_for_a_login_while_its_issuer_is_asked_to_revoke_it_gets_it() {
    for (revocation, given) in [
        (refresh::Revocation::Failed("away".to_owned()), "r1"),
        // The control: what was revoked is of no use to anybody.
        (refresh::Revocation::Done, "r0"),
    ] {
        let world = World::new(2);
        put(&world.agents[1], PROFILE, &login("r0", PAST));
        let asked = AtomicUsize::new(0);
        let revoke = async |_: &OAuthCredential| {
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                world.note("r0", State::Consumed, Some("r1"));
            }
            revocation.clone()
        };
        let context = RefreshContext {
            store: &world.agents[0],
            siblings: &world.agents[1..],
            records: &world.records,
            http: &nobody(),
            clock: &NOW,
            timeout: TIMEOUT,
        };
        let profile = ProfileId::from(PROFILE);
        let done = refresh::logout(&profile, Some(&world.provider), revoke, context);
        assert_eq!(crate::support::block_on(done).unwrap().revocation, revocation);
        assert_eq!((world.refresh_token(1).as_str(), asked.into_inner()), (given, 1));
    }
}

#[test]
fn a_login_that_could_not_be_revoked_is_kept_if_that_is_asked_for() {
    for (revocation, is_kept) in [
        (refresh::Revocation::Failed("away".to_owned()), true),
        (refresh::Revocation::NotOffered, true),
        (refresh::Revocation::Done, false),
    ] {
        let world = World::new(1);
        let revoke = async |_: &OAuthCredential| {
            // Under the lock of its token.
            assert!(world.records.try_lock(world.key("r1")).unwrap().is_none());
            revocation.clone()
        };
        let context = RefreshContext {
            store: &world.agents[0],
            siblings: &[],
            records: &world.records,
            http: &nobody(),
            clock: &NOW,
            timeout: TIMEOUT,
        };
        let profile = ProfileId::from(PROFILE);
        let done = refresh::logout_if_revoked(&profile, &world.provider, revoke, context);
        crate::support::block_on(done).unwrap();
        assert_eq!(world.agents[0].read().unwrap().contains(&profile), is_kept, "{revocation:?}");
    }
}
