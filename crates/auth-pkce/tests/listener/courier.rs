//! The address that a browser is started with.

use auth_pkce::Courier;

use crate::support::{is_closed, send};

const TARGET: &str = "https://login.acme.example/authorize?state=the-state";

fn courier() -> (Courier, std::net::SocketAddr, String) {
    let courier = Courier::bind(TARGET, [7; 32]).unwrap();
    let rest = courier.address().strip_prefix("http://").unwrap().to_owned();
    let (host, path) = rest.split_once('/').unwrap();
    (courier, host.parse().unwrap(), format!("/{path}"))
}

fn request(host: &str, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")
}

#[tokio::test]
async fn the_browser_of_this_user_is_sent_on_and_nothing_of_the_target_is_in_the_address() {
    let (courier, address, path) = courier();
    assert!(path.starts_with("/start/") && path.len() > 40, "{path}");
    assert!(!courier.address().contains("state") && !courier.address().contains("acme"));
    let serving = tokio::spawn(courier.serve());
    let navigation = "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    for headers in ["", navigation] {
        let response = send(address, &request(&address.to_string(), &path, headers)).await;
        response.expect(303, &format!("location: {TARGET}\r\n"));
        response.expect(303, "cache-control: no-store\r\n");
        response.expect(303, "referrer-policy: no-referrer\r\n");
    }
    serving.abort();
    assert!(is_closed(address).await);
}

#[tokio::test]
async fn whoever_does_not_know_the_path_learns_nothing() {
    let (courier, address, path) = courier();
    let serving = tokio::spawn(courier.serve());
    let host = address.to_string();
    for (host, path, headers, status) in [
        (host.as_str(), "/start/", "", 404),
        (host.as_str(), &path[..path.len() - 1], "", 404),
        ("evil.example", path.as_str(), "", 421),
        (host.as_str(), path.as_str(), "origin: https://evil.example\r\n", 403),
        (host.as_str(), path.as_str(), "sec-fetch-mode: no-cors\r\n", 403),
        (host.as_str(), path.as_str(), "sec-purpose: prefetch\r\n", 503),
    ] {
        let response = send(address, &request(host, path, headers)).await;
        assert_eq!(response.status(), status, "{response:?}");
        assert!(!response.0.contains("the-state"), "{response:?}");
    }
    serving.abort();
}

/// Needs the right to become another user, as the tests of the whole CI have it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_user_of_the_machine_is_not_sent_on() {
    let (courier, address, path) = courier();
    let serving = tokio::spawn(courier.serve());
    let port = address.port();
    let text = request(&address.to_string(), &path, "");
    let Some(said) = crate::support::as_another_user(port, text).await else {
        serving.abort();
        return;
    };
    assert_eq!(said, "");
    // The control: the same request of this user.
    send(address, &request(&address.to_string(), &path, "")).await.expect(303, "the-state");
    serving.abort();
}
