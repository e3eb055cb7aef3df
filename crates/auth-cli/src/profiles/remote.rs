//! A sink on another machine: this one has no store, asks that one, and keeps access tokens until
//! shortly before their end. A refresh token never comes here.

use std::io;
use std::path::Path;
use std::time::Duration;

use auth_gateway::{Place, Remote, Told, trusting};
use auth_store::{Kind, ProfileId, ProviderId, Secret, Timestamp, paths, read_regular};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime;
use crate::host::report::Report;
use crate::host::shell_quote::moved_away;
use crate::host::text::utc;
use crate::profiles::obtain::TokenRequest;
use crate::profiles::token_output::TokenOutput;

/// The sink that this machine asks.
#[derive(Debug)]
pub(crate) struct RemoteSink {
    /// Where it is, as it was given.
    pub(crate) address: String,
    remote: Remote,
}

/// What is kept of it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    version: u32,
    address: String,
    token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
}

/// A token that was given, and for what.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    asked: String,
    at: Timestamp,
    told: Value,
}

/// The sink that this machine asks, if it was told to.
///
/// # Errors
/// What is kept of it cannot be read.
pub(crate) fn configured(context: &Context) -> Result<Option<RemoteSink>, CliError> {
    let path = paths::remote_sink(&context.paths().state_dir);
    let bytes = match read_regular(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(&path, &error)),
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| damaged(&path, &error))?;
    RemoteSink::new(&kept.address, kept.token.into(), kept.ca.as_deref(), context).map(Some)
}

/// Has this machine ask that sink from now on.
pub(crate) fn set(sink: &RemoteSink, ca: Option<&str>, context: &Context) -> Result<(), CliError> {
    let kept = Kept {
        version: 1,
        address: sink.address.clone(),
        token: sink.remote.token.expose().to_owned(),
        ca: ca.map(|file| context.user_path(file).display().to_string()),
    };
    let state = &context.paths().state_dir;
    auth_store::create_private_directory(state)?;
    auth_store::write_atomic(&paths::remote_sink(state), json!(kept).to_string().as_bytes())?;
    forget_tokens(context)
}

/// Has this machine ask nobody any more. Whether it did.
pub(crate) fn unset(context: &Context) -> Result<bool, CliError> {
    forget_tokens(context)?;
    removed(&paths::remote_sink(&context.paths().state_dir))
}

fn forget_tokens(context: &Context) -> Result<(), CliError> {
    removed(&paths::remote_tokens(&context.paths().state_dir)).map(drop)
}

fn removed(path: &Path) -> Result<bool, CliError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => {
            let message = format!("could not remove `{}`: {error}", path.display());
            Err(CliError::new(Exit::CannotWrite, "cannot_write", message).path(path))
        }
    }
}

impl RemoteSink {
    /// The sink at `address`, with the token of a client of it.
    ///
    /// # Errors
    /// The address is none, or the certificate cannot be read.
    pub(crate) fn new(
        address: &str,
        token: Secret,
        ca: Option<&str>,
        context: &Context,
    ) -> Result<Self, CliError> {
        let place = Place::parse(address).map_err(|reason| {
            CliError::usage(format!("`{address}` is no address of a sink: {reason}"))
                .hint("such as https://sink.example:8460")
        })?;
        let tls = ca.map(|file| {
            let path = context.user_path(file);
            let bytes = read_regular(&path).map_err(|error| error.to_string());
            bytes.and_then(|bytes| trusting(&bytes)).map_err(|reason| {
                CliError::usage(format!("`{}` cannot be used: {reason}", path.display()))
                    .hint("a certificate as PEM: --ca FILE")
                    .path(&path)
            })
        });
        let tls = tls.transpose()?;
        Ok(Self { address: address.to_owned(), remote: Remote { place, token, tls } })
    }

    /// Asks for a path, with a JSON body or none.
    ///
    /// # Errors
    /// Exit code 5: it cannot be reached. 4: it does not know our token. 3: it was not granted.
    pub(crate) fn ask(&self, path: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let asked = runtime::run(self.remote.ask(path, body.map(Value::to_string)))?;
        let told = asked.map_err(|words| self.unreachable(&words))?;
        if told.status != 200 {
            return Err(self.refused(&told));
        }
        serde_json::from_slice(&told.body)
            .map_err(|error| self.unreachable(&format!("its answer is no JSON: {error}")))
    }

    fn unreachable(&self, words: &str) -> CliError {
        let message = format!("the sink at {} cannot be reached: {words}", self.address);
        CliError::new(Exit::TryLater, "sink_unreachable", message).hint(
            "see whether it runs there: clawdbot serve; what is asked here: clawdbot sink show",
        )
    }

    fn refused(&self, told: &Told) -> CliError {
        let body: Value = serde_json::from_slice(&told.body).unwrap_or_default();
        let words = body["error"]["message"].as_str().unwrap_or("it does not say why");
        let code = body["error"]["code"].as_str().unwrap_or_default();
        let message = format!("the sink at {}: {words}", self.address);
        let error = |exit, code| CliError::new(exit, code, message.clone());
        match (told.status, code) {
            (401, _) => error(Exit::LogInAgain, "client_refused").hint(
                "on the sink's machine: clawdbot clients rotate NAME; here, with what it prints on standard input: clawdbot sink set ADDRESS",
            ),
            (403, _) => error(Exit::NoCredential, "not_granted")
                .hint("on the sink's machine: clawdbot clients list; grant it there"),
            (404, _) => error(Exit::NoCredential, "no_credential")
                .hint("on the sink's machine: clawdbot models auth list"),
            (429, _) => {
                let wait = told.retry_after.map(|seconds| format!("it is worth a try in {seconds} s"));
                let hint = wait.unwrap_or_else(|| "try again later".to_owned());
                error(Exit::AllRest, "all_in_cooldown").hint(hint)
            }
            (_, "needs_login") => error(Exit::LogInAgain, "needs_login")
                .hint("on the sink's machine: clawdbot models auth login"),
            _ => error(Exit::TryLater, "sink").hint("try again"),
        }
    }

    /// A token for a request: one that was given before, while it is good for long enough.
    pub(crate) fn token(
        &self,
        request: &TokenRequest,
        context: &Context,
    ) -> Result<TokenOutput, CliError> {
        let asked = asked(request);
        let known = given(context).into_iter().find(|given| given.asked == asked);
        let now = context.now();
        let good = |margin: Duration| {
            known.as_ref().filter(|given| given.is_good(now, margin)).and_then(Given::output)
        };
        let soon = request.min_ttl.max(MARGIN);
        if !request.force_refresh
            && let Some(output) = good(soon)
        {
            return Ok(output);
        }
        if request.no_refresh {
            return good(request.min_ttl).ok_or_else(|| {
                CliError::new(Exit::TryLater, "expired", "no token was given that is still good")
                    .hint("ask for one: clawdbot models auth token")
            });
        }
        let refused = request.if_token_sha256.clone().or_else(|| {
            let token = known.as_ref()?.told["token"].as_str()?;
            request.force_refresh.then(|| auth_gateway::Fingerprint::from_text(token).to_hex())
        });
        let refused = refused.map(|hash| format!("&refused={hash}")).unwrap_or_default();
        match self.ask(&format!("/v1/token?{asked}{refused}"), None) {
            Ok(told) => {
                let fresh = Given { asked, at: now, told };
                let output = fresh.output().ok_or_else(|| self.unreachable("it gave no token"))?;
                keep(fresh, context);
                Ok(output)
            }
            Err(error) if error.exit == Exit::TryLater && !request.force_refresh => {
                let output = good(request.min_ttl).ok_or(error)?;
                context.say(format_args!(
                    "note: the sink at {} cannot be reached; this token is from before",
                    self.address
                ));
                Ok(output)
            }
            Err(error) => Err(error),
        }
    }

    /// Reports how a token fared. What was given of its profile is not used any more.
    pub(crate) fn report(&self, body: &Value, context: &Context) -> Result<Value, CliError> {
        let told = self.ask("/v1/report", Some(body))?;
        if body["ok"] != true {
            let mut kept = given(context);
            kept.retain(|given| given.told["profileId"] != body["profileId"]);
            write(&kept, context);
        }
        Ok(told)
    }
}

/// The token that was given for a plain request, if it is good for a while. Nothing is asked.
pub(crate) fn cached(request: &TokenRequest, context: &Context) -> Option<TokenOutput> {
    let asked = asked(request);
    let known = given(context).into_iter().find(|given| given.asked == asked)?;
    known.is_good(context.now(), MARGIN).then(|| known.output())?
}

impl Given {
    fn is_good(&self, now: Timestamp, margin: Duration) -> bool {
        match self.told["expires"].as_i64().map(Timestamp) {
            Some(end) => now.plus(margin) < end,
            // It may be taken away there at any time.
            None => now < self.at.plus(WITHOUT_END),
        }
    }

    fn output(&self) -> Option<TokenOutput> {
        let text = |name: &str| self.told[name].as_str();
        let profile = ProfileId::new(text("profileId")?);
        Some(TokenOutput {
            provider: ProviderId::new(text("provider")?),
            source: format!("profile: {profile}"),
            profile: Some(profile),
            agent: text("agentId").unwrap_or("main").to_owned(),
            kind: match text("mode")? {
                "oauth" => Kind::OAuth,
                "token" => Kind::Token,
                _ => Kind::ApiKey,
            },
            token: text("token")?.into(),
            expires: self.told["expires"].as_i64().map(Timestamp),
            model: None,
            fallback_for: None,
        })
    }
}

/// What is asked for, as the sink reads it.
fn asked(request: &TokenRequest) -> String {
    let route = &request.route;
    let (model_provider, model) = match route.model.as_deref().map(|it| it.split_once('/')) {
        Some(Some((provider, model))) => (Some(provider), Some(model)),
        Some(None) => (None, route.model.as_deref()),
        None => (None, None),
    };
    let mut query = Serializer::new(String::new());
    for (name, value) in [
        ("provider", route.provider.as_deref().or(model_provider)),
        ("profile", route.profile.as_deref()),
        ("model", model),
        ("session", route.session.as_deref()),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

/// The tokens that were given. What cannot be read is as good as nothing: it can be asked for.
fn given(context: &Context) -> Vec<Given> {
    let bytes = read_regular(&paths::remote_tokens(&context.paths().state_dir));
    let given = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    given.unwrap_or_default()
}

fn keep(fresh: Given, context: &Context) {
    let now = context.now();
    let mut kept = given(context);
    kept.retain(|given| given.asked != fresh.asked && given.is_good(now, Duration::ZERO));
    kept.push(fresh);
    write(&kept, context);
}

fn write(given: &[Given], context: &Context) {
    let path = paths::remote_tokens(&context.paths().state_dir);
    // Without it the next one asks again.
    let _ = auth_store::write_atomic_unsynced(&path, json!(given).to_string().as_bytes());
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> CliError {
    let message = format!("`{}` cannot be read: {error}", path.display());
    CliError::new(Exit::Store, "sink_damaged", message)
        .hint(format!(
            "set it again: clawdbot sink set ADDRESS; or move it away: {}",
            moved_away(path, "damaged")
        ))
        .path(path)
}

/// The profiles of the sink that this machine may know of, of one provider or of all.
pub(crate) fn profiles(sink: &RemoteSink, only: Option<&str>) -> Result<Report, CliError> {
    let mut told = sink.ask("/v1/status", None)?;
    let only = only.map(ProviderId::new);
    if let (Some(only), Some(all)) = (only, told["providers"].as_array_mut()) {
        all.retain(|it| it["provider"].as_str() == Some(only.as_str()));
    }
    let mut report = Report::default();
    report.line(format_args!("The sink at {}", sink.address));
    for provider in told["providers"].as_array().into_iter().flatten() {
        report.line(provider["provider"].as_str().unwrap_or_default());
        for profile in provider["profiles"].as_array().into_iter().flatten() {
            let id = profile["profileId"].as_str().unwrap_or_default();
            let kind = profile["type"].as_str().unwrap_or_default();
            let end = profile["cooldownUntil"].as_i64().map(Timestamp);
            let state = match (end, profile["isNext"] == true) {
                (Some(end), _) => format!(", in cooldown until {}", utc(end)),
                (None, true) => ", next".to_owned(),
                (None, false) => String::new(),
            };
            report.line(format_args!("  {id} ({kind}){state}"));
        }
    }
    Ok(report.with_data(told))
}

/// What only the sink's own machine does.
pub(crate) fn not_here(sink: &RemoteSink) -> CliError {
    let message = format!("that is the business of the sink at {}", sink.address);
    CliError::new(Exit::Usage, "remote_sink", message)
        .hint("run it on that machine; or stop asking it here: clawdbot sink unset")
}

/// A token is asked for anew so long before its end.
const MARGIN: Duration = Duration::from_mins(1);
/// A key without an end is asked for anew after this.
const WITHOUT_END: Duration = Duration::from_mins(5);
