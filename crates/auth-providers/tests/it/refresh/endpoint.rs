//! An endpoint that asks to be left alone, for one token of many.

use super::*;

/// A world whose first agent has these profiles too, each with a token of its own.
fn crowd(count: usize) -> World {
    let world = World::new(1);
    world.agents[0]
        .update(|document| {
            for number in 0..count {
                let login = Credential::OAuth(login(&format!("t{number}"), PAST));
                document.put(&name(number), "acme", &login, &Map::new());
            }
        })
        .unwrap();
    world
}

fn name(number: usize) -> ProfileId {
    ProfileId::from(format!("acme:{number}").as_str())
}

fn of(number: usize, force: Force) -> Wanted {
    Wanted { force, ..Wanted::now(name(number)) }
}

#[expect(clippy::unnecessary_wraps, reason = "what an issuer answers")]
fn busy(status: u16, headers: &[(&str, &str)]) -> TokenResponse {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Ok(HttpResponse { status, headers: headers.collect(), body: b"{}".to_vec() })
}

fn retry_at(refused: Result<String, RefreshError>) -> Timestamp {
    match refused {
        Err(RefreshError::Unavailable { retry_at: Some(at), .. }) => at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_two_hundred_due_profiles_of_a_busy_issuer_one_is_sent() {
    for status in [429, 503] {
        let world = crowd(200);
        let issuer = Issuer::new(|_| busy(status, &[("retry-after", "30")]));
        for number in 0..200 {
            let at = retry_at(world.ask_as(0, &of(number, Force::No), &NOW, &issuer));
            assert_eq!(at, NOW.plus(Duration::from_secs(30)), "{number}");
        }
        assert_eq!(issuer.sent(), ["t0"], "{status}");
    }
    // The control: another failure is about one token.
    let world = crowd(20);
    let issuer = Issuer::new(|_| busy(500, &[]));
    for number in 0..20 {
        retry_at(world.ask_as(0, &of(number, Force::No), &NOW, &issuer));
    }
    assert_eq!(issuer.sent().len(), 20);
}

#[test]
fn who_insists_asks_all_the_same_and_an_answer_ends_it() {
    let world = crowd(3);
    let issuer = Issuer::new(|number| match number {
        0 => busy(429, &[("retry-after", "30")]),
        _ => tokens("a2", &format!("next-{number}")),
    });
    retry_at(world.ask_as(0, &of(0, Force::No), &NOW, &issuer));
    retry_at(world.ask_as(0, &of(1, Force::No), &NOW, &issuer));
    assert_eq!(world.ask_as(0, &of(1, Force::Refresh), &NOW, &issuer).unwrap(), "a2");
    assert_eq!(world.ask_as(0, &of(2, Force::No), &NOW, &issuer).unwrap(), "a2");
    assert_eq!(issuer.sent(), ["t0", "t1", "t2"]);
    // The token that was told to wait still does.
    retry_at(world.ask_as(0, &of(0, Force::No), &NOW, &issuer));
}

#[test]
fn a_refusal_ends_it_too() {
    let world = crowd(3);
    let issuer = Issuer::new(|number| match number {
        0 => busy(503, &[]),
        1 => response(400, &json!({"error": "invalid_grant"})),
        _ => tokens("a2", "r2"),
    });
    retry_at(world.ask_as(0, &of(0, Force::No), &NOW, &issuer));
    let refused = world.ask_as(0, &of(1, Force::Send), &NOW, &issuer);
    assert!(matches!(refused, Err(RefreshError::Rejected { .. })), "{refused:?}");
    assert_eq!(world.ask_as(0, &of(2, Force::No), &NOW, &issuer).unwrap(), "a2");
}

#[test]
fn others_wait_a_minute_at_most_and_the_token_itself_as_long_as_was_said() {
    let world = crowd(2);
    let issuer = Issuer::new(|number| match number {
        0 => busy(429, &[("retry-after", "3600")]),
        _ => tokens("a2", "r2"),
    });
    let hour = NOW.plus(Duration::from_hours(1));
    assert_eq!(retry_at(world.ask_as(0, &of(0, Force::No), &NOW, &issuer)), hour);
    let minute = NOW.plus(Duration::from_mins(1));
    assert_eq!(retry_at(world.ask_as(0, &of(1, Force::No), &NOW, &issuer)), minute);
    assert_eq!(world.ask_as(0, &of(1, Force::No), &minute, &issuer).unwrap(), "a2");
    assert_eq!(retry_at(world.ask_as(0, &of(0, Force::No), &minute, &issuer)), hour);
}

#[test]
fn a_date_is_compared_with_that_of_the_answer() {
    let world = crowd(1);
    // Its clock is years behind ours.
    let issuer = Issuer::new(|_| {
        let headers = [
            ("date", "Tue, 01 Feb 2022 00:00:00 GMT"),
            ("retry-after", "Tue, 01 Feb 2022 00:00:20 GMT"),
        ];
        busy(429, &headers)
    });
    let at = retry_at(world.ask_as(0, &of(0, Force::No), &NOW, &issuer));
    assert_eq!(at, NOW.plus(Duration::from_secs(20)));
}

#[test]
fn another_client_and_another_endpoint_are_not_meant() {
    for other in [
        OAuthCredential { client_id: Some("another".to_owned()), ..login("t1", PAST) },
        OAuthCredential {
            token_endpoint: Some("https://other.example/token".to_owned()),
            ..login("t1", PAST)
        },
    ] {
        let world = crowd(2);
        put(&world.agents[0], name(1).as_str(), &other);
        let issuer = Issuer::new(|number| match number {
            0 => busy(429, &[]),
            _ => tokens("a2", "r2"),
        });
        retry_at(world.ask_as(0, &of(0, Force::No), &NOW, &issuer));
        assert_eq!(world.ask_as(0, &of(1, Force::No), &NOW, &issuer).unwrap(), "a2");
    }
}

#[test]
fn a_valid_access_token_is_used_meanwhile() {
    let world = crowd(2);
    put(&world.agents[0], name(1).as_str(), &login("t1", SOON));
    let issuer = Issuer::new(|_| busy(429, &[]));
    retry_at(world.ask_as(0, &of(0, Force::No), &NOW, &issuer));
    let used = world.ask_as(0, &of(1, Force::No), &NOW, &issuer).unwrap();
    assert_eq!((used.as_str(), issuer.sent().len()), ("access-of-t1", 1));
}
