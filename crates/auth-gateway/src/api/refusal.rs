//! What the accounts do not have, as refusals of a request.

use auth_store::Timestamp;
use hyper::StatusCode;

use crate::accounts::{AccountsError, Candidate, Reason};
use crate::api::shape::Refusal;

/// The refusal for what the accounts do not have.
pub(crate) fn refusal(error: &AccountsError) -> Refusal {
    let (status, code) = match error.reason {
        Reason::NotThere => (StatusCode::NOT_FOUND, "no_credential"),
        Reason::NeedsLogin => (StatusCode::SERVICE_UNAVAILABLE, "needs_login"),
        Reason::TryLater => (StatusCode::SERVICE_UNAVAILABLE, "try_later"),
    };
    Refusal { code: Some(code), ..Refusal::new(status, error.message.clone()) }
}

/// The refusal where nothing is sent at all.
pub(crate) fn all_in_cooldown(candidates: &[Candidate], now: Timestamp) -> Refusal {
    let ends = candidates.iter().filter_map(|it| it.cooldown);
    let soonest = ends.map(|it| it.until.since(now)).min();
    let message = format!("all {} profiles are in cooldown", candidates.len());
    Refusal { retry_after: soonest, ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, message) }
}
