//! Whether two JSON values are the same result.

use serde_json::{Map, Value};

/// Where `got` differs from `wanted`, as a JSON pointer (RFC 6901); `None` if it does not.
///
/// The order of members counts, since files are written in it. An exception are names that look
/// like array indexes, which come first in JavaScript's objects. Fractions may differ in their last
/// digits.
pub(crate) fn difference(wanted: &Value, got: &Value) -> Option<String> {
    let below = |name: &str, inner: Option<String>| inner.map(|inner| format!("/{name}{inner}"));
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            let (wanted, got) = (in_order(wanted), in_order(got));
            let same_names = wanted.iter().map(|it| it.0).eq(got.iter().map(|it| it.0));
            let first = || {
                let pairs = wanted.iter().zip(&got);
                pairs.clone().find_map(|(w, g)| below(w.0, difference(w.1, g.1)))
            };
            if same_names { first() } else { Some("/ (members)".to_owned()) }
        }
        (Value::Array(wanted), Value::Array(got)) => {
            if wanted.len() != got.len() {
                return Some(" (length)".to_owned());
            }
            let mut pairs = wanted.iter().zip(got).enumerate();
            pairs.find_map(|(at, (w, g))| below(&at.to_string(), difference(w, g)))
        }
        (Value::Number(w), Value::Number(g)) => {
            let is_fraction = |it: f64| it.fract() != 0.0;
            let same = w == g
                || match (w.as_f64(), g.as_f64()) {
                    (Some(w), Some(g)) if is_fraction(w) && is_fraction(g) => {
                        (w - g).abs() <= w.abs() * 1e-12
                    }
                    (Some(w), Some(g)) => w.to_bits() == g.to_bits(),
                    _ => false,
                };
            (!same).then(String::new)
        }
        _ => (wanted != got).then(String::new),
    }
}

fn in_order(object: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let index = |name: &str| name.parse::<u32>().ok().filter(|it| it.to_string() == name);
    let mut members: Vec<_> = object.iter().map(|(name, value)| (name.as_str(), value)).collect();
    members.sort_by_key(|(name, _)| index(name).map_or((1, 0), |index| (0, index)));
    members
}
