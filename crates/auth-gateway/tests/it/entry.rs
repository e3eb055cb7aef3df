//! Which requests are admitted, and that other clients are unaffected by refused ones.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use auth_gateway::{Clients, Right};
use auth_store::ProviderId;

use crate::support::{Provider, Running, Setup, add_client, read_answer};

fn good() -> Provider {
    Provider::by_secret(&[("a", "200\n\nfine")])
}

impl Running {
    /// The status of a request, after which other clients are still served.
    #[track_caller]
    fn status(&self, request: &str) -> u16 {
        let got = self.send(request);
        assert_eq!(self.ask("{}").status, 200, "after {request}");
        got.status
    }
}

#[test]
fn a_token_is_needed_and_may_stand_wherever_an_sdk_puts_it() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let good = gateway.request("POST", "/acme/responses", "", "{}");
    let bearer = format!("authorization: Bearer {}\r\n", gateway.token);
    let with = |line: &str| good.replace(&bearer, line);
    assert_eq!(gateway.status(&with("")), 401);
    assert_eq!(gateway.status(&with("authorization: Bearer clawd_wrong\r\n")), 401);
    assert_eq!(gateway.status(&with("authorization: Bearer a\r\n")), 401);
    for name in ["x-api-key", "x-goog-api-key", "api-key"] {
        assert_eq!(gateway.status(&with(&format!("{name}: {}\r\n", gateway.token))), 200);
        let seen = format!("{:?}", provider.seen.lock().unwrap());
        assert!(!seen.contains(&gateway.token), "{name}");
    }
    let key = format!("/acme/responses?alt=sse&key={}", gateway.token);
    assert_eq!(gateway.send(&with("").replace("/acme/responses", &key)).status, 200);
    assert_eq!(provider.last().target(), "/v1/responses?alt=sse");
}

#[test]
fn a_revoked_or_expired_client_is_refused_by_the_next_request() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let state = gateway.directory.path();
    let end = auth_store::Clock::now(&*gateway.clock).plus(Duration::from_mins(1));
    let short = add_client(state, "short", &move |client| client.expires = Some(end));
    let other = add_client(state, "other", &|_| ());
    let with = |token: &str| {
        gateway.request("POST", "/acme/responses", "", "{}").replace(&gateway.token, token)
    };
    assert_eq!((gateway.status(&with(&short)), gateway.status(&with(&other))), (200, 200));
    gateway.clock.advance(Duration::from_mins(2));
    Clients::in_state_directory(state)
        .update(|all| all.retain(|client| client.name != "other"))
        .unwrap();
    assert_eq!((gateway.status(&with(&short)), gateway.status(&with(&other))), (401, 401));
}

#[test]
fn a_client_gets_no_provider_and_no_right_that_it_was_not_granted() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let state = gateway.directory.path();
    let elsewhere =
        add_client(state, "elsewhere", &|it| it.providers = vec![ProviderId::new("other")]);
    let reporter = add_client(state, "reporter", &|it| it.may = vec![Right::Report]);
    let good = gateway.request("POST", "/acme/responses", "", "{}");
    assert_eq!(gateway.status(&good.replace(&gateway.token, &elsewhere)), 403);
    assert_eq!(gateway.status(&good.replace(&gateway.token, &reporter)), 403);
    assert_eq!(gateway.status(&good.replace("/acme/", "/other/")), 403);
    assert_eq!(gateway.status(&good.replace("POST /acme/responses", "GET /metrics")), 403);
    // A request with a token for another provider is sent to no provider.
    let as_other = good.replace(&gateway.token, &elsewhere).replace("/acme/", "/other/");
    assert_eq!(gateway.status(&as_other), 404);
    let all = provider.secrets();
    assert_eq!(all.len(), 5, "only the controls");
}

#[test]
fn only_the_paths_that_are_served_are() {
    let provider = good();
    let setup = Setup::keys(&["a"]).api(serde_json::json!({"paths": ["/responses"]}));
    let gateway = setup.start(provider.address);
    let at = |path: &str| gateway.status(&gateway.request("POST", path, "", "{}"));
    assert_eq!((at("/acme/responses"), at("/acme/admin"), at("/acme")), (200, 403, 403));
    assert_eq!(
        (at("/acme/../acme/responses"), at("/acme/%2e%2e/x"), at("/acme/a%2fb")),
        (400, 400, 400)
    );
    assert_eq!(at("http://127.0.0.1/acme/responses"), 400);
    assert_eq!((at("//acme/responses"), at("/")), (403, 403));
}

#[test]
fn foreign_names_web_pages_and_upgrades_are_refused() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let good = gateway.request("POST", "/acme/responses", "", "{}");
    let host = format!("host: {}", gateway.address);
    assert_eq!(gateway.status(&good.replace(&host, "host: rebound.example")), 421);
    assert_eq!(gateway.status(&good.replace(&host, "accept: */*")), 400);
    let page = gateway.request("POST", "/acme/responses", "origin: https://evil.example\r\n", "{}");
    assert_eq!(gateway.status(&page), 403);
    let got = gateway.send(&page);
    assert_eq!(got.header("access-control-allow-origin"), None);
    let socket = "connection: upgrade\r\nupgrade: websocket\r\n";
    assert_eq!(gateway.status(&gateway.request("GET", "/acme/responses", socket, "")), 426);
}

#[test]
fn two_lengths_are_refused() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let good = gateway.request("POST", "/acme/responses", "", "{}");
    let twice = good.replace("content-length: 2", "content-length: 2\r\ncontent-length: 3");
    assert_eq!(gateway.status(&twice), 400);
    let list = good.replace("content-length: 2", "content-length: 2, 3");
    assert_eq!(gateway.status(&list), 400);
    let negative = good.replace("content-length: 2", "content-length: -2");
    assert_eq!(gateway.status(&negative), 400);
    let coding = good.replace("content-length: 2", "transfer-encoding: chunked, identity");
    assert_eq!(gateway.status(&coding), 400);
}

#[test]
fn a_request_with_a_length_and_chunks_cannot_smuggle_another() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let smuggled = gateway.request("POST", "/acme/smuggled", "", "{}");
    for lengths in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
    ] {
        let good = gateway.request("POST", "/acme/responses", "", "");
        let head = good.replace("content-length: 0", lengths);
        let mut client = gateway.connect();
        client.write_all(format!("{head}0\r\n\r\n{smuggled}").as_bytes()).unwrap();
        let mut text = String::new();
        let _ = client.read_to_string(&mut text);
        // The chunks count (RFC 9112 §6.3), and the connection ends with them.
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert_eq!(gateway.ask("{}").status, 200);
    }
    let seen = format!("{:?}", provider.seen.lock().unwrap());
    assert!(!seen.contains("smuggled"), "{seen}");
    assert_eq!(provider.last().header("transfer-encoding"), None);
}

#[test]
fn bytes_that_end_lines_in_their_own_way_are_refused() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let with = |line: &str| gateway.request("POST", "/acme/responses", line, "{}");
    for bad in ["x-a: b\rx-c: d\r\n", "x-a: b\0c\r\n", "x a: b\r\n", "x-a : b\r\n", ": b\r\n"] {
        assert_eq!(gateway.status(&with(bad)), 400, "{bad:?}");
    }
    // The control.
    assert_eq!(gateway.status(&with("x-a: b\r\n")), 200);
}

#[test]
fn a_million_headers_and_an_endless_one_are_refused() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let start =
        gateway.request("POST", "/acme/responses", "", "").replace("content-length: 0\r\n\r\n", "");
    for endless in ["a: b\r\n", "xxxxxxxxxxxxxxxxxxxxxxxxx"] {
        let mut client = gateway.connect();
        client.write_all(start.as_bytes()).unwrap();
        let mut sent = 0;
        if !endless.ends_with('\n') {
            client.write_all(b"x-a: ").unwrap();
        }
        while sent < 1_000_000 * endless.len() && client.write_all(endless.as_bytes()).is_ok() {
            sent += endless.len();
        }
        assert!(sent < 8 << 20, "{sent} bytes were taken");
        assert_eq!(gateway.ask("{}").status, 200);
    }
    let many: String = "x-a: a\r\n".repeat(300);
    assert_eq!(gateway.status(&gateway.request("POST", "/acme/responses", &many, "{}")), 431);
    let long = format!("x-a: {}\r\n", "x".repeat(100 << 10));
    assert_eq!(gateway.status(&gateway.request("POST", "/acme/responses", &long, "{}")), 431);
    let few = format!("x-a: {}\r\n", "x".repeat(20 << 10));
    assert_eq!(gateway.status(&gateway.request("POST", "/acme/responses", &few, "{}")), 200);
}

#[test]
fn a_slow_head_or_body_is_closed_and_delays_nobody() {
    let provider = good();
    let setup = Setup::keys(&["a"]).limits(|limits| {
        limits.head_time = Duration::from_millis(200);
        limits.client_idle = Duration::from_millis(200);
    });
    let gateway = setup.start(provider.address);
    let whole = gateway.request("POST", "/acme/responses", "", "{}{}{}");
    let mut head = gateway.connect();
    head.write_all(&whole.as_bytes()[..40]).unwrap();
    let mut body = gateway.connect();
    body.write_all(&whole.as_bytes()[..whole.len() - 3]).unwrap();
    for _ in 0..20 {
        assert_eq!(gateway.ask("{}").status, 200);
    }
    let mut text = String::new();
    let _ = head.read_to_string(&mut text);
    assert!(!text.contains(" 200 "), "{text}");
    assert_eq!(read_answer(&mut body).status, 408);
}

#[test]
fn a_body_beyond_the_limits_is_refused_in_the_providers_own_form() {
    let provider = good();
    let setup = Setup::keys(&["a"]).api(serde_json::json!({"error_shape": "anthropic"}));
    let gateway = setup.start(provider.address);
    // None of its 100 MB need arrive.
    let start = gateway.request("POST", "/acme/responses", "", "");
    let huge = start.replace("content-length: 0", "content-length: 104857600");
    let got = gateway.send(&huge);
    assert_eq!(got.status, 413);
    let told: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!(
        (&told["type"], &told["error"]["type"]),
        (&"error".into(), &"request_too_large".into())
    );
    assert_eq!(provider.count(), 0);
    assert_eq!(gateway.ask("{}").status, 200);
}

#[test]
fn a_client_that_sends_everything_before_it_reads_sees_why_it_was_refused() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).limits(|it| it.body_bytes = 16 << 20).start(provider.address);
    let body = "x".repeat(8 << 20);
    let good = gateway.request("POST", "/acme/responses", "", &body);
    assert_eq!(gateway.status(&good.replace(&gateway.token, "clawd_wrong")), 401);
    assert_eq!(gateway.status(&good.replace("/acme/", "/other/")), 403);
    let small = Setup::keys(&["a"]).limits(|it| it.body_bytes = 6 << 20).start(provider.address);
    let large = small.request("POST", "/acme/responses", "", &body[..(7 << 20)]);
    assert_eq!(small.status(&large), 413);
    // The control.
    assert_eq!(gateway.send(&good).status, 200);
}

#[test]
fn a_large_body_is_passed_on_and_sent_once_and_a_larger_one_is_refused() {
    let limit = "429\nretry-after: 60\n\n{}";
    let provider = Provider::by_secret(&[("a", limit), ("b", "200\n\nfine")]);
    let setup = Setup::keys(&["a", "b"]).limits(|limits| {
        limits.kept_bytes = 100 << 10;
        limits.body_bytes = 1 << 20;
    });
    let gateway = setup.start(provider.address);
    assert_eq!(gateway.ask(&"x".repeat(200 << 10)).status, 429);
    assert_eq!(provider.secrets(), ["a"]);
    assert_eq!(provider.last().body.len(), 200 << 10);
    // The length is not given.
    let start = gateway.request("POST", "/acme/responses", "", "");
    let start = start.replace("content-length: 0", "transfer-encoding: chunked");
    let chunk = format!("{:x}\r\n{}\r\n", 64 << 10, "x".repeat(64 << 10));
    let mut client = gateway.connect();
    client.write_all(start.as_bytes()).unwrap();
    for _ in 0..20 {
        if client.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(read_answer(&mut client).status, 413);
    // The control: a small one is kept, and repeated.
    gateway.clock.advance(Duration::from_mins(2));
    assert_eq!(gateway.ask(&"x".repeat(50 << 10)).status, 200);
}

#[test]
fn bodies_for_which_there_is_no_room_go_nowhere() {
    let limit = "429\nretry-after: 60\n\n{}";
    let provider = Provider::by_secret(&[("a", limit), ("b", "200\n\nfine")]);
    let setup = Setup::keys(&["a", "b"]).limits(|limits| limits.all_kept_bytes = 64 << 10);
    let gateway = setup.start(provider.address);
    // Whose ids are in it could not be read, so it goes nowhere while two accounts could get it.
    assert_eq!(gateway.ask(&"x".repeat(100 << 10)).status, 503);
    gateway.clock.advance(Duration::from_mins(2));
    // The memory is released: each of these requests gets it.
    for _ in 0..10 {
        assert_eq!(gateway.ask(&"x".repeat(50 << 10)).status, 200);
    }
}

#[test]
fn a_body_that_waits_for_permission_gets_it() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let whole = gateway.request("POST", "/acme/responses", "expect: 100-continue\r\n", "{}");
    let mut client = gateway.connect();
    client.write_all(&whole.as_bytes()[..whole.len() - 2]).unwrap();
    let mut line = [0; 25];
    client.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"{}").unwrap();
    assert_eq!(read_answer(&mut client).status, 200);
    assert_eq!(provider.last().header("expect"), None);
}

#[test]
fn a_client_that_makes_too_many_requests_is_told_to_wait() {
    let provider = good();
    let setup = Setup::keys(&["a"]).client(|client| client.max_per_minute = Some(2));
    let gateway = setup.start(provider.address);
    let statuses = [(); 3].map(|()| gateway.ask("{}").status);
    assert_eq!(statuses, [200, 200, 429]);
    assert!(gateway.ask("{}").header("retry-after").is_some());
    let other = add_client(gateway.directory.path(), "other", &|_| ());
    let request = gateway.request("POST", "/acme/responses", "", "{}");
    assert_eq!(gateway.send(&request.replace(&gateway.token, &other)).status, 200);
}

#[test]
fn the_owners_socket_needs_no_token_and_a_clients_socket_has_its_rights() {
    let provider = good();
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let ask = |socket: &str, request: &str| {
        let mut stream = UnixStream::connect(gateway.directory.path().join(socket)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        read_answer(&mut stream).status
    };
    let plain = "GET /acme/models HTTP/1.1\r\nhost: sink\r\nauthorization: Bearer any\r\n\r\n";
    let metrics = "GET /metrics HTTP/1.1\r\nhost: sink\r\n\r\n";
    assert_eq!((ask("serve.sock", plain), ask("serve.sock", metrics)), (200, 200));
    assert_eq!((ask("one.sock", plain), ask("one.sock", metrics)), (200, 403));
    // A token restricts the owner's rights to its client's.
    let narrow = metrics.replace("host", &format!("x-api-key: {}\r\nhost", gateway.token));
    assert_eq!(ask("serve.sock", &narrow), 403);
    let wrong = metrics.replace("host", "x-api-key: clawd_wrong\r\nhost");
    assert_eq!(ask("serve.sock", &wrong), 401);
    Clients::in_state_directory(gateway.directory.path()).update(Vec::clear).unwrap();
    assert_eq!(ask("one.sock", plain), 401);
}

#[test]
fn health_is_told_to_everybody_and_counts_to_those_who_may_see_them() {
    let provider = good();
    let gateway = Setup::keys(&["a"])
        .client(|client| client.may = vec![Right::Proxy, Right::Status])
        .start(provider.address);
    let health = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address);
    let got = gateway.send(&health);
    assert_eq!((got.status, got.body.as_str()), (200, "ok\n"));
    let got = gateway.ask("{}");
    assert_eq!(got.header("x-clawdbot-profile"), Some("acme:a"));
    assert!(got.header("x-clawdbot-request").is_some());
    let counts = gateway.send(&gateway.request("GET", "/metrics", "", ""));
    let line = "clawdbot_requests_total{provider=\"acme\",status=\"200\"} 1";
    assert!(counts.body.contains(line), "{}", counts.body);
}
