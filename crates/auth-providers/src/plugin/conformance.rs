//! A conformance check for plugin authors: it plays the client and tries every rule of the protocol
//! that can be tested from outside, one by one, each with the reason if it is broken.

use std::time::Duration;

use auth_store::{Credential, OAuthCredential, Secret, Timestamp};
use serde_json::{Map, Value};

use crate::plugin::client::hello;
use crate::plugin::credential::login_of;
use crate::plugin::message::{self, Failure, FailureKind, Prompt, PromptKind, Reply, Request};
use crate::plugin::process::Process;
use crate::plugin::protocol::{END_TIMEOUT, VERSIONS};
use crate::plugin::session::{Conversation, Event, Hello, Operation, PluginReply};
use crate::provider::Provider;
use crate::provider::executable::{Environment, Executable};
use crate::provider::registry::of_plugin;

/// How a plugin is checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The user's answers, by the `id` of the question: text, or `true` and `false`. A question
    /// without an entry gets its default, the first choice, yes, or `check`.
    pub responses: Map<String, Value>,
    /// The time limit for each response of the plugin; a login may take five times as long.
    pub timeout: Duration,
}

/// One rule, and whether the plugin follows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// The rule's name, which does not change.
    pub name: &'static str,
    /// The rule as a sentence.
    pub rule: &'static str,
    /// Whether the plugin follows it.
    pub outcome: Outcome,
}

/// The result of a check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The plugin follows the rule.
    Passed,
    /// The plugin breaks the rule, for this reason.
    Failed(String),
    /// The rule could not be tested, for this reason.
    NotRun(String),
}

/// Checks every part of the protocol with a plugin. `shown` receives what a user would see.
pub async fn check(
    executable: &Executable,
    environment: &Environment,
    plan: &Plan,
    shown: &dyn Fn(&str),
) -> Vec<Check> {
    let provider = match of_plugin(&executable.id, &executable.path) {
        Ok(provider) => provider,
        Err(wrong) => {
            let outcome =
                Outcome::Failed(format!("its name is no provider's id: {}", wrong.reason));
            return vec![Check { name: HELLO.0, rule: HELLO.1, outcome }];
        }
    };
    let mut checker = Checker {
        executable,
        provider,
        environment,
        plan,
        shown,
        checks: Vec::new(),
        secrets: Vec::new(),
        stderr: String::new(),
    };
    checker.run().await;
    checker.checks
}

struct Checker<'a> {
    executable: &'a Executable,
    /// The provider that the plugin alone defines.
    provider: Provider,
    environment: &'a Environment,
    plan: &'a Plan,
    shown: &'a dyn Fn(&str),
    checks: Vec<Check>,
    /// Secrets that must not appear in `stderr`.
    secrets: Vec<Secret>,
    stderr: String,
}

/// A plugin that has sent `hello`.
struct Talk {
    process: Process,
    conversation: Conversation,
    hello: Hello,
}

/// How an operation ended.
enum End {
    Result(Box<PluginReply>),
    Error(Failure),
    /// The plugin ended without a result.
    Silence,
}

/// The result of a check: `Err` is the reason for a failure.
type Verdict = Result<(), String>;

impl Checker<'_> {
    async fn run(&mut self) {
        let talk = match self.begin(Operation::Login).await {
            Ok(talk) => talk,
            Err(reason) => return self.note(HELLO.0, HELLO.1, Err(reason)),
        };
        self.note(HELLO.0, HELLO.1, Ok(()));
        let operations = talk.hello.operations.clone();
        let verdict = self.waits(talk).await;
        self.note("waits", "it says nothing more until it is asked", verdict);

        let verdict = self.refuses_version().await;
        self.note(
            "version",
            "it refuses a version it does not speak: `unsupported_version`",
            verdict,
        );
        let dance = b"{\"type\":\"dance\",\"version\":1}\n";
        let verdict =
            self.refuses(dance, &[FailureKind::Unsupported, FailureKind::InvalidRequest]).await;
        self.note("request", "it refuses a request it does not know: `unsupported`", verdict);
        let verdict = self.refuses(b"{{{ \x1b[31m\n", &[FailureKind::InvalidRequest]).await;
        self.note("garbage", "it refuses what is no JSON: `invalid_request`", verdict);
        let verdict = self.ends_without_request().await;
        self.note("end", "it ends within 2 s after its standard input", verdict);

        let is_offered = |operation: Operation| operations.iter().any(|it| it == operation.word());
        let login = if is_offered(Operation::Login) {
            self.logs_in().await
        } else {
            Err("`hello` does not name `login` in `operations`".to_owned())
        };
        let verdict = login.as_ref().map(drop).map_err(Clone::clone);
        self.note("login", "it logs in and hands over a credential that can be stored", verdict);
        self.at_first_question("cancel", "it gives up when there is no answer: `canceled`").await;
        self.at_first_question("hang-up", "it ends within 2 s when its input ends in a login")
            .await;

        match login {
            Ok(credential) => self.renew(&credential, &is_offered).await,
            Err(_) => {
                for (name, rule) in [REFRESH, REFUSAL, REVOKE] {
                    self.skip(name, rule, "there is no login to try it with");
                }
            }
        }
        let leaked = self.secrets.iter().any(|secret| self.stderr.contains(secret.expose()));
        let verdict =
            if leaked { Err("a token, key or secret answer is in it".to_owned()) } else { Ok(()) };
        self.note("stderr", "its standard error has no secret in it", verdict);
    }

    /// With the credential of its login: refresh, refusal, revocation.
    async fn renew(&mut self, credential: &Credential, is_offered: &dyn Fn(Operation) -> bool) {
        let login = match credential {
            Credential::OAuth(login) if !login.refresh.is_blank() => Some(login.clone()),
            _ => None,
        };
        let login = match login {
            None => {
                for (name, rule) in [REFRESH, REFUSAL] {
                    self.skip(name, rule, "its login has no refresh token");
                }
                OAuthCredential {
                    access: credential.bearer().clone(),
                    ..OAuthCredential::default()
                }
            }
            Some(mut login) => {
                let verdict = if is_offered(Operation::Refresh) {
                    match self.refreshes(&login).await {
                        Ok(renewed) => {
                            login = renewed;
                            Ok(())
                        }
                        Err(reason) => Err(reason),
                    }
                } else {
                    Err("`hello` does not name `refresh`, though there is a refresh token"
                        .to_owned())
                };
                self.note(REFRESH.0, REFRESH.1, verdict);
                let verdict = self.refuses_token(&login).await;
                self.note(REFUSAL.0, REFUSAL.1, verdict);
                login
            }
        };
        let verdict = self.revokes(&login, is_offered(Operation::Revoke)).await;
        self.note(REVOKE.0, REVOKE.1, verdict);
    }

    async fn waits(&mut self, mut talk: Talk) -> Verdict {
        let said = tokio::time::timeout(PAUSE, talk.process.line()).await;
        self.receive(&mut talk).await;
        match said {
            Err(_) => Ok(()),
            Ok(Ok(Some(_))) => Err("it spoke before it was asked".to_owned()),
            Ok(Ok(None)) => Err("it ended before it was asked".to_owned()),
            Ok(Err(violation)) => Err(violation.to_string()),
        }
    }

    async fn refuses_version(&mut self) -> Verdict {
        let request = Request::Login { version: STRANGE_VERSION, provider: self.id() };
        self.refuses(&request.line(), &[FailureKind::UnsupportedVersion]).await
    }

    /// Whether the plugin replies to `request` with an error of one of these kinds.
    async fn refuses(&mut self, request: &[u8], kinds: &[FailureKind]) -> Verdict {
        let mut talk = self.begin(Operation::Login).await?;
        talk.process.write(request).await;
        let mut has_asked = false;
        let mut response = |_: &Prompt| {
            has_asked = true;
            None
        };
        let end = self.end_of(&mut talk, self.plan.timeout, &mut response).await;
        self.receive(&mut talk).await;
        if has_asked {
            return Err("it went on, and asked the user".to_owned());
        }
        let wanted = kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" or ");
        match end? {
            End::Error(failure) if kinds.contains(&failure.kind) => Ok(()),
            End::Error(failure) => Err(format!("its error is `{}`, not {wanted}", failure.kind)),
            End::Result(_) => Err("it answered with a result".to_owned()),
            End::Silence => Err(format!("it ended without an error; {wanted} was due")),
        }
    }

    async fn ends_without_request(&mut self) -> Verdict {
        let mut talk = self.begin(Operation::Login).await?;
        talk.process.close();
        let ended = talk.process.ended(END_TIMEOUT).await;
        self.receive(&mut talk).await;
        ended.map(drop).ok_or_else(|| lives_on(END_TIMEOUT))
    }

    async fn logs_in(&mut self) -> Result<Credential, String> {
        let mut talk = self.begin(Operation::Login).await?;
        let request = Request::Login { version: talk.hello.version, provider: self.id() };
        talk.process.write(&request.line()).await;
        let (responses, mut said) = (self.plan.responses.clone(), Vec::new());
        let mut response = |prompt: &Prompt| {
            let reply = scripted(prompt, &responses);
            if let (PromptKind::Secret, Reply::Text(text)) = (prompt.kind, &reply) {
                said.push(text.clone());
            }
            Some(reply)
        };
        let end = self.end_of(&mut talk, self.plan.timeout * 5, &mut response).await;
        self.secrets.extend(said);
        let end = match end {
            Ok(End::Result(response)) => match login_of(&self.provider, &response, NOW) {
                Ok(login) => {
                    self.keep_secret(&login.credential);
                    Ok(login.credential)
                }
                Err(violation) => Err(violation.to_string()),
            },
            Ok(End::Error(failure)) => Err(told("it failed", &failure)),
            Ok(End::Silence) => Err("it ended without a `result`".to_owned()),
            Err(reason) => Err(reason),
        };
        self.receive(&mut talk).await;
        end
    }

    /// What the plugin does if its first question gets no answer: it is told that there is no user,
    /// or its input ends.
    async fn at_first_question(&mut self, name: &'static str, rule: &'static str) {
        let is_hang_up = name == "hang-up";
        let mut talk = match self.begin(Operation::Login).await {
            Ok(talk) => talk,
            Err(reason) => return self.note(name, rule, Err(reason)),
        };
        let request = Request::Login { version: talk.hello.version, provider: self.id() };
        talk.process.write(&request.line()).await;
        let mut has_asked = false;
        let end = self
            .end_of(&mut talk, self.plan.timeout, &mut |_| {
                has_asked = true;
                if is_hang_up { None } else { Some(Reply::NoUser) }
            })
            .await;
        if !has_asked {
            self.receive(&mut talk).await;
            return match end {
                Err(reason) => self.note(name, rule, Err(reason)),
                Ok(_) => self.skip(name, rule, "its login asks nothing"),
            };
        }
        let verdict = if is_hang_up {
            // `end_of` has closed the plugin's input and waited.
            end.map(drop)
        } else {
            match end {
                Ok(End::Error(failure)) if failure.kind == FailureKind::Canceled => Ok(()),
                Ok(End::Error(failure)) => {
                    Err(format!("its error is `{}`, not `canceled`", failure.kind))
                }
                Ok(End::Result(_)) => Err("it logged in all the same".to_owned()),
                Ok(End::Silence) => Err("it ended without an error".to_owned()),
                Err(reason) => Err(reason),
            }
        };
        self.receive(&mut talk).await;
        self.note(name, rule, verdict);
    }

    async fn refreshes(&mut self, login: &OAuthCredential) -> Result<OAuthCredential, String> {
        match self.refresh(&login.refresh, login.account_id.clone()).await? {
            End::Result(response) => {
                let renewed = login_of(&self.provider, &response, NOW);
                let Credential::OAuth(mut renewed) =
                    renewed.map_err(|violation| violation.to_string())?.credential
                else {
                    return Err("its answer is no `oauth` credential".to_owned());
                };
                self.keep_secret(&Credential::OAuth(renewed.clone()));
                if login.account_id.is_some()
                    && renewed.account_id.is_some()
                    && renewed.account_id != login.account_id
                {
                    return Err("its answer is for another account than the login was".to_owned());
                }
                if renewed.refresh.is_blank() {
                    renewed.refresh = login.refresh.clone();
                }
                Ok(renewed)
            }
            End::Error(failure) => Err(told("it failed", &failure)),
            End::Silence => Err("it ended without a `result`".to_owned()),
        }
    }

    async fn refuses_token(&mut self, login: &OAuthCredential) -> Verdict {
        match self.refresh(&UNKNOWN_TOKEN.into(), login.account_id.clone()).await? {
            End::Error(failure) if failure.kind == FailureKind::Rejected => Ok(()),
            End::Error(failure) => Err(format!("its error is `{}`, not `rejected`", failure.kind)),
            End::Result(_) => Err("it took a token it never gave".to_owned()),
            End::Silence => Err("it ended without an error".to_owned()),
        }
    }

    async fn refresh(&mut self, token: &Secret, account_id: Option<String>) -> Result<End, String> {
        let mut talk = self.begin(Operation::Refresh).await?;
        let request = Request::Refresh {
            version: talk.hello.version,
            provider: self.id(),
            refresh_token: token.clone(),
            account_id,
            timeout_ms: u64::try_from(self.plan.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        talk.process.write(&request.line()).await;
        let end = self.end_of(&mut talk, self.plan.timeout, &mut |_| None).await;
        self.receive(&mut talk).await;
        end
    }

    async fn revokes(&mut self, login: &OAuthCredential, is_offered: bool) -> Verdict {
        let mut talk = self.begin(Operation::Revoke).await?;
        let request = Request::Revoke {
            version: talk.hello.version,
            provider: self.id(),
            refresh_token: login.refresh.clone(),
            access_token: login.access.clone(),
        };
        talk.process.write(&request.line()).await;
        let end = self.end_of(&mut talk, self.plan.timeout, &mut |_| None).await;
        self.receive(&mut talk).await;
        match (end?, is_offered) {
            (End::Result(_), true) => Ok(()),
            (End::Error(failure), false) if failure.kind == FailureKind::Unsupported => Ok(()),
            (End::Error(failure), true) => Err(told("it failed", &failure)),
            (_, false) => {
                Err("`hello` does not name `revoke`, so `unsupported` was due".to_owned())
            }
            (End::Silence, true) => Err("it ended without a `result`".to_owned()),
        }
    }

    async fn begin(&self, operation: Operation) -> Result<Talk, String> {
        let mut process = Process::start(self.executable, self.environment)
            .await
            .map_err(|error| format!("it did not start: {error}"))?;
        let mut conversation = Conversation::new(self.executable.id.as_str(), operation);
        let hello =
            hello(&mut process, &mut conversation).await.map_err(|error| error.to_string())?;
        Ok(Talk { process, conversation, hello })
    }

    /// Follows an operation to its end. A question that `answer` does not answer ends the plugin's
    /// input, and with it, in time, the plugin.
    async fn end_of(
        &self,
        talk: &mut Talk,
        time: Duration,
        response: &mut dyn FnMut(&Prompt) -> Option<Reply>,
    ) -> Result<End, String> {
        let follow = async {
            loop {
                let line = talk.process.line().await.map_err(|violation| violation.to_string())?;
                let Some(line) = line else { return Ok(End::Silence) };
                match talk.conversation.accept(&line).map_err(|violation| violation.to_string())? {
                    Event::Hello(_) => {}
                    Event::Progress(text) if text.is_empty() => {}
                    Event::Progress(text) => (self.shown)(&text),
                    Event::Open { url, .. } => (self.shown)(&url),
                    Event::DeviceCode { url, code, .. } => (self.shown)(&format!("{url} {code}")),
                    Event::Prompt(prompt) => {
                        (self.shown)(&prompt.text);
                        talk.conversation.received();
                        let Some(reply) = response(&prompt) else {
                            talk.process.close();
                            return match talk.process.ended(END_TIMEOUT).await {
                                Some(_) => Ok(End::Silence),
                                None => Err(lives_on(END_TIMEOUT)),
                            };
                        };
                        talk.process.write(&message::response(&prompt.id, &reply)).await;
                    }
                    Event::Result(response) => return Ok(End::Result(response)),
                    Event::Error(failure) => return Ok(End::Error(failure)),
                }
            }
        };
        let ended = tokio::time::timeout(time, follow).await;
        ended.unwrap_or_else(|_| Err(format!("it gave no answer within {} s", time.as_secs_f64())))
    }

    /// Lets the plugin end, and keeps its standard error.
    async fn receive(&mut self, talk: &mut Talk) {
        talk.process.close();
        talk.process.ended(END_TIMEOUT).await;
        self.stderr.push_str(&talk.process.raw_stderr());
    }

    fn keep_secret(&mut self, credential: &Credential) {
        self.secrets.push(credential.bearer().clone());
        if let Credential::OAuth(login) = credential {
            self.secrets.push(login.refresh.clone());
        }
        self.secrets.retain(|secret| !secret.is_blank());
    }

    fn note(&mut self, name: &'static str, rule: &'static str, verdict: Verdict) {
        let outcome = verdict.map_or_else(Outcome::Failed, |()| Outcome::Passed);
        self.checks.push(Check { name, rule, outcome });
    }

    fn skip(&mut self, name: &'static str, rule: &'static str, reason: &str) {
        self.checks.push(Check { name, rule, outcome: Outcome::NotRun(reason.to_owned()) });
    }

    fn id(&self) -> String {
        self.executable.id.to_string()
    }
}

/// The scripted reply to a question.
fn scripted(prompt: &Prompt, responses: &Map<String, Value>) -> Reply {
    match (responses.get(&prompt.id), prompt.kind) {
        (Some(Value::Bool(is_confirmed)), _) => Reply::Confirmed(*is_confirmed),
        (Some(Value::String(text)), _) => Reply::Text(text.as_str().into()),
        (Some(Value::Null), _) => Reply::NoUser,
        (_, PromptKind::Confirm) => Reply::Confirmed(true),
        (_, PromptKind::Choose) => {
            let first = prompt.choices.first().map(|choice| choice.value.clone());
            Reply::Text(prompt.default.clone().or(first).unwrap_or_default().into())
        }
        (_, PromptKind::Text) => {
            Reply::Text(prompt.default.clone().unwrap_or_else(|| "check".to_owned()).into())
        }
        (_, PromptKind::Secret) => Reply::Text("check-secret".into()),
    }
}

fn told(what: &str, failure: &Failure) -> String {
    format!("{what} with `{}`: {}", failure.kind, failure.words())
}

fn lives_on(time: Duration) -> String {
    format!("it lives on {} s after its standard input ended", time.as_secs())
}

const HELLO: (&str, &str) =
    ("hello", "it says `hello` within 5 s, for this provider and a known version");
const REFRESH: (&str, &str) =
    ("refresh", "it renews its login, for the same account, within the time");
const REFUSAL: (&str, &str) = ("refusal", "it refuses a token it never gave: `rejected`");
const REVOKE: (&str, &str) = ("revoke", "it ends a login, or says `unsupported`");

/// How long a waiting plugin is observed.
const PAUSE: Duration = Duration::from_millis(300);
/// No version will ever have this number.
const STRANGE_VERSION: u32 = VERSIONS[0] + 4_000_000;
const UNKNOWN_TOKEN: &str = "a-token-that-was-never-given";
/// The time of the check; nothing is compared with it.
const NOW: Timestamp = Timestamp(1_800_000_000_000);
