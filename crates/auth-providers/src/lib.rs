//! Logging in, refreshing and revoking, for any provider that speaks OAuth.
//!
//! A [`Provider`] is data: an entry of the built-in catalogue, or a manifest that a user wrote.
//! [`Providers`] holds all of them. Functions with side effects take the outside world as
//! parameters: the network is an [`HttpClient`] ([`ReqwestClient`], or any closure), the time a
//! [`Clock`](auth_store::Clock), the user a [`LoginUi`], and random bytes are an argument.
//!
//! * [`login()`] opens a browser and waits for it, while the user may also paste the response.
//!   [`PendingLogins`] does the same in two steps, in two processes.
//! * [`refresh`](mod@refresh) refreshes a login: one request, no matter how many processes ask.
//! * [`Provider::revoke`] revokes a login at the issuer.
//! * [`plugin`] is for providers that are separate programs.
//! * [`pasted`] reads a token or key that a user pasted.
//!
//! This crate does not print, prompt, read the environment or put a secret in an error. No client
//! secret is shipped.
//!
//! # Talking to a token endpoint
//!
//! Requests and responses are values, so they can be inspected and tested without a network:
//!
//! ```
//! use std::time::Duration;
//! use auth_providers::{TokenResponse, Providers};
//! use auth_store::{OAuthCredential, ProviderId, Timestamp};
//!
//! let providers = Providers::load(None, &|_variable| None);
//! let codex = providers.find(&ProviderId::new("codex")).ok_or("not in the catalogue")?;
//!
//! // Where may this refresh token be sent to, and what is sent?
//! let login = OAuthCredential { refresh: "old".into(), ..OAuthCredential::default() };
//! let target = codex.refresh_target(&login)?;
//! let request = target.request(&login.refresh, Duration::from_secs(12));
//! assert_eq!(request.url(), "https://auth.openai.com/oauth/token");
//!
//! // What does the response mean, and what is the login then?
//! let received_at = Timestamp(1_800_000_000_000);
//! let body = br#"{"access_token": "new", "expires_in": 3600}"#;
//! let TokenResponse::Tokens(tokens) = codex.read_response(200, &[], body, received_at) else {
//!     return Err("no tokens".into());
//! };
//! let renewed = tokens.merge(&login, received_at)?;
//! assert_eq!(renewed.refresh.expose(), "old");
//! assert_eq!(renewed.expires, Some(received_at.plus(Duration::from_secs(3600))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/login.rs` performs a real login, with a manifest of your own.

mod backend;
mod http;
mod login;
mod oauth;
pub mod plugin;
mod provider;
pub mod refresh;
mod text;
pub mod token_source;

pub use backend::target::RefreshTarget;
pub use http::destination::{Destinations, ForeignDestination};
pub use http::proxy::Proxy;
pub use http::reqwest_client::ReqwestClient;
pub use http::runtime::runtime;
pub use http::{
    Gate, HttpClient, HttpError, HttpRequest, HttpResponse, LARGEST_BODY, Method, Sending,
};
pub use login::authorization::PendingAuthorization;
pub use login::browser::{LOGIN_TIMEOUT, login, resolve};
pub use login::device::{DeviceLogin, RealTime, Waiting, device_login};
pub use login::error::LoginError;
pub use login::key_value::{KeyValue, PasteError, Removed, key_value};
pub use login::pasted::{Pasted, pasted};
pub use login::pending::{Answered, DeviceCode, PENDING_LIFETIME, Pending, PendingLogins, Way};
pub use login::profile_id::{TakenProfile, default_profile_id, profile_name};
pub use login::{Begun, DevicePrompt, Finished, Login, LoginUi};
pub use oauth::discovery::{DiscoveryError, Metadata, discover};
pub use oauth::endpoint::{Missing, TargetError, TokenEndpoint};
pub use oauth::probe::Probed;
pub use oauth::response::{TokenResponse, retry_after};
pub use oauth::tokens::{MergeError, Tokens, earlier_end};
pub use provider::probe_request::Probe;
pub use provider::registry::{EnvKey, ManifestError, Providers};
pub use provider::{
    ClientAuth, Device, Discontinued, Endpoints, ErrorPlace, Flow, Identity, IdentitySource, Looks,
    Origin, PromptHost, Provider, RedirectData, Statuses, TokenBody, Yields,
};
