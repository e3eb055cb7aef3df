//! Responses that arrive in parts, and connections that end too early.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::{Provider, Setup, http, read_answer};

const SSE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn event(name: &str, data: &str) -> String {
    chunk(&format!("event: {name}\ndata: {data}\n\n"))
}

fn stream_of(events: &[(&str, &str)]) -> String {
    let events = events.iter().map(|(name, data)| event(name, data));
    format!("{SSE}{}0\r\n\r\n", events.collect::<String>())
}

const CREATED: (&str, &str) =
    ("response.created", r#"{"type":"response.created","response":{"id":"resp_1","error":null}}"#);
const DELTA: (&str, &str) =
    ("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":"hi"}"#);
const BUSY: (&str, &str) = (
    "response.failed",
    r#"{"type":"response.failed","response":{"error":{"code":"server_is_overloaded"}}}"#,
);
const LIMIT: (&str, &str) = (
    "response.failed",
    r#"{"type":"response.failed","response":{"error":{"code":"usage_limit_reached","resets_in_seconds":600}}}"#,
);

/// A provider that responds to the secret `a` with one stream, and to every other with a good one.
fn provider(first: String) -> Provider {
    Provider::start(move |request, stream| {
        let good = stream_of(&[CREATED, DELTA, ("response.completed", "{}")]);
        let reply = if request.secret() == "a" { &first } else { &good };
        let _ = stream.write_all(reply.as_bytes());
    })
}

/// Waits until the peer has closed a connection, and signals it.
fn await_end(stream: &mut TcpStream, tell: &Mutex<Sender<()>>) {
    let mut rest = [0; 64];
    while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
    let _ = tell.lock().unwrap().send(());
}

fn soon<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(Duration::from_secs(20)).expect("it should have happened")
}

#[test]
fn an_error_behind_a_good_status_goes_to_the_next_account() {
    for error in [BUSY, LIMIT] {
        let provider = provider(stream_of(&[CREATED, ("codex.rate_limits", "{}"), error]));
        let got = Setup::keys(&["a", "b"]).start(provider.address).ask("{}");
        assert_eq!((got.status, provider.secrets()), (200, vec!["a".to_owned(), "b".to_owned()]));
        assert!(got.body.contains("response.completed") && !got.body.contains("failed"));
    }
}

#[test]
fn after_the_first_output_nothing_is_repeated_and_the_error_counts_for_the_next_request() {
    let provider = provider(stream_of(&[CREATED, DELTA, LIMIT]));
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let got = gateway.ask("{}");
    assert_eq!((got.status, provider.secrets()), (200, vec!["a".to_owned()]));
    assert!(got.body.contains("usage_limit_reached"));
    gateway.ask("{}");
    assert_eq!(provider.secrets(), ["a", "b"]);
}

#[test]
fn a_stream_that_says_nothing_yet_is_held_for_so_many_events_only() {
    let many = vec![CREATED; 40];
    let mut events = many.clone();
    events.push(BUSY);
    let provider = provider(stream_of(&events));
    let got = Setup::keys(&["a", "b"]).start(provider.address).ask("{}");
    assert_eq!(provider.secrets(), ["a"]);
    assert!(got.body.contains("server_is_overloaded"));
}

#[test]
fn a_stream_that_says_nothing_yet_is_held_for_so_long_only() {
    let (tell, ended) = channel();
    let tell = Mutex::new(tell);
    let provider = Provider::start(move |_, stream| {
        stream.write_all(format!("{SSE}{}", event(CREATED.0, CREATED.1)).as_bytes()).unwrap();
        await_end(stream, &tell);
    });
    let setup =
        Setup::keys(&["a", "b"]).limits(|limits| limits.held_time = Duration::from_millis(30));
    let gateway = setup.start(provider.address);
    let mut client = gateway.connect();
    client.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\n\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    assert_eq!(provider.secrets(), ["a"]);
    drop(client);
    soon(&ended);
}

#[test]
fn each_event_arrives_before_the_next_is_made() {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let provider = Provider::start(move |_, stream| {
        stream.write_all(SSE.as_bytes()).unwrap();
        for number in 0..50 {
            soon(&may_go.lock().unwrap());
            stream.write_all(event("delta", &format!("{{\"n\":{number}}}")).as_bytes()).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    // With a second account, the start of the stream is inspected.
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let mut client = gateway.connect();
    client.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    go.send(()).unwrap();
    let mut text = Vec::new();
    for number in 0..50 {
        let wanted = format!("{{\"n\":{number}}}\n\n\r\n");
        while !text.ends_with(wanted.as_bytes()) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        let _ = go.send(());
    }
    let head = String::from_utf8_lossy(&text).to_lowercase();
    assert!(head.contains("x-accel-buffering: no") && head.contains("cache-control: no-cache"));
}

/// If a client disconnects when the provider has sent this much, the upstream request ends too.
#[track_caller]
fn leaves_after(said: &'static str) {
    let (tell, ended) = channel();
    let (began, has_begun) = channel();
    let (tell, began) = (Mutex::new(tell), Mutex::new(began));
    let provider = Provider::start(move |_, stream| {
        stream.write_all(said.as_bytes()).unwrap();
        began.lock().unwrap().send(()).unwrap();
        await_end(stream, &tell);
    });
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let mut client = gateway.connect();
    client.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    soon(&has_begun);
    assert!(ended.try_recv().is_err());
    client.shutdown(Shutdown::Both).unwrap();
    soon(&ended);
    // No other account is used, so nothing is charged twice.
    assert_eq!(provider.secrets(), ["a"]);
    assert_eq!(gateway.gateway.accounts().usage("acme:a").error_count.unwrap_or(0), 0);
}

#[test]
fn a_client_that_leaves_before_the_head_ends_the_request_at_the_provider() {
    leaves_after("");
}

#[test]
fn a_client_that_leaves_while_the_head_is_held_back_ends_the_request_at_the_provider() {
    leaves_after(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n6\r\n: hi\n\n\r\n",
    );
}

#[test]
fn a_client_that_leaves_in_the_middle_ends_the_request_at_the_provider() {
    leaves_after("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
}

#[test]
fn a_provider_that_lies_about_the_length_cuts_its_own_response_only() {
    let provider = Provider::start(|request, stream| {
        let reply = match request.target() {
            "/v1/responses" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_owned(),
            _ => http("200\n\nwhole"),
        };
        stream.write_all(reply.as_bytes()).unwrap();
        let _ = stream.shutdown(Shutdown::Both);
    });
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let mut client = gateway.connect();
    client.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.contains("content-length: 100") && text.ends_with("short"), "{text}");
    assert_eq!(gateway.post("/acme/embeddings", "", "{}").body, "whole");
}

#[test]
fn a_silent_provider_delays_only_its_own_request_and_not_for_ever() {
    let (tell, ended) = channel();
    let tell = Mutex::new(tell);
    let provider = Provider::start(move |request, stream| match request.target() {
        "/v1/responses" => await_end(stream, &tell),
        "/v1/completions" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
                .unwrap();
            await_end(stream, &tell);
        }
        _ => stream.write_all(http("200\n\nfine").as_bytes()).unwrap(),
    });
    let setup = Setup::keys(&["a", "b"]).limits(|limits| {
        limits.answer_time = Duration::from_millis(200);
        limits.provider_idle = Duration::from_millis(200);
    });
    let gateway = setup.start(provider.address);
    let mut silent = gateway.connect();
    silent.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    for _ in 0..20 {
        assert_eq!(gateway.post("/acme/embeddings", "", "{}").body, "fine");
    }
    assert_eq!(read_answer(&mut silent).status, 504);
    soon(&ended);
    // The other account is not tried: the request may have been carried out.
    assert!(!provider.secrets().contains(&"b".to_owned()));
    let mut stuck = gateway.connect();
    stuck.write_all(gateway.request("POST", "/acme/completions", "", "{}").as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stuck.read_to_string(&mut text);
    assert!(text.contains("\r\nhi\r\n") && !text.ends_with("0\r\n\r\n"), "{text}");
    soon(&ended);
}

#[test]
fn a_client_that_never_reads_is_cut_and_the_others_go_on() {
    let (tell, ended) = channel();
    let tell = Mutex::new(tell);
    let provider = Provider::start(move |request, stream| {
        if request.target() != "/v1/responses" {
            stream.write_all(http("200\n\nfine").as_bytes()).unwrap();
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let part = chunk(&"x".repeat(64 << 10));
        while stream.write_all(part.as_bytes()).is_ok() {}
        let _ = tell.lock().unwrap().send(());
    });
    let setup = Setup::keys(&["a"]);
    let gateway = setup
        .limits(|limits| limits.client_idle = Duration::from_millis(300))
        .start(provider.address);
    let mut client = gateway.connect();
    client.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    assert_eq!(gateway.post("/acme/embeddings", "", "{}").body, "fine");
    soon(&ended);
    assert_eq!(gateway.post("/acme/embeddings", "", "{}").body, "fine");
}

#[test]
fn every_byte_goes_through_unchanged_both_ways() {
    let bytes: String =
        (0..300_000u32).map(|n| char::from(b' ' + u8::try_from(n * 7 % 90).unwrap())).collect();
    let sent = bytes.clone();
    let provider = Provider::start(move |request, stream| {
        assert_eq!(request.body, sent.as_bytes());
        stream.write_all(http(&format!("200\nx-kept: 1\n\n{sent}")).as_bytes()).unwrap();
    });
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let got =
        gateway.post("/acme/responses?a=b%2Fc", "x-new-tomorrow: yes\r\ncookie: a=b\r\n", &bytes);
    assert!(got.body == bytes && got.header("x-kept") == Some("1"));
    let seen = provider.last();
    assert_eq!(seen.target(), "/v1/responses?a=b%2Fc");
    assert_eq!(seen.header("x-new-tomorrow"), Some("yes"));
    assert_eq!(seen.header("host"), Some(provider.address.to_string().as_str()));
    assert_eq!(seen.header("cookie"), None);
    // In chunks, and on a path whose body is not kept.
    let head = gateway
        .request("POST", "/acme/files", "", "")
        .replace("content-length: 0\r\n\r\n", "transfer-encoding: chunked\r\n\r\n");
    let head = head.replace("content-type: application/json\r\n", "");
    let chunks: String =
        bytes.as_bytes().chunks(1000).map(|it| chunk(std::str::from_utf8(it).unwrap())).collect();
    assert_eq!(gateway.send(&format!("{head}{chunks}0\r\n\r\n")).body, bytes);
}

#[test]
fn trailers_are_passed_on() {
    let provider = Provider::start(|request, stream| {
        assert_eq!(request.header("te"), Some("trailers"));
        stream.write_all(b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n").unwrap();
    });
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let mut client = gateway.connect();
    let request =
        gateway.request("POST", "/acme/responses", "te: trailers\r\nconnection: close\r\n", "{}");
    client.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{text}");
}

#[test]
fn answers_without_a_body_have_none() {
    let provider = Provider::start(|request, stream| {
        let reply: &[u8] = if request.head.starts_with("HEAD") {
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
        } else {
            b"HTTP/1.1 204 No Content\r\n\r\n"
        };
        stream.write_all(reply).unwrap();
    });
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let mut client = gateway.connect();
    for (method, status) in [("HEAD", "200"), ("DELETE", "204"), ("HEAD", "200")] {
        client.write_all(gateway.request(method, "/acme/x", "", "").as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }
}

#[test]
fn a_server_that_ends_finishes_its_answers_and_takes_no_more() {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let provider = Provider::start(move |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
            .unwrap();
        soon(&may_go.lock().unwrap());
        stream.write_all(b"3\r\nend\r\n0\r\n\r\n").unwrap();
    });
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let mut client = gateway.connect();
    client.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    let mut first = [0; 1];
    client.read_exact(&mut first).unwrap();
    gateway.phase.send(auth_gateway::Phase::Finishing).unwrap();
    // The listeners are closed when the socket's file is gone.
    let socket = gateway.directory.path().join("serve.sock");
    while socket.exists() {
        std::thread::yield_now();
    }
    let is_closed = |_: &u32| TcpStream::connect(gateway.address).is_err();
    assert!((0..10_000).any(|attempt| is_closed(&attempt)));
    assert!(gateway.ended.try_recv().is_err());
    go.send(()).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("3\r\nend\r\n0\r\n\r\n"), "{rest}");
    soon(&gateway.ended);
}

#[test]
fn a_server_that_must_end_at_once_does() {
    let (tell, ended) = channel();
    let tell = Mutex::new(tell);
    let provider = Provider::start(move |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
            .unwrap();
        await_end(stream, &tell);
    });
    let gateway = Setup::keys(&["a"]).start(provider.address);
    let mut client = gateway.connect();
    client.write_all(gateway.request("POST", "/acme/responses", "", "{}").as_bytes()).unwrap();
    let mut first = [0; 1];
    client.read_exact(&mut first).unwrap();
    gateway.phase.send(auth_gateway::Phase::Finishing).unwrap();
    gateway.phase.send(auth_gateway::Phase::Over).unwrap();
    soon(&gateway.ended);
    soon(&ended);
}
