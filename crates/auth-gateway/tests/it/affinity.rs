//! Conversations stay with their account, and ids created by one account never go to another.

use std::io::Write as _;
use std::time::Duration;

use crate::support::{Provider, Running, Setup, http};

const MINUTE: Duration = Duration::from_mins(1);

/// A provider whose account `a` refuses once, if the body asks for it, with this wait.
fn provider(seconds: u32) -> Provider {
    Provider::start(move |request, stream| {
        let refuses = request.secret() == "a" && request.body.windows(7).any(|it| it == b"refused");
        let limit = format!("429\nretry-after: {seconds}\n\n{{}}");
        let good = format!(
            "200\ncontent-type: application/json\nx-codex-turn-state: state-of-{0}\n\n\
             {{\"id\":\"resp_of_{0}\",\"output\":[{{\"encrypted_content\":\"cipher-of-{0}\"}}]}}",
            request.secret()
        );
        stream.write_all(http(if refuses { &limit } else { &good }).as_bytes()).unwrap();
    })
}

impl Running {
    /// The account that served a request of this conversation.
    fn by(&self, provider: &Provider, session: &str, body: &str) -> String {
        let got = self.post("/acme/responses", &format!("session-id: {session}\r\n"), body);
        assert_eq!(got.status, 200, "{}", got.body);
        provider.secrets().pop().unwrap()
    }
}

#[test]
fn a_conversation_stays_where_it_began() {
    let provider = provider(60);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.by(&provider, "x", "{\"refused\":1}"), "b");
    gateway.clock.advance(2 * MINUTE);
    // The control: another conversation begins with the first account.
    assert_eq!(gateway.by(&provider, "y", "{}"), "a");
    assert_eq!(gateway.by(&provider, "x", "{}"), "b");
}

#[test]
fn a_conversation_comes_back_after_a_short_cooldown() {
    let provider = provider(60);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.by(&provider, "x", "{}"), "a");
    assert_eq!(gateway.by(&provider, "x", "{\"refused\":1}"), "b");
    assert_eq!(gateway.by(&provider, "x", "{}"), "b");
    gateway.clock.advance(2 * MINUTE);
    assert_eq!(gateway.by(&provider, "x", "{}"), "a");
}

#[test]
fn a_conversation_moves_for_good_when_the_cooldown_is_long() {
    let provider = provider(7200);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.by(&provider, "x", "{}"), "a");
    assert_eq!(gateway.by(&provider, "x", "{\"refused\":1}"), "b");
    assert_eq!(gateway.by(&provider, "x", "{}"), "b");
    gateway.clock.advance(121 * MINUTE);
    assert_eq!(gateway.by(&provider, "y", "{}"), "a");
    assert_eq!(gateway.by(&provider, "x", "{}"), "b");
}

#[test]
fn what_an_account_made_goes_back_to_it_whatever_the_conversation_is_called() {
    let provider = provider(60);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.by(&provider, "x", "{\"refused\":1}"), "b");
    gateway.clock.advance(2 * MINUTE);
    for body in [
        "{\"previous_response_id\":\"resp_of_b\"}",
        "{\"input\":[{\"encrypted_content\":\"cipher-of-b\"}]}",
    ] {
        assert_eq!(gateway.by(&provider, "new", body), "b", "{body}");
    }
    let state = "x-codex-turn-state: state-of-b\r\nsession-id: newer\r\n";
    assert_eq!(gateway.post("/acme/responses", state, "{}").status, 200);
    assert_eq!(provider.secrets().pop().unwrap(), "b");
    let request = gateway.request("GET", "/acme/responses/resp_of_b", "session-id: newest\r\n", "");
    assert_eq!(gateway.send(&request).status, 200);
    assert_eq!(provider.secrets().pop().unwrap(), "b");
    // The control.
    assert_eq!(gateway.by(&provider, "other", "{}"), "a");
}

#[test]
fn what_an_account_made_never_goes_to_another_even_if_it_is_in_cooldown() {
    let provider = provider(60);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.by(&provider, "x", "{}"), "a");
    assert_eq!(gateway.by(&provider, "y", "{\"refused\":1}"), "b");
    let before = provider.count();
    for body in [
        "{\"previous_response_id\":\"resp_of_a\"}",
        "{\"input\":[{\"encrypted_content\":\"cipher-of-a\"}]}",
    ] {
        let got = gateway.post("/acme/responses", "session-id: z\r\n", body);
        assert_eq!((got.status, got.header("retry-after")), (429, Some("60")), "{body}");
        assert!(got.body.contains("the account of this conversation"), "{}", got.body);
    }
    assert_eq!(provider.count(), before);
    // The control: without it, the other account serves.
    assert_eq!(gateway.by(&provider, "z", "{}"), "b");
}

#[test]
fn what_an_unknown_account_made_is_tried_with_one_account_only() {
    let provider = provider(60);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let body = "{\"refused\":1,\"previous_response_id\":\"resp_from_before\"}";
    assert_eq!(gateway.ask(body).status, 429);
    assert_eq!(provider.secrets(), ["a"]);
}

#[test]
fn a_request_with_what_two_accounts_made_goes_to_neither() {
    let provider = provider(60);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    gateway.by(&provider, "x", "{}");
    gateway.by(&provider, "y", "{\"refused\":1}");
    gateway.clock.advance(2 * MINUTE);
    let body = "{\"previous_response_id\":\"resp_of_a\",\"input\":[{\"encrypted_content\":\"cipher-of-b\"}]}";
    assert_eq!((gateway.ask(body).status, provider.count()), (409, 3));
}

#[test]
fn ids_in_a_stream_are_remembered_too() {
    let provider = Provider::start(|request, stream| {
        let is_refused = request.secret() == "a" && request.body == b"{\"refused\":1}";
        if is_refused {
            stream.write_all(http("429\nretry-after: 60\n\n{}").as_bytes()).unwrap();
            return;
        }
        let event = format!(
            "data: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_of_{}\"}}}}\n\ndata: {{\"type\":\"x\"}}\n\n",
            request.secret()
        );
        stream
            .write_all(http(&format!("200\ncontent-type: text/event-stream\n\n{event}")).as_bytes())
            .unwrap();
    });
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.by(&provider, "x", "{\"refused\":1}"), "b");
    gateway.clock.advance(2 * MINUTE);
    assert_eq!(gateway.by(&provider, "y", "{\"previous_response_id\":\"resp_of_b\"}"), "b");
}

#[test]
fn a_compressed_request_is_read_and_goes_on_as_it_was() {
    let provider = provider(60);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    assert_eq!(gateway.by(&provider, "x", "{}"), "a");
    assert_eq!(gateway.by(&provider, "y", "{\"refused\":1}"), "b");
    let body = b"{\"previous_response_id\":\"resp_of_a\"}";
    let body =
        ruzstd::encoding::compress_to_vec(&body[..], ruzstd::encoding::CompressionLevel::Fastest);
    let head = gateway.request("POST", "/acme/responses", "content-encoding: zstd\r\n", "");
    let head = head.replace("content-length: 0", &format!("content-length: {}", body.len()));
    let send = |gateway: &Running| {
        let mut client = gateway.connect();
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(&body).unwrap();
        crate::support::read_answer(&mut client).status
    };
    assert_eq!(send(&gateway), 429);
    gateway.clock.advance(2 * MINUTE);
    assert_eq!(send(&gateway), 200);
    let seen = provider.last();
    assert_eq!((seen.secret(), seen.header("content-encoding")), ("a", Some("zstd")));
    assert_eq!(seen.body, body);
}
