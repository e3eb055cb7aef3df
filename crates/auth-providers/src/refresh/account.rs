//! Compares the accounts of two logins.

use auth_store::{Credential, OAuthCredential};

/// What distinguishes accounts: the login with its account id, and the e-mail address.
pub(super) type Identity<'a> = (&'a OAuthCredential, Option<&'a str>);

/// Whether two logins belong to one account: by account id, else by e-mail address. If both are
/// unknown, they count as the same.
pub(super) fn is_same_account(one: Identity<'_>, other: Identity<'_>) -> bool {
    match (&one.0.account_id, &other.0.account_id) {
        (Some(one), Some(other)) => one == other,
        _ => match (one.1, other.1) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        },
    }
}

/// Whether two credentials may belong to one account, judging only by the credentials themselves.
pub(super) fn is_of_same_account(one: Option<&Credential>, other: &Credential) -> bool {
    match (one, other) {
        (Some(Credential::OAuth(one)), Credential::OAuth(other)) => {
            is_same_account((one, None), (other, None))
        }
        _ => true,
    }
}
