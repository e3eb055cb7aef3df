//! The bounded checks, which take seconds each.

use std::collections::BTreeSet;

use model::checks::{of_the_mistakes, of_the_protocols};

#[test]
fn every_property_holds_in_every_state() {
    for check in of_the_protocols(false) {
        let name = check.name.clone();
        let outcome = check.run();
        let failure = outcome.failure.map(|it| (it.property, it.actions));
        assert!(outcome.is_complete, "{name}: {failure:#?}");
    }
}

#[test]
fn every_mistake_is_found() {
    let mut left = BTreeSet::new();
    for (mistake, checks) in of_the_mistakes() {
        if !checks.into_iter().any(|check| check.run().failure.is_some()) {
            left.insert(mistake.to_string());
        }
    }
    assert!(left.is_empty(), "not found: {left:?}");
}
