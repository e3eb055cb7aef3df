//! `models auth token --format openclaw`: the other side of OpenClaw's exec secret provider.
//!
//! It asks for many ids at once and ends the whole process tree after a time, so what has to be
//! renewed is renewed side by side.

use std::process::{Child, Stdio};
use std::time::Duration;

use auth_store::ProfileId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::agent::invocation::Invocation;
use crate::host::error::{CliError, Exit};
use crate::host::other_tools::secret_ref::secret_ref_id;
use crate::host::process::launch::Program;
use crate::host::report::Report;
use crate::profiles::obtain::{TokenRequest, obtain};
use crate::profiles::route::RouteRequest;
use crate::profiles::view::View;

/// What OpenClaw asks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    protocol_version: Value,
    ids: Vec<String>,
}

/// Answers each id with a token, or with a code that says why there is none.
///
/// # Errors
/// What is asked cannot be understood. OpenClaw then takes all ids as failed.
pub fn run(invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let odd = |reason: String| {
        CliError::usage(format!("what is on stdin is no question of OpenClaw's: {reason}"))
            .hint("`--format openclaw` is for its exec secret provider: clawdbot models auth configure openclaw")
    };
    let text =
        invocation.context.read_stdin(LARGEST_QUESTION + 1).map_err(|it| odd(it.to_string()))?;
    if text.len() as u64 > LARGEST_QUESTION {
        return Err(odd("it is too large".to_owned()));
    }
    let question: Question =
        serde_json::from_str(text.trim()).map_err(|error| odd(error.to_string()))?;
    if question.protocol_version != 1 {
        return Err(odd(format!("its version is {}, and 1 is known", question.protocol_version)));
    }
    if question.ids.len() > MOST_IDS {
        return Err(odd(format!("it asks for more than {MOST_IDS} ids")));
    }
    let view = View::read(invocation)?;
    let names: Vec<_> = view.profiles.iter().map(|it| (secret_ref_id(it), it.id.clone())).collect();
    let (mut values, mut errors) = (Map::new(), Map::new());
    let mut renewed = Vec::new();
    for id in question.ids {
        let Some(wanted) = Wanted::named(&id, &names) else {
            errors.insert(id, json!({ "code": NOT_FOUND, "message": "there is no such profile" }));
            continue;
        };
        match wanted.stored(invocation) {
            Ok(token) => {
                values.insert(id, token.into());
            }
            Err(error) if error.code == "expired" => renewed.push((id, wanted)),
            Err(error) => {
                errors.insert(id, json!({ "code": word(error.exit), "message": error.message }));
            }
        }
    }
    for some in renewed.chunks(AT_ONCE) {
        let children: Vec<_> = some.iter().map(|(_, wanted)| wanted.renew(invocation)).collect();
        for ((id, _), child) in some.iter().zip(children) {
            match child.and_then(printed) {
                Ok(token) => {
                    values.insert(id.clone(), token.into());
                }
                Err(error) => {
                    let error = json!({ "code": word(error.exit), "message": error.message });
                    errors.insert(id.clone(), error);
                }
            }
        }
    }
    let answer = json!({ "protocolVersion": 1, "values": values, "errors": errors });
    Ok(Report::raw(format!("{answer}\n")))
}

/// What an id means.
enum Wanted {
    Provider(String),
    Profile(ProfileId),
}

impl Wanted {
    /// A provider alone is what routing chooses of it; else it is one profile, by its id there or
    /// here.
    fn named(id: &str, names: &[(Option<String>, ProfileId)]) -> Option<Self> {
        let found = names
            .iter()
            .find(|(name, profile)| name.as_deref() == Some(id) || profile.as_str() == id);
        match found {
            Some((_, profile)) => Some(Self::Profile(profile.clone())),
            None if id.contains(['/', ':']) || id.is_empty() => None,
            None => Some(Self::Provider(id.to_owned())),
        }
    }

    fn route(&self) -> RouteRequest {
        match self {
            Self::Provider(name) => {
                RouteRequest { provider: Some(name.clone()), ..RouteRequest::default() }
            }
            Self::Profile(id) => {
                RouteRequest { profile: Some(id.to_string()), ..RouteRequest::default() }
            }
        }
    }

    /// The token, where nothing has to be renewed for it.
    fn stored(&self, invocation: &Invocation<'_>) -> Result<String, CliError> {
        let request = TokenRequest {
            route: self.route(),
            // It is not asked for again before long.
            min_ttl: SHORTEST,
            // Of a provider, one that has to be renewed must not give way to another.
            no_refresh: matches!(self, Self::Profile(_)),
            ..TokenRequest::default()
        };
        let output = obtain(&request, invocation)?;
        if !output.is_one_line() {
            return Err(output.not_one_line());
        }
        Ok(output.token.expose().to_owned())
    }

    /// Another process of ours that renews and prints it.
    fn renew(&self, invocation: &Invocation<'_>) -> Result<Child, CliError> {
        let failed = |reason: String| CliError::new(Exit::TryLater, "no_child", reason);
        let program = invocation.context.program.as_ref();
        let program = program.ok_or_else(|| failed("this program is not known".to_owned()))?;
        let mut command = Program::ourselves(program).command_with_everything();
        command.args(["models", "auth", "token"]);
        match self {
            Self::Provider(name) => command.args(["--provider", name]),
            Self::Profile(id) => command.args(["--profile", id.as_str()]),
        };
        command.args(invocation.named().into_iter().flat_map(|agent| ["--agent", agent]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|error| failed(error.to_string()))
    }
}

fn printed(child: Child) -> Result<String, CliError> {
    let ended = child.wait_with_output();
    let ended = ended.map_err(|it| CliError::new(Exit::TryLater, "no_child", it.to_string()))?;
    if !ended.status.success() {
        let exit = [Exit::NoCredential, Exit::LogInAgain, Exit::AllRest];
        let exit = exit.into_iter().find(|exit| ended.status.code() == Some(*exit as i32));
        return Err(CliError::new(exit.unwrap_or(Exit::TryLater), "not_renewed", "not renewed"));
    }
    let text = String::from_utf8_lossy(&ended.stdout);
    Ok(text.trim_end_matches('\n').to_owned())
}

/// OpenClaw shows the first of these words; the others tell a reader of its log more.
fn word(exit: Exit) -> &'static str {
    match exit {
        Exit::NoCredential => NOT_FOUND,
        Exit::LogInAgain => "LOGIN_NEEDED",
        Exit::AllRest => "COOLING_DOWN",
        _ => "TRY_LATER",
    }
}

const NOT_FOUND: &str = "NOT_FOUND";
/// What OpenClaw itself sends at most.
const LARGEST_QUESTION: u64 = 256 << 10;
const MOST_IDS: usize = 512;
/// Processes of ours side by side.
const AT_ONCE: usize = 16;
/// What is handed out lives at least that long, or is renewed first.
const SHORTEST: Duration = Duration::from_mins(5);
