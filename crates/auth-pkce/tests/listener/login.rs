//! The login as intended, and the ways it may end.

use std::time::Duration;

use auth_pkce::{
    Attempt, CallbackError, Failure, Loopback, PasteRules, Redirect, ResponseRules, WaitError,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Waiting, is_closed, send};

const NAVIGATION: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

#[tokio::test]
async fn the_browser_is_told_only_when_the_caller_says_so() {
    let waiting = Waiting::new();
    let address = waiting.address();
    let again = waiting.request(&waiting.response());
    let (arrival, browser) = waiting.arrive().await;

    send(address, &again).await.expect(409, "already been answered");
    assert!(!browser.is_finished());

    arrival.browser.succeed().await;
    browser.await.unwrap().expect(200, "You are signed in");
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn a_window_ends_on_an_address_without_the_code() {
    let waiting = Waiting::new();
    let (address, host) = (waiting.address(), waiting.port);
    let done = waiting.request_with("GET", "/auth/callback/done", NAVIGATION);
    send(address, &done).await.expect(404, "There is nothing here");

    let request = waiting.request_with("GET", &waiting.response(), NAVIGATION);
    let (arrival, browser) = waiting.arrive_with(request).await;
    let telling = tokio::spawn(arrival.browser.succeed());
    let response = browser.await.unwrap();
    response.expect(303, "location: /auth/callback/done\r\n");
    assert!(!telling.is_finished(), "port {host} must stay open for the page");

    send(address, &done).await.expect(200, "You are signed in");
    telling.await.unwrap();
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn a_window_that_never_fetches_the_page_is_not_waited_for() {
    let waiting = Waiting::new();
    let address = waiting.address();
    let request = waiting.request_with("GET", &waiting.response(), NAVIGATION);
    let (arrival, browser) = waiting.arrive_with(request).await;
    arrival.browser.succeed().await;
    browser.await.unwrap().expect(303, "You are signed in");
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn each_failure_has_its_page() {
    for (failure, status, text) in [
        (Failure::Denied, 403, "The login was refused"),
        (Failure::Mismatch, 400, "This is not the login that was started"),
        (Failure::Expired, 410, "This login has expired"),
        (Failure::NotExchanged, 502, "The login could not be completed"),
        (Failure::NotSaved, 500, "The credential was not saved"),
    ] {
        let (arrival, browser) = Waiting::new().arrive().await;
        arrival.browser.fail(failure).await;
        browser.await.unwrap().expect(status, text);
    }
}

#[tokio::test]
async fn an_arrival_that_is_dropped_shows_a_failure() {
    let waiting = Waiting::new();
    let address = waiting.address();
    let (arrival, browser) = waiting.arrive().await;
    drop(arrival);
    browser.await.unwrap().expect(500, "The credential was not saved");
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn a_browser_is_not_held_for_ever() {
    let (arrival, browser) = Waiting::new().arrive().await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    browser.await.unwrap().expect(410, "This login has expired");
    assert!(begun.elapsed() <= Duration::from_secs(91));
    drop(arrival);
}

#[tokio::test]
async fn a_browser_that_went_away_does_not_hold_the_end_up() {
    let waiting = Waiting::new();
    let address = waiting.address();
    let (arrival, browser) = waiting.arrive().await;
    browser.abort();
    let _ = browser.await;
    arrival.browser.succeed().await;
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn the_refusal_of_the_issuer_ends_the_login() {
    let waiting = Waiting::new();
    let address = waiting.address();
    waiting.get("/auth/callback?error=access_denied").await.expect(400, "not the login");
    waiting.get("/auth/callback?error=access_denied&state=x").await.expect(400, "not the login");
    assert!(!waiting.task.is_finished());

    let query = format!("error=access_denied&error_description=no&state={}", waiting.state);
    waiting.get(&format!("/auth/callback?{query}")).await.expect(403, "The login was refused");
    let WaitError::Refused(error) = waiting.task.await.unwrap().unwrap_err() else {
        panic!("another error");
    };
    let (error_code, description) = ("access_denied".to_owned(), Some("no".to_owned()));
    assert_eq!(error, CallbackError::Denied { error: error_code, description });
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn a_response_without_a_code_ends_the_login() {
    let waiting = Waiting::new();
    let target = format!("/auth/callback?state={}", waiting.state);
    waiting.get(&target).await.expect(502, "could not be completed");
    let error = waiting.task.await.unwrap().unwrap_err();
    assert!(matches!(error, WaitError::Refused(CallbackError::NoCode)));
}

#[tokio::test]
async fn giving_up_closes_the_listener() {
    let waiting = Waiting::new();
    let address = waiting.address();
    waiting.get("/").await.expect(404, "There is nothing here");
    waiting.task.abort();
    assert!(waiting.task.await.unwrap_err().is_cancelled());
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn the_next_login_gets_the_same_port() {
    let first = Waiting::new();
    let port = first.port;
    first.still_succeeds().await;
    let redirect = Redirect::new("localhost", vec![port], "/auth/callback").unwrap();
    let second = Waiting::on(Loopback::bind(&redirect).unwrap());
    assert_eq!(second.port, port);
    second.still_succeeds().await;
}

#[tokio::test]
async fn a_browser_may_take_either_address_family() {
    let waiting = Waiting::new();
    // Each repeatedly: both addresses are served all the time.
    for _ in 0..3 {
        let Ok(mut stream) = tokio::net::TcpStream::connect(("::1", waiting.port)).await else {
            // There is no IPv6 here: then the listener must use only IPv4.
            assert!(std::net::TcpListener::bind("[::1]:0").is_err());
            return waiting.still_succeeds().await;
        };
        let request = format!("GET /x HTTP/1.1\r\nHost: [::1]:{}\r\n\r\n", waiting.port);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    }
    waiting.still_succeeds().await;
}

#[tokio::test]
async fn a_pasted_response_wins_the_race_and_closes_the_listener() {
    let redirect = Redirect::new("127.0.0.1", vec![], "/cb").unwrap();
    let loopback = Loopback::bind(&redirect).unwrap();
    let attempt = Attempt::new([1; 96], loopback.redirect_uri().to_owned());
    let port = crate::support::port_of(&loopback);
    let pasted = format!("{}?code=c&state={}\n", attempt.redirect_uri(), attempt.state().expose());
    let paste_rules = PasteRules { redirect_uri: attempt.redirect_uri(), bare_code: false };
    let rules = ResponseRules::default();

    let code = tokio::select! {
        _ = loopback.wait(&attempt, &rules) => panic!("nobody came"),
        code = async {
            let callback = auth_pkce::Callback::from_pasted(&pasted, &paste_rules)?;
            attempt.accept(&callback, &rules)
        } => code.unwrap(),
    };
    assert_eq!(code.expose(), "c");
    assert!(is_closed(([127, 0, 0, 1], port).into()).await);
}
