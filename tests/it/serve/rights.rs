//! `clients`: what each may do, and what none ever sees.

use serde_json::json;

use super::World;

#[test]
fn a_token_is_shown_once_and_kept_as_a_hash() {
    let world = World::with_keys(&["key-one"]);
    let added = world.run("clients add tool --provider acme --json").expect_code(0).json();
    let token = added["token"].as_str().unwrap();
    assert_eq!(added["baseUrl"]["acme"], "http://127.0.0.1:1460/acme");
    let path = world.sandbox.state().join("clients.json");
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(!kept.contains(&token[10..]), "{kept}");
    let listed = world.run("clients list --json");
    listed.expect_code(0);
    assert!(!listed.stdout.contains(&token[10..]));
    assert_eq!(listed.json()["clients"][0]["may"], json!(["proxy"]));
    let again = world.run("clients add tool --provider acme").expect_code(64).stderr.clone();
    assert!(again.contains("clients rotate tool"), "{again}");

    let server = world.serve(&[]);
    assert_eq!(server.ask(token).status, 200);
    let fresh = world.run("clients rotate tool").expect_code(0).line().to_owned();
    assert_eq!((server.ask(token).status, server.ask(&fresh).status), (401, 200));
    world.run("clients revoke tool").expect_code(0);
    assert_eq!(server.ask(&fresh).status, 401);
    world.run("clients revoke tool").expect_code(3);
}

#[test]
fn a_client_gets_what_it_was_granted_and_nothing_else() {
    let world = World::with_keys(&["key-one"]);
    let proxy = world.client("proxy --provider acme");
    let reader = world.client("reader --provider acme --may status");
    let taker = world.client("taker --provider acme --may token,report");
    let ended = world.client("ended --provider acme --expires 0.00000001");
    let server = world.serve(&[]);
    assert_eq!(server.ask(&proxy).status, 200);
    assert_eq!(server.ask(&ended).status, 401);
    assert_eq!(server.post("/openai/responses", &proxy, &json!({})).status, 403);
    for path in ["/v1/token?provider=acme", "/v1/status", "/metrics"] {
        let refused = server.get(path, &proxy);
        assert_eq!(refused.status, 403, "{path}");
        assert!(!refused.text().contains("key-one"));
    }
    assert_eq!(server.ask(&reader).status, 403);
    assert_eq!(server.get("/v1/status", &reader).status, 200);
    assert_eq!(server.get("/v1/token", &taker).status, 200);
    assert_eq!(server.get("/v1/token?provider=openai", &taker).status, 403);
    assert_eq!(server.get("/v1/token?agent=work", &taker).status, 403);
    assert_eq!(server.get("/v1/token?wrong=1", &taker).status, 400);
    assert_eq!(server.post("/v1/token", &taker, &json!({})).status, 405);
}

#[test]
fn a_token_and_a_report_are_as_those_of_the_command_line() {
    let world = World::with_keys(&["key-one", "key-two"]);
    let taker = world.client("taker --provider acme --may token,report,status");
    let server = world.serve(&[]);
    let token = || -> serde_json::Value {
        serde_json::from_slice(&server.get("/v1/token?provider=acme", &taker).body).unwrap()
    };
    assert_eq!(
        (&token()["token"], &token()["profileId"]),
        (&json!("key-one"), &json!("acme:key-one"))
    );
    let told = server.post(
        "/v1/report",
        &taker,
        &json!({"profileId": "acme:key-one", "failed": "rate_limit", "retryAfter": 400}),
    );
    assert_eq!(told.status, 200, "{}", told.text());
    assert!(told.text().contains("cooldownUntil"), "{}", told.text());
    assert_eq!(token()["token"], "key-two");
    let named = server.get("/v1/token?profile=acme%3Akey-one", &taker);
    assert!(named.text().contains("key-one"), "{}", named.text());
    let status: serde_json::Value =
        serde_json::from_slice(&server.get("/v1/status", &taker).body).unwrap();
    let profiles = &status["providers"][0]["profiles"];
    assert_eq!(profiles[0]["profileId"], "acme:key-two", "{status}");
    assert_eq!((&profiles[0]["isNext"], &profiles[1]["isNext"]), (&json!(true), &json!(false)));
    assert!(!status.to_string().contains("\"key-"), "{status}");
    for wrong in [
        json!({"profileId": "acme:key-one"}),
        json!({"profileId": "acme:key-one", "failed": "boredom"}),
        json!({"profileId": "acme:nobody", "ok": true}),
        json!([]),
    ] {
        assert!((400..=404).contains(&server.post("/v1/report", &taker, &wrong).status), "{wrong}");
    }
    let response = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\n\r\n{}";
    let told = json!({"profileId": "acme:key-two", "response": response});
    assert_eq!(server.post("/v1/report", &taker, &told).status, 200);
    let refused = server.get("/v1/token?provider=acme", &taker);
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    server.stop().expect_code(0);
    assert!(world.cooldown("acme:key-one").is_some() && world.cooldown("acme:key-two").is_some());
}

/// Whoever can change a manifest must not be able to collect keys.
#[test]
fn a_key_goes_to_no_api_that_a_manifest_names_later() {
    let world = World::with_keys(&["key-one-0123"]);
    let elsewhere = e2e::upstream::Upstream::start();
    elsewhere.set("key-one-0123", e2e::upstream::Behaviour::Serve);
    world.sandbox.write_manifest("acme", &super::manifest(&elsewhere));
    let token = world.client("tool --provider acme");
    let refused = world.serve(&[]).ask(&token);
    assert_ne!(refused.status, 200);
    assert!(elsewhere.secrets().is_empty(), "{:?}", elsewhere.secrets());
    assert!(refused.text().contains("models auth destination show"), "{}", refused.text());
    // The control: the user accepts the new address.
    world.run("models auth destination accept acme:key-one-0123").expect_code(0);
    assert_eq!(world.serve(&[]).ask(&token).status, 200);
    assert_eq!(elsewhere.secrets().len(), 1);
}
