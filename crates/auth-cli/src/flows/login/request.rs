//! What a login is asked to do.

use auth_providers::Provider;

use crate::flows::paste::PasteRequest;

/// A login, or the first or second half of one.
#[derive(Clone, Debug, Default)]
pub struct LoginRequest {
    /// The provider; `None`: the user is asked.
    pub provider: Option<String>,
    /// The way to log in, where the provider has several.
    pub method: Option<String>,
    /// The host, where the provider has one for each customer.
    pub host: Option<String>,
    /// The profile to store the login as; `None`: `<provider>:<email>`.
    pub profile_id: Option<String>,
    /// The address is printed, and no browser opened.
    pub no_browser: bool,
    /// The login is only begun: its address or code is printed.
    pub start: bool,
    /// The provider's suggested model becomes the default one.
    pub set_default: bool,
    /// A profile of another account is replaced.
    pub force: bool,
}

impl LoginRequest {
    /// The token that is pasted instead, where that is the way of `provider`.
    pub(super) fn pasted_token(&self, provider: &Provider) -> PasteRequest {
        let of = PasteRequest::setup_token(provider.id.as_str(), self.profile_id.as_deref());
        PasteRequest { force: self.force, ..of }
    }

    /// The same of an API key.
    pub(super) fn pasted_key(&self, provider: &Provider) -> PasteRequest {
        let of = PasteRequest::api_key(provider.id.as_str(), self.profile_id.as_deref());
        PasteRequest { force: self.force, ..of }
    }
}
