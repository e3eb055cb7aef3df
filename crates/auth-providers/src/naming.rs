//! What a new profile is called.

use auth_store::{Kind, Profile, ProfileId, ProviderId};

use crate::login::Login;

/// The id to save `login` as, and whether that is what was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProfileName {
    /// The id.
    pub id: ProfileId,
    /// The id that was asked for, if it belongs to another account and was not taken for that.
    pub taken: Option<ProfileId>,
}

/// The id to save `login` as, beside the `existing` profiles.
///
/// `requested` wins; without it the id is `<provider>:<email>`, else `<provider>:<name>` with the
/// provider's own name, else `<provider>:default`. A profile of another account is never
/// overwritten, unless `force` says so for a requested one: the id then gets the account's, or a
/// number, at its end.
pub fn profile_name(
    login: &Login,
    provider_name: Option<&str>,
    requested: Option<&ProfileId>,
    force: bool,
    existing: &[Profile],
) -> ProfileName {
    let is_free = |id: &ProfileId| {
        let holder = existing.iter().find(|profile| profile.id == *id);
        holder.is_none_or(|holder| !is_another(holder, login))
    };
    if let Some(id) = requested
        && (force || is_free(id))
    {
        return ProfileName { id: id.clone(), taken: None };
    }
    let name = login.email.as_deref().or(provider_name).unwrap_or("default");
    let base = default_profile_id(&login.provider, name);
    let account = login.account_id.as_deref().map(plain).filter(|account| !account.is_empty());
    let with_account = account.map(|account| ProfileId::new(format!("{base}-{account}")));
    let numbered = (2..).map(|number| ProfileId::new(format!("{base}-{number}")));
    let mut candidates = std::iter::once(base.clone()).chain(with_account).chain(numbered);
    // There are more numbers than profiles.
    let id = candidates.find(is_free).unwrap_or(base);
    ProfileName { id, taken: requested.cloned() }
}

/// `<provider>:<name>`.
pub fn default_profile_id(provider: &ProviderId, name: &str) -> ProfileId {
    ProfileId::new(format!("{provider}:{}", auth_store::trim(name)))
}

/// Whether `holder` is provably not the account of `login`: the account ids differ, or the e-mail
/// addresses do, or it is no login at all. What is not known differs from nothing.
fn is_another(holder: &Profile, login: &Login) -> bool {
    let differ = |a: Option<&str>, b: Option<&str>| matches!((a, b), (Some(a), Some(b)) if a != b);
    holder.provider != login.provider
        || holder.kind == Kind::ApiKey
        || differ(holder.account_id.as_deref(), login.account_id.as_deref())
        || differ(holder.email.as_deref(), login.email.as_deref())
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect()
}
