//! Names of new profiles.

use auth_store::{Kind, Profile, ProfileId, ProviderId};

use crate::login::Login;

/// The requested profile belongs to another account. Nothing may be saved there, unless the user
/// forces it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{id}` belongs to another account")]
pub struct TakenProfile {
    /// The profile.
    pub id: ProfileId,
}

/// The id to save `login` as, next to the `existing` profiles.
///
/// `requested` wins; without it the id is `<provider>:<email>`, else `<provider>:<name>` with the
/// provider's own name, else `<provider>:default`. A profile of another account is never
/// overwritten, unless `force` allows it for a requested id. An id that was not requested gets the
/// account, or a number, appended instead.
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
    // Always found: there are more numbers than profiles.
    Ok(candidates.find(is_free).unwrap_or(base))
}

/// `<provider>:<name>`.
pub fn default_profile_id(provider: &ProviderId, name: &str) -> ProfileId {
    ProfileId::new(format!("{provider}:{}", auth_store::trim(name)))
}

/// Whether `holder` provably belongs to another account than `login`: the account ids differ, or
/// the e-mail addresses do, or it is not a login at all. Unknown values differ from nothing. But a
/// key or a token, which has no mark of its account, replaces only a credential of which equally
/// much is known: that one may have been pasted, or stored by a program that requested no account.
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
