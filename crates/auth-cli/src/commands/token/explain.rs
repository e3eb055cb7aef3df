//! `models auth explain`: why which profile comes first, and what would mend the others.

use std::fmt::Write as _;

use auth_providers::Providers;
use auth_routing::session::selector::ModelRef;
use auth_routing::session::{self, PinSource};
use auth_routing::{Charge, Exclusion, Pin, Plan, Source, Why, charge};
use auth_store::{ModelUsage, Profile, ProfileId, ProviderId};
use serde_json::{Value, json};

use crate::agent::invocation::Invocation;
use crate::agent::sessions::{Sessions, text};
use crate::commands::token::args::ExplainArgs;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::shell_quote::{command, option};
use crate::host::text::{printable, utc};
use crate::profiles::refresh_error;
use crate::profiles::table;
use crate::profiles::view::{self, View};

/// Shows the plan that `models auth token` follows.
pub fn run(args: &ExplainArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    let view = match &args.session {
        Some(key) => View::of_session(key, invocation)?,
        None => View::read(invocation)?,
    };
    let explanation = Explanation::of(args, &view, context)?;
    for warning in table::warnings(&explanation.plan, &explanation.provider) {
        context.say(warning);
    }
    Ok(explanation.report(context.terminal.width.unwrap_or(80)))
}

/// A plan with everything that its words need.
struct Explanation<'a> {
    view: &'a View,
    provider: ProviderId,
    model: Option<ModelRef>,
    rests: ModelUsage,
    pin: Option<Pin>,
    plan: Plan,
    session: Option<&'a str>,
    providers: Providers,
}

impl<'a> Explanation<'a> {
    fn of(args: &'a ExplainArgs, view: &'a View, context: &Context) -> Result<Self, CliError> {
        let entry = match &args.session {
            Some(key) => {
                Sessions::of(&view.agent, &view.config, context).entry(key)?.unwrap_or_default()
            }
            None => session::Entry::new(),
        };
        let pin = match &args.profile {
            Some(id) => Some(Pin::Require(ProfileId::new(id.as_str()))),
            None => session::pin(&entry),
        };
        let default_model = view.agent_model();
        let named = args.provider.as_deref().map(ProviderId::new);
        let (provider, model) = match (&args.model, named) {
            (Some(text), _) => {
                let model = view::model_of(text, &default_model.provider, &view.config)?;
                (model.provider.clone(), Some(model))
            }
            (None, Some(provider)) => (provider, None),
            (None, None) if text(&entry, "modelOverride").is_some() => {
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
        let rests = view.model_usage();
        let plan = match &model {
            Some(model) => view.plan_for_model(model, &rests, pin.as_ref()),
            None => view.plan(&provider, pin.as_ref()),
        };
        let providers = view::providers(context);
        Ok(Self {
            session: args.session.as_deref(),
            view,
            provider,
            model,
            rests,
            pin,
            plan,
            providers,
        })
    }

    fn profile(&self, id: &ProfileId) -> Option<&Profile> {
        self.view.profile(id).ok()
    }

    fn charge(&self, id: &ProfileId) -> Option<Charge> {
        self.profile(id).map(|profile| charge(&profile.provider, profile.kind))
    }

    /// Why a candidate is at its place, with what the provider said where it rests.
    fn why(&self, id: &ProfileId, why: &Why) -> String {
        let mut words = why.to_string();
        if let Why::Resting { until, .. } = why {
            let of_model = self.model_that_rests(id, why);
            if let Some(model) = of_model {
                let _ = write!(words, " with {model}");
            }
            let _ = write!(words, " until {}", utc(*until));
            if let Some(raw) = self.raw(id, of_model) {
                let _ = write!(words, " ({raw})");
            }
        }
        words
    }

    /// The model, if it and not the profile is what rests for so long.
    fn model_that_rests(&self, id: &ProfileId, why: &Why) -> Option<&ModelRef> {
        let Why::Resting { until, .. } = why else { return None };
        let own = self.profile(id).and_then(|it| auth_routing::unusable_until(&it.usage));
        self.model.as_ref().filter(|_| own < Some(*until))
    }

    fn raw(&self, id: &ProfileId, model: Option<&ModelRef>) -> Option<String> {
        match model {
            Some(model) => self.rests.get(id, &model.to_string()).last_failure_raw,
            None => self.profile(id)?.usage.last_failure_raw.clone(),
        }
    }

    /// The command that would make a resting candidate ready.
    fn wake(&self, id: &ProfileId, why: &Why) -> Option<String> {
        let Why::Resting { .. } = why else { return None };
        let model = self.model_that_rests(id, why);
        let model = model.map(|model| option("--model", model)).unwrap_or_default();
        let options = format!("{model}{}", self.view.agent.option());
        Some(command("models auth cooldown clear", &[id], &options))
    }

    /// What would make an excluded profile a candidate: a command wherever there is one.
    fn fix(&self, id: &ProfileId, reason: &Exclusion) -> String {
        let (provider, config) = (&self.provider, self.view.config.path.display());
        let order = |more: Option<&ProfileId>| self.set_order(more);
        match reason {
            Exclusion::Unknown | Exclusion::NoSecret | Exclusion::Expired(_) => {
                refresh_error::log_in_command(id, self.providers.find(provider), &self.view.agent)
            }
            Exclusion::ForeignProvider(_) => match self.plan.source {
                Source::StoredOrder => order(None),
                _ => format!("take it out of `auth.order` in `{config}`"),
            },
            Exclusion::DeclaredForeign(_) => {
                format!("correct `provider` of `{id}` in `auth.profiles` of `{config}`")
            }
            Exclusion::ModeMismatch { stored, .. } => format!(
                "write mode: \"{}\" for `{id}` in `auth.profiles` of `{config}`",
                stored.as_str()
            ),
            Exclusion::NotListed(_) => order(Some(id)),
            Exclusion::NotRequired => match self.session {
                Some(key) => command("sessions clear", &[&key], ""),
                None => "leave out --profile".to_owned(),
            },
        }
    }

    /// The command for an order that has the candidates, and one more.
    fn set_order(&self, more: Option<&ProfileId>) -> String {
        let ids = self.plan.candidates.iter().map(|it| &it.id).chain(more);
        let ids: Vec<_> = ids.map(|id| id as &dyn ToString).collect();
        let words = format!("models auth order set{}", option("--provider", &self.provider));
        command(&words, &ids, &self.view.agent.option())
    }

    fn to_json(&self) -> Value {
        let candidates = self.plan.candidates.iter().map(|candidate| {
            let (id, why) = (&candidate.id, &candidate.why);
            let mut value = json!({
                "id": id,
                "why": why.to_string(),
                "type": self.profile(id).map(|it| it.kind.as_str()),
                "charge": self.charge(id).map(Charge::as_str),
            });
            if let Why::Resting { until, .. } = why {
                let model = self.model_that_rests(id, why);
                value["until"] = json!(until);
                value["model"] = json!(model.map(ToString::to_string));
                value["raw"] = json!(self.raw(id, model));
                value["fix"] = json!(self.wake(id, why));
            }
            value
        });
        let candidates: Vec<_> = candidates.collect();
        let excluded = self.plan.excluded.iter().map(|(id, reason)| {
            json!({
                "id": id,
                "reason": reason.to_string(),
                "code": reason.code(),
                "charge": self.charge(id).map(Charge::as_str),
                "fix": self.fix(id, reason),
            })
        });
        let excluded: Vec<_> = excluded.collect();
        let warnings: Vec<_> = self.plan.warnings.iter().map(ToString::to_string).collect();
        json!({
            "agentId": self.view.agent.id,
            "provider": self.provider,
            "model": self.model.as_ref().map(ToString::to_string),
            "pin": self.pin.as_ref().map(|(Pin::Prefer(id) | Pin::Require(id))| id),
            "source": self.plan.source.to_string(),
            "candidates": candidates,
            "excluded": excluded,
            "warnings": warnings,
        })
    }

    fn report(&self, columns: usize) -> Report {
        let mut report = Report::of(self.to_json());
        let model = self.model.as_ref().map(|model| format!(" for {model}")).unwrap_or_default();
        let head = format!(
            "{}{model}, agent {}: by {}",
            self.provider, self.view.agent.id, self.plan.source
        );
        report.line(printable(&head));
        match &self.pin {
            Some(Pin::Require(id)) => report.line(format_args!("Pinned: {id}, and no other")),
            Some(Pin::Prefer(id)) => report.line(format_args!("Pinned: {id} first")),
            None => {}
        }
        let plan = &self.plan;
        let ids = plan.candidates.iter().map(|it| &it.id);
        let ids = ids.chain(plan.excluded.iter().map(|it| &it.0));
        let width = ids.map(|id| id.as_str().chars().count()).max().unwrap_or(0).min(40);
        let mut lines = Vec::new();
        let mut line = |mark: String, id: &ProfileId, reason: String, fix: Option<String>| {
            let start = format!("{mark:>3}  {:width$}  ", printable(id.as_str()));
            let paid = self.charge(id).filter(|it| *it != Charge::Unknown);
            let mut notes: Vec<_> = paid.into_iter().map(|it| it.to_string()).collect();
            notes.push(printable(&reason));
            let longest = notes.iter().map(|it| it.chars().count()).max().unwrap_or(0);
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
            line("-".to_owned(), id, reason.to_string(), Some(self.fix(id, reason)));
        }
        for line in lines {
            report.line(line);
        }
        if plan.candidates.is_empty() && plan.excluded.is_empty() {
            report.line("  no profiles");
            let way_in = view::way_in(&self.provider, &self.providers);
            report.line(format_args!("       -> {way_in}"));
        }
        report
    }
}
