//! Logins that begin in one process and end in another.

use std::time::Duration;

use auth_pkce::CallbackError;
use auth_providers::{
    Flow, HttpClient, Login, LoginError, PENDING_LIFETIME, Pending, PendingLogins, Provider,
    Providers, Way,
};
use auth_store::{ProviderId, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    Issuer, NOW, Responses, Time, Url, acme, block_on, nobody, provider, providers,
};

fn start(pending: &PendingLogins, provider: &Provider, seed: u8, now: Timestamp) -> Pending {
    let nobody = Issuer::new(|_, _| panic!("nothing is sent"));
    let note = json!({"agent": "main"});
    block_on(pending.start(provider, Flow::AuthorizationCode, note, [seed; 112], &nobody, &now))
        .unwrap()
}

fn url(begun: &Pending) -> &str {
    let Way::Browser { url, .. } = &begun.way else { panic!("{begun:?}") };
    url
}

fn redirect_uri(begun: &Pending) -> &str {
    let Way::Browser { redirect_uri, .. } = &begun.way else { panic!("{begun:?}") };
    redirect_uri
}

/// The browser's final address after consent.
fn response(begun: &Pending) -> String {
    format!("{}?code=c&state={}", redirect_uri(begun), Url::parse(url(begun)).get("state"))
}

/// Finishes the login that `pasted` belongs to.
fn finish(
    pending: &PendingLogins,
    pasted: &str,
    providers: &Providers,
    http: &dyn HttpClient,
    now: Timestamp,
) -> Result<(Login, Value), LoginError> {
    let received = pending.answered(pasted, None, providers, now)?;
    let note = received.note.clone();
    Ok((block_on(received.finish(http, &nobody(), &now, &Time::default()))?, note))
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
    let (login, note) = finish(&pending, &response(&begun), &providers, &issuer, NOW).unwrap();
    assert_eq!(login.provider.as_str(), "acme");
    assert_eq!(note, json!({"agent": "main"}));
    let asked = issuer.asked();
    assert_eq!(asked.len(), 1);
    let redirect: String =
        url::form_urlencoded::byte_serialize(redirect_uri(&begun).as_bytes()).collect();
    assert!(asked[0].1.contains(&format!("redirect_uri={redirect}&")), "{}", asked[0].1);
    assert_eq!(files(&directory.path().join("logins")), Vec::<String>::new());

    let error = finish(&pending, &response(&begun), &providers, &issuer, NOW).unwrap_err();
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
        finish(&pending, &response(&begun), &providers, &issuer, NOW).is_ok()
    };
    let successes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(finish)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!(successes, 1);
    assert_eq!(issuer.asked().len(), 1);
}

#[test]
fn a_response_finds_its_login_among_several() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let acme = provider(&plain());
    let first = start(&pending, &acme, 1, NOW);
    let second = start(&pending, &acme, 2, NOW.plus(Duration::from_secs(1)));
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    finish(&pending, &response(&first), &providers, &issuer, NOW).unwrap();
    assert_eq!(files(directory.path()), [format!("{}.json", second.id)]);
}

#[test]
fn what_is_no_response_leaves_the_login_for_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    for wrong in ["nonsense here", "", "https://evil.example/?code=c&state=s"] {
        let error = finish(&pending, wrong, &providers, &issuer, NOW).unwrap_err();
        let is_noise = matches!(error, LoginError::Callback(CallbackError::Malformed { .. }));
        assert!(is_noise, "{wrong}: {error}");
    }
    let mismatch = format!("{}?code=c&state=another", redirect_uri(&begun));
    let error = finish(&pending, &mismatch, &providers, &issuer, NOW).unwrap_err();
    assert!(matches!(error, LoginError::Callback(CallbackError::StateMismatch)), "{error}");
    assert_eq!(issuer.asked().len(), 0);
    finish(&pending, &response(&begun), &providers, &issuer, NOW).unwrap();
}

#[test]
fn a_denied_consent_ends_the_login() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let denied = response(&begun).replace("code=c", "error=access_denied");
    let issuer = Issuer::new(|_, _| tokens());
    let error = finish(&pending, &denied, &providers(&plain()), &issuer, NOW).unwrap_err();
    assert!(matches!(error, LoginError::Callback(CallbackError::Denied { .. })), "{error}");
    assert_eq!(files(directory.path()), Vec::<String>::new());
}

#[test]
fn a_login_ends_after_ten_minutes() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    let late = NOW.plus(PENDING_LIFETIME);
    let error = finish(&pending, &response(&begun), &providers, &issuer, late).unwrap_err();
    assert!(matches!(error, LoginError::NoneBegun), "{error}");
    assert_eq!(files(directory.path()), Vec::<String>::new());
}

#[test]
fn a_code_without_state_is_refused_while_two_logins_could_take_it() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let mut manifest = plain();
    manifest["bare_code"] = json!(true);
    let acme = provider(&manifest);
    start(&pending, &acme, 1, NOW);
    let issuer = Issuer::new(|_, _| tokens());
    start(&pending, &acme, 2, NOW.plus(Duration::from_secs(1)));
    let refused = finish(&pending, "the-code-1", &providers(&manifest), &issuer, NOW).unwrap_err();
    assert!(matches!(refused, LoginError::SeveralBegun { .. }), "{refused}");
    assert_eq!(files(directory.path()).len(), 2);
}

#[test]
fn a_device_login_begun_here_is_finished_there() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let mut manifest = plain();
    manifest["flows"] = json!(["device_code"]);
    manifest["endpoints"]["device_authorization"] = json!("https://acme.example/device");
    manifest["device"] = json!({"pkce": true});
    let acme = provider(&manifest);
    let http = Responses::new([(
        200,
        json!({"device_code": "d", "user_code": "AB-12", "expires_in": 900,
            "verification_uri": "https://acme.example/go", "interval": 7}),
    )]);
    let begun =
        block_on(pending.start(&acme, Flow::DeviceCode, json!({}), [3; 112], &http, &NOW)).unwrap();
    let Way::Device(code) = &begun.way else { panic!("{begun:?}") };
    assert_eq!((code.user_code.as_str(), code.interval), ("AB-12", Duration::from_secs(7)));
    assert_eq!(begun.expires, NOW.plus(Duration::from_mins(15)));
    let challenge = http.asked()[0].field("code_challenge").unwrap();

    // If the provider cannot be reached, the login stays as it was.
    let (providers, time) = (providers(&manifest), Time::default());
    let odd = Responses::new((0..6).map(|_| (404, json!("nothing"))));
    let received = pending.answered(&begun.id, None, &providers, NOW).unwrap();
    let error = block_on(received.finish(&odd, &nobody(), &NOW, &time)).unwrap_err();
    assert!(matches!(error, LoginError::Unavailable { .. }), "{error}");

    // Its code finds it, too; the verifier matches the challenge.
    let http = Responses::new([(200, json!({"access_token": "a", "refresh_token": "r"}))]);
    let received = pending.answered("AB-12\n", None, &providers, NOW).unwrap();
    let login = block_on(received.finish(&http, &nobody(), &NOW, &time)).unwrap();
    assert_eq!(login.credential.bearer().expose(), "a");
    let verifier = http.asked()[0].field("code_verifier").unwrap();
    let verifier = auth_pkce::Verifier::parse(&verifier).unwrap();
    assert_eq!(verifier.challenge().as_str(), challenge);
    assert_eq!(files(directory.path()), Vec::<String>::new());
    let again = pending.answered("AB-12", None, &providers, NOW).unwrap_err();
    assert!(matches!(again, LoginError::NoneBegun), "{again}");
}

#[test]
fn a_device_login_that_is_dropped_can_be_finished_later() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let mut manifest = plain();
    manifest["flows"] = json!(["device_code"]);
    manifest["endpoints"]["device_authorization"] = json!("https://acme.example/device");
    let http = Responses::new([(
        200,
        json!({"device_code": "d", "user_code": "AB", "verification_uri": "https://acme.example/"}),
    )]);
    let acme = provider(&manifest);
    let begun =
        block_on(pending.start(&acme, Flow::DeviceCode, json!({}), [3; 112], &http, &NOW)).unwrap();
    let providers = providers(&manifest);
    let user = nobody();
    let time = crate::support::StandingStill;
    block_on(async {
        let received = pending.answered(&begun.id, None, &providers, NOW).unwrap();
        let mut finishing = Box::pin(received.finish(&http, &user, &NOW, &time));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(finishing.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
        assert_eq!(files(directory.path()), [format!("{}.claimed", begun.id)]);
    });
    assert_eq!(files(directory.path()), [format!("{}.json", begun.id)]);
    pending.answered(&begun.id, None, &providers, NOW).unwrap();
}

#[test]
fn a_login_that_somebody_else_took_since_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let (providers, issuer) = (providers(&plain()), Issuer::new(|_, _| tokens()));
    let received = || pending.answered(&response(&begun), None, &providers, NOW).unwrap();
    let (first, second, third) = (received(), received(), received());

    // An obstacle is not the same as a missing file.
    let claimed = directory.path().join(format!("{}.claimed", begun.id));
    std::fs::create_dir(&claimed).unwrap();
    let error = block_on(first.finish(&issuer, &nobody(), &NOW, &Time::default())).unwrap_err();
    assert!(matches!(error, LoginError::Store(_)), "{error}");
    std::fs::remove_dir(&claimed).unwrap();

    block_on(second.finish(&issuer, &nobody(), &NOW, &Time::default())).unwrap();
    let error = block_on(third.finish(&issuer, &nobody(), &NOW, &Time::default())).unwrap_err();
    assert!(matches!(error, LoginError::NoneBegun), "{error}");
    assert_eq!(issuer.asked().len(), 1);
}

#[test]
fn where_any_port_will_do_it_is_one_that_is_nobodys() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    for seed in [0x00, 0x40, 0x7f, 0xc0, 0xff] {
        let begun = start(&pending, &provider(&plain()), seed, NOW);
        let port = url::Url::parse(redirect_uri(&begun)).unwrap().port().unwrap();
        assert!(port >= 49_152, "{port}");
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_no_login_alive() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let earliest = Timestamp(begun.expires.0 - 2 * 3_600_000);
    for (now, is_left) in [(earliest, true), (Timestamp(earliest.0 - 1), false)] {
        assert!(pending.answered("nothing", None, &providers(&plain()), now).is_err());
        assert_eq!(files(directory.path()).len(), usize::from(is_left));
    }
}

#[test]
fn a_bad_paste_or_an_issuer_that_is_away_leaves_the_login() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path());
    let mut manifest = plain();
    manifest["bare_code"] = json!(true);
    let (begun, providers) = (start(&pending, &provider(&manifest), 1, NOW), providers(&manifest));
    let nobody = Issuer::new(|_, _| panic!("nothing is sent"));
    let state = Url::parse(url(&begun)).get("state").to_owned();
    let redirect = redirect_uri(&begun);
    for pasted in [
        "hello".to_owned(),
        format!("{redirect}?code=c"),
        format!("{redirect}?state={state}"),
        format!("{redirect}?error=access_denied&state=another"),
        format!("{redirect}?code=c&state={state}&iss=https%3A%2F%2Fac"),
    ] {
        let error = finish(&pending, &pasted, &providers, &nobody, NOW).unwrap_err();
        assert!(matches!(error, LoginError::Callback(_)), "{pasted}: {error}");
        assert_eq!(files(directory.path()).len(), 1, "{pasted}");
    }
    // A word that might have been a code, and is none.
    let refused = Issuer::new(|_, _| (400, json!({"error": "invalid_grant"}).to_string()));
    let error = finish(&pending, "hello-2-all", &providers, &refused, NOW).unwrap_err();
    assert!(matches!(error, LoginError::Callback(ref it) if !it.ends_login()), "{error}");
    assert_eq!(files(directory.path()).len(), 1);
    // No answer, and a web page.
    for away in [(0, String::new()), (200, "<html>sign in</html>".to_owned())] {
        let away = Issuer::new(move |_, _| away.clone());
        let error = finish(&pending, &response(&begun), &providers, &away, NOW).unwrap_err();
        assert!(matches!(error, LoginError::Unavailable { .. }), "{error}");
        assert_eq!(files(directory.path()).len(), 1);
    }
    let issuer = Issuer::new(|_, _| tokens());
    finish(&pending, &format!("URL: {}.", response(&begun)), &providers, &issuer, NOW).unwrap();
    assert!(files(directory.path()).is_empty());
    // The control: a code with its state that is refused ends the login.
    let begun = start(&pending, &provider(&manifest), 2, NOW);
    let refused = Issuer::new(|_, _| (400, json!({"error": "invalid_grant"}).to_string()));
    let error = finish(&pending, &response(&begun), &providers, &refused, NOW).unwrap_err();
    assert!(matches!(error, LoginError::Refused { .. }), "{error}");
    assert!(files(directory.path()).is_empty());
}

/// A code alone says nothing about the login it is for.
#[test]
fn a_bare_code_for_two_logins_is_an_error_unless_the_provider_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path().join("logins"));
    let manifest = |id: &str| {
        let mut manifest = plain();
        manifest["id"] = id.into();
        manifest["bare_code"] = true.into();
        (std::path::PathBuf::from(format!("/{id}.json")), Ok(manifest.to_string()))
    };
    let both = Providers::from_manifests(vec![manifest("acme"), manifest("other")], &|_| None);
    assert_eq!(both.errors(), []);
    let find = |id: &str| both.find(&ProviderId::new(id)).unwrap().clone();
    let begun = [start(&pending, &find("acme"), 1, NOW), start(&pending, &find("other"), 2, NOW)];
    let error = pending.answered("the-code-1", None, &both, NOW).unwrap_err();
    assert!(matches!(&error, LoginError::SeveralBegun { providers } if providers.len() == 2));
    assert!(error.to_string().contains("`acme`") && error.to_string().contains("`other`"));
    for id in ["acme", "other"] {
        let only = ProviderId::new(id);
        let received = pending.answered("the-code-1", Some(&only), &both, NOW).unwrap();
        assert_eq!(received.provider().id, only);
    }
    // The whole address names its login, and a provider that is named must be the one.
    let address = response(&begun[0]);
    assert_eq!(
        pending.answered(&address, None, &both, NOW).unwrap().provider().id.as_str(),
        "acme"
    );
    let other = ProviderId::new("other");
    assert!(pending.answered(&address, Some(&other), &both, NOW).is_err());
}

/// The manifest was changed between the two steps.
#[test]
fn an_entry_that_names_new_addresses_meanwhile_finishes_no_login() {
    let directory = tempfile::tempdir().unwrap();
    let pending = PendingLogins::at(directory.path().join("logins"));
    let begun = start(&pending, &provider(&plain()), 1, NOW);
    let mut changed = plain();
    changed["probe"] = json!({"url": "https://evil.example/p"});
    let finish = |manifest: &Value| {
        let received = pending.answered(&response(&begun), None, &providers(manifest), NOW);
        received.map(|received| received.provider().id.clone())
    };
    assert!(matches!(finish(&changed), Err(LoginError::NoneBegun)));
    assert_eq!(finish(&plain()).unwrap().as_str(), "acme");
}
