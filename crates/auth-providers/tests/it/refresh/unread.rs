//! Responses in unexpected formats: understood, or kept, and never discarded with the only copy of
//! a token in them.

use std::fmt;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

const TOKENS: &str = r#"{"access_token":"n","refresh_token":"r2-of-it","expires_in":3600}"#;

/// A response with header fields.
#[derive(Clone)]
struct Shape {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl fmt::Debug for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.body[..self.body.len().min(300)];
        write!(formatter, "{} {:?} {}", self.status, self.headers, start.escape_ascii())
    }
}

impl Shape {
    fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a closure of the issuer returns")]
    fn response(&self) -> TokenResponse {
        let Self { status, headers, body } = self.clone();
        Ok(HttpResponse { status, headers, body })
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8], has_frame: bool) -> Vec<u8> {
    if has_frame {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        return encoder.finish().unwrap();
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Brotli without compression (RFC 7932 §9.2): one raw block, and an empty last one.
fn brotli(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - 1).unwrap();
    assert!(length < 1 << 16);
    // A window of 16 bits; not the last block; four digits of length; not compressed.
    let head = length << 4 | 1 << 20;
    [&head.to_le_bytes()[..3], bytes, &[3]].concat()
}

fn utf_16(text: &str, join: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(join).collect()
}

/// `TOKENS` with one more member.
fn and(member: &str) -> String {
    format!("{{{member},{}", &TOKENS[1..])
}

impl World {
    /// The response bytes that are kept for a token at the first agent.
    fn kept(&self, refresh: &str) -> Option<Vec<u8>> {
        let lock = self.agents[0].lock_for_refresh().unwrap();
        lock.kept_response(self.key(refresh)).unwrap().map(|kept| kept.body)
    }

    fn refresh_context<'a>(&'a self, http: &'a dyn HttpClient) -> RefreshContext<'a> {
        RefreshContext {
            store: &self.agents[0],
            siblings: &self.agents[1..],
            records: &self.records,
            http,
            clock: &NOW,
            timeout: TIMEOUT,
        }
    }

    fn merge_kept(&self) -> Result<bool, RefreshError> {
        refresh::merge_kept_response(
            &PROFILE.into(),
            &self.provider,
            self.refresh_context(&nobody()),
        )
    }
}

#[track_caller]
fn is_unmerged(asked: &Result<String, RefreshError>) -> String {
    match asked {
        Err(RefreshError::Unmerged { reason, .. }) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_can_be_understood_is_merged_whatever_it_looks_like() {
    let deep = format!("{}1{}", "[".repeat(130), "]".repeat(130));
    let form = "access_token=n&refresh_token=r2-of-it&expires_in=3600";
    let shapes = [
        Shape::new(form).with("content-type", "application/x-www-form-urlencoded"),
        Shape::new(form).with("content-type", "text/plain"),
        Shape::new(gzip(TOKENS.as_bytes())).with("content-encoding", "gzip"),
        Shape::new(gzip(TOKENS.as_bytes())),
        Shape::new(deflate(TOKENS.as_bytes(), true)).with("content-encoding", "deflate"),
        Shape::new(deflate(TOKENS.as_bytes(), false)).with("content-encoding", "deflate"),
        Shape::new(brotli(TOKENS.as_bytes())).with("content-encoding", "br"),
        Shape::new(TOKENS).with("content-encoding", "gzip"),
        Shape::new(format!("\u{feff}{TOKENS}")),
        Shape::new(and(r#""account":{"name":"Team \ud83d"}"#)),
        Shape::new(and(r#""quota":1e999"#)),
        Shape::new(and(r#""quota":NaN,"other":-Infinity"#)),
        Shape::new(and(&format!(r#""odd":{deep}"#))),
        Shape::new(and(r#""refresh_token":"an-earlier-one""#)),
        Shape::new(and(&format!(r#""pad":"{}""#, "x".repeat(2 << 20)))),
        Shape::new(and(&format!(r#""pad":[{}0]"#, "0,".repeat(1 << 20)))),
        Shape::new(and(r#""token_type":" Bearer,bearer ""#)),
        Shape::new(and(r#""token_type":"""#)),
    ];
    let successes = (201..=206).map(|status| Shape::new(TOKENS).status(status));
    for shape in shapes.into_iter().chain(successes) {
        let start = String::from_utf8_lossy(&shape.body[..shape.body.len().min(80)]).into_owned();
        let told = format!("{} {:?} {start}", shape.status, shape.headers);
        let world = World::new(1);
        let issuer = Issuer::new(|_| shape.response());
        assert_eq!(world.ask(&issuer).ok().as_deref(), Some("n"), "{told}");
        assert_eq!((world.refresh_token(0).as_str(), world.state("r1")), {
            ("r2-of-it", State::Consumed)
        });
        assert_eq!((world.response_files(), world.kept("r1")), (0, None), "{told}");
        assert_eq!(world.stored(0).expires, Some(NOW.plus(Duration::from_hours(1))), "{told}");
    }
}

/// Formats with tokens in them that are not merged automatically.
fn unread() -> Vec<Shape> {
    vec![
        Shape::new(TOKENS).status(500),
        Shape::new(TOKENS).status(401),
        Shape::new(TOKENS).status(302),
        Shape::new(gzip(TOKENS.as_bytes())).with("content-encoding", "gzip").status(503),
        Shape::new(format!("<html><body><pre>{TOKENS}</pre></body></html>"))
            .with("content-type", "text/html"),
        Shape::new(format!(r#"{{"data":{TOKENS}}}"#)),
        Shape::new(format!(r#"{{"data":{TOKENS},"pad":"{}"}}"#, "x".repeat(2 << 20))),
        Shape::new(format!(r#"{{"statusCode":200,"body":{}}}"#, json!(TOKENS))),
        Shape::new([b"\xff\xfe", &*utf_16(TOKENS, u16::to_le_bytes)].concat()),
        Shape::new(utf_16(TOKENS, u16::to_be_bytes)),
    ]
}

/// Formats that cannot be read at all.
fn sealed() -> Vec<Shape> {
    let zstd = [b"\x28\xb5\x2f\xfd\x04\x00".as_slice(), &gzip(TOKENS.as_bytes())].concat();
    vec![
        Shape::new(zstd.clone()).with("content-encoding", "zstd"),
        Shape::new(zstd).with("content-encoding", "gzip"),
        Shape::new(brotli(&gzip(TOKENS.as_bytes()))),
        Shape::new(gzip(TOKENS.as_bytes())[..20].to_vec()).with("content-encoding", "gzip"),
        Shape::new(r#"{"user":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln"}"#).status(500),
        Shape::new(r#"{"access_token":"n","refresh_token":{"value":"r2-of-it"}}"#),
        Shape::new(r#"{"access_token":"n","refresh_token":"r2-\ud83d"}"#),
    ]
}

#[test]
fn what_is_not_understood_is_kept_and_the_old_token_is_not_sent_again() {
    for shape in unread().into_iter().chain(sealed()) {
        let told = format!("{} {:?}", shape.status, shape.headers);
        let world = World::new(2);
        let issuer = Issuer::new(|_| shape.response());
        is_unmerged(&world.ask(&issuer));
        assert_eq!((world.state("r1"), world.response_files()), (State::Unmerged, 0), "{told}");
        assert!(world.kept("r1").unwrap() == shape.body, "{told}");
        for agent in [0, 1] {
            for force in [Force::No, Force::Refresh] {
                let later = LATER.plus(Duration::from_hours(24));
                is_unmerged(&world.ask_as(agent, &wanted(force), &later, &nobody()));
            }
        }
        refresh::clear_up(world.refresh_context(&nobody()));
        assert!(world.kept("r1").unwrap() == shape.body, "{told}");
        assert_eq!((world.refresh_token(0).as_str(), issuer.sent().len()), ("r1", 1), "{told}");
    }
}

#[test]
fn what_has_no_token_in_it_is_not_kept() {
    // The control of the previous test.
    let page = "<html><body>Welcome to our hotel<a href='/?access_token=x'></a></body></html>";
    for shape in [
        Shape::new(page).with("content-type", "text/html"),
        Shape::new(page).status(403),
        Shape::new("{}"),
        Shape::new(""),
        Shape::new(r#"{"data":{"id":7}}"#),
        Shape::new(gzip(b"out of order")).with("content-encoding", "gzip").status(502),
        Shape::new(b"\x28\xb5\x2f\xfd".as_slice()).with("content-encoding", "zstd").status(502),
        // A repetition of the token that was sent does not count.
        Shape::new(r#"{"sent":{"refresh_token":"r1"}}"#).status(500),
        Shape::new(r#"{"refresh_token":null,"id_token":""}"#),
    ] {
        let told = format!("{shape:?}");
        let world = World::new(1);
        let issuer = Issuer::new(|_| shape.response());
        let refused = world.ask(&issuer);
        let Err(RefreshError::Unavailable { reason, .. }) = &refused else {
            panic!("{told}: {refused:?}")
        };
        assert_eq!(
            reason.contains("a web page"),
            told.contains("hotel") || shape.body == page.as_bytes()
        );
        assert_eq!((world.kept("r1"), world.response_files()), (None, 0), "{told}");
        assert_eq!(world.state("r1"), State::Waiting, "{told}");
        assert_eq!(
            world.force(Force::Refresh, &Issuer::new(|_| tokens("a2", "r2"))).unwrap(),
            "a2"
        );
    }
}

#[test]
fn an_understood_refusal_is_not_kept_whatever_else_is_in_it() {
    let world = World::new(1);
    let body = json!({"error": "invalid_grant", "sent": {"refresh_token": "something"}});
    let refused = world.ask(&Issuer::new(|_| response(400, &body)));
    assert!(matches!(refused, Err(RefreshError::Rejected { .. })), "{refused:?}");
    assert_eq!((world.state("r1"), world.kept("r1")), (State::Rejected, None));
}

#[test]
fn who_insists_sends_the_old_token_and_loses_nothing_by_it() {
    let wrapped = Shape::new(format!(r#"{{"data":{TOKENS}}}"#));
    let keeps = || {
        let world = World::new(1);
        is_unmerged(&world.ask(&Issuer::new(|_| wrapped.response())));
        world
    };
    let failures: [(fn() -> TokenResponse, State); 4] = [
        (|| response(503, ""), State::Waiting),
        (lost, State::Intent),
        (|| Err(HttpError::NotSent("no route".to_owned())), State::Waiting),
        (|| response(400, &json!({"error": "invalid_grant"})), State::Rejected),
    ];
    for (reply, state) in failures {
        let world = keeps();
        let http = |_: HttpRequest| reply();
        assert!(world.force(Force::Send, &http).is_err(), "{state:?}");
        assert_eq!(world.state("r1"), state);
        let later = NOW.plus(Duration::from_hours(2));
        assert!(world.ask_as(0, &wanted(Force::No), &later, &nobody()).is_err(), "{state:?}");
        assert_eq!(world.kept("r1").unwrap(), wrapped.body, "{state:?}");
    }
    let world = keeps();
    assert_eq!(world.force(Force::Send, &Issuer::new(|_| tokens("a3", "r3"))).unwrap(), "a3");
    assert_eq!((world.state("r1"), world.kept("r1")), (State::Consumed, None));
}

#[test]
fn a_user_has_it_merged_and_the_copies_follow() {
    for shape in unread() {
        let world = World::new(2);
        is_unmerged(&world.ask(&Issuer::new(|_| shape.response())));
        assert!(world.merge_kept().unwrap(), "{shape:?}");
        assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r2-of-it"; 2]);
        assert_eq!((world.state("r1"), world.kept("r1")), (State::Consumed, None));
        assert_eq!(world.ask(&nobody()).unwrap(), "n");
        assert!(!world.merge_kept().unwrap(), "there is nothing more");
    }
    for shape in sealed() {
        let world = World::new(1);
        is_unmerged(&world.ask(&Issuer::new(|_| shape.response())));
        assert!(matches!(world.merge_kept(), Err(RefreshError::Unmerged { .. })), "{shape:?}");
        assert_eq!(world.kept("r1").unwrap(), shape.body);
    }
}

#[test]
fn what_is_told_of_a_kept_response_has_no_secret_in_it() {
    let world = World::new(1);
    let known = || {
        refresh::kept_response(&PROFILE.into(), &world.provider, world.refresh_context(&nobody()))
    };
    assert_eq!(known().unwrap(), None);
    let shape = Shape::new(utf_16(TOKENS, u16::to_le_bytes)).status(500);
    let asked = world.ask(&Issuer::new(|_| shape.response()));
    let reason = is_unmerged(&asked);
    let known = known().unwrap().unwrap();
    assert_eq!((known.status, known.received_at, known.length), (500, NOW, shape.body.len()));
    assert_eq!(known.encoding.as_deref(), Some("UTF-16"));
    assert_eq!(known.found, ["refresh_token", "access_token"]);
    let record = world.record("r1").unwrap();
    assert!(!format!("{known:?} {asked:?} {record:?}").contains("r2-of-it"));
    assert_eq!(record.code, Some(reason));
}

#[test]
fn a_newer_program_merges_what_an_older_one_kept() {
    let world = World::new(1);
    let tokens = serde_json::from_str(TOKENS).unwrap();
    world.leave_file("r1", 200, &tokens);
    let lock = world.agents[0].lock_for_refresh().unwrap();
    lock.keep_response(world.key("r1")).unwrap();
    drop(lock);
    world.note("r1", State::Unmerged, None);
    assert_eq!(world.ask(&nobody()).unwrap(), "n");
    assert_eq!((world.refresh_token(0).as_str(), world.kept("r1")), ("r2-of-it", None));
    // And it may recognize a refusal.
    let world = World::new(1);
    world.leave_file("r1", 400, &json!({"error": "invalid_grant"}));
    world.agents[0].lock_for_refresh().unwrap().keep_response(world.key("r1")).unwrap();
    world.note("r1", State::Unmerged, None);
    assert!(matches!(world.ask(&nobody()), Err(RefreshError::Rejected { .. })));
    assert_eq!(world.kept("r1"), None);
}

#[test]
fn what_a_process_left_that_died_before_it_was_kept_is_kept_by_the_next() {
    let wrapped = json!({"data": serde_json::from_str::<serde_json::Value>(TOKENS).unwrap()});
    for is_renamed in [false, true] {
        for agent in [0, 1] {
            let world = World::new(2);
            world.leave_response("r1", &wrapped);
            if is_renamed {
                world.agents[0].lock_for_refresh().unwrap().keep_response(world.key("r1")).unwrap();
            }
            is_unmerged(&world.ask_as(agent, &wanted(Force::No), &NOW, &nobody()));
            assert_eq!(world.state("r1"), State::Unmerged, "{is_renamed} {agent}");
            assert_eq!(world.kept("r1").unwrap(), wrapped.to_string().as_bytes());
        }
    }
    // The same beside a store whose other token is requested.
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r9", PAST));
    world.leave_response("r1", &wrapped);
    assert_eq!(world.ask(&Issuer::new(|_| tokens("a2", "r2"))).unwrap(), "a2");
    assert_eq!((world.state("r1"), world.kept("r1").is_some()), (State::Unmerged, true));
}

#[test]
fn a_gzip_response_is_read_again_after_its_process_died() {
    // Its header fields are in the file, too.
    for coding in ["br", "gzip"] {
        let world = World::new(1);
        world.note("r1", State::Intent, None);
        let mut lock = world.agents[0].lock_for_refresh().unwrap();
        let mut file = lock.reserve(world.key("r1")).unwrap();
        let bytes = TOKENS.as_bytes();
        let body = if coding == "br" { brotli(bytes) } else { gzip(bytes) };
        let headers = vec![("content-encoding".to_owned(), coding.to_owned())];
        file.store(&StoredResponse { status: 200, received_at: NOW, headers, body }).unwrap();
        drop((file, lock));
        assert_eq!(world.ask(&nobody()).unwrap(), "n", "{coding}");
    }
}

#[test]
fn a_response_that_is_gone_leaves_the_token_unsent() {
    let world = World::new(1);
    world.note("r1", State::Unmerged, None);
    is_unmerged(&world.ask(&nobody()));
    assert!(!world.merge_kept().unwrap());
}

#[test]
fn a_valid_access_token_is_used_while_a_response_is_kept() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", SOON));
    let issuer = Issuer::new(|_| Shape::new(TOKENS).status(500).response());
    assert_eq!(world.ask(&issuer).unwrap(), "access-of-r1");
    assert_eq!((world.ask(&nobody()).unwrap().as_str(), world.state("r1")), {
        ("access-of-r1", State::Unmerged)
    });
}

#[test]
fn what_was_kept_goes_with_its_login() {
    let keeps = |agents| {
        let world = World::new(agents);
        is_unmerged(&world.ask(&Issuer::new(|_| Shape::new(TOKENS).status(500).response())));
        world
    };
    let world = keeps(1);
    let not_offered = async |_: &OAuthCredential| refresh::Revocation::NotOffered;
    let http = nobody();
    let (profile, provider) = (PROFILE.into(), Some(&world.provider));
    let logout = refresh::logout(&profile, provider, not_offered, world.refresh_context(&http));
    crate::support::block_on(logout).unwrap();
    assert_eq!(world.kept("r1"), None);

    for (agents, is_left) in [(1, false), (2, true)] {
        let world = keeps(agents);
        put(&world.agents[0], PROFILE, &login("r9", LATER));
        let old = login("r1", PAST);
        refresh::remove_kept_response(&old, &world.provider, world.refresh_context(&http)).unwrap();
        assert_eq!(world.kept("r1").is_some(), is_left, "another agent has a copy: {is_left}");
    }
}

#[test]
fn tokens_that_need_a_proof_are_not_stored() {
    let world = World::new(1);
    let issuer = Issuer::new(|_| Shape::new(and(r#""token_type":"DPoP""#)).response());
    let reason = is_unmerged(&world.ask(&issuer));
    assert!(reason.contains("`dpop`"), "{reason}");
    assert_eq!((world.refresh_token(0).as_str(), world.response_files()), ("r1", 1));
    is_unmerged(&world.ask(&nobody()));
}

#[test]
fn an_access_token_is_not_good_for_longer_than_it_says_itself() {
    let world = World::new(1);
    let soon = jwt(&json!({"exp": NOW.0 / 1000 + 2}));
    let body = json!({"access_token": soon, "refresh_token": "r2", "expires_in": 86_400});
    world.ask(&Issuer::new(|_| response(200, &body))).unwrap();
    assert_eq!(world.stored(0).expires, Some(NOW.plus(Duration::from_secs(2))));
}

/// The fate of a response.
#[derive(Debug, PartialEq)]
enum Fate {
    Stored,
    Kept,
    Lost,
}

/// Passes `shape` to the driver, and checks where `refresh` is afterwards.
fn fate(shape: &Shape, refresh: &str) -> Fate {
    let world = World::new(1);
    let issuer = Issuer::new(|_| shape.response());
    let _asked = world.ask(&issuer);
    if world.refresh_token(0) == refresh {
        return Fate::Stored;
    }
    let later = NOW.plus(Duration::from_hours(24));
    let again = Issuer::new(|_| lost());
    let _asked = world.ask_as(0, &wanted(Force::No), &later, &again);
    let is_kept = world.kept("r1").is_some_and(|kept| kept == shape.body);
    if is_kept && again.sent().is_empty() { Fate::Kept } else { Fate::Lost }
}

/// A token response in any format, the refresh token in it, and its text.
fn responses() -> impl Strategy<Value = (Shape, String, String)> {
    let statuses = [200, 201, 203, 206, 302, 400, 401, 403, 408, 429, 500, 502, 503];
    let token = "[A-Za-z0-9_~+/=-]{12,40}";
    let odd = proptest::sample::select(vec![
        r#""a":"Team \ud83d""#.to_owned(),
        r#""a":1e999,"b":NaN"#.to_owned(),
        format!(r#""a":{}{}"#, "[".repeat(200), "]".repeat(200)),
        r#""refresh_token":"an-earlier-one""#.to_owned(),
        r#""scope":"""#.to_owned(),
        "\"a\":\"\u{0}\u{7f}\u{e9}\"".to_owned(),
    ]);
    let json = (token, odd).prop_map(|(refresh, odd)| {
        let tokens = json!({"access_token": "n", "refresh_token": refresh, "expires_in": 60});
        (format!("{{{odd},{}", &tokens.to_string()[1..]), refresh)
    });
    let wrapped = (json, 0..7, "[ -~]{0,20}", "\\PC{0,20}").prop_map(
        |((json, refresh), wrapper, before, after)| {
            let text = match wrapper {
                0 => json,
                1 => format!("{{\"data\":{json}}}"),
                2 => format!("<html><body>{before}{json}{after}</body></html>"),
                3 => json!({"body": json}).to_string(),
                4 => format!("{before}{json}{after}"),
                5 => format!("[{json}]"),
                _ => {
                    let mut form = url::form_urlencoded::Serializer::new(String::new());
                    form.extend_pairs([("access_token", "n"), ("refresh_token", &refresh)]);
                    form.finish()
                }
            };
            (text, refresh)
        },
    );
    (wrapped, 0..10, proptest::sample::select(statuses.to_vec())).prop_map(
        |((text, refresh), encoding, status)| {
            let bytes = text.as_bytes();
            let shape = match encoding {
                0 => Shape::new(gzip(bytes)).with("content-encoding", "gzip"),
                1 => Shape::new(gzip(bytes)),
                2 => Shape::new(deflate(bytes, true)).with("Content-Encoding", "deflate"),
                3 => Shape::new(deflate(bytes, false)).with("content-encoding", "deflate"),
                4 => Shape::new(brotli(bytes)).with("content-encoding", "br"),
                5 => Shape::new(brotli(&gzip(bytes))).with("content-encoding", "gzip, br"),
                6 => Shape::new([b"\xef\xbb\xbf", bytes].concat()),
                7 => Shape::new([b"\xff\xfe", &*utf_16(&text, u16::to_le_bytes)].concat()),
                8 => Shape::new(utf_16(&text, u16::to_be_bytes)),
                _ => Shape::new(bytes),
            };
            (shape.status(status), refresh, text)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn after_any_token_response_the_successor_is_stored_or_its_bytes_are_kept(
        (shape, refresh, text) in responses(),
    ) {
        prop_assert_ne!(fate(&shape, &refresh), Fate::Lost, "{}", text);
    }
}

#[test]
fn what_is_lost_is_seen() {
    // The control of the property: nothing in these looks like a token.
    for text in ["<html>Welcome to our hotel</html>", r#"{"r":"r2-of-it"}"#] {
        assert_eq!(fate(&Shape::new(text), "r2-of-it"), Fate::Lost, "{text}");
    }
    assert_eq!(fate(&Shape::new(TOKENS), "r2-of-it"), Fate::Stored);
    assert_eq!(fate(&Shape::new(TOKENS).status(500), "r2-of-it"), Fate::Kept);
}
