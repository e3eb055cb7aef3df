//! The response to a refresh token, from an endpoint or from a plugin.

use auth_store::Timestamp;

use crate::http;
use crate::oauth::response::TokenResponse;
use crate::plugin;
use crate::provider::Provider;

impl Provider {
    /// Reads the response of a token endpoint to a code or a refresh token, received at `now`, or
    /// the response of a plugin.
    ///
    /// Only an explicit error code counts as a refusal. Everything that proves nothing is
    /// [`TokenResponse::Unavailable`]: 408, 425, 429, 5xx, redirects, captive portal pages, empty
    /// errors, unknown codes. The texts never contain the client secret, even if the issuer repeats
    /// it; use [`TokenResponse::without`] to remove anything else that was sent.
    pub fn read_response(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> TokenResponse {
        if status == http::NO_STATUS {
            return self.without_client_secret(plugin::read_response(self, body, now));
        }
        self.read_token_response(status, headers, body, now)
    }
}
