//! What came back for a refresh token, from an endpoint or from a plugin.

use auth_store::Timestamp;

use crate::http;
use crate::oauth::response::Answer;
use crate::plugin;
use crate::provider::Provider;

impl Provider {
    /// Reads the answer of a token endpoint to a code or a refresh token, received at `now`, or
    /// that of a plugin.
    ///
    /// Refused is only what an explicit error code refuses; everything that proves nothing is
    /// [`Answer::Unavailable`]: 408, 425, 429, 5xx, redirects, pages of captive portals, empty
    /// errors, unknown codes. Its texts are without the client secret, should the issuer repeat
    /// it; what else was sent, [`Answer::without`] takes out.
    pub fn read_answer(
        &self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
        if status == http::NO_STATUS {
            return self.without_client_secret(plugin::read_answer(self, body, now));
        }
        self.read_token_response(status, headers, body, now)
    }
}
