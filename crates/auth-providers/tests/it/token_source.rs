//! The token sink in a program that embeds it: one refresh, no matter how many tasks ask.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_providers::refresh::{Force, Wanted};
use auth_providers::token_source::{Flights, TokenSink, Warm};
use auth_providers::{HttpRequest, HttpResponse, Providers};
use auth_store::{Credential, OAuthCredential, StateDirectory, Timestamp};
use serde_json::{Map, json};
use tokio::task::JoinSet;

use crate::support::{NOW, block_on};

const PROFILE: &str = "acme:me";

/// A sink with an expired login, at an issuer that responds when it is told to.
struct World {
    _directory: tempfile::TempDir,
    sink: Arc<TokenSink>,
    requests: Arc<AtomicUsize>,
    /// Receives a message for every request.
    asked: Receiver<()>,
    /// Lets one request be answered.
    release: Sender<()>,
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::at(directory.path());
    let store = state.store("main");
    let login = Credential::OAuth(OAuthCredential {
        access: "old".into(),
        refresh: "r1".into(),
        expires: Some(Timestamp(NOW.0 - 1)),
        ..OAuthCredential::default()
    });
    store.update(|document| document.put(&PROFILE.into(), "acme", &login, &Map::new())).unwrap();
    let manifest = json!({
        "id": "acme", "flows": ["authorization_code"], "client_id": "acme-cli",
        "endpoints": {
            "authorization": "https://acme.example/authorize", "token": "https://acme.example/token"
        },
    });
    let files = vec![(PathBuf::from("/acme.json"), Ok(manifest.to_string()))];
    let requests = Arc::new(AtomicUsize::new(0));
    let (tell, asked) = channel();
    let (release, released) = channel();
    let (tell, released, counted) = (Mutex::new(tell), Mutex::new(released), Arc::clone(&requests));
    let issuer = move |_: HttpRequest| {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = tell.lock().unwrap().send(());
        let _ = released.lock().unwrap().recv();
        let body = json!({
            "access_token": format!("a{number}"), "refresh_token": format!("next{number}"),
            "expires_in": 3600,
        });
        Ok(HttpResponse { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() })
    };
    let sink = TokenSink {
        store,
        siblings: Vec::new(),
        records: state.records(),
        providers: Providers::from_manifests(files, &|_| None),
        http: Box::new(issuer),
        clock: Arc::new(NOW),
        timeout: Duration::from_mins(1),
        flights: Flights::default(),
        warm: Warm::default(),
    };
    World { _directory: directory, sink: Arc::new(sink), requests, asked, release }
}

async fn ask(sink: Arc<TokenSink>, force: Force) -> String {
    let wanted = Wanted { force, ..Wanted::now(PROFILE.into()) };
    sink.credential(wanted).await.unwrap().bearer().expose().to_owned()
}

#[test]
fn ten_thousand_tasks_are_served_by_one_request() {
    let world = world();
    let responses = block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..10_000 {
            tasks.spawn(ask(Arc::clone(&world.sink), Force::No));
        }
        tokio::task::yield_now().await;
        world.asked.recv().unwrap();
        world.release.send(()).unwrap();
        tasks.join_all().await
    });
    assert_eq!(responses.len(), 10_000);
    assert!(responses.iter().all(|token| token == "a1"));
    assert_eq!(world.requests.load(Ordering::SeqCst), 1);

    // The control: the next refresh is separate.
    world.release.send(()).unwrap();
    assert_eq!(block_on(ask(Arc::clone(&world.sink), Force::Refresh)), "a2");
    assert_eq!(world.requests.load(Ordering::SeqCst), 2);
}

#[test]
fn a_refresh_goes_on_when_all_who_asked_are_gone() {
    let world = world();
    let token = block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            tasks.spawn(ask(Arc::clone(&world.sink), Force::No));
        }
        tokio::task::yield_now().await;
        world.asked.recv().unwrap();
        tasks.shutdown().await;
        assert_eq!(
            world.sink.store.read().unwrap().credential(&PROFILE.into()).unwrap().bearer().expose(),
            "old"
        );
        world.release.send(()).unwrap();
        ask(Arc::clone(&world.sink), Force::No).await
    });
    assert_eq!((token.as_str(), world.requests.load(Ordering::SeqCst)), ("a1", 1));
}
