//! The refresh protocol, rule by rule: real stores, an issuer that is a closure, and a clock that
//! is a number.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_providers::refresh::{self, Doors, Force, RefreshError, Wanted};
use auth_providers::{HttpClient, HttpError, HttpRequest, HttpResponse, Provider, Sending};
use auth_store::{
    Clock, Credential, OAuthCredential, ProfileId, Record, Records, State, StateDirectory, Store,
    Timestamp, TokenKey,
};
use serde_json::{Map, json};

use crate::support::{NOW, acme, jwt, provider};

const PROFILE: &str = "acme:me";
const SOON: Timestamp = Timestamp(NOW.0 + 60_000);
const PAST: Timestamp = Timestamp(NOW.0 - 60_000);
const LATER: Timestamp = Timestamp(NOW.0 + 7_200_000);

/// Some agents with a store each.
struct World {
    directory: tempfile::TempDir,
    records: Records,
    provider: Provider,
    agents: Vec<Store>,
}

type Answer = Result<HttpResponse, HttpError>;

/// An issuer behind a connection: `connecting` runs before the gate is asked, `respond` after the
/// token was sent, each with the number of times it was called before.
struct Issuer<C, R> {
    connecting: C,
    respond: R,
    connections: AtomicUsize,
    /// The refresh tokens that were sent.
    sent: Mutex<Vec<String>>,
}

impl<R: Fn(usize) -> Answer + Send + Sync> Issuer<fn(usize), R> {
    fn new(respond: R) -> Self {
        Self::behind(|_| {}, respond)
    }
}

impl<C: Fn(usize) + Send + Sync, R: Fn(usize) -> Answer + Send + Sync> Issuer<C, R> {
    fn behind(connecting: C, respond: R) -> Self {
        Self { connecting, respond, connections: AtomicUsize::new(0), sent: Mutex::default() }
    }

    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

impl<C: Fn(usize) + Send + Sync, R: Fn(usize) -> Answer + Send + Sync> HttpClient for Issuer<C, R> {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        (self.connecting)(self.connections.fetch_add(1, Ordering::SeqCst));
        let answer = if request.gate.as_ref().is_some_and(|gate| gate()) {
            let body = request.body.unwrap_or_default();
            let mut parameters = url::form_urlencoded::parse(&body);
            let token = parameters.find(|(name, _)| name == "refresh_token").unwrap().1;
            let mut sent = self.sent.lock().unwrap();
            sent.push(token.into_owned());
            let number = sent.len() - 1;
            drop(sent);
            (self.respond)(number)
        } else {
            Err(HttpError::NotSent("the gate is closed".to_owned()))
        };
        Box::pin(async move { answer })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a closure of the issuer returns")]
fn answer(status: u16, body: &(impl ToString + ?Sized)) -> Answer {
    Ok(HttpResponse { status, headers: Vec::new(), body: body.to_string().into_bytes() })
}

/// The issuer's usual answer, an hour of access.
fn tokens(access: &str, refresh: &str) -> Answer {
    answer(200, &json!({"access_token": access, "refresh_token": refresh, "expires_in": 3600}))
}

fn lost() -> Answer {
    Err(HttpError::Unanswered("cut off".to_owned()))
}

/// One that must not be asked.
fn nobody() -> impl HttpClient {
    Issuer::new(|_| panic!("something was sent"))
}

fn login(refresh: &str, expires: Timestamp) -> OAuthCredential {
    OAuthCredential {
        access: format!("access-of-{refresh}").as_str().into(),
        refresh: refresh.into(),
        expires: Some(expires),
        obtained_at: Some(Timestamp(expires.0 - 3_600_000)),
        account_id: Some("me".to_owned()),
        ..OAuthCredential::default()
    }
}

fn put(store: &Store, id: &str, login: &OAuthCredential) {
    let login = Credential::OAuth(login.clone());
    store.update(|document| document.put(&id.into(), "acme", &login, &Map::new())).unwrap();
}

impl World {
    /// Agents that hold the token `r1`, which has to be refreshed.
    fn new(agents: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(directory.path());
        let agents: Vec<_> = (0..agents).map(|number| state.store(&number.to_string())).collect();
        for store in &agents {
            put(store, PROFILE, &login("r1", PAST));
        }
        Self { directory, records: state.records(), provider: provider(&acme()), agents }
    }

    fn ask(&self, http: &dyn HttpClient) -> Result<String, RefreshError> {
        self.ask_as(0, &wanted(Force::No), &NOW, http)
    }

    fn force(&self, force: Force, http: &dyn HttpClient) -> Result<String, RefreshError> {
        self.ask_as(0, &wanted(force), &NOW, http)
    }

    /// The access token that the agent gets.
    fn ask_as(
        &self,
        agent: usize,
        wanted: &Wanted,
        clock: &dyn Clock,
        http: &dyn HttpClient,
    ) -> Result<String, RefreshError> {
        let siblings: Vec<_> = self
            .agents
            .iter()
            .filter(|it| it.path() != self.agents[agent].path())
            .cloned()
            .collect();
        let doors = Doors {
            store: &self.agents[agent],
            siblings: &siblings,
            records: &self.records,
            http,
            clock,
            patience: Duration::from_mins(1),
        };
        // Time that passes by itself, so that nobody waits for it.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let credential = runtime.block_on(refresh::refresh(wanted, &self.provider, doors))?;
        Ok(credential.bearer().expose().to_owned())
    }

    fn stored(&self, agent: usize) -> OAuthCredential {
        match self.agents[agent].read().unwrap().credential(&PROFILE.into()) {
            Some(Credential::OAuth(login)) => login,
            other => panic!("{other:?}"),
        }
    }

    fn refresh_token(&self, agent: usize) -> String {
        self.stored(agent).refresh.expose().to_owned()
    }

    fn key(&self, refresh: &str) -> TokenKey {
        refresh::key_of(&self.provider, &login(refresh, NOW)).unwrap()
    }

    fn record(&self, refresh: &str) -> Option<Record> {
        self.records.peek(self.key(refresh)).unwrap()
    }

    fn state(&self, refresh: &str) -> State {
        self.record(refresh).map_or(State::None, |record| record.state)
    }

    /// Records that `refresh` was used up in favour of `successor`, or is about to be sent.
    fn note(&self, refresh: &str, state: State, successor: Option<&str>) {
        let path = self.agents[0].canonical_path();
        let record = Record::new(state, &path, &ProfileId::from(PROFILE), NOW);
        let record = Record { successor: successor.map(|it| self.key(it)), ..record };
        let lock = self.records.lock(self.key(refresh), Duration::ZERO).unwrap();
        lock.write(&record).unwrap();
    }

    /// What a process leaves that dies once it has the answer to `refresh`.
    fn leave_answer(&self, refresh: &str, body: &serde_json::Value) {
        self.note(refresh, State::Intent, None);
        let mut lock = self.agents[0].lock_for_refresh().unwrap();
        let mut file = lock.reserve(self.key(refresh)).unwrap();
        file.store(200, NOW, body.to_string().as_bytes()).unwrap();
    }

    fn answer_files(&self) -> usize {
        self.agents.iter().map(|store| store.answers().len()).sum()
    }

    /// Everything on the disk but the stores and their backups.
    fn other_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    directories.push(path);
                } else if !name.contains("auth-profiles.json") {
                    found.push(path);
                }
            }
        }
        found
    }
}

fn wanted(force: Force) -> Wanted {
    Wanted { force, ..Wanted::now(PROFILE.into()) }
}

/// A clock that stands still, and does something when it is looked at for the n-th time.
struct Hook<F>(usize, AtomicUsize, F);

impl<F: Fn() + Send + Sync> Hook<F> {
    fn at(number: usize, act: F) -> Self {
        Self(number, AtomicUsize::new(0), act)
    }
}

impl<F: Fn() + Send + Sync> Clock for Hook<F> {
    fn now(&self) -> Timestamp {
        if self.1.fetch_add(1, Ordering::SeqCst) + 1 == self.0 {
            (self.2)();
        }
        NOW
    }
}

/// A clock that goes on by a second whenever it is looked at.
struct Ticking(Timestamp, AtomicUsize);

impl From<Timestamp> for Ticking {
    fn from(start: Timestamp) -> Self {
        Self(start, AtomicUsize::new(0))
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let seconds = self.1.fetch_add(1, Ordering::SeqCst);
        self.0.plus(Duration::from_secs(seconds.try_into().unwrap()))
    }
}

#[test]
fn what_was_obtained_in_the_future_is_refreshed_once_and_used_meanwhile() {
    let world = World::new(1);
    let years = Duration::from_hours(24 * 3650);
    put(&world.agents[0], PROFILE, &login("r1", NOW.plus(years)));
    let away = Issuer::new(|_| answer(503, ""));
    assert_eq!(world.ask(&away).unwrap(), "access-of-r1");
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    let later = NOW.plus(Duration::from_mins(2));
    assert_eq!(world.ask_as(0, &wanted(Force::No), &later, &issuer).unwrap(), "a2");
    assert_eq!(world.ask_as(0, &wanted(Force::No), &later, &nobody()).unwrap(), "a2");
}

#[test]
fn a_fresh_token_takes_no_lock_and_sends_nothing() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", LATER));
    let flock = world.agents[0].path().with_file_name(".auth-profiles.flock");
    std::fs::remove_file(&flock).unwrap();
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r1");
    let locks = world.directory.path().join("locks");
    assert!(!flock.exists() && !locks.exists());

    put(&world.agents[0], PROFILE, &login("r1", PAST));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert!(flock.exists() && locks.exists());
}

#[test]
fn a_refresh_stores_the_successor_then_its_record_and_leaves_no_answer() {
    let world = World::new(1);
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    let stored = world.stored(0);
    assert_eq!((stored.refresh.expose(), stored.account_id.as_deref()), ("r2", Some("me")));
    assert_eq!(stored.expires, Some(NOW.plus(Duration::from_hours(1))));
    let record = world.record("r1").unwrap();
    assert_eq!((record.state, record.successor), (State::Consumed, Some(world.key("r2"))));
    let backup = world.agents[0].backup().unwrap().credential(&PROFILE.into()).unwrap();
    assert_eq!(backup.bearer().expose(), "a2");
    assert_eq!((world.answer_files(), issuer.sent()), (0, vec!["r1".to_owned()]));
}

#[test]
fn what_was_stored_while_we_waited_is_adopted_and_recorded() {
    let world = World::new(2);
    let clawdbot = || put(&world.agents[0], PROFILE, &login("r2", LATER));
    let clock = Hook::at(2, clawdbot);
    let adopted = world.ask_as(0, &wanted(Force::No), &clock, &nobody()).unwrap();
    assert_eq!(adopted, "access-of-r2");
    assert_eq!(world.record("r1").unwrap().successor, Some(world.key("r2")));
    // So the copy in the other agent finds its way.
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!(healed, "access-of-r2");
}

#[test]
fn an_older_token_that_was_saved_meanwhile_is_no_successor() {
    let world = World::new(1);
    let older = || put(&world.agents[0], PROFILE, &login("r0", Timestamp(PAST.0 - 1)));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    world.ask_as(0, &wanted(Force::No), &Hook::at(2, older), &issuer).unwrap();
    assert_eq!((world.state("r1"), issuer.sent()), (State::None, vec!["r0".to_owned()]));
}

#[test]
fn another_account_in_the_same_place_is_an_error_and_nothing_is_sent() {
    let world = World::new(1);
    let other = OAuthCredential { account_id: Some("you".to_owned()), ..login("r2", LATER) };
    let clock = Hook::at(2, || put(&world.agents[0], PROFILE, &other));
    let refused = world.ask_as(0, &wanted(Force::No), &clock, &nobody());
    assert!(matches!(refused, Err(RefreshError::OtherAccount { .. })), "{refused:?}");
    assert_eq!((world.state("r1"), world.refresh_token(0)), (State::None, "r2".to_owned()));
}

#[test]
fn a_used_up_token_is_healed_from_the_backup() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r2", LATER));
    world.note("r1", State::Consumed, Some("r2"));
    // Clawdbot saves an old copy; it does not know of the backup.
    let old = std::fs::read_to_string(world.agents[0].path()).unwrap().replace("-r2", "-r1");
    let old = old.replace("\"r2\"", "\"r1\"").replace(&LATER.to_string(), &PAST.to_string());
    auth_store::write_atomic(world.agents[0].path(), old.as_bytes()).unwrap();
    assert_eq!(world.refresh_token(0), "r1");
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r2");
    assert_eq!(world.refresh_token(0), "r2");
}

#[test]
fn a_used_up_token_is_healed_from_another_agent_and_along_its_chain() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    world.note("r2", State::Consumed, Some("r3"));
    put(&world.agents[1], PROFILE, &login("r3", LATER));
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r3");
    assert_eq!(world.refresh_token(0), "r3");
}

#[test]
fn a_healed_login_of_another_account_is_refused() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    let other = OAuthCredential { account_id: Some("you".to_owned()), ..login("r2", LATER) };
    put(&world.agents[1], PROFILE, &other);
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::OtherAccount { .. })), "{refused:?}");
    assert_eq!(world.refresh_token(0), "r1");
}

#[test]
fn a_used_up_token_whose_successor_is_nowhere_needs_a_login() {
    let world = World::new(1);
    world.note("r1", State::Consumed, Some("r2"));
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::NeedsLogin { .. })), "{refused:?}");
    assert_eq!(world.refresh_token(0), "r1");
}

#[test]
fn a_chain_that_closes_on_itself_ends_and_sends_nothing() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    world.note("r2", State::Consumed, Some("r1"));
    put(&world.agents[1], PROFILE, &login("r2", PAST));
    assert!(world.ask(&nobody()).is_err());
}

#[test]
fn a_refused_token_is_not_sent_again_unless_somebody_insists() {
    let world = World::new(1);
    let issuer = Issuer::new(|_| answer(400, &json!({"error": "invalid_grant"})));
    for _ in 0..3 {
        let refused = world.ask(&issuer);
        assert!(matches!(refused, Err(RefreshError::Rejected { .. })), "{refused:?}");
    }
    assert!(world.force(Force::Refresh, &issuer).is_err());
    assert_eq!((issuer.sent().len(), world.state("r1")), (1, State::Rejected));
    assert!(world.force(Force::Send, &issuer).is_err());
    assert_eq!((issuer.sent().len(), world.refresh_token(0)), (2, "r1".to_owned()));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.force(Force::Send, &issuer).unwrap(), "a2");
}

#[test]
fn a_time_set_by_the_issuer_is_waited_for_by_all_but_force() {
    let world = World::new(2);
    let headers = vec![("retry-after".to_owned(), "60".to_owned())];
    let issuer = Issuer::new(move |number| match number {
        0 => Ok(HttpResponse { status: 429, headers: headers.clone(), body: Vec::new() }),
        _ => tokens("a2", "r2"),
    });
    for agent in [0, 1, 0] {
        let refused = world.ask_as(agent, &wanted(Force::No), &NOW, &issuer);
        let Err(RefreshError::Unavailable { retry_at, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(retry_at, Some(NOW.plus(Duration::from_mins(1))));
    }
    assert_eq!(issuer.sent().len(), 1);
    let refused = world.ask_as(0, &wanted(Force::No), &Timestamp(NOW.0 + 59_999), &issuer);
    assert!(refused.is_err());
    assert_eq!(world.force(Force::Refresh, &issuer).unwrap(), "a2");
    assert_eq!(issuer.sent().len(), 2);

    let world = World::new(1);
    let issuer = Issuer::new(|number| match number {
        0 => answer(503, ""),
        _ => tokens("a2", "r2"),
    });
    assert!(world.ask(&issuer).is_err());
    let much_later = Timestamp(NOW.0 + 61_000);
    assert_eq!(world.ask_as(0, &wanted(Force::No), &much_later, &issuer).unwrap(), "a2");
}

#[test]
fn a_refused_client_is_tried_again_after_five_seconds() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| match number {
        0 => answer(401, &json!({"error": "invalid_client"})),
        _ => tokens("a2", "r2"),
    });
    let refused = world.ask(&issuer);
    assert!(matches!(refused, Err(RefreshError::Misconfigured { .. })), "{refused:?}");
    let at = |milliseconds| Timestamp(NOW.0 + milliseconds);
    assert!(world.ask_as(0, &wanted(Force::No), &at(4_999), &issuer).is_err());
    assert_eq!(issuer.sent().len(), 1);
    assert_eq!(world.ask_as(0, &wanted(Force::No), &at(5_000), &issuer).unwrap(), "a2");
}

#[test]
fn a_valid_token_is_used_while_the_issuer_is_away() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", SOON));
    let issuer = Issuer::new(|_| answer(503, ""));
    assert_eq!(world.ask(&issuer).unwrap(), "access-of-r1");
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r1");
    assert_eq!(issuer.sent().len(), 1);
    // The control: it was the token's validity that helped.
    assert!(world.ask_as(0, &wanted(Force::No), &SOON, &issuer).is_err());
}

#[test]
fn a_valid_token_is_used_while_somebody_else_refreshes_it() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", SOON));
    let held = world.records.lock(world.key("r1"), Duration::ZERO).unwrap();
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r1");
    drop(held);
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
}

#[test]
fn an_answer_that_a_dead_process_left_is_finished_by_whoever_comes() {
    for agent in [0, 1] {
        let world = World::new(2);
        world.leave_answer(
            "r1",
            &json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600}),
        );
        assert_eq!(world.answer_files(), 1);
        assert_eq!(world.ask_as(agent, &wanted(Force::No), &NOW, &nobody()).unwrap(), "a2");
        assert_eq!((world.state("r1"), world.answer_files()), (State::Consumed, 0));
        assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r2", "r2"]);
    }
}

#[test]
fn an_answer_whose_token_was_used_up_since_is_finished_all_the_same() {
    // It was stored, its process died before the record, and its successor was refreshed.
    let world = World::new(2);
    world.leave_answer(
        "r1",
        &json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600}),
    );
    put(&world.agents[0], PROFILE, &login("r3", LATER));
    world.note("r2", State::Consumed, Some("r3"));
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!((healed.as_str(), world.answer_files()), ("access-of-r3", 0));
    assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r3", "r3"]);
}

/// As a Clawdbot writes: the store only, whatever is beside it.
fn put_behind_our_back(store: &Store, login: &OAuthCredential) {
    let mut document = store.read().unwrap();
    document.renew(&PROFILE.into(), &Credential::OAuth(login.clone()));
    auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
}

/// What a process leaves that dies between the store and the record: `r2` has the place of `r1`.
fn killed_before_the_record(agents: usize) -> World {
    let world = World::new(agents);
    world.leave_answer(
        "r1",
        &json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600}),
    );
    put(
        &world.agents[0],
        PROFILE,
        &OAuthCredential { obtained_at: Some(NOW), ..login("r2", PAST) },
    );
    world
}

#[test]
fn an_answer_that_was_left_behind_is_finished_before_its_token_is_sent() {
    let world = killed_before_the_record(2);
    let issuer = Issuer::new(|_| tokens("a3", "r3"));
    let ask = |agent, http: &dyn HttpClient| {
        world.ask_as(agent, &wanted(Force::No), &LATER, http).unwrap()
    };
    assert_eq!(ask(0, &issuer), "a3");
    assert_eq!(issuer.sent(), ["r2"]);
    assert_eq!((world.state("r1"), world.answer_files()), (State::Consumed, 0));
    // A Clawdbot saves an old copy: the chain leads on, and nothing is written over its end.
    put_behind_our_back(&world.agents[0], &login("r1", PAST));
    assert_eq!(ask(0, &nobody()), "a3");
    assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r3", "r1"]);
    assert_eq!(ask(1, &nobody()), "a3");
}

#[test]
fn what_a_clawdbot_made_of_an_unfinished_answer_is_its_successor() {
    let world = killed_before_the_record(2);
    // It keeps the time at which we obtained what it refreshed.
    let moved_on = OAuthCredential { obtained_at: Some(NOW), ..login("r3", LATER) };
    put(&world.agents[0], PROFILE, &moved_on);
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!((healed.as_str(), world.state("r1")), ("access-of-r3", State::Consumed));
    assert_eq!(world.answer_files(), 0);
}

#[test]
fn what_a_clawdbot_used_up_before_and_saved_again_makes_room_for_the_answer() {
    let world = World::new(1);
    let (store, before) = (world.agents[0].clone(), login("r1", PAST));
    // Of which we have no record.
    let used_up = OAuthCredential {
        expires: Some(Timestamp(PAST.0 - 60_000)),
        obtained_at: before.obtained_at,
        ..login("r0", PAST)
    };
    let issuer = Issuer::new(|_| {
        put_behind_our_back(&store, &used_up);
        tokens("a2", "r2")
    });
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!((world.refresh_token(0).as_str(), world.answer_files()), ("r2", 0));
}

#[test]
fn before_a_login_is_replaced_its_refresh_is_finished_and_given_to_the_copies() {
    let world = World::new(2);
    let tokens = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
    world.leave_answer("r1", &tokens);
    let siblings = [world.agents[1].clone()];
    let doors = Doors {
        store: &world.agents[0],
        siblings: &siblings,
        records: &world.records,
        http: &nobody(),
        clock: &NOW,
        patience: Duration::ZERO,
    };
    let finish = || refresh::finish_begun(&login("r1", PAST), None, &world.provider, doors);
    assert!(finish().unwrap());
    assert!(!finish().unwrap(), "there is nothing more to finish");
    assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r2", "r2"]);
}

#[test]
fn a_token_that_was_perhaps_sent_is_sent_again() {
    let world = World::new(1);
    world.note("r1", State::Intent, None);
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!((issuer.sent(), world.state("r1")), (vec!["r1".to_owned()], State::Consumed));
}

#[test]
fn a_later_token_at_the_store_of_an_intent_is_the_successor() {
    let world = World::new(2);
    world.note("r1", State::Intent, None);
    // A Clawdbot keeps the fields it does not know.
    let obtained_at = login("r1", PAST).obtained_at;
    put(&world.agents[0], PROFILE, &OAuthCredential { obtained_at, ..login("r2", LATER) });
    let healed = world.ask_as(1, &wanted(Force::No), &NOW, &nobody()).unwrap();
    assert_eq!((healed.as_str(), world.state("r1")), ("access-of-r2", State::Consumed));
}

#[test]
fn a_lost_answer_is_asked_for_three_times_and_then_by_the_next_caller() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| if number < 3 { lost() } else { tokens("a2", "r2") });
    let refused = world.ask(&issuer);
    assert!(matches!(refused, Err(RefreshError::Unavailable { .. })), "{refused:?}");
    assert_eq!((issuer.sent().len(), world.state("r1")), (3, State::Intent));
    assert_eq!((world.answer_files(), world.refresh_token(0)), (0, "r1".to_owned()));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!(issuer.sent(), ["r1"; 4]);
}

#[test]
fn a_refusal_of_what_was_sent_again_is_the_outcome() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| match number {
        0 => lost(),
        _ => answer(400, &json!({"error": "refresh_token_reused"})),
    });
    let refused = world.ask(&issuer);
    assert!(matches!(refused, Err(RefreshError::Rejected { .. })), "{refused:?}");
    assert_eq!((issuer.sent().len(), world.state("r1")), (2, State::Rejected));
}

#[test]
fn what_could_not_be_sent_is_waited_for_by_all() {
    let world = World::new(1);
    let connections = AtomicUsize::new(0);
    let unplugged = |_: HttpRequest| {
        connections.fetch_add(1, Ordering::SeqCst);
        Err(HttpError::NotSent("no route".to_owned()))
    };
    for _ in 0..3 {
        let refused = world.ask(&unplugged);
        let Err(RefreshError::Unavailable { retry_at: Some(at), .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(at > NOW && at <= NOW.plus(Duration::from_secs(5)));
    }
    assert_eq!((connections.load(Ordering::SeqCst), world.state("r1")), (1, State::Waiting));
    assert_eq!(world.answer_files(), 0);
}

#[test]
fn a_directory_lock_lost_while_connecting_sends_nothing_and_starts_again() {
    let world = World::new(1);
    let lock = world.agents[0].canonical_path().with_extension("json.lock");
    let thief = |number: usize| {
        assert!(lock.is_dir());
        if number == 0 {
            std::fs::remove_dir(&lock).unwrap();
        }
    };
    let issuer = Issuer::behind(thief, |_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    let connections = issuer.connections.load(Ordering::SeqCst);
    assert_eq!((connections, issuer.sent()), (2, vec!["r1".to_owned()]));
}

#[test]
fn a_directory_lock_lost_after_sending_does_not_lose_the_answer() {
    let world = World::new(1);
    let lock = world.agents[0].canonical_path().with_extension("json.lock");
    let issuer = Issuer::new(|_| {
        // Somebody else has it now, and goes on having it.
        std::fs::remove_dir(&lock).unwrap();
        std::fs::create_dir(&lock).unwrap();
        tokens("a2", "r2")
    });
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    assert_eq!(world.refresh_token(0), "r2");
    assert!(lock.is_dir(), "the lock of somebody else was removed");
}

#[test]
fn what_others_write_without_the_lock_is_kept() {
    let world = World::new(1);
    let path = world.agents[0].path();
    let issuer = Issuer::new(|_| {
        let mut document = world.agents[0].read().unwrap();
        let theirs = Credential::ApiKey("theirs".into());
        document.put(&"acme:theirs".into(), "acme", &theirs, &Map::new());
        auth_store::write_atomic(path, &document.to_bytes()).unwrap();
        tokens("a2", "r2")
    });
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    let theirs = world.agents[0].read().unwrap().credential(&"acme:theirs".into());
    assert_eq!(theirs.unwrap().bearer().expose(), "theirs");
    let backup = world.agents[0].backup().unwrap();
    assert!(!backup.contains(&"acme:theirs".into()), "only ours is in the backup");
}

#[test]
fn an_answer_for_another_account_stays_in_its_file_and_is_never_stored() {
    let world = World::new(1);
    let id_token = jwt(&json!({"sub": "you"}));
    let body = json!({"access_token": "a2", "refresh_token": "r2", "id_token": id_token});
    let issuer = Issuer::new(|_| answer(200, &body));
    for _ in 0..3 {
        let kept = world.ask(&issuer);
        assert!(matches!(kept, Err(RefreshError::Unmerged { .. })), "{kept:?}");
        assert_eq!((world.refresh_token(0), world.answer_files()), ("r1".to_owned(), 1));
    }
    assert!(world.force(Force::Send, &issuer).is_err());
    assert_eq!((issuer.sent().len(), world.answer_files()), (1, 1));
}

#[test]
fn an_answer_without_an_access_token_stays_in_its_file() {
    let world = World::new(1);
    let issuer = Issuer::new(|_| answer(200, &json!({"refresh_token": "r2"})));
    let kept = world.ask(&issuer);
    assert!(matches!(kept, Err(RefreshError::Unmerged { .. })), "{kept:?}");
    let answer = world.agents[0].stored_answer(world.key("r1")).unwrap().unwrap();
    assert_eq!(answer.body, br#"{"refresh_token":"r2"}"#);
}

#[test]
fn a_copy_that_was_left_behind_is_not_sent_unless_somebody_insists() {
    let world = World::new(2);
    put(&world.agents[1], PROFILE, &login("r2", LATER));
    let refused = world.ask(&nobody());
    let Err(RefreshError::StaleCopy { store, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(store, world.agents[1].path());
    let issuer = Issuer::new(|_| tokens("a3", "r3"));
    assert_eq!(world.force(Force::Send, &issuer).unwrap(), "a3");
    assert_eq!((issuer.sent(), world.refresh_token(1)), (vec!["r1".to_owned()], "r2".to_owned()));
}

#[test]
fn logins_of_their_own_are_no_copies_of_each_other() {
    let world = World::new(2);
    let issuer = Issuer::new(|number| tokens("a", &format!("next-{number}")));
    // Ours comes from a refresh here, then from a login here; the other agent's is always later.
    world.ask(&issuer).unwrap();
    put(&world.agents[1], PROFILE, &login("theirs", LATER));
    let an_hour_later = NOW.plus(Duration::from_mins(61));
    assert_eq!(world.ask_as(0, &wanted(Force::No), &an_hour_later, &issuer).unwrap(), "a");

    let own = login("own", PAST);
    let siblings = [world.agents[1].clone()];
    let doors = Doors {
        store: &world.agents[0],
        siblings: &siblings,
        records: &world.records,
        http: &nobody(),
        clock: &NOW,
        patience: Duration::ZERO,
    };
    refresh::clear_record(&own, &PROFILE.into(), &world.provider, doors).unwrap();
    put(&world.agents[0], PROFILE, &own);
    assert_eq!(world.ask(&issuer).unwrap(), "a");

    // The control: nobody gave us this one.
    put(&world.agents[0], PROFILE, &login("copied", PAST));
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::StaleCopy { .. })), "{refused:?}");
    // Nor is it enough that it was given to us, if the other is a copy of it that was moved on.
    refresh::clear_record(&own, &PROFILE.into(), &world.provider, doors).unwrap();
    put(&world.agents[0], PROFILE, &own);
    let moved_on = OAuthCredential { obtained_at: own.obtained_at, ..login("moved", LATER) };
    put(&world.agents[1], PROFILE, &moved_on);
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::StaleCopy { .. })), "{refused:?}");
}

#[test]
fn copies_in_three_agents_are_refreshed_once_and_all_updated() {
    let world = World::new(3);
    put(&world.agents[2], "acme:mine", &login("r1", PAST));
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
    for agent in 0..3 {
        assert_eq!(world.refresh_token(agent), "r2");
        assert_eq!(world.ask_as(agent, &wanted(Force::No), &NOW, &nobody()).unwrap(), "a2");
    }
    let other_name = world.agents[2].read().unwrap().credential(&"acme:mine".into()).unwrap();
    assert_eq!((other_name.bearer().expose(), issuer.sent().len()), ("a2", 1));
}

#[test]
fn without_rotation_the_token_stays_and_so_does_the_right_to_send_it() {
    for body in [
        json!({"access_token": "a2", "refresh_token": "r1", "expires_in": 3600}),
        json!({"access_token": "a2", "expires_in": 3600}),
        json!({"access_token": "a2", "refresh_token": "", "expires_in": 3600}),
    ] {
        let world = World::new(2);
        let issuer = Issuer::new(|_| answer(200, &body));
        assert_eq!(world.ask(&issuer).unwrap(), "a2");
        assert_eq!((world.state("r1"), world.answer_files()), (State::None, 0));
        assert_eq!([world.refresh_token(0), world.refresh_token(1)], ["r1", "r1"]);
        assert_eq!(world.stored(1).access.expose(), "a2");
        let next = NOW.plus(Duration::from_hours(2));
        world.ask_as(1, &wanted(Force::No), &next, &issuer).unwrap();
        assert_eq!(issuer.sent(), ["r1", "r1"]);
    }
}

#[test]
fn force_is_about_the_access_token_that_failed() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", LATER));
    let with_hash =
        |only_if: &str| Wanted { only_if: Some(only_if.to_owned()), ..wanted(Force::Refresh) };
    let other = with_hash(&"0".repeat(64));
    assert_eq!(world.ask_as(0, &other, &NOW, &nobody()).unwrap(), "access-of-r1");
    // SHA-256 of `access-of-r1`.
    let this = with_hash("812cb34822a1cc971c984556df1c231587eddb8f0625a36e3a8e1e769a45b1e6");
    let issuer = Issuer::new(|_| answer(200, &json!({"access_token": "a2", "expires_in": 3600})));
    assert_eq!(world.ask_as(0, &this, &NOW, &issuer).unwrap(), "a2");
    assert_eq!(world.ask_as(0, &this, &NOW, &nobody()).unwrap(), "a2");
    assert_eq!(issuer.sent().len(), 1);
}

#[test]
fn a_force_that_waited_for_another_sends_nothing() {
    let world = World::new(1);
    put(&world.agents[0], PROFILE, &login("r1", LATER));
    // The same refresh token, another access token: an issuer that does not rotate.
    let renewed = OAuthCredential { access: "a2".into(), ..login("r1", LATER) };
    let clock = Hook::at(2, || put(&world.agents[0], PROFILE, &renewed));
    assert_eq!(world.ask_as(0, &wanted(Force::Refresh), &clock, &nobody()).unwrap(), "a2");
    let issuer = Issuer::new(|_| tokens("a3", "r3"));
    assert_eq!(world.force(Force::Refresh, &issuer).unwrap(), "a3");
}

#[test]
fn an_issuer_that_repeats_the_token_does_not_make_us_repeat_it() {
    let world = World::new(1);
    let secret = "CANARY-0123456789";
    put(&world.agents[0], PROFILE, &login(secret, PAST));
    let said = format!("the token {secret} is odd");
    for (status, code) in [(400, "odd"), (401, "invalid_client"), (400, "invalid_grant")] {
        let body = json!({"error": code, "error_description": said});
        let issuer = Issuer::new(|_| answer(status, &body));
        let refused = world.force(Force::Send, &issuer).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains(secret), "{code}");
        let other_files = world.other_files();
        assert!(other_files.len() > 1);
        for path in other_files {
            let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!content.contains(secret), "{}", path.display());
        }
        assert_eq!(issuer.sent(), [secret]);
    }
}

#[test]
fn a_store_that_could_not_be_written_is_found_out_before_anything_is_sent() {
    let world = World::new(1);
    let database = world.agents[0].path().with_file_name("openclaw-agent.sqlite");
    auth_store::write_atomic(&database, b"").unwrap();
    assert!(world.ask(&nobody()).is_err());
    std::fs::remove_file(&database).unwrap();
    // Something stands where the next content goes.
    let next = world.agents[0].path().with_file_name(".auth-profiles.json.new");
    std::fs::create_dir(&next).unwrap();
    let refused = world.ask(&nobody());
    assert!(matches!(refused, Err(RefreshError::CannotSave { .. })), "{refused:?}");
    assert_eq!((world.answer_files(), world.state("r1")), (0, State::None));
    std::fs::remove_dir(&next).unwrap();
    let issuer = Issuer::new(|_| tokens("a2", "r2"));
    assert_eq!(world.ask(&issuer).unwrap(), "a2");
}

#[test]
fn the_answer_for_a_login_that_was_replaced_goes_to_the_copies_of_it() {
    for asker in [None, Some(1)] {
        let world = World::new(3);
        // While we ask, a person logs in with another account.
        let theirs =
            OAuthCredential { account_id: Some("you".to_owned()), ..login("theirs", LATER) };
        let store = world.agents[0].clone();
        let issuer = Issuer::behind(
            |_| {
                let document = store.read().unwrap();
                let mut document = document.clone();
                let credential = Credential::OAuth(theirs.clone());
                document.put(&PROFILE.into(), "acme", &credential, &Map::new());
                auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
            },
            |_| tokens("a2", "r2"),
        );
        match asker {
            None => {
                let refused = world.ask(&issuer);
                assert!(matches!(refused, Err(RefreshError::OtherAccount { .. })), "{refused:?}");
            }
            // The process that asked died with the answer in its file.
            Some(agent) => {
                let body = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
                world.leave_answer("r1", &body);
                put(&world.agents[0], PROFILE, &theirs);
                let given = world.ask_as(agent, &wanted(Force::No), &NOW, &nobody());
                assert_eq!(given.unwrap(), "a2");
            }
        }
        assert_eq!(world.refresh_token(0), "theirs");
        assert_eq!([world.refresh_token(1), world.refresh_token(2)], ["r2", "r2"]);
        assert_eq!((world.state("r1"), world.answer_files()), (State::Consumed, 0));
        assert_eq!(world.record("r1").unwrap().store, world.agents[1].canonical_path());
    }
}

#[test]
fn the_answer_for_a_login_that_nobody_has_any_more_is_kept() {
    let world = World::new(2);
    let body = json!({"access_token": "a2", "refresh_token": "r2", "expires_in": 3600});
    world.leave_answer("r1", &body);
    let theirs = OAuthCredential { account_id: Some("you".to_owned()), ..login("theirs", LATER) };
    put(&world.agents[0], PROFILE, &theirs);
    put(&world.agents[1], PROFILE, &OAuthCredential { account_id: None, ..login("r1", PAST) });
    // One that cannot be merged there either.
    let no_access = json!({"refresh_token": "r2"});
    world.leave_answer("r1", &no_access);
    let kept = world.ask_as(1, &wanted(Force::No), &NOW, &nobody());
    assert!(matches!(kept, Err(RefreshError::Unmerged { .. })), "{kept:?}");
    assert_eq!((world.state("r1"), world.answer_files()), (State::Intent, 1));
}

#[test]
fn another_accounts_token_is_not_what_was_asked_for() {
    let world = World::new(1);
    let theirs = OAuthCredential { account_id: Some("you".to_owned()), ..login("theirs", LATER) };
    let store = world.agents[0].clone();
    let issuer = Issuer::behind(
        |_| {
            let mut document = store.read().unwrap();
            document.put(&PROFILE.into(), "acme", &Credential::OAuth(theirs.clone()), &Map::new());
            auth_store::write_atomic(store.path(), &document.to_bytes()).unwrap();
        },
        |_| answer(503, ""),
    );
    assert!(world.ask(&issuer).is_err());
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-theirs", "the next caller gets it");
}

#[test]
fn of_a_chain_that_closes_on_itself_the_token_received_last_is_taken_and_nothing_sent() {
    let world = World::new(2);
    world.note("r1", State::Consumed, Some("r2"));
    world.note("r2", State::Consumed, Some("r1"));
    put(&world.agents[1], PROFILE, &login("r2", LATER));
    assert_eq!(world.ask(&nobody()).unwrap(), "access-of-r2");
    assert_eq!(world.refresh_token(0), "r2");

    let much_later = LATER.plus(Duration::from_hours(1));
    let ended = world.ask_as(0, &wanted(Force::No), &much_later, &nobody());
    assert!(matches!(ended, Err(RefreshError::NeedsLogin { .. })), "{ended:?}");
}

#[test]
fn an_issuer_may_give_a_token_once_more_that_was_used_up() {
    let world = World::new(1);
    let issuer = Issuer::new(|number| match number % 2 {
        0 => tokens("a2", "r2"),
        _ => tokens("a1", "r1"),
    });
    for hours in 0..4_u32 {
        let clock = NOW.plus(Duration::from_hours(1) * hours);
        let access = world.ask_as(0, &wanted(Force::No), &clock, &issuer).unwrap();
        assert_eq!(access, ["a2", "a1"][hours as usize % 2], "after {hours} hours");
    }
    assert_eq!(issuer.sent(), ["r1", "r2", "r1", "r2"]);
}

#[test]
fn who_waited_for_a_request_that_was_not_answered_does_not_send_another() {
    for (state, retry_at) in [(State::Intent, None), (State::Waiting, Some(NOW))] {
        let world = World::new(1);
        // It ended after we began to wait for it.
        let path = world.agents[0].canonical_path();
        let ended = NOW.plus(Duration::from_millis(1));
        let record = Record::new(state, &path, &ProfileId::from(PROFILE), ended);
        let record = Record { code: Some("no answer".to_owned()), retry_at, ..record };
        world.records.lock(world.key("r1"), Duration::ZERO).unwrap().write(&record).unwrap();
        let waiting = Ticking::from(NOW);
        let shared = world.ask_as(0, &wanted(Force::No), &waiting, &nobody());
        assert!(matches!(shared, Err(RefreshError::Unavailable { .. })), "{shared:?}");
        // The controls: one who comes later sends, and so does one whose clock was set back.
        let yesterday = Timestamp(NOW.0 - 86_400_000);
        for (clock, next) in [(NOW.plus(Duration::from_secs(1)), "r2"), (yesterday, "r3")] {
            let issuer = Issuer::new(|_| tokens("a2", next));
            assert_eq!(world.ask_as(0, &wanted(Force::No), &clock, &issuer).unwrap(), "a2");
            put(&world.agents[0], PROFILE, &login("r1", Timestamp(0)));
            world.records.lock(world.key("r1"), Duration::ZERO).unwrap().write(&record).unwrap();
        }
    }
}

#[test]
fn a_store_that_keeps_changing_is_given_up_after_five_restarts() {
    let world = World::new(1);
    let connections = AtomicUsize::new(0);
    let store = world.agents[0].clone();
    // Whenever the connection stands, somebody has taken the directory lock from us.
    let issuer = Issuer::behind(
        |_| {
            connections.fetch_add(1, Ordering::SeqCst);
            let mut lock = store.canonical_path().into_os_string();
            lock.push(".lock");
            std::fs::remove_dir(lock).unwrap();
        },
        |_| panic!("something was sent"),
    );
    let given_up = world.ask(&issuer);
    assert!(matches!(given_up, Err(RefreshError::Unsettled { .. })), "{given_up:?}");
    assert_eq!(connections.into_inner(), 6);
}
