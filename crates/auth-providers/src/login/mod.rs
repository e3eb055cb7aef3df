//! Logging in: in a browser, with a device code, or by pasting.

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

/// A login that succeeded and is not saved yet.
#[derive(Clone, Debug)]
pub struct Login {
    /// Whose it is.
    pub provider: ProviderId,
    /// What to store.
    pub credential: Credential,
    /// The account at the issuer, if it said one.
    pub account_id: Option<String>,
    /// The e-mail address, if the issuer said one.
    pub email: Option<String>,
    /// Further members of the profile.
    pub fields: Map<String, Value>,
    /// What the person should know, as sentences.
    pub warnings: Vec<String>,
}

/// A login, and the browser that waits to be told that it is saved.
#[derive(Debug)]
pub struct Finished {
    /// What to save.
    pub login: Login,
    /// The browser, if the answer came through it.
    pub browser: Option<Browser>,
}

/// The person, as a login sees them. Every method returns at once, but for
/// [`pasted`](Self::pasted).
pub trait LoginUi: Send + Sync {
    /// The login has begun: show the address, open a browser, ask for the paste.
    fn begin(&self, begun: &Begun<'_>);

    /// The answer of the person: what they paste next. `None`: nobody will paste anything any
    /// more. The login then goes on as long as the listener can still be reached.
    fn pasted(&self) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>>;

    /// What was pasted is not the answer; they may try again.
    fn refused(&self, error: &CallbackError);

    /// The answer is there; the code is being exchanged.
    fn exchanging(&self);

    /// A login by device code has begun: show the code and the address.
    fn show_code(&self, prompt: &DevicePrompt<'_>);

    /// Whether the provider is being asked right now if somebody entered the code. While it is,
    /// tokens may be on their way, so the login should not be ended.
    fn polling(&self, is_asking: bool);
}

/// What the person is shown when a login begins.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// Where to send the browser.
    pub url: &'a str,
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// Why nothing listens there, so that pasting is the only way.
    pub unbound: Option<&'a BindError>,
}

/// What the person is shown when a login by device code begins.
#[derive(Clone, Copy, Debug)]
pub struct DevicePrompt<'a> {
    /// What they type there. Shown alone, to be compared.
    pub user_code: &'a str,
    /// Where they type it.
    pub verification_uri: &'a str,
    /// The same place with the code in it, if there is one (RFC 8628 §3.3.1).
    pub verification_uri_complete: Option<&'a str>,
    /// An address that may be opened without asking: one of the provider's own.
    pub openable: Option<&'a str>,
    /// How long the code is good for.
    pub lifetime: Duration,
}

impl Finished {
    /// Tells the browser that the login is saved.
    pub async fn succeed(self) {
        if let Some(browser) = self.browser {
            browser.succeed().await;
        }
    }

    /// Tells the browser that the login is not kept: it is another account's.
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

/// Of one request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
