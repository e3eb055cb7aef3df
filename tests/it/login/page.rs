//! The page that ends a login, in a real browser that logs in at a certified server.
//!
//! The screenshots are written to `target/tmp`; those in `docs/images` are copies of them.

use e2e::browser::Browser;
use e2e::peer::{LOGIN, Peer};
use e2e::sandbox::write;
use std::path::Path;

/// Takes a screenshot of the page in both color schemes, and checks that it is not blank.
fn take_pictures(browser: &Browser, name: &str, blank: &[u8]) {
    let mut pictures = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        let picture = browser.screenshot();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{scheme}.png"));
        write(&path, &picture);
        assert!(picture.starts_with(b"\x89PNG"), "{name} {scheme}");
        assert!(
            picture.len() > 2 * blank.len(),
            "{name} {scheme} is blank: {} bytes",
            picture.len()
        );
        let background = browser.evaluate("return getComputedStyle(document.body).backgroundColor");
        pictures.push((picture, background));
    }
    assert_ne!(pictures[0].1, pictures[1].1, "{name}: dark is as light");
    assert_ne!(pictures[0].0, pictures[1].0, "{name}");
}

/// The page runs no script and loads nothing from elsewhere.
fn is_plain(browser: &Browser, name: &str) {
    let scripts = browser.evaluate("return document.scripts.length");
    let loaded =
        browser.evaluate("return performance.getEntriesByType('resource').map(it => it.name)");
    assert_eq!(scripts, 0, "{name}");
    assert_eq!(loaded, serde_json::json!([]), "{name}");
    let language = browser.evaluate("return document.documentElement.lang");
    let title = browser.evaluate("return document.title");
    assert_eq!(
        (language.as_str(), title.as_str().is_some_and(|it| !it.is_empty())),
        (Some("en"), true)
    );
    let address = browser.address();
    assert!(!address.contains("code=") && !address.contains("state="), "{name}: {address}");
}

#[test]
fn the_login_page_tells_success_and_failure_in_light_and_dark() {
    let server = Peer::oidc_provider(&[]);
    let sandbox = server.home();
    let browser = Browser::start();
    browser.open("about:blank");
    let blank = browser.screenshot();

    let mut login = sandbox.start(&LOGIN);
    browser.open(&login.authorization_url());
    browser.type_into("input[name=login]", "alice");
    browser.type_into("input[name=password]", "secret");
    browser.click("button[type=submit]");
    // The consent: another page with a button, without a name field.
    browser.click("form:not(:has(input[name=login])) button[type=submit]");
    let text = browser.text("main h1");
    login.finish().expect_code(0);
    assert!(sandbox.profile("main", "peer:alice@example.test").is_object(), "{text}");
    is_plain(&browser, "success");
    take_pictures(&browser, "login-success", &blank);

    // Again; this time the user cancels.
    let mut login = sandbox.start(&LOGIN);
    browser.open(&login.authorization_url());
    browser.click("a[href*=abort]");
    let other = browser.text("main h1");
    login.finish().expect_code(4);
    assert_ne!(text, other);
    is_plain(&browser, "failure");
    take_pictures(&browser, "login-failure", &blank);
}
