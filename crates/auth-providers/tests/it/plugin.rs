//! Plugins as processes: small shell scripts that behave well, and others that do not. Whatever
//! they do, the store stays intact.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use auth_providers::plugin::{self, Environment, Executable, PluginUi, Prompt, Reply, WithPlugins};
use auth_providers::refresh::{self, RefreshContext, RefreshError, Revocation, Wanted};
use auth_providers::{
    HttpClient, HttpError, HttpRequest, HttpResponse, Login, LoginError, Origin, Provider,
    Providers,
};
use auth_store::{
    Credential, OAuthCredential, ProfileId, ProviderId, Records, State, StateDirectory, Store,
    Timestamp, TokenKey,
};
use serde_json::Map;

use crate::support::{NOW, block_on};

const PROFILE: &str = "acme:me";

/// The start of every plugin.
const HELLO: &str = r#"echo '{"type":"hello","versions":[1],"id":"acme","operations":["login","refresh","revoke"]}'; read -r request; "#;
const ROTATES: &str = r#"echo "$request" >> asked
echo '{"type":"progress","text":"asking"}'
echo '{"type":"result","credential":{"type":"oauth","access_token":"a2","refresh_token":"r2","expires_in":3600,"account_id":"me"}}'"#;

/// A state directory whose provider `acme` is a script, and an agent with a login of it.
struct World {
    directory: tempfile::TempDir,
    records: Records,
    store: Store,
}

impl World {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(directory.path());
        let world = Self { records: state.records(), store: state.store("main"), directory };
        world.script(script);
        let login = Credential::OAuth(login());
        let put = |document: &mut auth_store::Document| {
            document.put(&ProfileId::new(PROFILE), "acme", &login, &Map::new());
        };
        world.store.update(put).unwrap();
        world
    }

    fn bin(&self) -> PathBuf {
        self.directory.path().join("providers").join("bin")
    }

    fn path(&self) -> PathBuf {
        self.bin().join("clawdbot-provider-acme")
    }

    /// What the plugin does from now on.
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn script(&self, script: &str) {
        std::fs::create_dir_all(self.bin()).unwrap();
        std::fs::write(self.path(), format!("#!/bin/sh\n{script}\n")).unwrap();
        for path in [self.bin(), self.path()] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn manifest(&self, manifest: &str) {
        std::fs::write(self.directory.path().join("providers/acme.json"), manifest).unwrap();
    }

    fn providers(&self) -> Providers {
        Providers::load(Some(&self.directory.path().join("providers")), &|_| None)
    }

    fn provider(&self) -> Provider {
        self.providers().find(&ProviderId::new("acme")).unwrap().clone()
    }

    fn network(&self) -> WithPlugins {
        let nobody = |request: HttpRequest| -> Result<HttpResponse, HttpError> {
            panic!("{request:?} went to the network")
        };
        WithPlugins::new(Box::new(nobody), &self.providers(), environment())
    }

    fn refresh_context<'a>(&'a self, http: &'a dyn HttpClient) -> RefreshContext<'a> {
        RefreshContext {
            store: &self.store,
            siblings: &[],
            records: &self.records,
            http,
            clock: &NOW,
            timeout: Duration::from_secs(5),
        }
    }

    /// The access token, refreshed.
    fn ask(&self) -> Result<String, RefreshError> {
        let network = self.network();
        let wanted = Wanted::now(ProfileId::new(PROFILE));
        let provider = self.provider();
        let context = self.refresh_context(&network);
        let sender =
            |lock, wanted: &Wanted| refresh::send_blocking(lock, wanted, &provider, context);
        let credential = refresh::refresh(&wanted, &provider, context, sender)?;
        Ok(credential.bearer().expose().to_owned())
    }

    fn stored(&self) -> (String, String) {
        match self.store.read().unwrap().credential(&ProfileId::new(PROFILE)) {
            Some(Credential::OAuth(login)) => {
                (login.access.expose().to_owned(), login.refresh.expose().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    fn state_of(&self, refresh: &str) -> Option<State> {
        let key = TokenKey::new("plugin:acme", "", &refresh.into());
        self.records.peek(key).unwrap().map(|record| record.state)
    }

    /// The requests that the script wrote down.
    fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.bin().join("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    fn log_in(&self, user: &User) -> Result<Login, LoginError> {
        block_on(plugin::login(&self.provider(), &environment(), user, &NOW))
    }
}

fn login() -> OAuthCredential {
    OAuthCredential {
        access: "a1".into(),
        refresh: "r1".into(),
        expires: Some(Timestamp(NOW.0 - 60_000)),
        obtained_at: Some(Timestamp(NOW.0 - 3_660_000)),
        account_id: Some("me".to_owned()),
        token_endpoint: Some("plugin:acme".to_owned()),
        ..OAuthCredential::default()
    }
}

fn environment() -> Environment {
    Environment::scrubbed([("PATH".into(), "/usr/bin:/bin".into())])
}

/// A user who answers in turn, and remembers what they saw.
#[derive(Default)]
struct User {
    responses: Mutex<Vec<Reply>>,
    seen: Mutex<Vec<String>>,
}

impl User {
    fn who_says(responses: &[Reply]) -> Self {
        let responses = responses.iter().rev().cloned().collect();
        Self { responses: Mutex::new(responses), seen: Mutex::default() }
    }

    fn saw(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }
}

impl PluginUi for User {
    fn progress(&self, text: &str) {
        self.saw(format!("progress {text}"));
    }

    fn open(&self, url: &str, text: &str) {
        self.saw(format!("open {url} {text}"));
    }

    fn device_code(&self, url: &str, code: &str, expires_in: Option<u64>) {
        self.saw(format!("code {url} {code} {expires_in:?}"));
    }

    fn ask<'a>(&'a self, prompt: &'a Prompt) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>> {
        self.saw(format!("{:?} {}", prompt.kind, prompt.text));
        let response = self.responses.lock().unwrap().pop();
        Box::pin(async move {
            match response {
                Some(response) => response,
                None => std::future::pending().await,
            }
        })
    }

    fn log(&self, line: &str) {
        self.saw(format!("log {line}"));
    }
}

#[test]
fn a_plugin_without_a_manifest_is_a_provider() {
    let world = World::new(HELLO);
    let provider = world.provider();
    assert!(matches!(&provider.origin, Origin::Plugin(path) if *path == world.path()));
    assert_eq!(provider.plugin(), Some(world.path().as_path()));
}

#[test]
fn a_program_does_not_take_the_place_of_a_built_in_provider() {
    let world = World::new(HELLO);
    std::fs::copy(world.path(), world.bin().join("clawdbot-provider-openai-codex")).unwrap();
    let providers = world.providers();
    let codex = providers.find(&ProviderId::new("openai-codex")).unwrap();
    assert_eq!((codex.plugin(), &codex.origin), (None, &Origin::BuiltIn));
    assert_eq!(providers.errors().len(), 1);
    assert!(providers.errors()[0].reason.contains("is a provider already"));
}

#[test]
fn a_plugins_login_is_refreshed_by_the_same_protocol() {
    let world = World::new(&format!("{HELLO}{ROTATES}"));
    assert_eq!(world.ask().unwrap(), "a2");
    assert_eq!(world.stored(), ("a2".to_owned(), "r2".to_owned()));
    assert_eq!(world.state_of("r1"), Some(State::Consumed));
    // What was stored is fresh, so nobody is asked again.
    assert_eq!(world.ask().unwrap(), "a2");
    assert_eq!(
        world.asked(),
        [
            r#"{"type":"refresh","version":1,"provider":"acme","refresh_token":"r1","account_id":"me","timeout_ms":12000}"#
        ]
    );
}

#[test]
fn a_refusal_of_a_plugin_is_remembered() {
    let refuses =
        r#"echo "$request" >> asked; echo '{"type":"error","kind":"rejected","code":"gone"}'"#;
    let world = World::new(&format!("{HELLO}{refuses}"));
    for _ in 0..2 {
        let error = world.ask().unwrap_err();
        assert!(matches!(&error, RefreshError::Rejected { code, .. } if code == "gone"), "{error}");
    }
    assert_eq!(world.asked().len(), 1);
    assert_eq!(world.stored().1, "r1");
}

#[test]
fn a_plugin_that_asks_for_time_gets_it() {
    let busy =
        r#"echo '{"type":"error","kind":"unavailable","message":"busy: r1","retry_after":90}'"#;
    let world = World::new(&format!("{HELLO}{busy}"));
    let error = world.ask().unwrap_err();
    let RefreshError::Unavailable { reason, retry_at, .. } = &error else { panic!("{error}") };
    assert_eq!(reason, "busy: REDACTED");
    assert_eq!(*retry_at, Some(NOW.plus(Duration::from_secs(90))));
}

#[test]
fn a_plugin_that_does_not_know_what_became_of_the_token_is_asked_again() {
    let unsure = r#"echo "$request" >> asked
if [ "$(wc -l < asked)" -lt 2 ]; then echo '{"type":"error","kind":"unknown"}'; exit; fi
"#;
    let world = World::new(&format!("{HELLO}{unsure}{ROTATES}"));
    assert_eq!(world.ask().unwrap(), "a2");
    // The second request, and what the rest of the script wrote about it.
    assert_eq!(world.asked().len(), 3);
}

#[test]
fn a_plugin_that_dies_with_the_token_leaves_the_store_and_an_intent() {
    let world = World::new(&format!("{HELLO}exit 1"));
    let error = world.ask().unwrap_err();
    assert!(matches!(error, RefreshError::Unavailable { .. }), "{error}");
    assert_eq!(world.stored(), ("a1".to_owned(), "r1".to_owned()));
    assert_eq!(world.state_of("r1"), Some(State::Intent));
    // The next call finishes it.
    world.script(&format!("{HELLO}{ROTATES}"));
    assert_eq!(world.ask().unwrap(), "a2");
}

#[test]
fn a_plugin_that_never_greets_gets_no_token() {
    for (script, reason) in [
        ("exit 0", "without a `hello`"),
        ("echo nonsense", "not JSON"),
        (r#"echo '{"type":"result","credential":{}}'"#, "not `hello`"),
        (r#"echo '{"type":"hello","versions":[9],"id":"acme"}'"#, "no version"),
        (r#"echo '{"type":"hello","versions":[1],"id":"other"}'"#, "for the provider `other`"),
        ("yes x | tr -d '\\n'", "too long"),
    ] {
        let world = World::new(&format!("{script}; read -r request; echo \"$request\" > asked"));
        let error = world.ask().unwrap_err();
        let RefreshError::Unavailable { reason: said, .. } = &error else { panic!("{error}") };
        assert!(said.contains(reason), "{script}: {said}");
        assert_eq!(world.asked(), [""; 0], "{script}");
        assert_eq!(world.state_of("r1"), Some(State::Waiting), "{script}");
    }
}

#[test]
fn a_plugin_that_lies_or_floods_after_the_token_does_not_hurt_the_store() {
    for script in [
        "echo '{\"type\":\"result\",'",
        r#"echo '{"type":"prompt","id":"a","kind":"text","text":"Who?"}'; read -r more"#,
        "while :; do echo '{\"type\":\"progress\"}'; done",
        "yes x | tr -d '\\n'",
        r#"printf '{"type":"result","credential":{"type":"oauth","access_token":"a2"}}'"#,
        r"printf '\033[2J\n'",
    ] {
        let world = World::new(&format!("{HELLO}{script}"));
        world.manifest(
            r#"{"id": "acme", "flows": ["plugin"], "replay_after_lost_response": false}"#,
        );
        let error = world.ask().unwrap_err();
        assert!(matches!(error, RefreshError::Unavailable { .. }), "{script}: {error}");
        assert_eq!(world.stored(), ("a1".to_owned(), "r1".to_owned()), "{script}");
    }
}

#[test]
fn a_response_for_another_account_is_kept_and_not_merged() {
    let other = ROTATES.replace(r#""account_id":"me""#, r#""account_id":"you""#);
    let world = World::new(&format!("{HELLO}{other}"));
    let error = world.ask().unwrap_err();
    assert!(matches!(error, RefreshError::Unmerged { .. }), "{error}");
    assert_eq!(world.stored(), ("a1".to_owned(), "r1".to_owned()));
    let directory = world.store.path().parent().unwrap();
    let key = TokenKey::new("plugin:acme", "", &"r1".into());
    let kept = std::fs::read(directory.join(format!(".auth-refresh.{key}.answer"))).unwrap();
    assert!(String::from_utf8_lossy(&kept).contains("\"you\""));
}

#[test]
fn a_result_that_is_no_proper_line_is_kept_with_its_tokens() {
    for line in [
        r#"{"type":"result","credential":{"type":"oauth","access_token":"a2","refresh_token":"r2","n":"\ud83d"}}"#,
        r#"{"type":"outcome","access_token":"a2","refresh_token":"r2"}"#,
    ] {
        let world = World::new(&format!("{HELLO}echo '{line}'"));
        let error = world.ask().unwrap_err();
        assert!(matches!(error, RefreshError::Unmerged { .. }), "{error}");
        assert_eq!(world.stored(), ("a1".to_owned(), "r1".to_owned()));
        assert_eq!(world.state_of("r1"), Some(State::Unmerged));
        let [(_, path)] = &world.store.kept_responses().unwrap()[..] else { panic!("{line}") };
        let kept = std::fs::read(path).unwrap();
        assert!(String::from_utf8_lossy(&kept).contains("\"r2\""));
    }
}

#[test]
fn a_plugin_that_hangs_is_ended_with_all_its_children() {
    let world = World::new(&format!("{HELLO}sleep 600 & echo $! > child; wait"));
    let network = world.network();
    let target = world.provider().refresh_target(&login()).unwrap();
    let request = target.request(&"r1".into(), Duration::from_millis(700));
    let response = block_on(network.send(request));
    assert!(matches!(response, Err(HttpError::NoResponse(_))), "{response:?}");
    let child = std::fs::read_to_string(world.bin().join("child")).unwrap();
    let is_gone = || {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        !state.is_ok_and(|state| !state.contains(") Z "))
    };
    let ended = (0..2_000_000).any(|_| {
        std::thread::yield_now();
        !cfg!(target_os = "linux") || is_gone()
    });
    assert!(ended, "{child} lives on");
}

#[test]
fn a_token_goes_to_the_plugin_it_came_from_and_nowhere_else() {
    let world = World::new(HELLO);
    let codex = Providers::load(None, &|_| None);
    let codex = codex.find(&ProviderId::new("openai-codex")).unwrap();
    assert!(codex.refresh_target(&login()).is_err(), "a plugin's token went to an address");
    let elsewhere = OAuthCredential {
        token_endpoint: Some("https://acme.example/token".to_owned()),
        client_id: Some("c".to_owned()),
        ..login()
    };
    let target = world.provider().refresh_target(&elsewhere).unwrap();
    assert_eq!(target.token_endpoint, "https://acme.example/token");
    let other = OAuthCredential { token_endpoint: Some("plugin:other".to_owned()), ..login() };
    assert!(world.provider().refresh_target(&other).is_err());
    // Without a record it belongs to the plugin, if the provider has no other way to log in.
    let unrecorded = OAuthCredential { token_endpoint: None, ..login() };
    let target = world.provider().refresh_target(&unrecorded).unwrap();
    assert_eq!(target.token_endpoint, "plugin:acme");
}

#[test]
fn a_revocation_is_told_to_the_plugin() {
    let revoke = |script: &str| {
        let world = World::new(&format!("{HELLO}echo \"$request\" > asked; {script}"));
        let outcome = block_on(world.provider().revoke(&login(), &world.network(), NOW));
        (outcome, world.asked())
    };
    let (outcome, asked) = revoke(r#"echo '{"type":"result"}'"#);
    assert_eq!(outcome, Revocation::Done);
    assert_eq!(
        asked,
        [
            r#"{"type":"revoke","version":1,"provider":"acme","refresh_token":"r1","access_token":"a1"}"#
        ]
    );
    let (outcome, _) = revoke(r#"echo '{"type":"error","kind":"unsupported"}'"#);
    assert_eq!(outcome, Revocation::NotOffered);
    let (outcome, _) = revoke(r#"echo '{"type":"error","kind":"unavailable","message":"no r1"}'"#);
    assert_eq!(outcome, Revocation::Failed("no REDACTED".to_owned()));
    let (outcome, _) = revoke("exit 1");
    assert!(matches!(outcome, Revocation::Failed(_)));
}

#[test]
fn a_login_shows_asks_and_hands_over() {
    let script = r#"
echo '{"type":"progress","text":"one moment"}'
echo '{"type":"prompt","id":"key","kind":"secret","text":"Your key"}'; read -r answer
echo "$answer" >> asked; echo "noise and k-1" >&2
echo '{"type":"open","url":"https://acme.example/a","text":"look"}'
echo '{"type":"device_code","url":"https://acme.example/d","code":"AB-1","expires_in":60}'
echo '{"type":"prompt","id":"sure","kind":"confirm","text":"Sure?"}'; read -r answer
echo "$answer" >> asked
echo '{"type":"result","credential":{"type":"api_key","key":"k-1","email":"me@example.test"}}'; sleep 9"#;
    let world = World::new(&format!("{HELLO}{script}"));
    let user = User::who_says(&[Reply::Text("k-1".into()), Reply::Confirmed(true)]);
    let login = world.log_in(&user).unwrap();
    assert_eq!(login.credential.bearer().expose(), "k-1");
    assert_eq!(login.email.as_deref(), Some("me@example.test"));
    assert_eq!(
        world.asked(),
        [
            r#"{"type":"answer","id":"key","value":"k-1"}"#,
            r#"{"type":"answer","id":"sure","value":true}"#
        ]
    );
    assert_eq!(
        *user.seen.lock().unwrap(),
        [
            "progress one moment",
            "Secret Your key",
            "open https://acme.example/a look",
            "code https://acme.example/d AB-1 Some(60)",
            "Confirm Sure?",
            "log noise and REDACTED"
        ]
    );
}

#[test]
fn a_question_that_needs_no_response_any_more_ends_with_the_login() {
    let script = r#"
echo '{"type":"prompt","id":"code","kind":"text","text":"Or paste it"}'
echo '{"type":"progress","text":"the browser was faster"}'
echo '{"type":"result","credential":{"type":"token","token":"t-1"}}'"#;
    let world = World::new(&format!("{HELLO}{script}"));
    let user = User::default();
    assert_eq!(world.log_in(&user).unwrap().credential.bearer().expose(), "t-1");
    assert_eq!(*user.seen.lock().unwrap(), ["Text Or paste it", "progress the browser was faster"]);
}

#[test]
fn each_end_of_a_login_without_a_credential_has_its_error() {
    let ended = |script: &str| {
        let world = World::new(&format!("{HELLO}{script}"));
        world.log_in(&User::who_says(&[Reply::NoUser])).unwrap_err()
    };
    let failed = |kind: &str| {
        ended(&format!(r#"echo '{{"type":"error","kind":"{kind}","code":"c","message":"m"}}'"#))
    };
    assert!(matches!(failed("rejected"), LoginError::Refused { code, .. } if code == "c"));
    assert!(matches!(failed("misconfigured"), LoginError::Misconfigured { .. }));
    assert!(matches!(failed("unavailable"), LoginError::Unavailable { .. }));
    let asks = r#"echo '{"type":"prompt","id":"a","kind":"text","text":"Who?"}'; read -r answer
case $answer in *null*) echo '{"type":"error","kind":"canceled"}';; esac"#;
    assert!(matches!(ended(asks), LoginError::Canceled));
    for script in ["exit 0", "echo '{}'", r#"echo '{"type":"result","credential":{"type":"key"}}'"#]
    {
        assert!(matches!(ended(script), LoginError::Plugin { .. }), "{script}");
    }
}

#[test]
fn a_plugin_finds_nothing_of_ours_in_its_environment() {
    let script = r"env | sort > asked; pwd >> asked; exit 1";
    let world = World::new(&format!("{HELLO}{script}"));
    let all = [("PATH", "/usr/bin:/bin:."), ("ACME_API_KEY", "secret"), ("HOME", "/h")];
    let scrubbed = all.map(|(name, value)| (name.into(), value.into()));
    let scrubbed = Environment::scrubbed(scrubbed);
    let _ = block_on(plugin::login(&world.provider(), &scrubbed, &User::default(), &NOW));
    let mut asked = world.asked();
    // The variables that a shell itself sets.
    asked.retain(|line| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|it| line.starts_with(it)));
    let bin = std::fs::canonicalize(world.bin()).unwrap().display().to_string();
    assert_eq!(asked, ["HOME=/h".to_owned(), "PATH=/usr/bin:/bin".to_owned(), bin]);
}

#[test]
fn a_program_that_others_can_change_is_never_started() {
    let world = World::new(&format!("echo x > asked; {HELLO}{ROTATES}"));
    std::fs::set_permissions(world.bin(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = world.ask().unwrap_err();
    assert!(error.to_string().contains("can be changed by others"), "{error}");
    assert!(matches!(
        world.log_in(&User::default()).unwrap_err(),
        LoginError::Misconfigured { .. }
    ));
    assert_eq!(world.asked(), [""; 0]);
    // The control.
    std::fs::set_permissions(world.bin(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let executable = Executable::from_provider(&world.provider()).unwrap().unwrap();
    assert!(block_on(plugin::greet(&executable, &environment())).is_ok());
    assert_eq!(world.asked(), ["x"]);
}
