//! Whether two logins are of one account.

use auth_store::{Credential, OAuthCredential};

/// What tells one account from another: the login with its account id, and the e-mail address.
pub(super) type Identity<'a> = (&'a OAuthCredential, Option<&'a str>);

/// Whether two logins are of one account: by its id, else by the address, else there is nothing
/// that says otherwise.
pub(super) fn is_same_account(one: Identity<'_>, other: Identity<'_>) -> bool {
    match (&one.0.account_id, &other.0.account_id) {
        (Some(one), Some(other)) => one == other,
        _ => match (one.1, other.1) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        },
    }
}

/// Whether two credentials may be of one account, as far as they say themselves.
pub(super) fn is_of_same_account(one: Option<&Credential>, other: &Credential) -> bool {
    match (one, other) {
        (Some(Credential::OAuth(one)), Credential::OAuth(other)) => {
            is_same_account((one, None), (other, None))
        }
        _ => true,
    }
}
