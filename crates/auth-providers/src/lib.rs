//! Logging in, refreshing and revoking: providers as data, one driver per flow.

mod address;
mod answer;
mod http;
mod oauth;
mod provider;
mod registry;
mod reqwest_client;
mod text;

pub use answer::{Answer, MergeError, Tokens, retry_after};
pub use http::{
    Gate, HttpClient, HttpError, HttpRequest, HttpResponse, LARGEST_BODY, Method, Sending,
};
pub use oauth::{Missing, RefreshTarget, TargetError, TokenEndpoint};
pub use provider::{
    ClientAuth, Device, Endpoints, Flow, Identity, IdentitySource, Looks, Origin, Provider,
    RedirectData, TokenBody, Yields,
};
pub use registry::{EnvKey, ManifestError, Providers};
pub use reqwest_client::ReqwestClient;
