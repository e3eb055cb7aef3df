//! The credentials of other tools, where they keep them. Their files are only ever read.

mod cli_proxy;
mod foreign;
pub(crate) mod openclaw;
pub(crate) mod secret_ref;
mod sqlite;

use std::path::{Path, PathBuf};

use auth_store::{
    Credential, Document, Kind, LegacyEntries, OAuthCredential, ParseError, ProfileId, ProviderId,
    Secret, Timestamp, Usage, unverified_claims,
};
use serde_json::{Map, Value};

use crate::host::context::Context;
use crate::host::other_tools::foreign::expiry_of;
use crate::host::text::printable;

pub(crate) use crate::host::other_tools::foreign::{Contents, Foreign, LeftOut};

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
    contents(Some(tool), &path, &bytes).unwrap_or_default().found
}

/// What a file has, whatever tool it is of. Nothing is found in a file of another shape.
pub(crate) fn of_file(path: &Path, bytes: &[u8]) -> Vec<Foreign> {
    contents(None, path, bytes).unwrap_or_default().found
}

/// What a file has, and what of it is left out. Without a `tool` its shape tells whose it is.
///
/// # Errors
/// Why nothing of it can be read, as the end of a sentence about the file.
pub(crate) fn contents(tool: Option<Tool>, path: &Path, bytes: &[u8]) -> Result<Contents, String> {
    let value = parse(bytes)?;
    if let Some(version) = later_version(&value) {
        return Err(format!(
            "has the format of a later version ({version}), which this program cannot read"
        ));
    }
    let shape = if value["tokens"].is_object() || value["OPENAI_API_KEY"].is_string() {
        Some(Tool::Codex)
    } else if value["claudeAiOauth"].is_object() {
        Some(Tool::Claude)
    } else if value["access_token"].is_string() {
        let in_gemini = path.components().any(|part| part.as_os_str() == ".gemini");
        Some(if in_gemini { Tool::Gemini } else { Tool::Qwen })
    } else {
        None
    };
    if tool.is_none() && cli_proxy::is_its_shape(&value) {
        return Ok(match cli_proxy::read(path, &value) {
            Ok(foreign) => Contents { found: vec![foreign], left_out: Vec::new() },
            Err(left_out) => Contents { found: Vec::new(), left_out: vec![left_out] },
        });
    }
    match (tool.or(shape), &value["profiles"]) {
        (Some(tool), _) => {
            let left_out = if tool == Tool::Codex { not_of_codex(&value) } else { Vec::new() };
            Ok(Contents { found: read(tool, &value, path), left_out })
        }
        (None, Value::Object(_)) => of_store(path, bytes, &value),
        (None, _) => of_names(path, bytes, &value),
    }
}

/// A version above the one of every format that is known here.
fn later_version(value: &Value) -> Option<String> {
    let version = &value["version"];
    let number = version.as_f64().or_else(|| version.as_str()?.trim().parse().ok());
    number.filter(|number| *number > 1.0).map(|number| number.to_string())
}

/// What a file says. Behind a byte order mark too: editors on Windows write one.
fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.starts_with(sqlite::MAGIC) {
        return Err(
            "is a database; those of OpenClaw are read with: clawdbot models auth import --from openclaw"
                .to_owned(),
        );
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("is UTF-16 text; save it as UTF-8".to_owned());
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("is empty".to_owned());
    }
    serde_json::from_slice(text).map_err(|error| format!("is damaged: {error}"))
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
        email: None,
        fields: Map::new(),
        entry: None,
        usage: Usage::default(),
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
        let claims = text("/tokens/id_token")
            .or_else(|| text("/tokens/id_token/raw_jwt"))
            .and_then(unverified_claims)
            .unwrap_or_default();
        // The first versions of Codex left it in the tokens.
        let account = |claims: &Value| {
            let account = &claims["https://api.openai.com/auth"]["chatgpt_account_id"];
            account.as_str().map(str::to_owned)
        };
        let account_id = text("/tokens/account_id")
            .map(str::to_owned)
            .or_else(|| account(&claims))
            .or_else(|| account(&unverified_claims(access.expose())?));
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
        let email = claims["email"].as_str().map(str::to_owned);
        let mut fields = further(tool, value);
        if let Some(address) = text("/resource_url") {
            fields.insert("resourceUrl".to_owned(), address.into());
        }
        let known = [("email", &email), ("accountId", &account_id)];
        for (name, value) in known.into_iter().filter_map(|(name, it)| Some((name, it.as_ref()?))) {
            fields.insert(name.to_owned(), value.as_str().into());
        }
        found.push(Foreign { email, fields, ..foreign(tool.provider(), credential) });
    }
    found
}

/// What is in a file of Codex, of whatever version, that is neither a login nor a key.
fn not_of_codex(value: &Value) -> Vec<LeftOut> {
    let members = value.as_object().into_iter().flatten();
    let odd = members.filter(|(name, value)| {
        !OF_CODEX.contains(&name.as_str()) && !value.is_null() && !value.is_boolean()
    });
    odd.map(|(name, _)| LeftOut {
        entry: printable(name),
        reason: "it is of another way to sign in to Codex, which is not known here".to_owned(),
    })
    .collect()
}

/// The members of Codex's file that are known here.
const OF_CODEX: [&str; 4] = ["OPENAI_API_KEY", "tokens", "last_refresh", "auth_mode"];

/// What a tool keeps with its login that is neither a token nor known by another name here.
fn further(tool: Tool, value: &Value) -> Map<String, Value> {
    let login = match tool {
        Tool::Codex => &value["tokens"],
        Tool::Claude => &value["claudeAiOauth"],
        Tool::Qwen | Tool::Gemini => value,
    };
    let members = login.as_object().into_iter().flatten();
    let kept = members.filter(|(name, _)| {
        !OF_A_LOGIN.contains(&name.as_str()) && !Credential::MEMBERS.contains(&name.as_str())
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The members of tools' logins that have another name here, or say nothing that lasts.
const OF_A_LOGIN: [&str; 12] = [
    "access_token",
    "refresh_token",
    "id_token",
    "account_id",
    "accessToken",
    "refreshToken",
    "expiresAt",
    "expiry_date",
    "expires_in",
    "token_type",
    "resource_url",
    "tokens",
];

/// A store of Clawdbot's or OpenClaw's.
fn of_store(path: &Path, bytes: &[u8], value: &Value) -> Result<Contents, String> {
    let document = Document::parse(bytes).map_err(|error| format!("is damaged: {error}"))?;
    let mut contents = Contents::default();
    for profile in document.profiles() {
        let raw = &value["profiles"][profile.id.as_str()];
        contents.add(&document, &profile.id, "another Clawdbot", path, raw);
    }
    for malformed in document.malformed() {
        contents.leave_out(malformed.id.as_str(), malformed.reason);
    }
    if value["order"].as_object().is_some_and(|orders| !orders.is_empty()) {
        contents.leave_out(
            "order",
            "orders of profiles belong to an agent: clawdbot models auth order set",
        );
    }
    Ok(contents)
}

/// A file of names with a credential each: an older file of Clawdbot's, pi's, opencode's.
fn of_names(path: &Path, bytes: &[u8], value: &Value) -> Result<Contents, String> {
    let mut contents = Contents::default();
    let Some(members) = value.as_object() else { return Ok(contents) };
    let is_known = |entry: &Value| {
        let kind = entry["type"].as_str();
        kind.is_some_and(|kind| NAMED_TYPES.contains(&kind)) || is_login_without_type(entry)
    };
    if !members.values().any(is_known) {
        return Ok(contents);
    }
    let tool = if path.components().any(|part| part.as_os_str() == ".pi") {
        "pi"
    } else if members.values().any(|it| matches!(it["type"].as_str(), Some("api" | "wellknown"))) {
        "opencode"
    } else {
        "another Clawdbot"
    };
    let document = named(bytes, members)?;
    for (name, entry) in members {
        let id = ProfileId::new(format!("{name}:default"));
        match entry["type"].as_str() {
            _ if !entry.is_object() => contents.leave_out(name, "it is not an object"),
            Some("wellknown") => contents.leave_out(name, "it is for one address of its own"),
            Some(kind) if !NAMED_TYPES.contains(&kind) => {
                let reason = format!("its type `{}` is not known here", printable(kind));
                contents.leave_out(name, &reason);
            }
            None if !is_login_without_type(entry) => contents.leave_out(name, "it has no `type`"),
            _ if document.profile(&id).is_some() => {
                contents.add(&document, &id, tool, path, entry);
            }
            _ => contents.leave_out(name, "it has no name or no provider"),
        }
    }
    Ok(contents)
}

/// The credentials of such a file as a store has them, each as it is written where that is
/// possible.
fn named(bytes: &[u8], members: &Map<String, Value>) -> Result<Document, String> {
    let read = |read: fn(&[u8]) -> Result<LegacyEntries, ParseError>| {
        let entries = read(bytes).map_err(|error| format!("is damaged: {error}"))?;
        let mut document = Document::empty();
        entries.add_to(&mut document);
        Ok::<_, String>(document)
    };
    let typed = read(LegacyEntries::from_auth_json)?;
    let untyped = read(LegacyEntries::from_oauth_json)?;
    let mut document = Document::empty();
    for (name, entry) in members {
        let text = |member: &str| entry[member].as_str().unwrap_or_default();
        let id = ProfileId::new(format!("{name}:default"));
        let written = if entry["type"].is_null() { &untyped } else { &typed };
        if let Some(written) = written.entry(&id) {
            document.put_copy(&id, &written, None);
        }
        let credential = match text("type") {
            "api" => Credential::ApiKey(text("key").into()),
            // A ChatGPT login is not what `openai` means elsewhere.
            "oauth" if name == "openai" && is_of_chatgpt(text("access")) => {
                Credential::OAuth(OAuthCredential {
                    access: text("access").into(),
                    refresh: text("refresh").into(),
                    expires: entry["expires"].as_i64().map(Timestamp),
                    ..OAuthCredential::default()
                })
            }
            _ => continue,
        };
        let provider = if credential.kind() == Kind::OAuth { "openai-codex" } else { name };
        let mut fields = entry.as_object().cloned().unwrap_or_default();
        fields.retain(|member, _| !OF_THE_ENTRY.contains(&member.as_str()));
        document.put(&id, provider, &credential, &fields);
    }
    Ok(document)
}

/// The members of an entry that the credential itself writes.
const OF_THE_ENTRY: [&str; 6] = ["type", "provider", "key", "access", "refresh", "expires"];

/// The types of credentials in such files.
const NAMED_TYPES: [&str; 5] = ["api_key", "api", "token", "oauth", "wellknown"];

fn is_login_without_type(entry: &Value) -> bool {
    entry["type"].is_null() && (entry["access"].is_string() || entry["refresh"].is_string())
}

fn is_of_chatgpt(access: &str) -> bool {
    let claims = unverified_claims(access).unwrap_or_default();
    claims["https://api.openai.com/auth"].is_object()
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
            (codex.provider.as_str(), codex.fields["accountId"].as_str()),
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

    fn of(text: &str) -> (Vec<String>, Vec<String>) {
        let contents = contents(None, Path::new("auth.json"), text.as_bytes()).unwrap();
        let found = contents.found.iter().map(|it| {
            format!("{} {}", it.id.as_deref().unwrap_or_default(), it.credential.kind().as_str())
        });
        let left_out = contents.left_out.iter().map(|it| format!("{}: {}", it.entry, it.reason));
        (found.collect(), left_out.collect())
    }

    #[test]
    fn what_opencode_and_pi_keep_is_found_or_left_out_by_name() {
        let (found, left_out) = of(
            r#"{"openai": {"type": "api", "key": "k", "metadata": {"a": "b"}},
                "anthropic": {"type": "oauth", "refresh": "r", "access": "a", "expires": 7},
                "https://x.example": {"type": "wellknown", "key": "K", "token": "t"},
                "new": {"type": "passkey", "blob": 1}, "text": "sk-1", "empty": {"type": "api", "key": " "}}"#,
        );
        assert_eq!(found, ["openai:default api_key", "anthropic:default oauth"]);
        assert_eq!(left_out.len(), 4, "{left_out:?}");
        for part in
            ["https://x.example: it is for one", "new: its type `passkey`", "text: it is not"]
        {
            assert!(left_out.iter().any(|it| it.starts_with(part)), "{part}: {left_out:?}");
        }
        assert!(left_out.iter().any(|it| it.starts_with("empty")));
        assert!(left_out.iter().all(|it| !it.contains("sk-1")));

        let (found, _) = of(r#"{"zai": {"type": "api_key", "key": "k"}, "acme": {"access": "a"}}"#);
        assert_eq!(found, ["zai:default api_key", "acme:default oauth"]);
    }

    #[test]
    fn a_chatgpt_login_of_opencode_is_one_of_codex() {
        // {"https://api.openai.com/auth":{"chatgpt_account_id":"x"}}
        let payload =
            "eyJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoieCJ9fQ";
        let login = |access: &str| {
            only(
                "f",
                &json!({"openai": {"type": "oauth", "access": access, "refresh": "r", "accountId": "x"}}),
            )
        };
        let found = login(&format!("h.{payload}.s"));
        assert_eq!(found.provider.as_str(), "openai-codex");
        assert!(format!("{:?}", found.entry).contains("Entry"));
        assert_eq!(login("opaque").provider.as_str(), "openai");
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let why = |bytes: &[u8]| contents(None, Path::new("f"), bytes).unwrap_err();
        assert!(why(b"{\"tokens\": {\"access_").starts_with("is damaged: EOF"));
        assert!(why(br#"{"version": 2, "profiles": {}}"#).contains("later version (2)"));
        assert!(why(br#"{"version": "3", "accounts": []}"#).contains("later version (3)"));
        assert!(why(b"SQLite format 3\0...").contains("database"));
        assert!(why(b"\xff\xfe{\0}\0").contains("UTF-16"));
        assert_eq!(why(b" \n"), "is empty");
    }

    #[test]
    fn what_a_tool_keeps_with_its_login_is_kept() {
        let claude = json!({"claudeAiOauth": {"accessToken": "a", "refreshToken": "r", "expiresAt": 7,
            "subscriptionType": "max", "scopes": ["x"]}});
        let fields = only("f", &claude).fields;
        assert_eq!(
            serde_json::to_value(fields).unwrap(),
            json!({"subscriptionType": "max", "scopes": ["x"]})
        );
    }

    #[test]
    fn a_file_of_another_shape_has_nothing() {
        for text in ["", "[]", "{}", "{\"tokens\": 1}", "{\"tokens\": {}}", "null", "\u{0}"] {
            assert!(of_file(Path::new("f"), text.as_bytes()).is_empty(), "{text}");
        }
    }
}
