//! The request for a login.

use auth_providers::Provider;

use crate::flows::paste::PasteRequest;

/// A login, or the first or second half of one.
#[derive(Clone, Debug, Default)]
pub struct LoginRequest {
    /// The provider; `None` to ask the user.
    pub provider: Option<String>,
    /// The login method, if the provider has several.
    pub method: Option<String>,
    /// The host, where the provider has one for each customer.
    pub host: Option<String>,
    /// The profile to store the login as; `None`: `<provider>:<email>`.
    pub profile_id: Option<String>,
    /// Print the address, and open no browser.
    pub no_browser: bool,
    /// Only begin the login: print its address or code.
    pub start: bool,
    /// Make the provider's suggested model the default.
    pub set_default: bool,
    /// Replace a profile of another account.
    pub force: bool,
}

impl LoginRequest {
    /// The request to paste a token, for providers that use one.
    pub(super) fn pasted_token(&self, provider: &Provider) -> PasteRequest {
        let of = PasteRequest::setup_token(provider.id.as_str(), self.profile_id.as_deref());
        PasteRequest { force: self.force, ..of }
    }

    /// The request to paste an API key, for providers that use one.
    pub(super) fn pasted_key(&self, provider: &Provider) -> PasteRequest {
        let of = PasteRequest::api_key(provider.id.as_str(), self.profile_id.as_deref());
        PasteRequest { force: self.force, ..of }
    }
}
