//! Names of new profiles.

use auth_providers::{Login, TakenProfile, profile_name};
use auth_store::{Credential, Document, OAuthCredential, Profile, ProfileId, ProviderId};
use serde_json::{Map, Value};

fn login(account: Option<&str>, email: Option<&str>) -> Login {
    let account_id = account.map(str::to_owned);
    let credential = OAuthCredential {
        access: "a".into(),
        account_id: account_id.clone(),
        ..OAuthCredential::default()
    };
    let email = email.map(str::to_owned);
    let fields = email.iter().map(|email| ("email".to_owned(), Value::from(email.as_str())));
    Login {
        provider: ProviderId::new("acme"),
        credential: Credential::OAuth(credential),
        account_id,
        fields: fields.collect(),
        email,
        warnings: Vec::new(),
    }
}

fn profiles(stored: &[(&str, Login)]) -> Vec<Profile> {
    let mut document = Document::empty();
    for (id, login) in stored {
        document.put(&ProfileId::from(*id), "acme", &login.credential, &login.fields);
    }
    document.profiles().collect()
}

#[track_caller]
fn check(login: &Login, stored: &[(&str, Login)], wanted: &str) {
    let id = profile_name(login, None, None, false, &profiles(stored)).unwrap();
    assert_eq!(id.as_str(), wanted);
}

const ME: Option<&str> = Some("me@acme.example");

#[test]
fn the_name_is_the_email_or_default() {
    check(&login(Some("1"), ME), &[], "acme:me@acme.example");
    check(&login(Some("1"), None), &[], "acme:default");
    let id = profile_name(&login(None, None), Some("github"), None, false, &[]).unwrap();
    assert_eq!(id.as_str(), "acme:github");
}

#[test]
fn the_same_account_takes_its_own_place() {
    let stored =
        [("acme:me@acme.example", login(Some("1"), ME)), ("acme:default", login(None, None))];
    check(&login(Some("1"), ME), &stored, "acme:me@acme.example");
    check(&login(None, ME), &stored, "acme:me@acme.example");
    check(&login(None, None), &stored, "acme:default");
}

#[test]
fn a_second_account_never_overwrites_the_first() {
    let stored =
        [("acme:me@acme.example", login(Some("1"), ME)), ("acme:default", login(Some("1"), None))];
    check(&login(Some("2"), ME), &stored, "acme:me@acme.example-2");
    check(&login(Some("a/ b"), None), &stored, "acme:default-ab");
}

/// For example GitHub's tokens: our login asks for the account, and Clawdbot's did not.
#[test]
fn a_token_never_takes_the_place_of_one_whose_account_is_not_known_to_be_the_same() {
    let token = |account: Option<&str>| {
        let account_id = account.map(str::to_owned);
        let mut fields = Map::new();
        if let Some(account) = account {
            fields.insert("accountId".to_owned(), account.into());
        }
        let credential = Credential::Token { token: "t".into(), expires: None };
        Login { credential, account_id, fields, ..login(None, None) }
    };
    let name = |new: &Login, stored: &[(&str, Login)]| {
        profile_name(new, Some("hub"), None, false, &profiles(stored)).unwrap().to_string()
    };
    let (one, two, unknown) = (token(Some("1")), token(Some("2")), token(None));
    assert_eq!(name(&one, &[]), "acme:hub");
    let stored = [("acme:hub", one.clone())];
    assert_eq!(name(&one, &stored), "acme:hub");
    assert_eq!(name(&two, &stored), "acme:hub-2");
    assert_eq!(name(&unknown, &stored), "acme:hub-2");
    let stored = [("acme:hub", unknown.clone())];
    assert_eq!(name(&one, &stored), "acme:hub-1");
    // If the account is always unknown, a new login replaces the old one.
    assert_eq!(name(&unknown, &stored), "acme:hub");
    let stored = [("acme:hub", unknown), ("acme:hub-1", one.clone())];
    assert_eq!(name(&one, &stored), "acme:hub-1");
}

#[test]
fn a_login_does_not_take_the_place_of_a_key_or_of_another_provider() {
    let mut document = Document::empty();
    let key = Credential::ApiKey("k".into());
    document.put(&"acme:default".into(), "acme", &key, &Map::new());
    document.put(&"acme:default-2".into(), "other", &login(None, None).credential, &Map::new());
    let existing: Vec<_> = document.profiles().collect();
    let id = profile_name(&login(None, None), None, None, false, &existing).unwrap();
    assert_eq!(id.as_str(), "acme:default-3");
}

#[test]
fn what_is_asked_for_wins_unless_it_is_another_accounts_and_nobody_insists() {
    let stored = profiles(&[("work", login(Some("1"), ME))]);
    let ask =
        |login: &Login, force| profile_name(login, None, Some(&"work".into()), force, &stored);
    assert_eq!(ask(&login(Some("1"), ME), false), Ok("work".into()));
    assert_eq!(ask(&login(Some("2"), ME), false), Err(TakenProfile { id: "work".into() }));
    assert_eq!(ask(&login(Some("2"), ME), true), Ok("work".into()));
}
