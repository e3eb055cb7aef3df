//! What a new profile is called.

use auth_store::{Kind, Profile, ProfileId, ProviderId};

use crate::login::Login;

/// The profile that was asked for belongs to another account. Nothing may be saved there, unless
/// the user insists.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{id}` belongs to another account")]
pub struct TakenProfile {
    /// The profile.
    pub id: ProfileId,
}

/// The id to save `login` as, beside the `existing` profiles.
///
/// `requested` wins; without it the id is `<provider>:<email>`, else `<provider>:<name>` with the
/// provider's own name, else `<provider>:default`. A profile of another account is never
/// overwritten, unless `force` says so for a requested one: an id that is not requested gets the
/// account's, or a number, at its end.
pub fn profile_name(
    login: &Login,
    provider_name: Option<&str>,
    requested: Option<&ProfileId>,
    force: bool,
    existing: &[Profile],
) -> Result<ProfileId, TakenProfile> {
    let is_free = |id: &ProfileId| {
        let holder = existing.iter().find(|profile| profile.id == *id);
        holder.is_none_or(|holder| !is_another(holder, login))
    };
    if let Some(id) = requested {
        let id = id.clone();
        return if force || is_free(&id) { Ok(id) } else { Err(TakenProfile { id }) };
    }
    let name = login.email.as_deref().or(provider_name).unwrap_or("default");
    let base = default_profile_id(&login.provider, name);
    let account = login.account_id.as_deref().map(plain).filter(|account| !account.is_empty());
    let with_account = account.map(|account| ProfileId::new(format!("{base}-{account}")));
    let numbered = (2..).map(|number| ProfileId::new(format!("{base}-{number}")));
    let mut candidates = std::iter::once(base.clone()).chain(with_account).chain(numbered);
    // There are more numbers than profiles.
    Ok(candidates.find(is_free).unwrap_or(base))
}

/// `<provider>:<name>`.
pub fn default_profile_id(provider: &ProviderId, name: &str) -> ProfileId {
    ProfileId::new(format!("{provider}:{}", auth_store::trim(name)))
}

/// Whether `holder` is provably not the account of `login`: the account ids differ, or the e-mail
/// addresses do, or it is no login at all. What is not known differs from nothing; but a key or a
/// token, which nothing in itself tells from another account's, takes the place only of one of
/// which as much is known: it may have been pasted, or stored by a program that asked for no
/// account.
fn is_another(holder: &Profile, login: &Login) -> bool {
    let differ = |a: Option<&str>, b: Option<&str>| matches!((a, b), (Some(a), Some(b)) if a != b);
    let is_key = login.credential.kind() == Kind::ApiKey;
    let is_login = login.credential.kind() == Kind::OAuth;
    holder.provider != login.provider
        || (holder.kind == Kind::ApiKey) != is_key
        || (!is_login && login.account_id.is_some() != holder.account_id.is_some())
        || differ(holder.account_id.as_deref(), login.account_id.as_deref())
        || differ(holder.email.as_deref(), login.email.as_deref())
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect()
}
