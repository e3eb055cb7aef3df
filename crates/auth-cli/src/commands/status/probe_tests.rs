//! What a probe sends, and how it interprets the responses.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use auth_providers::{HttpError, HttpRequest, HttpResponse};
use auth_store::OAuthCredential;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn providers(manifests: &[(&str, &str)]) -> Providers {
    let files = manifests
        .iter()
        .map(|(id, text)| (PathBuf::from(format!("/{id}.json")), Ok((*text).to_owned())));
    let providers = Providers::from_manifests(files.collect(), &|_| None);
    assert_eq!(providers.errors(), []);
    providers
}

fn target(provider: &str, credential: Credential) -> Target {
    Target {
        provider: ProviderId::new(provider),
        profile: None,
        source: "profile",
        label: provider.to_owned(),
        mode: credential.kind().as_str(),
        model: None,
        credential: Ok(credential),
        recorded: None,
        has_api_base: false,
    }
}

fn key() -> Credential {
    Credential::ApiKey("CANARY".into())
}

fn login(endpoint: Option<&str>) -> Credential {
    Credential::OAuth(OAuthCredential {
        access: "CANARY".into(),
        account_id: Some("acc".to_owned()),
        token_endpoint: endpoint.map(str::to_owned),
        ..OAuthCredential::default()
    })
}

type Asked = Arc<Mutex<Vec<HttpRequest>>>;

/// Probes with that response to everything; returns the results, and what was sent.
fn run(
    targets: Vec<Target>,
    providers: &Providers,
    response: Result<(u16, &str), HttpError>,
) -> (Vec<Outcome>, Vec<HttpRequest>) {
    let options = Options::from_args(&StatusArgs { probe: true, ..StatusArgs::default() });
    let options = options.unwrap().unwrap();
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let response = response.map(|(status, body)| (status, body.to_owned()));
    let http: Arc<dyn HttpClient> = Arc::new(move |request: HttpRequest| {
        log.lock().unwrap().push(request);
        let (status, body) = response.clone()?;
        Ok(HttpResponse { status, headers: Vec::new(), body: body.into_bytes() })
    });
    let outcomes = runtime::run(ask(targets, &options, providers, http, NOW)).unwrap();
    let asked = asked.lock().unwrap().clone();
    (outcomes, asked)
}

fn status(response: Result<(u16, &str), HttpError>) -> (&'static str, Option<String>) {
    let (outcomes, _) = run(vec![target("openai", key())], &providers(&[]), response);
    (outcomes[0].status, outcomes[0].error.clone())
}

#[test]
fn each_response_has_its_word() {
    for (code, body, wanted) in [
        (200, "{}", "ok"),
        (401, r#"{"error":{"code":"invalid_api_key","message":"bad key"}}"#, "auth"),
        (402, "{}", "billing"),
        (429, r#"{"error":{"type":"rate_limit_error"}}"#, "rate_limit"),
        (429, r#"{"error":{"code":"insufficient_quota"}}"#, "billing"),
        (503, "", "timeout"),
    ] {
        let (status, error) = status(Ok((code, body)));
        // 5xx counts as routing classifies it: never as a refusal.
        if code == 503 {
            assert!(!matches!(status, "ok" | "auth" | "billing"), "{status}");
        } else {
            assert_eq!(status, wanted, "{code} {body}");
        }
        assert_eq!(error.is_none(), code == 200);
    }
    let (status, error) = status(Err(HttpError::NotSent("no route".to_owned())));
    assert_eq!((status, error.as_deref()), ("unknown", Some("not sent: no route")));
}

#[test]
fn a_secret_that_is_repeated_is_not_shown() {
    let (_, error) = status(Ok((401, r#"{"error":{"message":"bad key CANARY"}}"#)));
    assert!(!error.unwrap().contains("CANARY"));
}

#[test]
fn a_probe_reads_and_presents_each_kind_as_its_provider_wants() {
    let token = Credential::Token { token: " CANARY\n".into(), expires: None };
    let targets = vec![
        target("openai", key()),
        target("anthropic", key()),
        target("anthropic", token),
        target("deepgram", key()),
        target("openai-codex", login(None)),
    ];
    let (outcomes, asked) = run(targets, &providers(&[]), Ok((200, "{}")));
    assert!(outcomes.iter().all(|it| it.status == "ok"), "{outcomes:?}");
    assert!(asked.iter().all(|it| it.body().is_none()));
    let headers = |host: &str| {
        let found = asked.iter().filter(|it| it.url().contains(host));
        let headers = found.map(|it| it.headers().iter().cloned().collect());
        headers.collect::<Vec<HashMap<String, String>>>()
    };
    assert_eq!(headers("api.openai.com")[0]["authorization"], "Bearer CANARY");
    let anthropic = headers("api.anthropic.com");
    assert_eq!(anthropic[0]["x-api-key"], "CANARY");
    assert!(!anthropic[0].contains_key("authorization"));
    assert_eq!(anthropic[1]["authorization"], "Bearer CANARY");
    assert!(anthropic[1].contains_key("anthropic-beta"));
    assert_eq!(headers("api.deepgram.com")[0]["authorization"], "Token CANARY");
    assert_eq!(headers("chatgpt.com")[0]["chatgpt-account-id"], "acc");
}

#[test]
fn a_login_is_asked_about_only_where_it_came_from() {
    let gateway = r#"{"id": "openai-codex", "extends": "openai-codex",
        "endpoints": {"token": "https://gateway.example/token"}}"#;
    let acme = r#"{"id": "acme", "flows": ["authorization_code"], "client_id": "c",
        "endpoints": {"authorization": "https://a.example/a", "token": "https://a.example/t",
        "userinfo": "https://a.example/u"}}"#;
    let own = providers(&[("openai-codex", gateway), ("acme", acme)]);
    let targets = vec![
        target("openai-codex", login(None)),
        target("openai-codex", login(Some("https://gateway.example/token"))),
        target("acme", login(Some("https://evil.example/t"))),
        target("acme", login(Some("https://a.example/t"))),
        target("acme", key()),
        target("nobody", key()),
    ];
    let (outcomes, asked) = run(targets, &own, Ok((200, "{}")));
    let statuses: Vec<_> = outcomes.iter().map(|it| it.status).collect();
    assert_eq!(statuses, ["unknown", "unknown", "unknown", "ok", "unknown", "unknown"]);
    let urls: Vec<_> = asked.iter().map(HttpRequest::url).collect();
    assert_eq!(urls, ["https://a.example/u"]);
    // The control: the built-in login is probed at its own provider.
    let (outcomes, asked) =
        run(vec![target("openai-codex", login(None))], &providers(&[]), Ok((200, "{}")));
    assert_eq!((outcomes[0].status, asked.len()), ("ok", 1));
}

#[test]
fn a_manifest_that_moves_the_probe_gets_no_secret() {
    let evil = |id: &str| {
        format!(
            r#"{{"id": "{id}", "extends": "{id}", "probe": {{"url": "https://evil.example/p"}}}}"#
        )
    };
    let (codex, openai) = (evil("openai-codex"), evil("openai"));
    let changed = providers(&[("openai-codex", &codex), ("openai", &openai)]);
    let recorded = |origin: &str| Target {
        recorded: Some(vec![origin.to_owned()]),
        ..target("openai", key())
    };
    let targets = || {
        vec![
            target("openai-codex", login(None)),
            target("openai-codex", login(Some("https://auth.openai.com/oauth/token"))),
            target("openai", key()),
            recorded("https://api.openai.com"),
        ]
    };
    let (outcomes, asked) = run(targets(), &changed, Ok((200, "{}")));
    assert!(outcomes.iter().all(|it| it.is_foreign && it.status == "unknown"), "{outcomes:?}");
    let error = outcomes[0].error.as_deref().unwrap();
    assert!(error.contains("`https://evil.example`"), "{error}");
    assert!(error.contains("`https://chatgpt.com`"), "{error}");
    assert_eq!(asked.len(), 0);
    // The controls: the entry as it is built in, and an origin that the user accepted.
    assert_eq!(run(targets(), &providers(&[]), Ok((200, "{}"))).1.len(), 4);
    let accepted = vec![recorded("https://evil.example")];
    assert_eq!(run(accepted, &changed, Ok((200, "{}"))).1.len(), 1);
}

#[test]
fn what_has_ended_is_not_sent_and_not_renewed() {
    let home = tempfile::tempdir().unwrap();
    let context = Context::sealed(home.path(), NOW);
    let usable = |credential| usable(credential, &"a:b".into(), NOW, &context);
    let ended = Credential::OAuth(OAuthCredential {
        access: "a".into(),
        refresh: "r".into(),
        expires: Some(NOW),
        ..OAuthCredential::default()
    });
    assert_eq!(usable(ended).unwrap_err().0, "unknown");
    let ended = Credential::Token { token: "t".into(), expires: Some(NOW) };
    assert_eq!(usable(ended).unwrap_err().0, "auth");
    assert_eq!(usable(Credential::ApiKey("".into())).unwrap_err().0, "auth");
    assert!(usable(key()).is_ok());
}
