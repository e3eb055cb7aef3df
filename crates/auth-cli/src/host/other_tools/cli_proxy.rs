//! The files of `CLIProxyAPI`: one for each login, with the tool it is of as its `type`.

use std::path::Path;

use auth_routing::cooldown::reset_time;
use auth_store::{Credential, OAuthCredential, ProviderId, Secret, Usage};
use serde_json::{Map, Value};

use crate::host::other_tools::foreign::{Foreign, LeftOut, expiry_of};
use crate::host::text::printable;

/// Whether a file has the shape of its files.
pub(super) fn is_its_shape(value: &Value) -> bool {
    value["type"].is_string()
        && (value["access_token"].is_string() || value["token"].is_object())
        && ["expired", "last_refresh", "token", "email"].iter().any(|name| !value[name].is_null())
}

/// The login in such a file, or what is left out of it.
pub(super) fn read(path: &Path, value: &Value) -> Result<Foreign, LeftOut> {
    let kind = value["type"].as_str().unwrap_or_default();
    let left_out = |reason: String| LeftOut { entry: printable(kind), reason };
    let provider = KINDS.iter().find(|(theirs, _)| *theirs == kind).map(|(_, ours)| *ours);
    let provider =
        provider.ok_or_else(|| left_out("logins of that type are not known here".to_owned()))?;
    // Gemini's tokens are in an object of their own, as Google's library writes them.
    let tokens = if value["token"].is_object() { &value["token"] } else { value };
    let text = |holder: &Value, name: &str| {
        let text = holder[name].as_str().map(auth_store::trim).unwrap_or_default();
        text.to_owned()
    };
    let (access, refresh) = (text(tokens, "access_token"), text(tokens, "refresh_token"));
    if [&access, &refresh].iter().any(|token| token.contains(char::is_control))
        || access.is_empty() && refresh.is_empty()
    {
        return Err(left_out("there is no token in it that could be used".to_owned()));
    }
    let expires = ["expired", "expiry"]
        .iter()
        .find_map(|name| reset_time::parse(&text(tokens, name)))
        .or_else(|| expiry_of(&access));
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let (email, account_id) = (some(text(value, "email")), some(text(value, "account_id")));
    let login = OAuthCredential {
        access: Secret::new(access),
        refresh: Secret::new(refresh),
        expires,
        account_id: account_id.clone(),
        client_id: some(text(tokens, "client_id")),
        project_id: some(text(value, "project_id")),
        ..OAuthCredential::default()
    };
    let credential = if login.refresh.is_blank() || provider == "github-copilot" {
        Credential::Token { token: login.access, expires }
    } else {
        Credential::OAuth(login)
    };
    let mut fields = Map::new();
    let known = [
        ("email", &email),
        ("accountId", &account_id),
        ("resourceUrl", &some(text(value, "resource_url"))),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.as_str().into());
        }
    }
    Ok(Foreign {
        tool: "CLIProxyAPI",
        path: path.to_owned(),
        provider: ProviderId::new(provider),
        credential,
        id: None,
        email,
        fields,
        entry: None,
        usage: Usage::default(),
    })
}

/// Its word for the tool of a login, and our provider.
const KINDS: [(&str, &str); 8] = [
    ("codex", "openai-codex"),
    ("claude", "anthropic"),
    ("qwen", "qwen-portal"),
    ("gemini", "google-gemini-cli"),
    ("kimi", "kimi-code"),
    ("xai", "xai"),
    ("github-copilot", "github-copilot"),
    ("copilot", "github-copilot"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_of_its_files_is_a_login_of_the_tool_it_names() {
        let codex = json!({"type": "codex", "id_token": "i", "access_token": "a", "refresh_token": "r",
            "account_id": "acc", "email": "me@example.test", "last_refresh": "x",
            "expired": "2026-02-01T00:00:00Z"});
        let gemini = json!({"type": "gemini", "email": "g@example.test", "project_id": "p",
            "token": {"access_token": "a", "refresh_token": "r", "expiry": "2026-02-01T00:00:00Z",
            "client_id": "c", "client_secret": "not taken"}});
        for (file, provider) in [(codex, "openai-codex"), (gemini, "google-gemini-cli")] {
            assert!(is_its_shape(&file));
            let found = read(Path::new("f"), &file).unwrap();
            assert_eq!(found.provider.as_str(), provider);
            let Credential::OAuth(login) = &found.credential else { panic!("{found:?}") };
            assert_eq!(login.expires, reset_time::parse("2026-02-01T00:00:00Z"));
            assert!(found.email.is_some() && !format!("{:?}", found.fields).contains("not taken"));
        }
        let odd = json!({"type": "iflow", "access_token": "a", "expired": "x"});
        let left_out = read(Path::new("f"), &odd).unwrap_err();
        assert_eq!(left_out.entry, "iflow");
        let empty = json!({"type": "claude", "access_token": "", "expired": "x"});
        assert!(read(Path::new("f"), &empty).is_err());
        assert!(!is_its_shape(
            &json!({"access_token": "a", "refresh_token": "r", "expiry_date": 7})
        ));
    }
}
