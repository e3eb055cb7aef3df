//! A token on its way out, in the form that the asking tool reads.

use auth_providers::Providers;
use auth_routing::session::selector::ModelRef;
use auth_store::{Credential, Kind, ProfileId, ProviderId, Secret, Timestamp};
use serde_json::{Value, json};

use crate::commands::token::args::TokenFormat;
use crate::host::error::{CliError, Exit};
use crate::host::shell_quote::{option, shell_word};
use crate::host::text::{json_for_terminal, rfc3339};

/// A token, and what is known of it.
#[derive(Debug)]
pub struct Handed {
    /// Whose it is.
    pub provider: ProviderId,
    /// The profile it comes from; `None` if it is the environment's.
    pub profile: Option<ProfileId>,
    /// The agent that was asked.
    pub agent: String,
    /// Whether it is a key, a token or of a login.
    pub kind: Kind,
    /// The token itself.
    pub token: Secret,
    /// When it ends, where that is known.
    pub expires: Option<Timestamp>,
    /// `profile: <id>` or `env: <variable>`.
    pub source: String,
    /// The model it is for, where somebody named one.
    pub model: Option<ModelRef>,
    /// The model that was asked for, if it is another one.
    pub fallback_for: Option<ModelRef>,
}

impl Handed {
    /// The token of a profile.
    pub fn of(
        provider: &ProviderId,
        profile: &ProfileId,
        agent: &str,
        credential: &Credential,
    ) -> Self {
        Self {
            provider: provider.clone(),
            profile: Some(profile.clone()),
            agent: agent.to_owned(),
            kind: credential.kind(),
            token: sent(provider, credential),
            expires: credential.expires(),
            source: format!("profile: {profile}"),
            model: None,
            fallback_for: None,
        }
    }

    /// `oauth`, `token` or `api-key`.
    pub fn mode(&self) -> &'static str {
        match self.kind {
            Kind::OAuth => "oauth",
            Kind::Token => "token",
            Kind::ApiKey => "api-key",
        }
    }

    /// The whole output, so that it is one write.
    ///
    /// # Errors
    /// A token with a line break or another control character, which would be read as something
    /// else than it is (CVE-2020-5260): log in again. JSON says it as it is.
    pub fn rendered(
        &self,
        format: TokenFormat,
        providers: impl FnOnce() -> Providers,
    ) -> Result<String, CliError> {
        if format != TokenFormat::Json && !self.is_one_line() {
            return Err(self.not_one_line());
        }
        let token = self.token.expose();
        Ok(match format {
            TokenFormat::Raw => format!("{token}\n"),
            TokenFormat::Json => pretty(&self.json()),
            TokenFormat::Header => {
                let (name, scheme) = header(&self.provider, self.kind);
                format!("{name}: {scheme}{token}\n")
            }
            TokenFormat::Env => {
                format!("{}={}\n", self.variable(&providers()), shell_word(token))
            }
            TokenFormat::Git => self.git(),
            TokenFormat::ExecCredential => pretty(&self.exec_credential()),
            TokenFormat::Bazel => pretty(&self.bazel()),
        })
    }

    /// Whether it can be a line of a protocol.
    pub fn is_one_line(&self) -> bool {
        let token = self.token.expose();
        let is_odd = if token.is_ascii() {
            token.bytes().any(|byte| byte.is_ascii_control())
        } else {
            token.chars().any(auth_store::is_hostile)
        };
        !token.is_empty() && !is_odd
    }

    /// The error for a token that cannot.
    pub fn not_one_line(&self) -> CliError {
        let message = format!("the token of {} is not one line of text", self.source);
        CliError::new(Exit::LogInAgain, "unusable_token", message).hint(format!(
            "store it again: clawdbot models auth login{0}, or paste-token or paste-api-key{0}",
            option("--provider", &self.provider)
        ))
    }

    /// The variable in which this provider's tools expect such a token: the first of its entry
    /// that is meant for this kind, else `<PROVIDER>_API_KEY`.
    pub fn variable(&self, providers: &Providers) -> String {
        let names = providers.find(&self.provider).map_or(&[][..], |provider| &provider.env);
        let is_oauth = |name: &&String| name.contains("OAUTH_TOKEN");
        let wanted = names.iter().find(|name| is_oauth(name) != (self.kind == Kind::ApiKey));
        wanted.or_else(|| names.first()).cloned().unwrap_or_else(|| {
            let upper = self.provider.as_str().to_ascii_uppercase();
            let word = upper.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let safe = word.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{safe}_API_KEY")
        })
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "provider": self.provider,
            "profileId": self.profile,
            "agentId": self.agent,
            "mode": self.mode(),
            "token": self.token.expose(),
            "expires": self.expires,
            "source": self.source,
        });
        if let Some(model) = &self.model {
            value["model"] = model.to_string().into();
        }
        if let Some(model) = &self.fallback_for {
            value["fallbackFor"] = model.to_string().into();
        }
        value
    }

    /// The answer of a git credential helper (git-credential(1)).
    pub fn git(&self) -> String {
        let end =
            self.expires.map(|at| format!("password_expiry_utc={}\n", at.0.div_euclid(1_000)));
        format!("username=oauth2\npassword={}\n{}", self.token.expose(), end.unwrap_or_default())
    }

    /// What kubectl reads (client.authentication.k8s.io/v1).
    fn exec_credential(&self) -> Value {
        let mut status = json!({ "token": self.token.expose() });
        if let Some(expires) = self.expires {
            status["expirationTimestamp"] = rfc3339(expires).into();
        }
        json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": status,
        })
    }

    /// The answer of a credential helper of Bazel and uv.
    fn bazel(&self) -> Value {
        let (name, scheme) = header(&self.provider, self.kind);
        let mut headers = serde_json::Map::new();
        headers.insert(name.to_owned(), json!([format!("{scheme}{}", self.token.expose())]));
        let mut value = json!({ "headers": headers });
        if let Some(expires) = self.expires {
            value["expires"] = rfc3339(expires).into();
        }
        value
    }
}

/// What tools of `provider` expect for this credential: the token without the white space around
/// it, which no header can carry; for a Google login, JSON of token and project, as Clawdbot's.
pub fn sent(provider: &ProviderId, credential: &Credential) -> Secret {
    let token = auth_store::trim(credential.bearer().expose());
    match credential {
        Credential::OAuth(login) if WITH_PROJECT.contains(&provider.as_str()) => {
            let mut both = serde_json::Map::new();
            both.insert("token".to_owned(), token.into());
            if let Some(project) = &login.project_id {
                both.insert("projectId".to_owned(), project.as_str().into());
            }
            Secret::new(Value::Object(both).to_string())
        }
        _ => token.into(),
    }
}

/// The providers whose requests need the project beside the token.
const WITH_PROJECT: [&str; 2] = ["google-gemini-cli", "google-antigravity"];

/// The header in which a provider expects a credential of this kind, and what stands before it.
fn header(provider: &ProviderId, kind: Kind) -> (&'static str, &'static str) {
    match (provider.as_str(), kind) {
        ("anthropic", Kind::ApiKey) => ("x-api-key", ""),
        ("google", Kind::ApiKey) => ("x-goog-api-key", ""),
        _ => ("Authorization", "Bearer "),
    }
}

fn pretty(value: &Value) -> String {
    format!("{}\n", json_for_terminal(&format!("{value:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(provider: &str, kind: Kind, token: &str) -> Handed {
        Handed {
            provider: ProviderId::new(provider),
            profile: None,
            agent: "main".to_owned(),
            kind,
            token: Secret::new(token),
            expires: Some(Timestamp(1_769_644_800_000)),
            source: "env: X".to_owned(),
            model: None,
            fallback_for: None,
        }
    }

    fn providers() -> Providers {
        Providers::load(None, &|_| None)
    }

    fn text(provider: &str, kind: Kind, format: TokenFormat) -> String {
        handed(provider, kind, "T").rendered(format, providers).unwrap()
    }

    #[test]
    fn a_header_is_the_one_the_provider_reads() {
        let line = |provider, kind| text(provider, kind, TokenFormat::Header);
        assert_eq!(line("openai-codex", Kind::OAuth), "Authorization: Bearer T\n");
        assert_eq!(line("anthropic", Kind::ApiKey), "x-api-key: T\n");
        assert_eq!(line("anthropic", Kind::Token), "Authorization: Bearer T\n");
    }

    #[test]
    fn a_variable_is_the_one_for_this_kind_of_credential() {
        let line = |provider, kind| text(provider, kind, TokenFormat::Env);
        assert_eq!(line("openai", Kind::ApiKey), "OPENAI_API_KEY=T\n");
        assert_eq!(line("anthropic", Kind::ApiKey), "ANTHROPIC_API_KEY=T\n");
        assert_eq!(line("anthropic", Kind::Token), "ANTHROPIC_OAUTH_TOKEN=T\n");
        assert_eq!(line("my.own-one", Kind::ApiKey), "MY_OWN_ONE_API_KEY=T\n");
    }

    #[test]
    fn helpers_are_answered_in_their_own_words() {
        let of = |format| text("acme", Kind::OAuth, format);
        assert_eq!(
            of(TokenFormat::Git),
            "username=oauth2\npassword=T\npassword_expiry_utc=1769644800\n"
        );
        let value: Value = serde_json::from_str(&of(TokenFormat::ExecCredential)).unwrap();
        assert_eq!(value["status"]["expirationTimestamp"], "2026-01-29T00:00:00Z");
        let value: Value = serde_json::from_str(&of(TokenFormat::Bazel)).unwrap();
        assert_eq!(value["headers"]["Authorization"][0], "Bearer T");
        assert_eq!(value["expires"], "2026-01-29T00:00:00Z");
    }

    #[test]
    fn a_token_that_would_be_read_as_two_lines_is_refused() {
        let bad = handed("acme", Kind::Token, "T\nquit=1");
        for format in [
            TokenFormat::Raw,
            TokenFormat::Header,
            TokenFormat::Env,
            TokenFormat::Git,
            TokenFormat::ExecCredential,
            TokenFormat::Bazel,
        ] {
            assert!(bad.rendered(format, providers).is_err(), "{format:?}");
        }
        assert!(bad.rendered(TokenFormat::Json, providers).is_ok());
    }
}
