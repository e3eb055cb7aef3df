//! The output formats of a token, each for the tools that read it.

use auth_providers::Providers;
use auth_store::{Kind, ProviderId, VariableName};
use serde_json::{Value, json};

use crate::commands::token::args::TokenFormat;
use crate::host::error::CliError;
use crate::host::shell_quote::shell_word;
use crate::host::text::{json_for_terminal, printable, rfc3339};
use crate::profiles::token_output::TokenOutput;

impl TokenOutput {
    /// The whole output, so that it is one write.
    ///
    /// # Errors
    /// A token with a line break or another control character, which the reader would misinterpret
    /// (CVE-2020-5260): log in again. JSON can contain it.
    pub fn rendered(
        &self,
        format: TokenFormat,
        providers: impl FnOnce() -> Providers,
    ) -> Result<String, CliError> {
        let is_json = matches!(format, TokenFormat::Json | TokenFormat::Openclaw);
        if !is_json && !self.is_one_line() {
            return Err(self.not_one_line());
        }
        let token = self.token.expose();
        Ok(match format {
            TokenFormat::Raw => format!("{token}\n"),
            // OpenClaw asks for many at once, which is not done here.
            TokenFormat::Json | TokenFormat::Openclaw => pretty(&self.json()),
            TokenFormat::Docker => self.docker("", None),
            TokenFormat::Header => {
                let (name, scheme) = header(&self.provider, self.kind);
                format!("{name}: {scheme}{token}\n")
            }
            TokenFormat::Env => {
                format!("{}={}\n", self.variable(&providers()), shell_word(token))
            }
            TokenFormat::Git => self.git(),
            TokenFormat::ExecCredential => self.exec_credential(EXEC_CREDENTIAL[0]),
            TokenFormat::Bazel => pretty(&self.bazel()),
        })
    }

    /// The variable in which this provider's tools expect such a token: the first variable of its
    /// entry for this kind, else `<PROVIDER>_API_KEY`.
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

    /// What kubectl reads (client.authentication.k8s.io), in the version that it asks for.
    pub(super) fn exec_credential(&self, version: &str) -> String {
        let mut status = json!({ "token": self.token.expose() });
        if let Some(expires) = self.expires {
            status["expirationTimestamp"] = rfc3339(expires).into();
        }
        pretty(&json!({ "apiVersion": version, "kind": "ExecCredential", "status": status }))
    }

    /// The response of a credential helper of Docker: an identity token, or a password.
    pub(super) fn docker(&self, server: &str, username: Option<&str>) -> String {
        pretty(&json!({
            "ServerURL": server,
            "Username": username.unwrap_or("<token>"),
            "Secret": self.token.expose(),
        }))
    }

    /// The response of a credential helper of Bazel.
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

/// The header field in which a provider expects a credential of this kind, and the prefix of its
/// value.
fn header(provider: &ProviderId, kind: Kind) -> (&'static str, &'static str) {
    match (provider.as_str(), kind) {
        ("anthropic", Kind::ApiKey) => ("x-api-key", ""),
        ("google", Kind::ApiKey) => ("x-goog-api-key", ""),
        _ => ("Authorization", "Bearer "),
    }
}

/// The version of kubectl's protocol that is asked for in `KUBERNETES_EXEC_INFO`; the newest, where
/// nothing is asked.
///
/// # Errors
/// It is none of those that are known.
pub(super) fn exec_credential_version(asked: Option<&str>) -> Result<&'static str, CliError> {
    let Some(asked) = asked.filter(|asked| !asked.trim().is_empty()) else {
        return Ok(EXEC_CREDENTIAL[0]);
    };
    let asked: Value = serde_json::from_str(asked).unwrap_or_default();
    let version = asked["apiVersion"].as_str().unwrap_or_default();
    let known = EXEC_CREDENTIAL.into_iter().find(|known| *known == version);
    known.ok_or_else(|| {
        let message = format!(
            "kubectl asks for `{}` (KUBERNETES_EXEC_INFO), which is not known here",
            printable(version)
        );
        CliError::usage(message).hint(format!(
            "write `apiVersion: {}` for this user in your kubeconfig",
            EXEC_CREDENTIAL[0]
        ))
    })
}

/// What is known of client.authentication.k8s.io.
const EXEC_CREDENTIAL: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// The text of a value, for stdout.
pub(super) fn pretty(value: &Value) -> String {
    format!("{}\n", json_for_terminal(&format!("{value:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth_store::{Secret, Timestamp};

    #[test]
    fn kubectl_gets_the_version_that_it_asks_for() {
        let ask = |version: &str| {
            let info =
                format!(r#"{{"kind":"ExecCredential","apiVersion":"{version}","spec":{{}}}}"#);
            exec_credential_version(Some(&info))
        };
        for version in EXEC_CREDENTIAL {
            assert_eq!(ask(version).unwrap(), version);
        }
        assert_eq!(exec_credential_version(None).unwrap(), "client.authentication.k8s.io/v1");
        for wrong in ["client.authentication.k8s.io/v1alpha1", "v1", ""] {
            assert_eq!(ask(wrong).unwrap_err().exit, crate::host::error::Exit::Usage);
        }
    }

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
