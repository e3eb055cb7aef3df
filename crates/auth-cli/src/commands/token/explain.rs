//! `models auth explain`: why the profiles are in this order, and how to fix those that are
//! excluded.

use std::fmt::Write as _;

use auth_providers::Providers;
use auth_routing::session::selector::ModelRef;
use auth_routing::session::{self, PinSource};
use auth_routing::{Charge, Exclusion, Obstacle, Pin, Source, Why, charge};
use auth_store::{Kind, Profile, ProfileId, ProviderId};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::sessions::{self, Sessions};
use crate::commands::token::args::ExplainArgs;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::shell_quote::{command, option};
use crate::host::text::{self, printable};
use crate::profiles::standing::{Routed, Standing};
use crate::profiles::table;
use crate::profiles::view::{self, View};
use crate::profiles::{refresh_error, remote};

/// Shows the plan that `models auth token` follows.
pub fn run(args: &ExplainArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    if let Some(sink) = remote::configured(context)? {
        return remote::profiles(&sink, args.provider.as_deref());
    }
    let view = match &args.session {
        Some(key) => View::of_session(key, invocation)?,
        None => View::read(invocation)?,
    };
    let providers = view::providers(context);
    let standing = Standing::judge(view, &providers, context);
    let explanation = Explanation::from_args(args, &standing, &providers, context)?;
    for warning in table::warnings(&explanation.routed.plan, &explanation.provider) {
        context.say(warning);
    }
    let data = || explanation.to_json();
    Ok(Report::shown(invocation.output, data, |report| explanation.tell(report)))
}

/// A plan with everything needed to describe it.
struct Explanation<'a> {
    standing: &'a Standing,
    provider: ProviderId,
    model: Option<ModelRef>,
    pin: Option<Pin>,
    routed: Routed,
    session: Option<&'a str>,
    providers: &'a Providers,
    context: &'a Context,
}

impl<'a> Explanation<'a> {
    fn from_args(
        args: &'a ExplainArgs,
        standing: &'a Standing,
        providers: &'a Providers,
        context: &'a Context,
    ) -> Result<Self, CliError> {
        let view = &standing.view;
        let entry = match &args.session {
            Some(key) => {
                let sessions = Sessions::for_agent(&view.agent, &view.config, context)?;
                sessions.entry(key)?.unwrap_or_default()
            }
            None => session::Entry::new(),
        };
        let pin = match &args.profile {
            Some(id) => {
                let id = ProfileId::new(id.as_str());
                view.profile(&id)?;
                Some(Pin::Require(id))
            }
            None => session::pin(&entry),
        };
        let default_model = view.agent_model();
        let named = args.provider.as_deref().or(args.named.as_deref()).map(ProviderId::new);
        let (provider, model) = match (&args.model, named) {
            (Some(text), _) => {
                let model = view::model_of(text, &default_model.provider, &view.config)?;
                (model.provider.clone(), Some(model))
            }
            (None, Some(provider)) => (provider, None),
            (None, None) if sessions::text(&entry, "modelOverride").is_some() => {
                let model = session::model(&entry, &default_model);
                (model.provider.clone(), Some(model))
            }
            (None, None) => match &pin {
                Some(Pin::Require(id)) if session::source(&entry) == PinSource::User => {
                    (view.profile(id)?.provider.clone(), None)
                }
                Some(Pin::Prefer(id) | Pin::Require(id)) => {
                    let pinned = view.profile(id).map(|profile| profile.provider.clone());
                    (pinned.unwrap_or(default_model.provider), None)
                }
                None => (default_model.provider, None),
            },
        };
        let routed = standing.plan_for(&provider, model.as_ref(), pin.as_ref());
        let session = args.session.as_deref();
        Ok(Self { standing, provider, model, pin, routed, session, providers, context })
    }

    fn profile(&self, id: &ProfileId) -> Option<&Profile> {
        self.standing.profile(id)
    }

    fn charge(&self, id: &ProfileId) -> Option<Charge> {
        self.profile(id).map(|profile| charge(&profile.provider, profile.kind))
    }

    /// Why a candidate is at its place, with what the provider said where it is in cooldown.
    fn why(&self, id: &ProfileId, why: &Why) -> String {
        let mut words = why.to_string();
        if let Why::InCooldown { until, .. } = why {
            let of_model = self.model_in_cooldown(id, why);
            if let Some(model) = of_model {
                let _ = write!(words, " for {model}");
            }
            let _ = write!(words, " until {}", self.context.time(*until));
            if let Some(raw) = self.raw(id, of_model) {
                let _ = write!(words, " ({raw})");
            }
        }
        words
    }

    /// Why a profile is left out, with the time at which that ends.
    fn reason(&self, reason: &Exclusion) -> String {
        match reason {
            Exclusion::Blocked(Obstacle::Waiting(Some(at))) => {
                format!("{reason}, at {}", self.context.time(*at))
            }
            reason => reason.to_string(),
        }
    }

    /// The model, if it and not the profile is what is in cooldown for so long.
    fn model_in_cooldown(&self, id: &ProfileId, why: &Why) -> Option<&ModelRef> {
        let Why::InCooldown { until, .. } = why else { return None };
        let own = self.profile(id).and_then(|it| auth_routing::unusable_until(&it.usage));
        self.model.as_ref().filter(|_| own < Some(*until))
    }

    fn raw(&self, id: &ProfileId, model: Option<&ModelRef>) -> Option<String> {
        match model {
            Some(model) => self.standing.models.get(id, &model.to_string()).last_failure_raw,
            None => self.profile(id)?.usage.last_failure_raw.clone(),
        }
    }

    /// The command that ends the cooldown of a candidate.
    fn wake(&self, id: &ProfileId, why: &Why) -> Option<String> {
        let Why::InCooldown { .. } = why else { return None };
        let model = self.model_in_cooldown(id, why);
        let model = model.map(|model| option("--model", model)).unwrap_or_default();
        let options = format!("{model}{}", self.standing.view.agent.option());
        Some(command("models auth cooldown clear", &[id], &options))
    }

    /// How to make an excluded profile a candidate: a command if there is one.
    fn fix(&self, id: &ProfileId, reason: &Exclusion) -> String {
        let (provider, agent) = (&self.provider, &self.standing.view.agent);
        let config = self.standing.view.config.path.display();
        let kind = self.profile(id).map_or(Kind::OAuth, |profile| profile.kind);
        let known = self.providers.find(provider);
        let log_in = || refresh_error::log_in(id, kind, known, provider, agent);
        match reason {
            Exclusion::Unknown | Exclusion::NoSecret | Exclusion::Expired(_) => log_in().command,
            Exclusion::ForeignProvider(_) => match self.routed.plan.source {
                Source::StoredOrder => self.order("remove", id),
                _ => format!("remove `{id}` from `auth.order` in `{config}`"),
            },
            Exclusion::DeclaredForeign(_) => {
                format!("correct `provider` of `{id}` in `auth.profiles` in `{config}`")
            }
            Exclusion::ModeMismatch { stored, .. } => format!(
                "set mode: \"{}\" for `{id}` in `auth.profiles` in `{config}`",
                stored.as_str()
            ),
            Exclusion::NotListed(_) => self.order("add", id),
            Exclusion::NotRequired => match self.session {
                Some(key) => command("sessions clear", &[&key], ""),
                None => "omit --profile".to_owned(),
            },
            Exclusion::Blocked(obstacle) => {
                refresh_error::remedy(obstacle, id, self.providers.find(provider), provider, agent)
                    .command
            }
        }
    }

    /// The command that changes the order of the provider by one profile.
    fn order(&self, verb: &str, id: &ProfileId) -> String {
        let options = format!(
            "{}{}",
            option("--provider", &self.provider),
            self.standing.view.agent.option()
        );
        command(&format!("models auth order {verb}"), &[id], &options)
    }

    fn to_json(&self) -> Value {
        let candidates = self.routed.plan.candidates.iter().map(|candidate| {
            let (id, why) = (&candidate.id, &candidate.why);
            let mut value = json!({
                "id": id,
                "why": why.to_string(),
                "type": self.profile(id).map(|it| it.kind.as_str()),
                "charge": self.charge(id).map(Charge::as_str),
            });
            if let Why::InCooldown { until, .. } = why {
                let model = self.model_in_cooldown(id, why);
                value["until"] = json!(until);
                value["model"] = json!(model.map(ToString::to_string));
                value["raw"] = json!(self.raw(id, model));
                value["fix"] = json!(self.wake(id, why));
            }
            value
        });
        let candidates: Vec<_> = candidates.collect();
        let excluded = self.routed.plan.excluded.iter().map(|(id, reason)| {
            json!({
                "id": id,
                "reason": self.reason(reason),
                "code": reason.code(),
                "charge": self.charge(id).map(Charge::as_str),
                "fix": self.fix(id, reason),
            })
        });
        let excluded: Vec<_> = excluded.collect();
        let warnings: Vec<_> = self.routed.plan.warnings.iter().map(ToString::to_string).collect();
        json!({
            "agentId": self.standing.view.agent.id,
            "provider": self.provider,
            "model": self.model.as_ref().map(ToString::to_string),
            "pin": self.pin.as_ref().map(|(Pin::Prefer(id) | Pin::Require(id))| id),
            "source": self.routed.plan.source.to_string(),
            "next": self.routed.plan.ready().map(|it| &it.id),
            "nextReason": self.routed.next(None).reason,
            "candidates": candidates,
            "excluded": excluded,
            "warnings": warnings,
        })
    }

    fn tell(&self, report: &mut Report) {
        let columns = self.context.terminal.width.unwrap_or(80);
        let model = self.model.as_ref().map(|model| format!(" for {model}")).unwrap_or_default();
        let head = format!(
            "{}{model}, agent {}: order from {}",
            self.provider, self.standing.view.agent.id, self.routed.plan.source
        );
        report.line(printable(&head));
        match &self.pin {
            Some(Pin::Require(id)) => report.line(format_args!("Pinned: {id}, and no other")),
            Some(Pin::Prefer(id)) => report.line(format_args!("Pinned: {id} first")),
            None => {}
        }
        let plan = &self.routed.plan;
        let ids = plan.candidates.iter().map(|it| &it.id);
        let ids = ids.chain(plan.excluded.iter().map(|it| &it.0));
        let width = ids.map(|id| text::columns(&printable(id.as_str()))).max().unwrap_or(0).min(40);
        let mut lines = Vec::new();
        let mut line = |mark: String, id: &ProfileId, reason: String, fix: Option<String>| {
            let start = format!("{mark:>3}  {}  ", text::padded(&printable(id.as_str()), width));
            let paid = self.charge(id).filter(|it| *it != Charge::Unknown);
            let mut notes: Vec<_> = paid.into_iter().map(|it| it.to_string()).collect();
            notes.push(printable(&reason));
            let longest = notes.iter().map(|it| text::columns(it)).max().unwrap_or(0);
            table::fill(&start, &notes, longest, columns, &mut lines);
            if let Some(fix) = fix {
                lines.push(format!("       -> {}", printable(&fix)));
            }
        };
        for (place, candidate) in plan.candidates.iter().enumerate() {
            let (id, why) = (&candidate.id, &candidate.why);
            line((place + 1).to_string(), id, self.why(id, why), self.wake(id, why));
        }
        for (id, reason) in &plan.excluded {
            line("-".to_owned(), id, self.reason(reason), Some(self.fix(id, reason)));
        }
        for line in lines {
            report.line(line);
        }
        if plan.candidates.is_empty() && plan.excluded.is_empty() {
            report.line("  no profiles");
            let way_in = view::way_in(&self.provider, self.providers);
            report.line(format_args!("       -> {way_in}"));
        }
    }
}
