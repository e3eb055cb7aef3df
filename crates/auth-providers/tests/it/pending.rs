//! Logins that begin in one process and end in another.

use std::time::Duration;

use auth_pkce::CallbackError;
use auth_providers::{
    HttpClient, Login, LoginError, PENDING_LIFETIME, Pending, PendingLogins, Provider, Providers,
};
use auth_store::Timestamp;
use serde_json::{Value, json};

use crate::support::{Issuer, NOW, Url, acme, block_on, provider, providers};

fn start(pending: &PendingLogins, provider: &Provider, seed: u8, now: Timestamp) -> Pending {
    let nobody = Issuer::new(|_, _| panic!("nothing is sent"));
    let note = json!({"agent": "main"});
    block_on(pending.start(provider, note, [seed; 112], &nobody, &now)).unwrap()
}

/// The address a browser ends on after consent.
fn answer(begun: &Pending) -> String {
    format!("{}?code=c&state={}", begun.redirect_uri, Url::parse(&begun.url).get("state"))
}

/// Finishes the login that `pasted` answers.
fn finish(
    pending: &PendingLogins,
    pasted: &str,
    providers: &Providers,
    http: &dyn HttpClient,
    now: Timestamp,
) -> Result<(Login, Value), LoginError> {
    let answered = pending.answered(pasted, providers, now)?;
    let note = answered.note.clone();
    Ok((block_on(answered.finish(http, &now))?, note))
}

fn plain() -> Value {
    let mut manifest = acme();
    manifest["scopes"] = json!([]);
    manifest["identity"] = json!(null);
    manifest
}

fn tokens() -> (u16, String) {
    (200, json!({"access_token": "a", "refresh_token": "r"}).to_string())
}

fn files(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_login_begun_here_is_finished_there_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path().join("logins"));
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    assert_eq!(begun.expires, NOW.plus(PENDING_LIFETIME));
    let path = directory.path().join("logins").join(format!("{}.json", begun.id));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(path.exists());

    let issuer = Issuer::new(|_, _| tokens());
    let providers = providers(&plain());
    let (login, note) = finish(&pending, &answer(&begun), &providers, &issuer, NOW).unwrap();
    assert_eq!(login.provider.as_str(), "acme");
    assert_eq!(note, json!({"agent": "main"}));
    let asked = issuer.asked();
    assert_eq!(asked.len(), 1);
    let redirect: String =
        url::form_urlencoded::byte_serialize(begun.redirect_uri.as_bytes()).collect();
    assert!(asked[0].1.contains(&format!("redirect_uri={redirect}&")), "{}", asked[0].1);
    assert_eq!(files(&directory.path().join("logins")), Vec::<String>::new());

    let error = finish(&pending, &answer(&begun), &providers, &issuer, NOW).unwrap_err();
    assert!(matches!(error, LoginError::NoneBegun), "{error}");
    assert_eq!(issuer.asked().len(), 1);
}

#[test]
fn of_two_that_finish_at_once_one_exchanges_the_code() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    let barrier = std::sync::Barrier::new(16);
    let finish = || {
        barrier.wait();
        finish(&pending, &answer(&begun), &providers, &issuer, NOW).is_ok()
    };
    let successes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(finish)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!(successes, 1);
    assert_eq!(issuer.asked().len(), 1);
}

#[test]
fn an_answer_finds_its_login_among_several() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let acme = provider(&plain());
    let first = start(&pending, &acme, 1, NOW);
    let second = start(&pending, &acme, 2, NOW.plus(Duration::from_secs(1)));
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    finish(&pending, &answer(&first), &providers, &issuer, NOW).unwrap();
    assert_eq!(files(directory.path()), [format!("{}.json", second.id)]);
}

#[test]
fn what_is_no_answer_leaves_the_login_for_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    for wrong in ["nonsense here", "", "https://evil.example/?code=c&state=s"] {
        let error = finish(&pending, wrong, &providers, &issuer, NOW).unwrap_err();
        let is_noise = matches!(error, LoginError::Answer(CallbackError::Malformed { .. }));
        assert!(is_noise, "{wrong}: {error}");
    }
    let mismatch = format!("{}?code=c&state=another", begun.redirect_uri);
    let error = finish(&pending, &mismatch, &providers, &issuer, NOW).unwrap_err();
    assert!(matches!(error, LoginError::Answer(CallbackError::StateMismatch)), "{error}");
    assert_eq!(issuer.asked().len(), 0);
    finish(&pending, &answer(&begun), &providers, &issuer, NOW).unwrap();
}

#[test]
fn a_denied_consent_ends_the_login() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let denied = answer(&begun).replace("code=c", "error=access_denied");
    let issuer = Issuer::new(|_, _| tokens());
    let error = finish(&pending, &denied, &providers(&plain()), &issuer, NOW).unwrap_err();
    assert!(matches!(error, LoginError::Answer(CallbackError::Denied { .. })), "{error}");
    assert_eq!(files(directory.path()), Vec::<String>::new());
}

#[test]
fn a_login_ends_after_ten_minutes() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    let late = NOW.plus(PENDING_LIFETIME);
    let error = finish(&pending, &answer(&begun), &providers, &issuer, late).unwrap_err();
    assert!(matches!(error, LoginError::NoneBegun), "{error}");
    assert_eq!(files(directory.path()), Vec::<String>::new());
}

#[test]
fn a_code_without_state_goes_to_the_newest_login_that_takes_one() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let mut manifest = plain();
    manifest["bare_code"] = json!(true);
    let acme = provider(&manifest);
    let first = start(&pending, &acme, 1, NOW);
    start(&pending, &acme, 2, NOW.plus(Duration::from_secs(1)));
    let issuer = Issuer::new(|_, _| tokens());
    finish(&pending, "the-code", &providers(&manifest), &issuer, NOW).unwrap();
    assert_eq!(files(directory.path()), [format!("{}.json", first.id)]);
}
