//! The status page, in a real browser.

use e2e::browser::Browser;
use e2e::http;

use super::{World, limited};

#[test]
fn the_page_opens_by_a_link_that_is_good_once_and_shows_who_is_next() {
    let world = World::with_keys(&["key-one", "key-two"]);
    world.upstream.set("key-one", limited("4000"));
    let token = world.client("tool --provider acme");
    let mut running = world.sandbox.start(&["serve", "--listen", "127.0.0.1:0", "--open"]);
    let mut lines = std::iter::from_fn(|| running.next_line());
    let base = lines.next().unwrap().trim_start_matches("listening on ").to_owned();
    let shown = lines.find(|line| line.contains("/?once=")).unwrap();
    let address = shown.split(": ").nth(1).unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let url = format!("{base}/acme/chat/completions");
    assert_eq!(http::send("POST", &url, &headers, b"{\"model\":\"m\"}").unwrap().status, 200);

    let browser = Browser::start();
    browser.open(&address);
    assert_eq!(browser.address(), format!("{base}/"));
    let shown = browser.text("body");
    assert!(shown.contains("acme:key-one") && shown.contains("in cooldown"), "{shown}");
    assert!(shown.contains("acme:key-two") && shown.contains("next"), "{shown}");
    assert!(!shown.contains("key-one-") && !shown.contains(&token), "{shown}");
    let ink = |scheme| {
        browser.prefer(scheme);
        browser.evaluate("return getComputedStyle(document.body).color")
    };
    assert_ne!(ink("light"), ink("dark"));
    let loaded = "return performance.getEntriesByType('resource').length + document.scripts.length";
    assert_eq!(browser.evaluate(loaded), 0);
    // Again, and from elsewhere: nothing.
    assert_eq!(http::get(&address).unwrap().status, 403);
    assert_eq!(http::get(&format!("{base}/")).unwrap().status, 401);
    let answer = http::send("GET", &format!("{base}/"), &headers, &[]).unwrap();
    assert_eq!(answer.status, 403);
}
