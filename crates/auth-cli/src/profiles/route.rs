//! From a request to the profiles to try: by a profile's name, a session, a model or a provider.

use std::borrow::Cow;

use std::time::Duration;

use auth_routing::session::selector::ModelRef;
use auth_routing::session::{self, Entry, PinSource};
use auth_routing::{Charge, Pin, Plan, Source, Why, charge, for_model, unusable_until};
use auth_store::{ModelUsage, ProfileId, ProviderId, Timestamp};

use crate::agent::sessions::Sessions;
use crate::host::context::{Context, PROFILE_VARIABLE};
use crate::host::duration;
use crate::host::error::CliError;
use crate::host::shell_quote::command;
use crate::profiles::view::{self, View};

/// The request; if everything is empty, the provider of the default model.
#[derive(Clone, Debug, Default)]
pub struct RouteRequest {
    /// A provider.
    pub provider: Option<String>,
    /// Only this profile.
    pub profile: Option<String>,
    /// The profile that this session uses.
    pub session: Option<String>,
    /// The session starts over: routing moves on to the next profile.
    pub new_session: bool,
    /// A model: an alias or `provider/model`.
    pub model: Option<String>,
}

/// Which token is asked for.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// Whose.
    pub route: RouteRequest,
    /// It must be valid for at least that long.
    pub min_ttl: Duration,
    /// It is renewed although it looks valid.
    pub force_refresh: bool,
    /// … but only if the token is still the one with this SHA-256 (hexadecimal).
    pub if_token_sha256: Option<String>,
    /// It is never renewed: what is stored and valid, or an error.
    pub no_refresh: bool,
}

/// The result of routing a request.
#[derive(Debug)]
pub(crate) struct Route {
    /// The provider of all candidates.
    pub(crate) provider: ProviderId,
    /// The requested model.
    pub(crate) model: Option<ModelRef>,
    /// The session's pin.
    pub(crate) pin: Option<Pin>,
    /// The profiles to try, those in cooldown last.
    pub(crate) candidates: Vec<Candidate>,
    /// The plan behind the candidates; `None` if the request names the profile.
    pub(crate) plan: Option<Plan>,
    /// Warnings for the user.
    pub(crate) warnings: Vec<String>,
    /// Whether this request moves the session's pin.
    pub(crate) moves_session: bool,
    session: Option<String>,
}

/// A profile to try.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Its id.
    pub(crate) profile: ProfileId,
    /// The end of its cooldown, if it is in one.
    pub(crate) in_cooldown: Option<Timestamp>,
}

/// The models to try for `request`: the requested one, then the fallbacks of the config, then the
/// primary model. Empty if none was requested.
///
/// # Errors
/// It is not a model, or does not belong to the requested provider or profile.
pub(crate) fn models(request: &RouteRequest, view: &View) -> Result<Vec<ModelRef>, CliError> {
    let Some(text) = &request.model else { return Ok(Vec::new()) };
    let named = match (&request.profile, &request.provider) {
        (Some(id), _) => Some(view.profile(&ProfileId::new(id.as_str()))?.provider.clone()),
        (None, provider) => provider.as_deref().map(ProviderId::new),
    };
    let default_provider = named.clone().unwrap_or_else(|| view.agent_model().provider);
    let model = view::model_of(text, &default_provider, &view.config)?;
    if let Some(named) = named.filter(|named| model.provider != *named) {
        return Err(CliError::usage(format!("{model} is not a model of `{named}`")));
    }
    // A request with a profile or a provider gets no fallback models.
    if request.profile.is_some() || request.provider.is_some() {
        return Ok(vec![model]);
    }
    let fallbacks = view.config.fallbacks_of_agent(&view.agent.id).into_iter();
    let fallbacks =
        fallbacks.filter_map(|text| view::model_of(&text, &default_provider, &view.config).ok());
    let mut models = vec![model];
    for fallback in fallbacks.chain([view.agent_model()]) {
        if !models.contains(&fallback) {
            models.push(fallback);
        }
    }
    Ok(models)
}

/// The request with the profile that `CLAWDBOT_AUTH_PROFILE` names, where it names none, and none
/// of another provider.
///
/// # Errors
/// There is no such profile.
pub(crate) fn with_variable<'a>(
    request: &'a RouteRequest,
    view: &View,
    context: &Context,
) -> Result<Cow<'a, RouteRequest>, CliError> {
    let is_free = request.profile.is_none() && request.session.is_none() && request.model.is_none();
    let Some(id) = context.chosen(PROFILE_VARIABLE).filter(|_| is_free) else {
        return Ok(Cow::Borrowed(request));
    };
    let profile = view.profile(&ProfileId::new(id)).map_err(|error| {
        let message = format!("{PROFILE_VARIABLE}: {}", error.message);
        error.message(message)
    })?;
    let wanted = request.provider.as_deref().map(ProviderId::new);
    if wanted.is_some_and(|wanted| wanted != profile.provider) {
        return Ok(Cow::Borrowed(request));
    }
    Ok(Cow::Owned(RouteRequest { profile: Some(id.to_owned()), ..request.clone() }))
}

impl Route {
    /// The route for `request`, with `model` instead of the requested one. Nothing is written.
    ///
    /// # Errors
    /// The request names something that does not exist, or the session's pin names a missing
    /// profile.
    pub(crate) fn for_request(
        request: &RouteRequest,
        model: Option<&ModelRef>,
        view: &View,
        context: &Context,
    ) -> Result<Self, CliError> {
        if let Some(id) = &request.profile {
            let profile = view.profile(&ProfileId::new(id.as_str()))?;
            if let Some(provider) = &request.provider {
                check_provider(&profile.id, &profile.provider, provider, context)?;
            }
            // A profile that the request names is used even during its cooldown.
            let candidate = Candidate { profile: profile.id.clone(), in_cooldown: None };
            return Ok(Self {
                candidates: vec![candidate],
                ..Self::empty(profile.provider.clone(), model)
            });
        }
        if let Some(key) = &request.session {
            let entry = Sessions::for_agent(&view.agent, &view.config, context)?.entry(key)?;
            return Self::of_session(key, entry, request, view);
        }
        let provider = match (model, &request.provider) {
            (Some(model), _) => model.provider.clone(),
            (None, Some(provider)) => ProviderId::new(provider),
            (None, None) => view.agent_model().provider,
        };
        // Read only if it is needed: this is the hot path.
        let cooldowns = model.map(|_| view.model_usage()).unwrap_or_default();
        Ok(Self::over(provider, model, &cooldowns, None, view))
    }

    fn of_session(
        key: &str,
        entry: Option<Entry>,
        request: &RouteRequest,
        view: &View,
    ) -> Result<Self, CliError> {
        let is_known = entry.is_some() || request.new_session;
        let entry = entry.unwrap_or_default();
        let turn = Turn::for_entry(&entry, request, view);
        if turn.is_required
            && let Some(id) = session::pinned(&entry)
        {
            if !view.profiles.iter().any(|profile| profile.id == id) {
                return Err(view::no_profile(&id, &view.document, &view.agent)
                    .message(format!(
                        "the session `{key}` is pinned to `{id}`, and the agent `{}` has no such profile",
                        view.agent.id
                    ))
                    .hint(format!("unpin it: {}", unpin(key))));
            }
            let mut route = turn.route(Some(Pin::Require(id)), view);
            route.session = Some(key.to_owned());
            return Ok(route);
        }
        let found = turn.resolve(&entry, view);
        let mut route = turn.route(found.profile.map(Pin::Prefer), view);
        route.moves_session = is_known && turn.is_own && found.entry.is_some();
        route.session = Some(key.to_owned());
        Ok(route)
    }

    fn empty(provider: ProviderId, model: Option<&ModelRef>) -> Self {
        Self {
            provider,
            model: model.cloned(),
            pin: None,
            candidates: Vec::new(),
            plan: None,
            warnings: Vec::new(),
            moves_session: false,
            session: None,
        }
    }

    /// The route over the plan for `provider`, or for `model`, which belongs to it.
    fn over(
        provider: ProviderId,
        model: Option<&ModelRef>,
        cooldowns: &ModelUsage,
        pin: Option<Pin>,
        view: &View,
    ) -> Self {
        let plan = planned(&provider, model, cooldowns, pin.as_ref(), view);
        let candidates = plan.candidates.iter().map(|candidate| {
            let in_cooldown = match &candidate.why {
                Why::InCooldown { until, .. } => Some(*until),
                // A pinned profile keeps its place, even during its cooldown.
                Why::Pinned => {
                    let profile = view.profile(&candidate.id).ok().cloned();
                    let profile = profile.map(|profile| match model.map(ToString::to_string) {
                        Some(model) => {
                            let of_model = cooldowns.get(&candidate.id, &model);
                            for_model(profile, &model, &of_model)
                        }
                        None => profile,
                    });
                    let until = profile.and_then(|profile| unusable_until(&profile.usage));
                    until.filter(|until| view.now < *until)
                }
                _ => None,
            };
            Candidate { profile: candidate.id.clone(), in_cooldown }
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|candidate| candidate.in_cooldown);
        let warnings = plan.warnings.iter().map(|warning| format!("{provider}: {warning}"));
        let warnings = warnings.chain(metered(&candidates, &plan, &provider, view)).collect();
        Self { pin, candidates, warnings, plan: Some(plan), ..Self::empty(provider, model) }
    }

    /// Writes the session's pin if it moved. The pin is a preference, so a failure is only a
    /// warning.
    pub(crate) fn move_session(&self, request: &RouteRequest, view: &View, context: &Context) {
        let Some(key) = self.session.as_deref().filter(|_| self.moves_session) else { return };
        let sessions = Sessions::for_agent(&view.agent, &view.config, context);
        let Ok(sessions) = sessions else { return };
        let moved = sessions.update(key, request.new_session, context, |entry| {
            let turn = Turn::for_entry(entry, request, view);
            if turn.is_required { None } else { turn.resolve(entry, view).entry }
        });
        if let Err(error) = moved {
            context.say(format_args!("warning: the session `{key}` keeps its pin: {error}"));
        }
    }

    /// The command that removes a user's pin, if the pin excludes all other profiles.
    pub(crate) fn unpin(&self) -> Option<String> {
        let key = self.session.as_deref()?;
        matches!(self.pin, Some(Pin::Require(_))).then(|| unpin(key))
    }
}

/// Sees whether a profile is of the provider that was named beside it.
///
/// # Errors
/// It is of another one, so its secret is not what was asked for.
pub(crate) fn check_provider(
    id: &ProfileId,
    provider: &ProviderId,
    named: &str,
    context: &Context,
) -> Result<(), CliError> {
    let wanted = ProviderId::new(named);
    // Other names of a provider are looked up only where the usual one is not enough.
    let is_other_name = || {
        let providers = view::providers(context);
        providers.find(&wanted).is_some_and(|known| known.is_called(provider))
    };
    if wanted == *provider || is_other_name() {
        return Ok(());
    }
    Err(CliError::usage(format!("`{id}` is a profile of `{provider}`, not of `{wanted}`"))
        .hint("name the profile or the provider, or a profile of that provider: clawdbot models auth list")
        .profile(id))
}

fn unpin(key: &str) -> String {
    command("sessions clear", &[&key], "")
}

/// One turn of a session.
struct Turn {
    provider: ProviderId,
    /// The session's model, if it belongs to the requested provider.
    model: Option<ModelRef>,
    cooldowns: ModelUsage,
    /// Whether the request is for the session's own provider, so that its pin may move.
    is_own: bool,
    /// Whether a user's pin excludes all other profiles.
    is_required: bool,
    is_new: bool,
}

impl Turn {
    fn for_entry(entry: &Entry, request: &RouteRequest, view: &View) -> Self {
        let pinned = session::pinned(entry);
        let is_required =
            pinned.is_some() && session::source(entry) == PinSource::User && !request.new_session;
        let model = session::model(entry, &view.agent_model());
        let has_model = crate::agent::sessions::text(entry, "modelOverride").is_some();
        let of_pin = pinned.and_then(|id| view.profile(&id).ok().map(|it| it.provider.clone()));
        // A pin without a model, from an older program, also determines the provider.
        let own = of_pin.filter(|_| !has_model).unwrap_or_else(|| {
            let provider = crate::agent::sessions::text(entry, "providerOverride");
            provider.map_or_else(|| model.provider.clone(), ProviderId::new)
        });
        let provider = request.provider.as_deref().map_or_else(|| own.clone(), ProviderId::new);
        Self {
            model: Some(model).filter(|model| model.provider == provider),
            cooldowns: view.model_usage(),
            is_own: provider == own,
            is_required,
            is_new: request.new_session,
            provider,
        }
    }

    fn route(&self, pin: Option<Pin>, view: &View) -> Route {
        Route::over(self.provider.clone(), self.model.as_ref(), &self.cooldowns, pin, view)
    }

    fn resolve(&self, entry: &Entry, view: &View) -> session::Resolved {
        let plan = planned(&self.provider, self.model.as_ref(), &self.cooldowns, None, view);
        session::resolve(entry, &view.profiles, &self.provider, &plan, self.is_new, view.now)
    }
}

fn planned(
    provider: &ProviderId,
    model: Option<&ModelRef>,
    cooldowns: &ModelUsage,
    pin: Option<&Pin>,
    view: &View,
) -> Plan {
    match model {
        Some(model) => view.plan_for_model(model, cooldowns, pin),
        None => view.plan(provider, pin),
    }
}

/// A warning if a metered key replaces a subscription that is in cooldown.
fn metered(
    candidates: &[Candidate],
    plan: &Plan,
    provider: &ProviderId,
    view: &View,
) -> Option<String> {
    let paid = |id: &ProfileId| view.profile(id).ok().map(|it| charge(&it.provider, it.kind));
    let first = candidates.first().filter(|it| it.in_cooldown.is_none())?;
    if paid(&first.profile) != Some(Charge::Metered) {
        return None;
    }
    let order = match plan.source {
        Source::StoredOrder => view.document.order(provider),
        Source::ConfigOrder => view.routing.order(provider).map(<[_]>::to_vec),
        Source::ConfigProfiles | Source::Profiles => None,
    };
    let place = |id: &ProfileId| order.as_ref().and_then(|ids| ids.iter().position(|it| it == id));
    let in_cooldown = candidates.iter().find(|it| {
        it.in_cooldown.is_some()
            && paid(&it.profile) == Some(Charge::Subscription)
            && (order.is_none() || place(&it.profile) < place(&first.profile))
    })?;
    let left = in_cooldown.in_cooldown.map(|end| duration::until(end, view.now));
    Some(format!(
        "`{}` is billed by usage; the subscription `{}` is in cooldown for {}",
        first.profile,
        in_cooldown.profile,
        left.unwrap_or_default()
    ))
}
