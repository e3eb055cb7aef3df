//! What a server knows of an agent: its profiles, its credentials, its plans. All of it is read
//! again as soon as a file that decides about it has changed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use auth_gateway::{ApiData, Candidate, Cooldown, Live};
use auth_providers::Provider;
use auth_routing::session::{self, Entry};
use auth_routing::{Pin, Routing, for_model, plan, unusable_until};
use auth_store::{
    Credential, Kind, ModelUsage, Profile, ProfileId, ProviderId, Stamp, Timestamp, paths,
};

use crate::agent::sessions::Sessions;
use crate::agent::{self, Agent, shared};
use crate::config::Config;
use crate::flows::gateway::notes::Notes;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::profiles::view::{self, View};

/// The plans that were made, by provider and model.
type Plans = HashMap<ProviderId, HashMap<Option<String>, Arc<Planned>>>;

/// What is known of one agent, for clients with one session or none.
pub(crate) struct Snapshot {
    files: Files,
    view: Seen,
    pin: Option<Pin>,
    /// When it was last seen to be current, in microseconds after it was read.
    seen: AtomicU64,
    read: Instant,
    plans: RwLock<Plans>,
}

/// The files that decide, as they were before they were read.
struct Files {
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// Whether every later change gives another stamp.
    are_stable: bool,
}

/// What was read.
struct Seen {
    agent: Agent,
    shared: Option<(Agent, Vec<ProfileId>)>,
    routing: auth_routing::Config,
    orders: HashMap<ProviderId, Vec<ProfileId>>,
    models: ModelUsage,
    known_models: HashSet<String>,
    profiles: HashMap<ProviderId, Vec<Profile>>,
    credentials: HashMap<ProfileId, (Credential, Option<String>)>,
    /// Profiles whose secret is not for the API of their provider, with its origin.
    foreign: HashMap<ProfileId, String>,
}

/// The plan for one provider, or for one of its models.
pub(crate) struct Planned {
    /// The profiles, the preferred one first.
    pub(crate) candidates: Arc<[Candidate]>,
    /// Whether the profile that was used last goes last.
    pub(crate) is_rotating: bool,
    /// Until then nothing changes by time alone.
    until: Option<Timestamp>,
    /// The state of the notes that it was made with.
    marks: u64,
}

fn foreign(view: &View, context: &Context) -> HashMap<ProfileId, String> {
    let providers = view::providers(context);
    let origin = |provider: &Provider| {
        let data: ApiData = serde_json::from_value(provider.api.clone()?).ok()?;
        Some(data.build().ok()?.origin())
    };
    let origins: HashMap<_, _> =
        providers.all().iter().filter_map(|it| Some((&it.id, (it, origin(it)?)))).collect();
    let foreign = view.profiles.iter().filter_map(|profile| {
        let (provider, origin) = origins.get(&profile.provider)?;
        let credential = view.document.credential(&profile.id)?;
        let recorded = view.document.destinations(&profile.id);
        let known = provider.credential_destinations(&credential, recorded.as_deref());
        (!known.allow(origin)).then(|| (profile.id.clone(), origin.clone()))
    });
    foreign.collect()
}

impl Snapshot {
    /// Reads everything for the agent of this name, or for the agent of that session.
    pub(crate) fn read(
        agent: Option<&str>,
        session: Option<&str>,
        context: &Context,
    ) -> Result<Self, CliError> {
        let began = context.now();
        let config = Rc::new(Config::load(context)?);
        let named = match session {
            Some(key) => agent::of_session(key, agent, &config)?,
            None => agent.map(str::to_owned),
        };
        let of = Agent::named(named.as_deref(), &config, context)?;
        let files = Files::for_agent(&of, session.is_some(), &config, began, context)?;
        let view = View::with(Rc::clone(&config), named.as_deref(), context)?;
        let entry = match session {
            Some(key) => Sessions::for_agent(&of, &config, context)?.entry(key)?,
            None => None,
        };
        let pin = entry.as_ref().and_then(|entry: &Entry| session::pin(entry));
        Ok(Self {
            files,
            view: Seen { foreign: foreign(&view, context), ..Seen::from_view(view) },
            pin,
            seen: AtomicU64::new(0),
            read: Instant::now(),
            plans: RwLock::default(),
        })
    }

    /// Whether everything is as it was read. One request asks several times.
    pub(crate) fn is_current(&self) -> bool {
        let files = &self.files;
        let now = u64::try_from(self.read.elapsed().as_micros()).unwrap_or(u64::MAX);
        let seen = self.seen.load(Ordering::Acquire);
        if files.are_stable && seen > 0 && now.saturating_sub(seen) < ONE_REQUEST {
            return true;
        }
        let is_current =
            files.are_stable && files.stamps.iter().all(|(path, stamp)| stamp_of(path) == *stamp);
        if is_current {
            self.seen.store(now.max(1), Ordering::Release);
        }
        is_current
    }

    /// The agent in whose file a profile is.
    pub(crate) fn holder(&self, id: &ProfileId) -> &Agent {
        match &self.view.shared {
            Some((owner, ids)) if ids.contains(id) => owner,
            _ => &self.view.agent,
        }
    }

    /// A stored credential, and the id of its account.
    pub(crate) fn credential(&self, id: &ProfileId) -> Option<&(Credential, Option<String>)> {
        self.view.credentials.get(id)
    }

    /// The origin of the API, where the secret of `id` must not be sent to it: a manifest names it
    /// that was not there, or named another one, when the credential came.
    pub(crate) fn foreign(&self, id: &ProfileId) -> Option<&str> {
        self.view.foreign.get(id).map(String::as_str)
    }

    /// The plan for a provider, or for a model of it.
    pub(crate) fn plan(
        &self,
        provider: &ProviderId,
        model: Option<&str>,
        notes: &Notes,
        now: Timestamp,
    ) -> Arc<Planned> {
        let marks = notes.marks();
        let model = model.map(|model| format!("{provider}/{model}"));
        let model = model.filter(|model| self.knows(model, notes));
        let is_good = |planned: &&Arc<Planned>| {
            planned.marks == marks && planned.until.is_none_or(|until| now < until)
        };
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        let known = plans.get(provider).and_then(|plans| plans.get(&model));
        if let Some(planned) = known.filter(is_good) {
            return Arc::clone(planned);
        }
        drop(plans);
        let planned = Arc::new(self.made(provider, model.as_deref(), notes, now, marks));
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        plans.entry(provider.clone()).or_default().insert(model, Arc::clone(&planned));
        planned
    }

    /// Whether anything is known of a model apart from its profile.
    fn knows(&self, model: &str, notes: &Notes) -> bool {
        self.view.known_models.contains(model) || notes.are_about_model(model)
    }

    fn made(
        &self,
        provider: &ProviderId,
        model: Option<&str>,
        notes: &Notes,
        now: Timestamp,
        marks: u64,
    ) -> Planned {
        let of_provider = self.view.profiles.get(provider).map(Vec::as_slice).unwrap_or_default();
        let profiles = of_provider.iter().map(|profile| {
            let of_model = model.map(|model| self.view.models.get(&profile.id, model));
            let since = of_model.as_ref().and_then(|usage| usage.last_failure_at);
            let mut profile = profile.clone();
            if let (Some(model), Some(of_model)) = (model, &of_model) {
                profile = for_model(profile, model, of_model);
                profile.usage.last_failure_at = profile.usage.last_failure_at.max(since);
            }
            notes.lay_over(&self.holder(&profile.id).directory, &mut profile, model);
            profile
        });
        let profiles: Vec<Profile> = profiles.collect();
        let routing = Routing {
            stored_order: self.view.orders.get(provider).cloned(),
            provider: provider.clone(),
            config: &self.view.routing,
        };
        // A pin to another provider's profile says nothing here.
        let is_ours = |id: &ProfileId| profiles.iter().any(|profile| profile.id == *id);
        let pin = self.pin.as_ref().filter(|pin| match pin {
            Pin::Prefer(id) | Pin::Require(id) => is_ours(id),
        });
        let plan = plan(&profiles, &routing, pin, now);
        let candidates = plan.candidates.iter().filter_map(|planned| {
            let profile = profiles.iter().find(|profile| profile.id == planned.id)?;
            let until = unusable_until(&profile.usage).filter(|until| now < *until);
            let since = profile.usage.last_failure_at.unwrap_or(now);
            let cooldown = until.map(|until| Cooldown { until, since });
            Some(Candidate { profile: profile.id.clone(), kind: profile.kind, cooldown })
        });
        let candidates: Arc<[Candidate]> = candidates.collect();
        let ends = profiles.iter().flat_map(|profile| {
            let token_end = profile.expires.filter(|_| profile.kind == Kind::Token);
            [unusable_until(&profile.usage), token_end]
        });
        Planned {
            is_rotating: !plan.source.is_explicit() && candidates.len() > 1,
            candidates,
            until: ends.flatten().filter(|end| now < *end).min(),
            marks,
        }
    }
}

impl Files {
    fn for_agent(
        agent: &Agent,
        has_session: bool,
        config: &Config,
        began: Timestamp,
        context: &Context,
    ) -> Result<Self, CliError> {
        let of_config = config.files.iter().cloned().zip(config.stamps.iter().copied());
        let mut stamps: Vec<_> = of_config.collect();
        if !config.exists {
            stamps.push((config.path.clone(), None));
        }
        let mut add = |path: PathBuf| {
            let stamp = stamp_of(&path);
            stamps.push((path, stamp));
        };
        add(paths::sharing_note(&agent.directory));
        let owner = shared::owner_of(agent, config, context)?;
        for directory in [Some(agent), owner.as_ref()].into_iter().flatten() {
            add(paths::store(&directory.directory));
            add(paths::model_usage(&directory.directory));
        }
        if has_session {
            add(Sessions::for_agent(agent, config, context)?.path().to_owned());
        }
        let are_stable = stamps.iter().all(|(path, stamp)| match stamp {
            Some(stamp) => stamp.is_stable(began),
            // A system that tells too little has all of it read each time.
            None => !path.exists(),
        });
        Ok(Self { stamps, are_stable })
    }
}

impl Seen {
    fn from_view(view: View) -> Self {
        let models = view.model_usage();
        let View { agent, routing, document, shared, profiles, .. } = view;
        let orders = document.orders().into_iter().filter_map(|(name, _)| {
            let provider = ProviderId::new(&name);
            Some((provider.clone(), document.order(&provider)?))
        });
        let credentials = profiles.iter().filter_map(|profile| {
            let credential = document.credential(&profile.id)?;
            Some((profile.id.clone(), (credential, profile.account_id.clone())))
        });
        let known_models = profiles.iter().flat_map(|profile| models.models(&profile.id));
        let known_models = known_models.map(|(model, _)| model).collect();
        let (orders, credentials) = (orders.collect(), credentials.collect());
        let mut of_provider: HashMap<ProviderId, Vec<Profile>> = HashMap::new();
        for profile in profiles {
            of_provider.entry(profile.provider.clone()).or_default().push(profile);
        }
        Self {
            foreign: HashMap::new(),
            agent,
            shared,
            routing,
            orders,
            models,
            known_models,
            profiles: of_provider,
            credentials,
        }
    }
}

/// A credential as the gateway sends it; `None` where it is kept elsewhere.
pub(crate) fn live(credential: &Credential, account: Option<&String>) -> Option<Live> {
    let secret = match credential {
        Credential::Reference(_) => return None,
        known => auth_store::trim(known.bearer().expose()).into(),
    };
    Some(Live {
        kind: credential.kind(),
        secret,
        account: account.cloned(),
        expires: credential.expires(),
    })
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().and_then(|found| Stamp::from_metadata(&found))
}

/// So long, in microseconds, the files are not looked at again: no other program could tell.
const ONE_REQUEST: u64 = 300;
/// A token that is good for longer is sent while it is renewed.
pub(crate) const GOOD_ENOUGH: Duration = Duration::from_secs(30);
