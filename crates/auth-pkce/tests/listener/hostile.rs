//! Requests that must neither end a login nor stop it.

use auth_pkce::{Attempt, Loopback, Redirect};

use crate::support::{Response, Waiting, as_another_user, as_another_user_who_leaves};

/// A value that no page may repeat.
const CANARY: &str = "%3Csvg%2Fonload%3D1%3ECANARY";

/// Sends the request, checks the status and the headers, and that the login continues to wait.
async fn check(waiting: &Waiting, request: &str, status: u16) {
    let response = waiting.send(request).await;
    assert_eq!(response.status(), status, "{request}\n{}", response.0);
    assert_strict(&response);
    assert!(!waiting.task.is_finished(), "{request}");
}

fn assert_strict(Response(text): &Response) {
    let text = text.to_lowercase();
    for forbidden in ["access-control", "canary", "<svg/onload", "the-code", "set-cookie"] {
        assert!(!text.contains(forbidden), "{forbidden} in {text}");
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("connection: close"), "{head}");
    if body.is_empty() {
        return; // A limit of the HTTP parser: there is no page.
    }
    for header in [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
}

#[tokio::test]
async fn only_our_own_host_is_answered() {
    let waiting = Waiting::new();
    let (port, reply) = (waiting.port, waiting.response());
    for host in
        ["evil.example", "localhost", "localhost:1", "0.0.0.0:80", "", "localhost:80, localhost:80"]
    {
        check(&waiting, &format!("GET {reply} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 421).await;
    }
    check(&waiting, &format!("GET {reply} HTTP/1.1\r\n\r\n"), 400).await;
    let twice = format!("Host: localhost:{port}\r\n");
    check(&waiting, &waiting.request_with("GET", &reply, &twice), 400).await;
    let twice = "Host: evil.example\r\n";
    check(&waiting, &waiting.request_with("GET", &reply, twice), 400).await;
    waiting.still_succeeds().await;
}

#[tokio::test]
async fn only_a_plain_get_ends_the_login() {
    let waiting = Waiting::new();
    let reply = waiting.response();
    for method in ["HEAD", "POST", "OPTIONS", "PUT", "DELETE", "TRACE", "PATCH"] {
        check(&waiting, &waiting.request_with(method, &reply, ""), 405).await;
    }
    let preflight = "Access-Control-Request-Private-Network: true\r\nOrigin: https://a.example\r\n";
    check(&waiting, &waiting.request_with("OPTIONS", &reply, preflight), 405).await;
    check(
        &waiting,
        &waiting.request_with("CONNECT", &format!("localhost:{}", waiting.port), ""),
        400,
    )
    .await;
    let absolute = format!("http://localhost:{}{reply}", waiting.port);
    check(&waiting, &waiting.request(&absolute), 400).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    check(&waiting, &waiting.request_with("GET", &reply, upgrade), 400).await;
    check(&waiting, &waiting.request_with("GET", &reply, "Content-Length: 1\r\n"), 400).await;
    check(&waiting, &waiting.request_with("GET", &reply, "Transfer-Encoding: chunked\r\n"), 400)
        .await;
    waiting.still_succeeds().await;
}

#[tokio::test]
async fn a_login_survives_favicon_prefetch_and_a_wrong_state() {
    let waiting = Waiting::new();
    let reply = waiting.response();
    for path in ["/favicon.ico", "/", "/robots.txt", "/cancel", "/auth/callback/", "/success"] {
        check(&waiting, &waiting.request(path), 404).await;
    }
    for headers in ["Sec-Purpose: prefetch\r\n", "Purpose: prefetch\r\n", "X-Moz: prefetch\r\n"] {
        check(&waiting, &waiting.request_with("GET", &reply, headers), 503).await;
    }
    for query in
        ["", "code=c", "code=c&state=", "code=c&state=wrong", "state=wrong", "error=x&state=wrong"]
    {
        check(&waiting, &waiting.request(&format!("/auth/callback?{query}")), 400).await;
    }
    waiting.still_succeeds().await;
}

#[tokio::test]
async fn no_page_repeats_what_was_asked() {
    let waiting = Waiting::new();
    let state = waiting.state.clone();
    for query in [
        format!("code={CANARY}&state={CANARY}"),
        format!("error={CANARY}&error_description={CANARY}&state={CANARY}"),
        format!("{CANARY}={CANARY}"),
        format!("code={CANARY}&code={CANARY}"),
        format!("code=%zz{CANARY}"),
    ] {
        check(&waiting, &waiting.request(&format!("/auth/callback?{query}")), 400).await;
    }
    check(&waiting, &waiting.request(&format!("/{CANARY}?{CANARY}")), 404).await;
    let query =
        format!("error={CANARY}&error_description={CANARY}&error_uri={CANARY}&state={state}");
    let response = waiting.get(&format!("/auth/callback?{query}")).await;
    response.expect(403, "The login was refused");
    assert_strict(&response);
}

#[tokio::test]
async fn a_request_beyond_the_limits_is_noise() {
    let waiting = Waiting::new();
    let reply = waiting.response();
    let long = |len: usize| "a".repeat(len);
    check(&waiting, &waiting.request(&format!("{reply}&x={}", long(8 * 1024))), 414).await;
    let header = format!("X: {}\r\n", long(16 * 1024));
    check(&waiting, &waiting.request_with("GET", &reply, &header), 431).await;
    let many = "X: x\r\n".repeat(64);
    check(&waiting, &waiting.request_with("GET", &reply, &many), 431).await;

    // Far beyond the limit, the connection is closed while the request is still arriving.
    let response = waiting.send(&waiting.request(&format!("/?{}", long(4_000_000)))).await;
    assert!([0, 414, 431].contains(&response.status()), "{}", response.0);
    let header = format!("X: {}\r\n", long(4_000_000));
    let response = waiting.send(&waiting.request_with("GET", &reply, &header)).await;
    assert!([0, 431].contains(&response.status()), "{}", response.0);
    waiting.still_succeeds().await;
}

#[tokio::test]
async fn what_is_not_http_is_noise() {
    let waiting = Waiting::new();
    for request in [
        "\0\0\0\0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /auth/callback?code=a b HTTP/1.1\r\n\r\n",
    ] {
        let response = waiting.send(request).await;
        assert!([0, 400].contains(&response.status()), "{request:?} {}", response.0);
    }
    waiting.still_succeeds().await;
}

#[tokio::test]
async fn a_second_request_on_a_connection_is_ignored() {
    let waiting = Waiting::new();
    let both = waiting.request("/favicon.ico") + &waiting.request(&waiting.response());
    let response = waiting.send(&both).await;
    response.expect(404, "There is nothing here");
    assert_eq!(response.0.matches("HTTP/1.1 ").count(), 1, "{}", response.0);
    assert!(!waiting.task.is_finished());
    waiting.still_succeeds().await;
}

/// Needs the right to become another user, as the tests of the whole CI have it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_user_of_the_machine_does_not_end_the_login() {
    let waiting = Waiting::new();
    let request = waiting.request(&waiting.response());
    let Some(said) = as_another_user(waiting.port, request).await else { return };
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    // The same response of this user is the control.
    waiting.still_succeeds().await;
}

/// The attack of the review: connect, send, and close before anybody looks who that was.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_has_closed_its_end_does_not_end_the_login() {
    use std::io::Write as _;

    for closes in [std::net::Shutdown::Write, std::net::Shutdown::Both] {
        let loopback =
            Loopback::bind(&Redirect::new("localhost", vec![], "/auth/callback").unwrap());
        let loopback = loopback.unwrap();
        let attempt = Attempt::new([42; 96], loopback.redirect_uri().to_owned());
        let port = crate::support::port_of(&loopback);
        let target = format!("/auth/callback?code=theirs&state={}", attempt.state().expose());
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        // It is all over before the listener accepts anything.
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(closes).unwrap();
        let kept = (closes == std::net::Shutdown::Write).then_some(stream);
        let waiting = Waiting::on(loopback);
        for _ in 0..50 {
            waiting.get("/favicon.ico").await.expect(404, "There is nothing here");
        }
        assert!(!waiting.task.is_finished());
        drop(kept);
        let (arrival, _browser) = waiting.arrive().await;
        assert_eq!(arrival.code.expose(), "the-code");
    }
}

/// The injection of a code, a hundred times: nothing of the other user arrives, and every login of
/// this user does.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_user_never_puts_an_account_into_a_login() {
    for _ in 0..100 {
        let waiting = Waiting::new();
        let target = format!("/auth/callback?code=theirs&state={}", waiting.state);
        let request = waiting.request(&target);
        let Some(_) = as_another_user_who_leaves(waiting.port, request).await else { return };
        assert!(!waiting.task.is_finished());
        let (arrival, _browser) = waiting.arrive().await;
        assert_eq!(arrival.code.expose(), "the-code");
    }
}

#[tokio::test]
async fn a_request_that_uses_both_limits_up_is_read() {
    let waiting = Waiting::new();
    let target = "/auth/callback?state=";
    let state = "s".repeat(8 * 1024 - "GET  HTTP/1.1".len() - target.len());
    let host = format!("Host: localhost:{}\r\n", waiting.port).len();
    let value = "v".repeat(16 * 1024 - host - "name: \r\n".len());
    let request =
        waiting.request_with("GET", &format!("{target}{state}"), &format!("name: {value}\r\n"));
    check(&waiting, &request, 400).await;
    waiting.send(&request).await.expect(400, "not the login that was started");
    waiting.still_succeeds().await;
}
