//! Logging in, refreshing and revoking: providers as data, one driver per flow.

mod address;
mod answer;
mod discovery;
mod http;
mod login;
mod naming;
mod oauth;
mod pasted;
mod pending;
mod provider;
pub mod refresh;
mod registry;
mod reqwest_client;
mod revoke;
mod text;

pub use answer::{Answer, MergeError, Tokens, retry_after};
pub use discovery::{DiscoveryError, Metadata, discover};
pub use http::{
    Gate, HttpClient, HttpError, HttpRequest, HttpResponse, LARGEST_BODY, Method, Sending,
};
pub use login::{Begun, Departure, Finished, Login, LoginError, LoginUi, PATIENCE, login, resolve};
pub use naming::{ProfileName, default_profile_id, profile_name};
pub use oauth::{Missing, RefreshTarget, TargetError, TokenEndpoint};
pub use pasted::{PasteError, Pasted, pasted};
pub use pending::{PENDING_LIFETIME, Pending, PendingLogins};
pub use provider::{
    ClientAuth, Device, Endpoints, Flow, Identity, IdentitySource, Looks, Origin, Provider,
    RedirectData, TokenBody, Yields,
};
pub use registry::{EnvKey, ManifestError, Providers};
pub use reqwest_client::ReqwestClient;
pub use revoke::Revocation;
