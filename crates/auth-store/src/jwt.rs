//! The claims of a JWT, without verification.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// The claims of `token`, if it is a JWT (RFC 7519 §3) whose payload is a JSON object.
///
/// The signature is not checked. Use the claims for display, expiry and account ids of tokens that
/// came from their issuer over TLS, never for authorization.
pub fn unverified_claims(token: &str) -> Option<Value> {
    serde_json::from_slice(&payload(token)?).ok().filter(Value::is_object)
}

fn payload(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()
}

/// The total lifetime of `token`, from its `exp` and `iat` (RFC 7519 §4.1).
pub(crate) fn lifetime(token: &str) -> Option<Duration> {
    /// Only these two claims, because this runs for every token request.
    #[derive(Deserialize)]
    struct Times {
        exp: f64,
        iat: f64,
    }

    let times: Times = serde_json::from_slice(&payload(token)?).ok()?;
    Duration::try_from_secs_f64(times.exp - times.iat).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_from_the_payload() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":160,"iat":100}"#);
        assert_eq!(lifetime(&format!("h.{payload}.s")), Some(Duration::from_mins(1)));
    }

    #[test]
    fn what_is_not_a_jwt_has_no_claims() {
        for text in ["", "a.b", "a.b.c", "a.b.c.d", "..", "a.e30=.c.d"] {
            assert_eq!(unverified_claims(text), None, "{text}");
        }
    }
}
