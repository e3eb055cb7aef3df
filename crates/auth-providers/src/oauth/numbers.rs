//! Numbers and times as issuers write them.

use auth_store::Timestamp;
use serde_json::Value;

/// A number, or a string of one: both occur.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number > 0.0)
}

/// A time in milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what we want")]
pub(crate) fn timestamp(milliseconds: f64) -> Timestamp {
    Timestamp(milliseconds as i64)
}
