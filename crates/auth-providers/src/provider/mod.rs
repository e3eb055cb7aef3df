//! A provider as data: the catalogue's entries and the users' manifests.

pub(crate) mod destinations;
pub(crate) mod executable;
pub(crate) mod manifest;
pub(crate) mod probe_request;
pub(crate) mod registry;

use std::collections::BTreeMap;
use std::path::PathBuf;

use auth_pkce::Redirect;
use auth_store::{ProviderId, Secret, VariableName};
use serde::{Deserialize, Deserializer, Serialize};

use crate::http::address;
use crate::http::destination::Destinations;
use crate::provider::probe_request::Probe;

/// The description of a provider. Adding a provider adds data, not control flow.
///
/// A manifest uses the names of these fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its canonical id.
    pub id: ProviderId,
    /// The name for people; the id by default.
    #[serde(default)]
    pub label: String,
    /// Other names that a user may type.
    #[serde(default, deserialize_with = "null_is_default")]
    pub aliases: Vec<String>,
    /// The built-in provider whose entry this manifest changes.
    #[serde(default)]
    pub extends: Option<ProviderId>,
    /// The ways to log in, the preferred one first.
    pub flows: Vec<Flow>,
    /// The issuer. No endpoints are needed if the server publishes metadata (RFC 8414, `OpenID`
    /// Connect Discovery).
    #[serde(default)]
    pub issuer: Option<String>,
    /// The endpoints. One written here takes precedence over a discovered one.
    #[serde(default, deserialize_with = "null_is_default")]
    pub endpoints: Endpoints,
    /// The public client id, or the one from the environment.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Variables that replace the client id; the first one that is set is used.
    #[serde(default, deserialize_with = "null_is_default")]
    pub client_id_env: Vec<VariableName>,
    /// Variables that contain a client secret. None is ever shipped.
    #[serde(default, deserialize_with = "null_is_default")]
    pub client_secret_env: Vec<VariableName>,
    /// Whether nothing works without a client secret of the user's own.
    #[serde(default)]
    pub client_secret_required: bool,
    /// How a client secret is presented.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The scopes to request.
    #[serde(default, deserialize_with = "null_is_default")]
    pub scopes: Vec<String>,
    /// Variables that replace the scopes, separated by spaces.
    #[serde(default, deserialize_with = "null_is_default")]
    pub scopes_env: Vec<VariableName>,
    /// The redirect URI.
    #[serde(default)]
    pub redirect: Option<RedirectData>,
    /// Variables that replace the redirect, as one `http://127.0.0.1:PORT/PATH`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub redirect_uri_env: Vec<VariableName>,
    /// Additional parameters of the authorization URL.
    #[serde(default, deserialize_with = "null_is_default")]
    pub authorize_params: BTreeMap<String, String>,
    /// Additional parameters of every token request.
    #[serde(default, deserialize_with = "null_is_default")]
    pub token_params: BTreeMap<String, String>,
    /// The encoding of the body of a token request.
    #[serde(default)]
    pub token_body: TokenBody,
    /// The same of a revocation, where that is another one.
    #[serde(default)]
    pub revocation_body: Option<TokenBody>,
    /// The host that a login asks for: it stands for `{host}` in the addresses.
    #[serde(default)]
    pub prompt_host: Option<PromptHost>,
    /// Since when the provider gives out no logins any more, and what to use instead.
    #[serde(default)]
    pub discontinued: Option<Discontinued>,
    /// How device logins of this provider deviate from RFC 8628.
    #[serde(default, deserialize_with = "null_is_default")]
    pub device: Device,
    /// Where the account is found.
    #[serde(default, deserialize_with = "null_is_default")]
    pub identity: Identity,
    /// Members of a token response that are stored in the profile: field name → JSON pointer.
    #[serde(default, deserialize_with = "null_is_default")]
    #[serde(rename = "answer_fields")]
    pub response_fields: BTreeMap<String, String>,
    /// The member of a token response with the lifetime: by default `expires_in`, in seconds.
    /// Another member may have seconds from now, or a timestamp in seconds or milliseconds; the
    /// size of the number tells which.
    #[serde(default)]
    pub expires_field: Option<String>,
    /// Error codes that refuse the refresh token itself, in addition to the standard ones.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rejected_codes: Vec<String>,
    /// Statuses that refuse the refresh token itself, whatever the code in their JSON, unless it
    /// speaks of the client or is transient: `401`, or `"4xx"`. A page of what stands before the
    /// issuer never does, and a success only with an error in it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rejected_statuses: Vec<Statuses>,
    /// Error codes that say nothing about the refresh token: ask again later.
    #[serde(default, deserialize_with = "null_is_default")]
    pub transient_codes: Vec<String>,
    /// Where an error stands, if not where RFC 6749 has it.
    #[serde(default)]
    pub error_at: Option<ErrorPlace>,
    /// Whether its refresh tokens can be used here.
    #[serde(default = "yes")]
    pub refreshable: bool,
    /// Whether a refresh whose response was lost is sent again with the same token.
    #[serde(default = "yes")]
    pub replay_after_lost_response: bool,
    /// Whether a login revokes the token it replaces (RFC 7009 lets a server revoke the whole
    /// grant).
    #[serde(default)]
    pub revoke_superseded: bool,
    /// Whether a user may paste a code without its state.
    #[serde(default)]
    pub bare_code: bool,
    /// The part after the colon in a new profile's id, instead of `default`.
    #[serde(default)]
    pub profile_name: Option<String>,
    /// The model to suggest after a login, as `provider/model`.
    #[serde(default)]
    pub default_model: Option<String>,
    /// What a pasted token looks like.
    #[serde(default, deserialize_with = "null_is_default")]
    pub token: Looks,
    /// What a pasted API key looks like.
    #[serde(default, deserialize_with = "null_is_default")]
    pub api_key: Looks,
    /// How to ask whether a credential works.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// The API of its models, as `auth-gateway` reads it (`ApiData`).
    #[serde(default)]
    pub api: Option<serde_json::Value>,
    /// Variables with a key or token; the first one that is set is used.
    #[serde(default, deserialize_with = "null_is_default")]
    pub env: Vec<VariableName>,
    /// Whether PKCE with S256 is known to work although the issuer's metadata does not list it.
    #[serde(default)]
    pub assume_pkce: bool,
    /// The absolute path of the plugin.
    #[serde(default)]
    pub command: Option<PathBuf>,

    /// The client secret from the environment.
    #[serde(skip)]
    pub client_secret: Option<Secret>,
    /// The source of the entry.
    #[serde(skip)]
    pub origin: Origin,
    /// Whether the issuer's metadata promises to name the issuer in each authorization response
    /// (RFC 9207 §3).
    #[serde(skip)]
    pub names_issuer: bool,
    /// The catalogue's entry for this id, if there is one: refresh tokens without a recorded
    /// endpoint belong there, whatever a manifest changes.
    #[serde(skip)]
    pub(crate) builtin: Option<Builtin>,
}

/// A way to log in. Each one has its own driver.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Authorization code with PKCE (RFC 6749 §4.1, RFC 7636, RFC 8252).
    AuthorizationCode,
    /// Authorization code with PKCE whose exchange yields an API key.
    AuthorizationCodeKey,
    /// Device code (RFC 8628).
    DeviceCode,
    /// OpenAI's own device flow.
    DeviceCodeOpenai,
    /// MiniMax's own device flow.
    DeviceCodeMinimax,
    /// A token that a user pastes.
    Token,
    /// An API key that a user pastes.
    ApiKey,
    /// A plugin, that is, another program.
    Plugin,
}

impl Flow {
    /// Whether the user enters a code on another device.
    pub fn is_device_code(self) -> bool {
        matches!(self, Self::DeviceCode | Self::DeviceCodeOpenai | Self::DeviceCodeMinimax)
    }
}

/// The endpoints of a provider: `https`, or `http` on a loopback host.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// The authorization endpoint (RFC 6749 §3.1).
    #[serde(default)]
    pub authorization: Option<String>,
    /// The token endpoint, for codes and refresh tokens (RFC 6749 §3.2).
    #[serde(default)]
    pub token: Option<String>,
    /// The device authorization endpoint (RFC 8628 §3.1).
    #[serde(default)]
    pub device_authorization: Option<String>,
    /// The revocation endpoint (RFC 7009 §2).
    #[serde(default)]
    pub revocation: Option<String>,
    /// The userinfo endpoint (`OpenID` Connect Core §5.3).
    #[serde(default)]
    pub userinfo: Option<String>,
}

/// A loopback redirect URI.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RedirectData {
    /// `127.0.0.1` or `localhost`, as registered.
    pub host: String,
    /// The registered ports, tried in turn; an empty list means any free port (RFC 8252 §7.3).
    #[serde(default)]
    pub ports: Vec<u16>,
    /// The path.
    pub path: String,
}

/// The encoding of the body of a token request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum TokenBody {
    /// `application/x-www-form-urlencoded` (RFC 6749 §4.1.3).
    #[default]
    Form,
    /// A JSON object of strings.
    Json,
}

/// How a client secret is presented (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In the body, as `client_secret`.
    #[default]
    Post,
    /// In the `Authorization` header field.
    Basic,
}

/// A status, or all of one class.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "serde_json::Value")]
pub struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    pub(crate) fn contain(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl TryFrom<serde_json::Value> for Statuses {
    type Error = &'static str;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        let one = value.as_u64().and_then(|status| u16::try_from(status).ok());
        if let Some(status) = one.filter(|status| (100..600).contains(status)) {
            return Ok(Self { first: status, last: status });
        }
        match value.as_str() {
            Some("4xx") => Ok(Self { first: 400, last: 499 }),
            _ => Err("use a status such as 401, or \"4xx\""),
        }
    }
}

/// Where an error stands in a response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorPlace {
    /// The code, text or number: a JSON pointer.
    pub code: String,
    /// The explanation: a JSON pointer.
    #[serde(default)]
    pub description: Option<String>,
    /// The member that says whether it worked, and what it says then. Without it, a code of zero
    /// is no error.
    #[serde(default)]
    pub success: Option<(String, String)>,
}

/// A host that a login asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptHost {
    /// One as it may look, for the question.
    pub example: String,
    /// How it must end.
    #[serde(default)]
    pub suffix: Option<String>,
    /// The field of the profile that keeps it.
    pub field: String,
}

/// A provider that gives out no logins any more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discontinued {
    /// The day, as `2026-04-15`.
    pub since: String,
    /// What to use instead.
    pub instead: String,
}

/// How a device login deviates from RFC 8628.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// Whether the request carries a PKCE challenge.
    pub pkce: bool,
    /// Whether the request has a unique id in the header field `x-request-id`.
    pub request_id: bool,
    /// The address to poll, if not the token endpoint.
    pub poll: Option<String>,
    /// The page where the user enters the code, if the response names none.
    pub verification_uri: Option<String>,
    /// The redirect URI of the token exchange at the end, if there is one.
    pub redirect_uri: Option<String>,
    /// Seconds between polls, if the response names none (RFC 8628 §3.2: 5).
    pub interval: Option<u32>,
    /// The lifetime of the code in seconds, if the response names none.
    pub lifetime: Option<u32>,
    /// What a device login yields.
    pub yields: Yields,
}

/// What a device login yields.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Yields {
    /// An access token and a refresh token.
    #[default]
    Oauth,
    /// A token that is never refreshed.
    Token,
}

/// Where the account is found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// The document that has the account; `None` if the entry does not say.
    pub source: Option<IdentitySource>,
    /// The account id, which identifies the account: a JSON pointer (RFC 6901).
    pub account: Option<String>,
    /// The e-mail address, which is only a label: a JSON pointer.
    pub email: Option<String>,
    /// Additional values that are stored in the profile: field name → JSON pointer.
    pub fields: BTreeMap<String, String>,
}

/// The document that has the account.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum IdentitySource {
    /// The claims of the ID token (`OpenID` Connect Core §2).
    IdToken,
    /// The claims of the access token, if it is a JWT.
    AccessToken,
    /// The response of the userinfo endpoint.
    Userinfo,
}

/// What a pasted secret looks like. A mismatch is a reason to warn, never to refuse it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Looks {
    /// The expected prefix.
    pub prefix: Option<String>,
    /// The shortest known length in characters.
    pub shortest: Option<usize>,
    /// The longest known length in characters.
    pub longest: Option<usize>,
    /// The command that prints a token or key.
    pub obtain: Option<String>,
}

/// The source of a provider's entry.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Origin {
    /// The catalogue.
    #[default]
    BuiltIn,
    /// A manifest.
    Manifest(PathBuf),
    /// A plugin without a manifest.
    Plugin(PathBuf),
}

/// The catalogue's values for an id that a manifest may have changed.
#[derive(Clone, Debug)]
pub(crate) struct Builtin {
    pub(crate) token_endpoint: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret_env: Vec<VariableName>,
    pub(crate) destinations: Destinations,
}

/// A field with an error, and the reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) field: String,
    pub(crate) reason: String,
}

impl Provider {
    /// Whether `name` is the id or an alias of this provider.
    pub fn is_called(&self, name: &ProviderId) -> bool {
        self.id == *name || self.aliases.iter().any(|alias| ProviderId::new(alias) == *name)
    }

    /// Whether there is a login through a browser or with a device code, so that a profile of type
    /// `oauth` can come from it.
    pub fn has_oauth_login(&self) -> bool {
        self.flows.iter().any(|flow| !matches!(flow, Flow::Token | Flow::ApiKey))
    }

    /// Whether its logins can be renewed here, with what the user has set.
    pub fn can_refresh(&self) -> bool {
        let has_secret = !self.client_secret_required || self.client_secret.is_some();
        self.refreshable && self.has_oauth_login() && has_secret
    }

    /// The redirect of the authorization code login: by default any free port of `127.0.0.1`.
    pub fn redirect(&self) -> Result<Redirect, auth_pkce::RedirectError> {
        match &self.redirect {
            Some(data) => Redirect::new(&data.host, data.ports.clone(), &data.path),
            None => Redirect::new("127.0.0.1", Vec::new(), "/callback"),
        }
    }

    /// The same provider at the host that the user named: a name, or an address that was pasted.
    ///
    /// # Errors
    /// It is no host, or none of this provider's.
    pub fn at_host(&self, named: &str) -> Result<Self, String> {
        let Some(prompt) = &self.prompt_host else { return Ok(self.clone()) };
        let named = auth_store::trim(named).trim_end_matches('/');
        let name = named.to_ascii_lowercase();
        let name = name.strip_prefix("https://").unwrap_or(&name);
        let is_name = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_theirs = prompt.suffix.as_ref().is_none_or(|suffix| {
            name.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.'))
        });
        if !name.split('.').all(is_name) || !name.contains('.') || !is_theirs {
            let shown = crate::text::clean(named);
            return Err(format!("`{shown}` is no host such as `{}`", prompt.example));
        }
        let mut provider = self.clone();
        let endpoints = &mut provider.endpoints;
        for url in [
            &mut endpoints.authorization,
            &mut endpoints.token,
            &mut endpoints.device_authorization,
            &mut endpoints.revocation,
            &mut endpoints.userinfo,
            &mut provider.device.poll,
            &mut provider.device.verification_uri,
            &mut provider.issuer,
        ] {
            *url = url.take().map(|url| url.replace(HOST, name));
        }
        Ok(provider)
    }

    /// Checks what types cannot say. The first wrong field is the result.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        let id = self.id.as_str();
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if id.is_empty() || !id.chars().all(is_plain) || id.starts_with('.') {
            return Err(wrong("id", "only letters, digits, `.`, `_` and `-` are allowed"));
        }
        if self.flows.is_empty() {
            return Err(wrong("flows", "it names no way to log in"));
        }
        for (field, url) in [
            ("issuer", &self.issuer),
            ("endpoints.authorization", &self.endpoints.authorization),
            ("endpoints.token", &self.endpoints.token),
            ("endpoints.device_authorization", &self.endpoints.device_authorization),
            ("endpoints.revocation", &self.endpoints.revocation),
            ("endpoints.userinfo", &self.endpoints.userinfo),
            ("device.poll", &self.device.poll),
            ("probe.url", &self.probe.as_ref().map(|probe| probe.url.clone())),
            ("device.verification_uri", &self.device.verification_uri),
        ] {
            let Some(url) = url else { continue };
            let url = match &self.prompt_host {
                Some(prompt) => url.replace(HOST, &prompt.example),
                None => url.clone(),
            };
            address::parse(&url).map_err(|reason| wrong(field, reason))?;
        }
        if let Err(error) = self.redirect() {
            return Err(wrong("redirect", &error.to_string()));
        }
        if let Some(api) = &self.api {
            let base = api.get("base").and_then(serde_json::Value::as_str);
            let base = base.ok_or_else(|| wrong("api.base", "it is missing"))?;
            address::parse(base).map_err(|reason| wrong("api.base", reason))?;
        }
        let pointers = [("identity.account", &self.identity.account)];
        for (field, pointer) in
            pointers.into_iter().chain([("identity.email", &self.identity.email)])
        {
            if pointer.as_ref().is_some_and(|pointer| !pointer.starts_with('/')) {
                return Err(wrong(field, "a JSON pointer begins with `/`"));
            }
        }
        for (field, pointers) in
            [("identity.fields", &self.identity.fields), ("answer_fields", &self.response_fields)]
        {
            if pointers.values().any(|pointer| !pointer.starts_with('/')) {
                return Err(wrong(field, "a JSON pointer begins with `/`"));
            }
        }
        for name in self.authorize_params.keys() {
            if auth_pkce::is_reserved_parameter(name) {
                return Err(wrong(
                    &format!("authorize_params.{name}"),
                    "this parameter is set by the login itself",
                ));
            }
        }
        for name in self.token_params.keys() {
            if RESERVED.contains(&name.as_str()) {
                return Err(wrong(
                    &format!("token_params.{name}"),
                    "this parameter is set by the login itself",
                ));
            }
        }
        self.check_flows()
    }

    fn check_flows(&self) -> Result<(), Wrong> {
        if self.command.is_some() && !self.flows.contains(&Flow::Plugin) {
            return Err(wrong("command", "it is only for the flow `plugin`"));
        }
        for flow in &self.flows {
            let (start, needs_client) = match flow {
                Flow::AuthorizationCode => {
                    (Some(("endpoints.authorization", &self.endpoints.authorization)), true)
                }
                Flow::AuthorizationCodeKey => {
                    (Some(("endpoints.authorization", &self.endpoints.authorization)), false)
                }
                Flow::DeviceCode | Flow::DeviceCodeOpenai | Flow::DeviceCodeMinimax => {
                    let endpoint = &self.endpoints.device_authorization;
                    (Some(("endpoints.device_authorization", endpoint)), true)
                }
                Flow::Token | Flow::ApiKey => (None, false),
                Flow::Plugin => {
                    if self.command.as_ref().is_some_and(|command| !command.is_absolute()) {
                        return Err(wrong("command", "it is not an absolute path"));
                    }
                    (None, false)
                }
            };
            if let Some((field, endpoint)) = start
                && self.issuer.is_none()
            {
                for (field, endpoint) in
                    [(field, endpoint), ("endpoints.token", &self.endpoints.token)]
                {
                    if endpoint.is_none() {
                        return Err(wrong(field, "it is missing, and there is no `issuer` to ask"));
                    }
                }
            }
            if needs_client && self.client_id.is_none() && self.client_id_env.is_empty() {
                return Err(wrong("client_id", "it is missing, and `client_id_env` is empty"));
            }
        }
        Ok(())
    }
}

pub(crate) fn wrong(field: &str, reason: &str) -> Wrong {
    Wrong { field: field.to_owned(), reason: reason.to_owned() }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Stands for the host that a login asks for.
pub(crate) const HOST: &str = "{host}";

fn yes() -> bool {
    true
}

/// Parameters of a token request that no provider entry may set.
const RESERVED: [&str; 9] = [
    "grant_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "device_code",
    "scope",
];
