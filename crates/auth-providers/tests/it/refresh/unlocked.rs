//! While an issuer is asked, nobody waits for the store; and nothing is sent or saved that another
//! program has overtaken.

use super::*;

fn lock_of(store: &Store) -> PathBuf {
    store.canonical_path().with_extension("json.lock")
}

fn put_behind_our_back(store: &Store, id: &str, login: &OAuthCredential) {
    let mut document = store.read().unwrap();
    document.put(&id.into(), "acme", &Credential::OAuth(login.clone()), &Map::new());
    auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
}

/// A key is stored at once, or it is an error.
fn paste(store: &Store, id: &str) -> Result<(), StoreError> {
    let key = Credential::ApiKey("k".into());
    let store = store.clone().with_timeout(Duration::ZERO);
    store.update(|document| document.put(&id.into(), "other", &key, &Map::new()))
}

#[test]
fn while_an_issuer_is_silent_nobody_else_waits() {
    for coexist in [Coexist::Always, Coexist::Never, Coexist::Auto] {
        let world = World::new(2).coexisting(coexist);
        put(&world.agents[0], "acme:healthy", &login("healthy", PAST));
        let healthy = Issuer::new(|_| tokens("a-healthy", "next"));
        let silent = Issuer::new(|_| {
            // The same agent, and another one.
            for store in &world.agents {
                paste(store, "other:pasted").unwrap();
            }
            let other = Wanted::now("acme:healthy".into());
            // A runtime of its own needs a thread of its own.
            let refreshed = std::thread::scope(|scope| {
                scope.spawn(|| world.ask_as(0, &other, &NOW, &healthy)).join().unwrap()
            });
            assert_eq!(refreshed.unwrap(), "a-healthy");
            assert_eq!(lock_of(&world.agents[0]).exists(), coexist == Coexist::Always);
            // The control: if the store were locked, they would.
            let _lock = world.agents[0].lock_for_refresh().unwrap();
            let refused = paste(&world.agents[0], "other:late");
            assert!(matches!(refused, Err(StoreError::Busy { .. })), "{refused:?}");
            tokens("a2", "r2")
        });
        assert_eq!(world.ask(&silent).unwrap(), "a2", "{coexist:?}");
        let document = world.agents[0].read().unwrap();
        assert!(document.contains(&"other:pasted".into()), "what was stored meanwhile stays");
        let healthy = document.credential(&"acme:healthy".into()).unwrap();
        assert_eq!(healthy.bearer().expose(), "a-healthy");
        assert_eq!((world.refresh_token(0).as_str(), world.response_files()), ("r2", 0));
        assert!(!lock_of(&world.agents[0]).exists());
        let directory = world.agents[0].path().parent().unwrap().to_owned();
        let names = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name());
        let names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.contains("auth-refresh")), "{names:?}");
    }
}

#[test]
fn without_its_lock_nothing_is_sent_that_clawdbot_has_moved_on() {
    let world = World::new(1).coexisting(Coexist::Never);
    let theirs =
        OAuthCredential { obtained_at: login("r1", PAST).obtained_at, ..login("rc", LATER) };
    let store = &world.agents[0];
    let issuer = Issuer::behind(
        |_| put_behind_our_back(store, PROFILE, &theirs),
        |_| panic!("something was sent"),
    );
    assert_eq!(world.ask(&issuer).unwrap(), "access-of-rc");
    assert_eq!(world.response_files(), 0);
}

#[test]
fn without_its_lock_nothing_is_sent_while_clawdbot_has_it() {
    let world = World::new(1).coexisting(Coexist::Never);
    let lock = lock_of(&world.agents[0]);
    let (taken, take) = std::sync::mpsc::channel();
    let taken = Mutex::new(taken);
    let issuer = Issuer::behind(
        |number| {
            if number == 0 {
                std::fs::create_dir(&lock).unwrap();
                taken.lock().unwrap().send(()).unwrap();
            }
        },
        |_| {
            assert!(!lock.exists());
            tokens("a2", "r2")
        },
    );
    std::thread::scope(|scope| {
        let lock = lock.clone();
        // It is done some time later.
        scope.spawn(move || {
            take.recv().unwrap();
            std::thread::park_timeout(Duration::from_millis(20));
            std::fs::remove_dir(&lock).unwrap();
        });
        assert_eq!(world.ask(&issuer).unwrap(), "a2");
    });
    let connections = issuer.connections.load(Ordering::SeqCst);
    assert_eq!((connections, issuer.sent()), (2, vec!["r1".to_owned()]));
}

#[test]
fn what_clawdbot_made_of_the_token_that_we_sent_is_its_successor() {
    let world = World::new(2).coexisting(Coexist::Never);
    let theirs =
        OAuthCredential { obtained_at: login("r1", PAST).obtained_at, ..login("rc", LATER) };
    let issuer = Issuer::new(|_| {
        put_behind_our_back(&world.agents[0], PROFILE, &theirs);
        // The issuer gives grace.
        tokens("a2", "r2")
    });
    assert_eq!(world.ask(&issuer).unwrap(), "access-of-rc");
    assert_eq!((world.refresh_token(0).as_str(), world.response_files()), ("rc", 0));
    assert_eq!(world.record("r1").unwrap().successor, Some(world.key("rc")));
    // The control: a login of its own is not, and what came is kept.
    let world = World::new(1).coexisting(Coexist::Never);
    let another = login("rc", LATER);
    let issuer = Issuer::new(|_| {
        put_behind_our_back(&world.agents[0], PROFILE, &another);
        tokens("a2", "r2")
    });
    let _ = world.ask(&issuer);
    assert_eq!((world.state("r1"), world.response_files()), (State::Intent, 1));
}

#[test]
fn a_response_beside_the_store_whose_lock_stays_held_is_not_waited_for_endlessly() {
    let world = World::new(1);
    world.leave_response("r0", &json!({"access_token": "a1", "refresh_token": "rx"}));
    let held = world.records.lock(world.key("r0"), TIMEOUT).unwrap();
    let siblings = [];
    let ask = |http: &dyn HttpClient| {
        let context = RefreshContext {
            store: &world.agents[0],
            siblings: &siblings,
            records: &world.records,
            http,
            clock: &NOW,
            timeout: Duration::from_millis(1),
        };
        refresh::refresh(&wanted(Force::No), &world.provider, context, |lock, wanted| {
            refresh::send_blocking(lock, wanted, &world.provider, context)
        })
    };
    let given_up = ask(&nobody());
    assert!(matches!(given_up, Err(RefreshError::Unfinished { .. })), "{given_up:?}");
    assert_eq!(world.state("r1"), State::None);
    // The control: once it is free, it is finished first, and kept, since it fits nothing.
    drop(held);
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
}
