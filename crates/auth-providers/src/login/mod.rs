//! Login in a browser, with a device code, or by pasting.

pub(crate) mod authorization;
pub(crate) mod browser;
pub(crate) mod device;
pub(crate) mod device_code;
pub(crate) mod error;
pub(crate) mod key_value;
pub(crate) mod pasted;
pub(crate) mod pending;
pub(crate) mod profile_id;
pub(crate) mod token_exchange;

use std::pin::Pin;
use std::time::Duration;

use auth_pkce::{BindError, Browser, CallbackError, Failure};
use auth_store::{Credential, ProviderId};
use serde_json::{Map, Value};

/// A successful login that is not saved yet.
#[derive(Clone, Debug)]
pub struct Login {
    /// The provider of the login.
    pub provider: ProviderId,
    /// The credential to store.
    pub credential: Credential,
    /// The account id at the issuer, if the response has one.
    pub account_id: Option<String>,
    /// The e-mail address, if the response has one.
    pub email: Option<String>,
    /// Additional members of the profile.
    pub fields: Map<String, Value>,
    /// Messages for the user, as sentences.
    pub warnings: Vec<String>,
}

/// A login, and the browser that waits for the result of saving it.
#[derive(Debug)]
pub struct Finished {
    /// The login to save.
    pub login: Login,
    /// The browser, if the response came through it.
    pub browser: Option<Browser>,
}

/// The user interface of a login. Every method returns at once, except [`pasted`](Self::pasted).
pub trait LoginUi: Send + Sync {
    /// The login has started: show the address, open a browser, ask for the paste.
    fn begin(&self, begun: &Begun<'_>);

    /// The next text that the user pastes. `None`: the user will paste nothing more; the login then
    /// continues as long as the listener can be reached.
    fn pasted(&self) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>>;

    /// The pasted text is not the response; the user may try again.
    fn refused(&self, error: &CallbackError);

    /// The response has arrived; the code is being exchanged.
    fn exchanging(&self);

    /// A device login has started: show the code and the address.
    fn show_code(&self, prompt: &DevicePrompt<'_>);

    /// Whether a poll is in progress. During a poll, tokens may be in transit, so the login should
    /// not be ended.
    fn polling(&self, is_asking: bool);
}

/// What to show the user when a login starts.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// The authorization URL for the browser.
    pub url: &'a str,
    /// The redirect URI.
    pub redirect_uri: &'a str,
    /// Why there is no listener at that address, so that pasting is the only way.
    pub unbound: Option<&'a BindError>,
}

/// What to show the user when a device login starts.
#[derive(Clone, Copy, Debug)]
pub struct DevicePrompt<'a> {
    /// The code to enter at the provider. It is also shown alone, so that the user can compare it.
    pub user_code: &'a str,
    /// The address where the user enters the code.
    pub verification_uri: &'a str,
    /// The same address with the code included, if there is one (RFC 8628 §3.3.1).
    pub verification_uri_complete: Option<&'a str>,
    /// An address that may be opened without asking, because it belongs to the provider.
    pub openable: Option<&'a str>,
    /// How long the code is valid.
    pub lifetime: Duration,
}

impl Finished {
    /// Tells the browser that the login is saved.
    pub async fn succeed(self) {
        if let Some(browser) = self.browser {
            browser.succeed().await;
        }
    }

    /// Tells the browser that the login is not kept because it belongs to another account.
    pub async fn refuse(self) {
        if let Some(browser) = self.browser {
            browser.fail(Failure::Denied).await;
        }
    }

    /// Tells the browser that the login could not be saved.
    pub async fn fail(self) {
        if let Some(browser) = self.browser {
            browser.fail(Failure::NotSaved).await;
        }
    }
}

/// Applies to a single request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
