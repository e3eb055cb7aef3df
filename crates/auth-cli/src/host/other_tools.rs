//! The credentials of other tools, where they keep them. Their files are only ever read.

use std::path::{Path, PathBuf};

use auth_store::{
    Credential, Document, LegacyEntries, OAuthCredential, ProviderId, Secret, Timestamp,
    unverified_claims,
};
use serde_json::{Map, Value};

use crate::host::context::Context;

/// A credential in a file that is not ours.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    /// Whose file it is, for people.
    pub(crate) tool: &'static str,
    /// The file.
    pub(crate) path: PathBuf,
    /// The provider it is for.
    pub(crate) provider: ProviderId,
    /// The credential itself.
    pub(crate) credential: Credential,
    /// The profile it is there, if the file knows profiles.
    pub(crate) id: Option<String>,
    /// The account, where the file or the token says it.
    pub(crate) account_id: Option<String>,
    /// The e-mail address, likewise.
    pub(crate) email: Option<String>,
    /// Further members of the profile.
    pub(crate) fields: Map<String, Value>,
}

/// A tool whose logins are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tool {
    /// The Codex command line.
    Codex,
    /// Claude Code.
    Claude,
    /// Qwen Code.
    Qwen,
    /// Gemini CLI.
    Gemini,
}

impl Tool {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Codex, Self::Claude, Self::Qwen, Self::Gemini];

    /// Its name, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Codex => "Codex",
            Self::Claude => "Claude Code",
            Self::Qwen => "Qwen Code",
            Self::Gemini => "Gemini CLI",
        }
    }

    /// Its word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::Claude => "claude",
            Self::Qwen => "qwen",
            Self::Gemini => "gemini",
        }
    }

    /// Where it keeps its login.
    pub(crate) fn file(self, context: &Context) -> PathBuf {
        let folder = |variable: &str, name: &str| match context.env(variable) {
            Some(path) if !path.is_empty() => context.user_path(path),
            _ => context.home.join(name),
        };
        match self {
            Self::Codex => folder("CODEX_HOME", ".codex").join("auth.json"),
            Self::Claude => folder("CLAUDE_CONFIG_DIR", ".claude").join(".credentials.json"),
            Self::Qwen => context.home.join(".qwen").join("oauth_creds.json"),
            Self::Gemini => context.home.join(".gemini").join("oauth_creds.json"),
        }
    }

    fn provider(self) -> &'static str {
        match self {
            Self::Codex => "openai-codex",
            Self::Claude => "anthropic",
            Self::Qwen => "qwen-portal",
            Self::Gemini => "google-gemini-cli",
        }
    }
}

/// What a tool has, if it has a login that can be read.
pub(crate) fn of_tool(tool: Tool, context: &Context) -> Vec<Foreign> {
    let path = tool.file(context);
    let bytes = auth_store::read_regular(&path).unwrap_or_default();
    read(tool, &json(&bytes), &path)
}

/// What a file has, whatever tool it is of. Nothing is found in a file of another shape.
pub(crate) fn of_file(path: &Path, bytes: &[u8]) -> Vec<Foreign> {
    let value = json(bytes);
    let tool = if value["tokens"].is_object() || value["OPENAI_API_KEY"].is_string() {
        Some(Tool::Codex)
    } else if value["claudeAiOauth"].is_object() {
        Some(Tool::Claude)
    } else if value["access_token"].is_string() {
        let in_gemini = path.components().any(|part| part.as_os_str() == ".gemini");
        Some(if in_gemini { Tool::Gemini } else { Tool::Qwen })
    } else {
        None
    };
    match tool {
        Some(tool) => read(tool, &value, path),
        None => of_store(path, bytes).unwrap_or_default(),
    }
}

/// Why a file is not JSON, if it is not. No word of it is in that.
pub(crate) fn damage(bytes: &[u8]) -> Option<String> {
    parse(bytes).err().map(|error| error.to_string())
}

/// What a file says; null for anything that is not JSON.
fn json(bytes: &[u8]) -> Value {
    parse(bytes).unwrap_or_default()
}

/// Behind a byte order mark too: editors on Windows write one.
fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

fn read(tool: Tool, value: &Value, path: &Path) -> Vec<Foreign> {
    let text = |pointer: &str| {
        let text = value.pointer(pointer).and_then(Value::as_str).map(auth_store::trim);
        // Nothing that is of use to anybody has a line break or a NUL in it.
        text.filter(|text| !text.is_empty() && !text.contains(char::is_control))
    };
    let milliseconds =
        |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).map(Timestamp);
    let foreign = |provider: &str, credential| Foreign {
        tool: tool.name(),
        path: path.to_owned(),
        provider: ProviderId::new(provider),
        credential,
        id: None,
        account_id: None,
        email: None,
        fields: Map::new(),
    };
    let (access, refresh, expires) = match tool {
        Tool::Codex => ("/tokens/access_token", "/tokens/refresh_token", None),
        Tool::Claude => (
            "/claudeAiOauth/accessToken",
            "/claudeAiOauth/refreshToken",
            milliseconds("/claudeAiOauth/expiresAt"),
        ),
        Tool::Qwen | Tool::Gemini => {
            ("/access_token", "/refresh_token", milliseconds("/expiry_date"))
        }
    };
    let mut found = Vec::new();
    if let Some(key) = text("/OPENAI_API_KEY").filter(|_| tool == Tool::Codex) {
        found.push(foreign("openai", Credential::ApiKey(Secret::new(key))));
    }
    if text(access).is_some() || text(refresh).is_some() {
        let access = text(access).unwrap_or_default();
        let expires = expires.or_else(|| expiry_of(access));
        let access = Secret::new(access);
        let account_id = text("/tokens/account_id").map(str::to_owned);
        let credential = match text(refresh) {
            Some(refresh) => Credential::OAuth(OAuthCredential {
                access,
                refresh: Secret::new(refresh),
                expires,
                account_id: account_id.clone(),
                ..OAuthCredential::default()
            }),
            None => Credential::Token { token: access, expires },
        };
        let claims = text("/tokens/id_token").and_then(unverified_claims).unwrap_or_default();
        let mut fields = Map::new();
        if let Some(address) = text("/resource_url") {
            fields.insert("resourceUrl".to_owned(), address.into());
        }
        found.push(Foreign {
            account_id,
            email: claims["email"].as_str().map(str::to_owned),
            fields,
            ..foreign(tool.provider(), credential)
        });
    }
    found
}

/// A store of Clawdbot's, of this version or an older one.
fn of_store(path: &Path, bytes: &[u8]) -> Option<Vec<Foreign>> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let document = if value["profiles"].is_object() {
        Document::parse(bytes).ok()?
    } else {
        let mut document = Document::empty();
        let entries = match LegacyEntries::from_auth_json(bytes) {
            Ok(entries) if !entries.is_empty() => entries,
            _ => LegacyEntries::from_oauth_json(bytes).ok()?,
        };
        entries.add_to(&mut document);
        document
    };
    let further = |id: &str| {
        let members = value["profiles"][id].as_object().into_iter().flatten();
        let unknown = members.filter(|(name, _)| !Credential::MEMBERS.contains(&name.as_str()));
        unknown.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let found = document.profiles().filter_map(|profile| {
        Some(Foreign {
            tool: "another Clawdbot",
            path: path.to_owned(),
            provider: profile.provider.clone(),
            credential: document.credential(&profile.id)?,
            id: Some(profile.id.as_str().to_owned()),
            account_id: profile.account_id.clone(),
            email: profile.email.clone(),
            fields: further(profile.id.as_str()),
        })
    });
    Some(found.collect())
}

/// The end of a token that says it itself (RFC 7519 §4.1.4).
fn expiry_of(token: &str) -> Option<Timestamp> {
    let seconds = unverified_claims(token)?["exp"].as_i64()?;
    seconds.checked_mul(1_000).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn only(path: &str, value: &Value) -> Foreign {
        let mut found = of_file(Path::new(path), value.to_string().as_bytes());
        assert_eq!(found.len(), 1, "{value}");
        found.remove(0)
    }

    #[test]
    fn a_byte_order_mark_hides_no_login_and_a_token_with_a_nul_is_none() {
        let found = |text: &str| of_file(Path::new("f"), text.as_bytes()).len();
        assert_eq!(found("\u{feff}{\"tokens\":{\"access_token\":\"a\"}}"), 1);
        for sign in ["\\u0000", "\\n", "\\r\\n"] {
            assert_eq!(found(&format!("{{\"tokens\":{{\"access_token\":\"a{sign}b\"}}}}")), 0);
        }
    }

    #[test]
    fn each_tool_is_known_by_the_shape_of_its_file() {
        let codex =
            json!({"tokens": {"access_token": "a", "refresh_token": "r", "account_id": "x"}});
        let codex = only("f", &codex);
        assert_eq!(
            (codex.provider.as_str(), codex.account_id.as_deref()),
            ("openai-codex", Some("x"))
        );
        let claude =
            json!({"claudeAiOauth": {"accessToken": "a", "refreshToken": "r", "expiresAt": 7}});
        let claude = only("f", &claude);
        assert_eq!(
            (claude.provider.as_str(), claude.credential.expires()),
            ("anthropic", Some(Timestamp(7)))
        );
        let qwen = json!({"access_token": "a", "refresh_token": "r", "expiry_date": 7});
        assert_eq!(only("f", &qwen).provider.as_str(), "qwen-portal");
        assert_eq!(only("/h/.gemini/f", &qwen).provider.as_str(), "google-gemini-cli");
        let store = json!({"version": 1, "profiles": {"a:b": {"type": "api_key", "provider": "a", "key": "k"}}});
        assert_eq!(only("f", &store).id.as_deref(), Some("a:b"));
    }

    #[test]
    fn a_login_without_a_refresh_token_is_a_token() {
        let claude = json!({"claudeAiOauth": {"accessToken": "a", "expiresAt": 7}});
        assert!(matches!(only("f", &claude).credential, Credential::Token { .. }));
    }

    #[test]
    fn a_file_of_another_shape_has_nothing() {
        for text in ["", "[]", "{}", "{\"tokens\": 1}", "{\"tokens\": {}}", "null", "\u{0}"] {
            assert!(of_file(Path::new("f"), text.as_bytes()).is_empty(), "{text}");
        }
    }
}
