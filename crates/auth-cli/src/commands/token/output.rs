//! The forms in which a token is printed, each for the tools that read it.

use auth_providers::Providers;
use auth_store::{Kind, ProviderId, VariableName};
use serde_json::{Value, json};

use crate::commands::token::args::TokenFormat;
use crate::host::error::CliError;
use crate::host::shell_quote::shell_word;
use crate::host::text::{json_for_terminal, rfc3339};
use crate::profiles::token_output::TokenOutput;

impl TokenOutput {
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

    /// The variable in which this provider's tools expect such a token: the first of its entry
    /// that is meant for this kind, else `<PROVIDER>_API_KEY`.
    pub fn variable(&self, providers: &Providers) -> VariableName {
        let names = providers.find(&self.provider).map_or(&[][..], |provider| &provider.env);
        let is_oauth = |name: &&VariableName| name.as_str().contains("OAUTH_TOKEN");
        let wanted = names.iter().find(|name| is_oauth(name) != (self.kind == Kind::ApiKey));
        let wanted = wanted.or_else(|| names.first()).cloned();
        wanted.unwrap_or_else(|| VariableName::of_provider(&self.provider))
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

    /// The response of a git credential helper (git-credential(1)).
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

    /// The response of a credential helper of Bazel and uv.
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

/// The header in which a provider expects a credential of this kind, and what stands before it.
fn header(provider: &ProviderId, kind: Kind) -> (&'static str, &'static str) {
    match (provider.as_str(), kind) {
        ("anthropic", Kind::ApiKey) => ("x-api-key", ""),
        ("google", Kind::ApiKey) => ("x-goog-api-key", ""),
        _ => ("Authorization", "Bearer "),
    }
}

/// The text of a value, for stdout.
pub(super) fn pretty(value: &Value) -> String {
    format!("{}\n", json_for_terminal(&format!("{value:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth_store::{Secret, Timestamp};

    fn output(provider: &str, kind: Kind, token: &str) -> TokenOutput {
        TokenOutput {
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
        output(provider, kind, "T").rendered(format, providers).unwrap()
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
        let bad = output("acme", Kind::Token, "T\nquit=1");
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
