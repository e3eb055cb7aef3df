//! What is compressed, large or cut in pieces is looked into like everything else.

use std::io::Write as _;

use crate::support::{Provider, Setup, http};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A provider whose accounts answer with a compressed stream: an error, or an id of the account.
fn compressed(coding: &'static str) -> Provider {
    Provider::start(move |request, stream| {
        let text = match request.secret() {
            "a" if !request.body.starts_with(b"{\"first") => {
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n".to_owned()
            }
            secret => format!("data: {{\"id\":\"resp_of_{secret}\",\"choices\":[{{}}]}}\n\n"),
        };
        let body = if coding == "gzip" { gzip(&text) } else { text.into_bytes() };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {coding}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.into_bytes(), body].concat()).unwrap();
    })
}

#[test]
fn an_error_in_a_compressed_stream_goes_to_the_next_account_and_the_bytes_stay_as_they_are() {
    let provider = compressed("gzip");
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let got = gateway.ask("{}");
    assert_eq!((got.status, provider.secrets()), (200, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(got.header("content-encoding"), Some("gzip"));
    // The control: what nobody can read passes.
    let provider = compressed("unknown");
    Setup::keys(&["a", "b"]).start(provider.address).ask("{}");
    assert_eq!(provider.secrets(), ["a"]);
}

#[test]
fn an_id_in_a_compressed_stream_is_remembered() {
    for (coding, expected) in [("gzip", "b"), ("unknown", "a")] {
        let provider = compressed(coding);
        let gateway = Setup::keys(&["a", "b"]).start(provider.address);
        gateway.post("/acme/responses", "session-id: x\r\n", "{}");
        if coding == "unknown" {
            // The control: without the id, another conversation begins at the first account.
            gateway.post("/acme/responses", "session-id: y\r\n", "{\"first\":1}");
        } else {
            gateway.clock.advance(std::time::Duration::from_hours(2));
            let body = "{\"first\":1,\"previous_response_id\":\"resp_of_b\"}";
            gateway.post("/acme/responses", "session-id: y\r\n", body);
        }
        assert_eq!(provider.secrets().pop().as_deref(), Some(expected), "{coding}");
    }
}

/// A JSON body of more than `bytes` that names, at its end, what an account made.
fn large(bytes: usize, id: &str) -> String {
    format!("{{\"input\":\"{}\",\"previous_response_id\":\"{id}\"}}", "x".repeat(bytes))
}

fn echo() -> Provider {
    Provider::start(|request, stream| {
        let refuses = request.secret() == "a" && request.body.windows(7).any(|it| it == b"refused");
        let good = format!(
            "200\ncontent-type: application/json\n\n{{\"id\":\"resp_of_{}\"}}",
            request.secret()
        );
        let answer = if refuses { "429\nretry-after: 60\n\n{}" } else { &good };
        stream.write_all(http(answer).as_bytes()).unwrap();
    })
}

#[test]
fn a_body_that_is_too_large_to_be_repeated_goes_to_the_account_whose_ids_it_names() {
    let provider = echo();
    let gateway = Setup::keys(&["a", "b"])
        .limits(|limits| limits.kept_bytes = 1 << 10)
        .start(provider.address);
    gateway.post("/acme/responses", "session-id: x\r\n", "{\"refused\":1}");
    gateway.clock.advance(std::time::Duration::from_mins(5));
    gateway.post("/acme/responses", "session-id: y\r\n", &large(4 << 10, "resp_of_b"));
    assert_eq!(provider.secrets().pop().as_deref(), Some("b"));
    // The control, and it is not repeated.
    let refused = format!("{{\"refused\":\"{}\"}}", "x".repeat(4 << 10));
    let got = gateway.post("/acme/responses", "session-id: z\r\n", &refused);
    assert_eq!((got.status, provider.secrets().pop().as_deref()), (429, Some("a")));
}

#[test]
fn a_body_that_nobody_can_look_into_goes_nowhere_if_it_could_go_to_two_accounts() {
    let provider = echo();
    let keep_nothing = |limits: &mut auth_gateway::Limits| limits.all_kept_bytes = 1 << 10;
    let gateway = Setup::keys(&["a", "b"]).limits(keep_nothing).start(provider.address);
    let body = large(4 << 10, "resp_of_b");
    let got = gateway.post("/acme/responses", "", &body);
    assert_eq!((got.status, provider.count()), (503, 0));
    assert_eq!(got.header("retry-after"), Some("2"));
    // The controls: one account, and a body in a coding that is known.
    let alone = Setup::keys(&["a"]).limits(keep_nothing).start(provider.address);
    assert_eq!(alone.post("/acme/responses", "", &body).status, 200);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let unknown = gateway.post("/acme/responses", "content-encoding: unknown\r\n", "{}");
    assert_eq!(unknown.status, 503);
    assert_eq!(gateway.post("/acme/responses", "", "{}").status, 200);
}

#[test]
fn a_secret_that_comes_in_two_pieces_is_covered_too() {
    const SECRET: &str = "sk-very-secret-credential-2";
    let provider = Provider::start(|request, stream| {
        let secret = request.secret();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for part in [&secret[..9], &secret[9..], " and more"] {
            stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).unwrap();
            stream.flush().unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let got = Setup::keys(&[SECRET]).start(provider.address).ask("{}");
    assert_eq!(got.body, format!("{} and more", "*".repeat(SECRET.len())));
}
