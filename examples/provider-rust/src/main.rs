//! An example of a provider plugin: a login with refresh tokens.
//!
//! Its provider is made up and consists of the functions at the end, so that the example works
//! without a network; a real plugin contacts a server there. Everything else is as the protocol
//! requires. `docs/plugins.md` is the specification.
//!
//! ```console
//! $ cargo build -p clawdbot-provider-demo
//! $ clawdbot plugins check target/debug/clawdbot-provider-demo
//! $ install -D target/debug/clawdbot-provider-demo ~/.clawdbot/providers/bin/clawdbot-provider-demo
//! $ clawdbot models auth login --provider demo
//! ```

use std::io::{self, BufRead as _, Write as _};

use serde_json::{Value, json};

/// The result of an operation: the credential (or nothing, after a revocation), or an error.
type Ended = Result<Value, Value>;

fn main() -> io::Result<()> {
    say(&json!({
        "type": "hello",
        "versions": [1],
        "id": "demo",
        "label": "Demo",
        "operations": ["login", "refresh", "revoke"],
    }))?;
    // The end of the input cancels whatever is in progress.
    let Some(request) = receive()? else { return Ok(()) };
    let ended = match (request["version"].as_u64(), request["type"].as_str()) {
        (None, _) | (_, None) => Err(error("invalid_request", "there is no version or type")),
        (Some(1), Some("login")) => match login()? {
            Some(ended) => ended,
            None => return Ok(()),
        },
        (Some(1), Some("refresh")) => refresh(&request),
        (Some(1), Some("revoke")) => revoke(&request),
        (Some(1), Some(_)) => Err(error("unsupported", "only login, refresh and revoke")),
        (Some(_), _) => Err(error("unsupported_version", "this plugin speaks version 1")),
    };
    match ended {
        Ok(Value::Null) => say(&json!({"type": "result"})),
        Ok(credential) => say(&json!({"type": "result", "credential": credential})),
        Err(error) => say(&error),
    }
}

/// Asks the user; `None` if the conversation is over.
fn login() -> io::Result<Option<Ended>> {
    let canceled = || Ok(Some(Err(error("canceled", ""))));
    say(&json!({"type": "progress", "text": "a provider that is made up"}))?;

    let Some(account) = ask(&json!({"id": "account", "kind": "text", "text": "Account name"}))?
    else {
        return Ok(None);
    };
    let region = json!({
        "id": "region",
        "kind": "choose",
        "text": "Region",
        "choices": [{"value": "eu", "label": "Europe"}, {"value": "us", "label": "America"}],
        "default": "eu",
    });
    let Some(account) = account.as_str().map(str::to_owned) else { return canceled() };
    let Some(region) = ask(&region)? else { return Ok(None) };
    let Some(region) = region.as_str().map(str::to_owned) else { return canceled() };

    say(&json!({
        "type": "device_code",
        "url": "https://demo.example/device",
        "code": "DEMO-2468",
        "expires_in": 600,
    }))?;
    let code = json!({"id": "code", "kind": "secret", "text": "The code that the page shows"});
    let Some(code) = ask(&code)? else { return Ok(None) };
    let Some(code) = code.as_str() else { return canceled() };
    let keep = json!({"id": "keep", "kind": "confirm", "text": "Stay logged in?"});
    let Some(keep) = ask(&keep)? else { return Ok(None) };

    say(&json!({"type": "progress", "text": "asking the provider"}))?;
    if code.is_empty() {
        return Ok(Some(Err(json!({
            "type": "error", "kind": "rejected", "code": "bad_code", "message": "the code is wrong",
        }))));
    }
    let mut credential = tokens(&account, &region, 1);
    if keep != Value::Bool(true) {
        // Without a refresh token the login ends with its access token.
        credential["refresh_token"] = Value::Null;
    }
    Ok(Some(Ok(credential)))
}

/// Refreshes a login. There is no user to ask.
fn refresh(request: &Value) -> Ended {
    let token = request["refresh_token"].as_str().unwrap_or_default();
    match parts(token) {
        Some((account, region, number)) => Ok(tokens(account, region, number + 1)),
        // Exactly this token is refused: a new login is needed.
        None => Err(json!({
            "type": "error",
            "kind": "rejected",
            "code": "invalid_grant",
            "message": "the provider does not know this token",
        })),
    }
}

/// Revokes a login. An unknown token counts as revoked already.
fn revoke(request: &Value) -> Ended {
    match request["refresh_token"].as_str() {
        Some(_) => Ok(Value::Null),
        None => Err(error("invalid_request", "there is no token")),
    }
}

/// Asks a question; `None` if the conversation is over. A null value means that there is no user.
fn ask(prompt: &Value) -> io::Result<Option<Value>> {
    let mut prompt = prompt.clone();
    prompt["type"] = "prompt".into();
    say(&prompt)?;
    Ok(receive()?.map(|response| response["value"].clone()))
}

fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "kind": kind, "message": message})
}

/// Writes a message: one line, at once.
fn say(message: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{message}")?;
    stdout.flush()
}

/// Reads a message; `None` at the end. Text that is not JSON has no type, and is refused for that
/// reason.
fn receive() -> io::Result<Option<Value>> {
    let mut line = Vec::new();
    io::stdin().lock().read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line).unwrap_or_default()))
}

// The provider. A real plugin sends requests here, with a time limit of its own.

/// The tokens that the provider issues. Everything that a refresh needs is in the refresh token.
fn tokens(account: &str, region: &str, number: u64) -> Value {
    let what = format!("{account}/{region}/{number}");
    json!({
        "type": "oauth",
        "access_token": format!("demo-access-{:016x}", mark(&what)),
        "refresh_token": format!("demo-refresh-{what}/{:016x}", mark(&what)),
        "expires_in": 3600,
        "account_id": account,
        "fields": {"region": region},
    })
}

/// The parts of a refresh token, if this provider issued it.
fn parts(token: &str) -> Option<(&str, &str, u64)> {
    let (what, given) = token.strip_prefix("demo-refresh-")?.rsplit_once('/')?;
    if u64::from_str_radix(given, 16).ok()? != mark(what) {
        return None;
    }
    let (rest, number) = what.rsplit_once('/')?;
    let (account, region) = rest.rsplit_once('/')?;
    Some((account, region, number.parse().ok()?))
}

/// FNV-1a: sufficient to recognize our own tokens, but no protection.
fn mark(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
