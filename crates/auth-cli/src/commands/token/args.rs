//! `token`, `report` and `explain`: printing a token, and reporting how it worked.

use std::time::Duration;

use auth_store::Timestamp;
use clap::{Args, ValueEnum};

use crate::host::duration::seconds;
use crate::host::error::CliError;
use crate::host::text::printable;
use crate::profiles::obtain::TokenRequest;
use crate::profiles::route::RouteRequest;

/// `models auth token`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  curl -H \"Authorization: Bearer $(clawdbot models auth token --provider openai-codex)\" …
  clawdbot models auth token --profile openai-codex:work --format json
  clawdbot models auth token --provider openai-codex --force-refresh --if-token-sha256 $HASH
  clawdbot models auth token --model Opus --json
  clawdbot models auth token --session agent:main:main

stdout is the token and a line feed, nothing else. Exit codes: 3 no credential, 4 log in again,
5 try later, 6 all profiles rest, 7 lock not had in time, 8 store damaged.")]
pub struct TokenArgs {
    /// The provider, as --provider
    #[arg(value_name = "PROVIDER")]
    pub named: Option<String>,
    /// The provider; without it, that of the default model
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Only this profile
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
    /// The profile this session uses
    #[arg(long, value_name = "KEY", conflicts_with = "profile")]
    pub session: Option<String>,
    /// The session starts over: routing moves on to the next profile
    #[arg(long, requires = "session")]
    pub new_session: bool,
    /// For this model: an alias or `provider/model`; if nothing can be used for it, for the first
    /// of the configured fallbacks that has something
    #[arg(long, value_name = "MODEL", conflicts_with = "session")]
    pub model: Option<String>,
    /// How it is printed
    #[arg(long, value_enum)]
    pub format: Option<TokenFormat>,
    /// Refresh if it is valid for less than this: `10m`; a bare number means seconds
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub min_ttl: Option<Duration>,
    /// Put it on the clipboard of this terminal (OSC 52, also over SSH) instead of printing it
    #[arg(long, conflicts_with = "format")]
    pub copy: bool,
    /// Refresh it even if it is valid
    #[arg(long, conflicts_with = "no_refresh")]
    pub force_refresh: bool,
    /// … but only if the token is still the one with this SHA-256 (hexadecimal)
    #[arg(long, value_name = "HASH", requires = "force_refresh")]
    pub if_token_sha256: Option<String>,
    /// Never refresh: print the stored token if it is valid
    #[arg(long)]
    pub no_refresh: bool,
    /// The only host that is answered, with `--format bazel`, `docker` or `git`
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The user name that goes with the token, with `--format docker`
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// What git, Bazel and Docker append
    #[arg(value_enum, hide = true)]
    pub verb: Option<HelperVerb>,
}

impl TokenArgs {
    /// What a program that asks helpers appends: behind the options, or behind the provider.
    ///
    /// # Errors
    /// It is none, so the provider is named twice.
    pub(super) fn helper_verb(&self) -> Result<Option<HelperVerb>, CliError> {
        let word = match &self.named {
            Some(word) if self.is_chosen() => word,
            _ => return Ok(self.verb),
        };
        match (HelperVerb::from_str(word, false), self.verb) {
            (Ok(verb), None) => Ok(Some(verb)),
            _ => Err(CliError::usage(format!(
                "`{}` and an option both say whose token is meant",
                printable(word)
            ))
            .hint("leave one of them out")),
        }
    }

    /// Whether an option says whose token is meant.
    fn is_chosen(&self) -> bool {
        let chosen = [&self.provider, &self.profile, &self.session, &self.model];
        chosen.into_iter().any(Option::is_some)
    }

    /// The resolved request.
    pub(super) fn request(&self) -> TokenRequest {
        TokenRequest {
            route: RouteRequest {
                provider: match &self.provider {
                    None if !self.is_chosen() => self.named.clone(),
                    provider => provider.clone(),
                },
                profile: self.profile.clone(),
                session: self.session.clone(),
                new_session: self.new_session,
                model: self.model.clone(),
            },
            min_ttl: self.min_ttl.unwrap_or_default(),
            force_refresh: self.force_refresh,
            if_token_sha256: self.if_token_sha256.clone(),
            no_refresh: self.no_refresh,
        }
    }
}

/// How a token is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum TokenFormat {
    /// The token and a line feed
    Raw,
    /// `{provider, profileId, agentId, mode, token, expires, source, model?, fallbackFor?}`
    Json,
    /// A line for `curl -H`: the header that the provider reads
    Header,
    /// `NAME=token`, with the variable that the provider's tools read
    Env,
    /// The response of a git credential helper
    Git,
    /// The response of a kubectl credential plugin
    ExecCredential,
    /// The response of a credential helper of Bazel
    Bazel,
    /// The answer of a credential helper of Docker
    Docker,
    /// The answer of an exec secret provider of OpenClaw, to the question on stdin
    Openclaw,
}

/// What a program that asks helpers appends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum HelperVerb {
    /// A credential
    Get,
    /// Keep this one (we do not: it is ours)
    Store,
    /// Forget this one (we do not: `logout` does)
    Erase,
    /// All there are
    List,
}

/// `models auth report`
#[derive(Args, Debug)]
#[command(
    group = clap::ArgGroup::new("outcome").required(true).args(["ok", "failed", "from_response"]),
    after_help = "\
Examples:
  clawdbot models auth report openai-codex:work --ok
  clawdbot models auth report openai-codex:work --failed rate_limit --retry-after 90s
  clawdbot models auth report openai:default --failed rate_limit --model gpt-5 --reset-at 2026-02-01T00:00:00Z
  curl -sS -i … | clawdbot models auth report anthropic:work --from-response

A rest of one model does not touch the others; what is wrong with the credential or its account
(auth, billing) makes all of them rest. Exit codes: 3 no such profile, 7 the lock was not had in
time and nothing was reported."
)]
pub struct ReportArgs {
    /// The profile
    pub profile: String,
    /// It worked
    #[arg(long)]
    pub ok: bool,
    /// It failed
    #[arg(long, value_name = "REASON")]
    pub failed: Option<FailureWord>,
    /// Judge the provider's answer on stdin: as `curl -i` prints it, or JSON `{status, headers, body}`
    #[arg(long)]
    pub from_response: bool,
    /// The model that was asked for: an alias, `provider/model`, or one of the profile's provider
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// How long until the provider accepts requests again: `90s`, `5m`; a bare number means seconds
    #[arg(long, value_name = "DURATION", value_parser = seconds, requires = "failed")]
    pub retry_after: Option<Duration>,
    /// When the provider will serve it again: `2026-02-01T00:00:00Z`, or seconds or milliseconds
    /// since the epoch
    #[arg(long, value_name = "TIME", value_parser = point_in_time, requires = "failed", conflicts_with = "retry_after")]
    pub reset_at: Option<Timestamp>,
}

/// A point in time, as users and providers write it.
fn point_in_time(text: &str) -> Result<Timestamp, String> {
    auth_routing::cooldown::reset_time::parse(text).ok_or_else(|| {
        "use a time such as `2026-02-01T00:00:00Z`, or seconds or milliseconds since the epoch"
            .into()
    })
}

/// Why a request failed, as its caller can tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum FailureWord {
    /// Too many requests, or the plan's limit
    RateLimit,
    /// The credential was refused
    Auth,
    /// No money or no credits
    Billing,
    /// No response in time
    Timeout,
    /// The request itself was refused
    Format,
    /// Anything else
    Unknown,
}

/// `models auth explain`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot models auth explain --provider anthropic
  clawdbot models auth explain --session agent:main:main --json")]
pub struct ExplainArgs {
    /// The provider, as --provider
    #[arg(value_name = "PROVIDER", conflicts_with_all = ["provider", "profile", "session", "model"])]
    pub named: Option<String>,
    /// The provider; without it, that of the default model
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// As if this profile were pinned
    #[arg(long, value_name = "ID")]
    pub profile: Option<String>,
    /// With the pin of this session
    #[arg(long, value_name = "KEY", conflicts_with = "profile")]
    pub session: Option<String>,
    /// For this model: an alias or `provider/model`
    #[arg(long, value_name = "MODEL", conflicts_with = "provider")]
    pub model: Option<String>,
}
