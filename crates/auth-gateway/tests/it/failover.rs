//! When another account is tried, and when never.

use crate::support::{Provider, Setup};

const GOOD: &str = "200\n\n{\"fine\":true}";

#[test]
fn a_profile_at_its_limit_is_followed_by_the_next() {
    let provider = Provider::by_secret(&[("a", "429\nretry-after: 60\n\n{}"), ("b", GOOD)]);
    let gateway = Setup::keys(&["a", "b"]).start(provider.address);
    let got = gateway.ask("{}");
    assert_eq!((got.status, got.body.as_str()), (200, "{\"fine\":true}"));
    assert_eq!(provider.secrets(), ["a", "b"]);
    // It is in cooldown now, and is not asked again.
    assert_eq!(gateway.ask("{}").status, 200);
    assert_eq!(provider.secrets(), ["a", "b", "b"]);
}
