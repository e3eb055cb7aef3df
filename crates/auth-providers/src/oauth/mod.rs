//! OAuth and `OpenID` Connect as values: requests, responses, tokens, discovery.

pub(crate) mod discovery;
pub(crate) mod endpoint;
pub(crate) mod id_token;
pub(crate) mod numbers;
pub(crate) mod probe;
pub(crate) mod response;
pub(crate) mod tokens;
pub(crate) mod unread;
