//! Refreshes behind the proxy: once for everybody, in nobody's way, and surviving the server.

use e2e::issuer::{Fault, Issuer};
use e2e::now_ms;
use serde_json::json;

use super::{Server, World};

/// Logins of the provider `acme` at an issuer of ours, expired or not, and keys of `zeta`.
fn world(issuer: &Issuer, is_expired: bool) -> (World, String) {
    let world = World::with_keys(&[]);
    let tokens = world.sandbox.seed_expired(issuer, "acme", &["alice"]);
    let api = json!({"base": format!("{}/v1", world.upstream.url())});
    let mut acme = issuer.manifest("acme");
    acme["api"] = api.clone();
    world.sandbox.write_manifest("acme", &acme);
    let zeta = json!({"id": "zeta", "label": "Zeta", "flows": ["api_key"], "api": api});
    world.sandbox.write_manifest("zeta", &zeta);
    world.sandbox.edit_store("main", |store| {
        store["profiles"]["zeta:z"] =
            json!({"type": "api_key", "provider": "zeta", "key": "key-z", "destinations": [world.upstream.url()]});
        let alice = &mut store["profiles"]["acme:alice"];
        alice["destinations"] = json!([issuer.url(), world.upstream.url()]);
        if !is_expired {
            alice["expires"] = (now_ms() + 3_600_000).into();
            alice["obtainedAt"] = now_ms().into();
        }
    });
    let refused = json!({"error": {"code": "invalid_api_key", "message": "it has ended"}});
    world.upstream.serve_others();
    world
        .upstream
        .set(&tokens[0].access, e2e::upstream::Behaviour::Refuse(401, Vec::new(), refused));
    let token = world.client("tool --provider acme --provider zeta --subscription");
    (world, token)
}

/// Asks once; the status, or zero if there was no whole answer.
fn ask(url: &str, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    e2e::http::send("POST", url, &headers, b"{\"model\":\"m\"}").map_or(0, |it| it.status)
}

fn ask_at_once(server: &Server, token: &str, count: usize) -> Vec<u16> {
    let url = server.url("/acme/chat/completions");
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..count).map(|_| scope.spawn(|| ask(&url, token))).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_herd_on_a_refused_token_is_one_refresh_and_everybody_is_served() {
    for is_expired in [false, true] {
        let issuer = Issuer::start();
        let (world, token) = world(&issuer, is_expired);
        let server = world.serve(&[]);
        let answers = ask_at_once(&server, &token, 16);
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
        assert_eq!(issuer.requests("refresh_token"), 1);
        let access = world.sandbox.profile("main", "acme:alice")["access"].clone();
        assert_eq!(world.upstream.secrets().last().map(String::as_str), access.as_str());
        server.stop().expect_code(0);
        assert_eq!(world.cooldown("acme:alice"), None);
    }
}

#[test]
fn a_silent_issuer_delays_nobody_else() {
    let issuer = Issuer::start();
    let (world, token) = world(&issuer, true);
    issuer.inject(Fault::HoldRequest);
    let server = world.serve(&[]);
    let url = server.url("/acme/chat/completions");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&url, &token));
        issuer.wait_for_outcome("held");
        for _ in 0..20 {
            let answer = server.post("/zeta/chat/completions", &token, &json!({"model": "m"}));
            assert_eq!(answer.status, 200);
        }
        assert!(!waiting.is_finished(), "the control: the issuer is silent");
        issuer.release();
        waiting.join().unwrap();
    });
}

#[test]
fn a_server_that_is_killed_in_a_refresh_loses_nothing() {
    let issuer = Issuer::start();
    let (world, token) = world(&issuer, true);
    issuer.inject(Fault::HoldAnswer);
    let server = world.serve(&[]);
    std::thread::scope(|scope| {
        let url = server.url("/acme/chat/completions");
        let asking = scope.spawn(move || ask(&url, &token) == 0);
        issuer.wait_for_outcome("held");
        server.kill();
        assert!(asking.join().unwrap());
    });
    issuer.release();
    let next = world.run("models auth token --provider acme");
    let stored = world.sandbox.profile("main", "acme:alice")["access"].clone();
    assert_eq!(stored, next.expect_code(0).line());
    assert_eq!(issuer.requests("refresh_token"), 1);
}

#[test]
fn a_login_is_granted_only_with_its_own_word() {
    let issuer = Issuer::start();
    let (world, granted) = world(&issuer, true);
    let added = world.run("clients add keys --provider acme --provider zeta");
    let plain = added.expect_code(0).line().to_owned();
    let server = world.serve(&[]);
    let refused = server.ask(&plain);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("--subscription"), "{}", refused.text());
    assert_eq!(server.post("/zeta/chat/completions", &plain, &json!({})).status, 200);
    assert_eq!(server.ask(&granted).status, 200);
}
