//! `models status` as a value: the models in use, their credentials, and how long those are valid.
//! The JSON has Clawdbot's format; keys were added, none changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_providers::{EnvKey, Providers};
use auth_routing::health::{self, Health};
use auth_routing::session::selector::ModelRef;
use auth_routing::unusable_until;
use auth_store::{Kind, Profile, ProviderId, Secret, StateDirectory, paths};
use serde_json::{Map, Value, json};

use crate::host::context::Context;
use crate::host::error::Exit;
use crate::host::text::{masked, shown};
use crate::profiles::cooldowns::{InCooldown, in_cooldown};
use crate::profiles::kept::{Kept, kept};
use crate::profiles::standing::{Next, Standing};
use crate::profiles::view::{DEFAULT_PROVIDER, View};

/// The content of `models status`.
#[derive(Debug)]
pub struct Overview {
    /// The agent's profiles, and what holds for them.
    pub standing: Standing,
    /// The default model: as configured, else the built-in one.
    pub default_model: String,
    /// The same with its alias resolved.
    pub resolved_default: String,
    /// The providers with a credential, by name.
    pub providers: Vec<ProviderAuth>,
    /// The providers of models in use that have no credential.
    pub missing: Vec<String>,
    /// The providers that the config or an order needs.
    pub needed: BTreeSet<ProviderId>,
    /// The model that this agent uses first, if it has one of its own.
    pub agent_model: Option<String>,
    /// How long the credentials are valid.
    pub health: Health,
    /// The profiles in cooldown.
    pub in_cooldown: Vec<InCooldown>,
    /// The response files that are not in the store yet: of a refresh in progress, of a crashed
    /// process, or of a response that does not match its profile.
    pub responses: Vec<PathBuf>,
    /// The responses that could not be read.
    pub(crate) kept: Vec<Kept>,
}

/// The credentials of one provider.
#[derive(Debug)]
pub struct ProviderAuth {
    /// Its name, as written at its first occurrence.
    pub name: String,
    /// Its profiles, in the order of the store.
    pub profiles: Vec<Profile>,
    /// A key from the environment.
    pub env: Option<EnvKey>,
    /// A key in the config's `models.providers`, masked.
    pub described: Option<String>,
}

impl Overview {
    /// Builds the overview.
    pub fn from_standing(standing: Standing, providers: &Providers, context: &Context) -> Self {
        let view = &standing.view;
        let config = &view.config;
        let records = StateDirectory::at(&context.paths().state_dir).records();
        let resolved_default = view.default_model().to_string();
        let default_model = config.models().primary.unwrap_or_else(|| resolved_default.clone());

        let in_use = models_in_use(&default_model, view);
        let listed = config.listed_models().map(|(model, _)| model.to_owned());
        let mut names: Vec<String> =
            view.profiles.iter().map(|it| it.provider_text.clone()).collect();
        names.extend(config.described_providers().map(str::to_owned));
        names.extend(providers_of(in_use.iter().cloned().chain(listed)));
        let env = |name: &str| context.env(name).map(str::to_owned);
        let with_key =
            providers.all().iter().filter(|it| providers.env_key(&it.id, &env).is_some());
        names.extend(with_key.map(|it| it.id.to_string()));

        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let profiles = &view.profiles;
        let health =
            health::health(profiles, &view.routing, Some(&all), health::WARN_AFTER, view.now);
        let mut of_provider: BTreeMap<&ProviderId, Vec<Profile>> = BTreeMap::new();
        for profile in profiles {
            of_provider.entry(&profile.provider).or_default().push(profile.clone());
        }
        let auth = health.providers.iter().filter_map(|provider| {
            let id = ProviderId::new(&provider.provider);
            let auth = ProviderAuth {
                name: provider.provider.clone(),
                profiles: of_provider.get(&id).cloned().unwrap_or_default(),
                env: providers.env_key(&id, &env),
                described: config.described_key(&id).map(|key| masked(&Secret::new(key))),
            };
            (!auth.profiles.is_empty() || auth.env.is_some() || auth.described.is_some())
                .then_some(auth)
        });
        let auth: Vec<ProviderAuth> = auth.collect();
        let used = providers_of(in_use.into_iter());
        let known: BTreeSet<ProviderId> = auth.iter().map(|it| ProviderId::new(&it.name)).collect();
        let missing = health.providers.iter().map(|it| &it.provider);
        let missing =
            missing.filter(|name| used.contains(name) && !known.contains(&ProviderId::new(name)));
        let missing: Vec<_> = missing.cloned().collect();
        Self {
            needed: needed(&used, view),
            agent_model: config.models_of_agent(&view.agent.id).primary,
            missing,
            providers: auth,
            in_cooldown: in_cooldown(view),
            responses: responses(view),
            kept: kept(&view.document, &view.agent.option(), providers, &records),
            default_model,
            resolved_default,
            health,
            standing,
        }
    }

    /// How `--check` ends: 1 if a needed provider has nothing to hand out now, 2 if something that
    /// cannot renew itself ends within that time.
    pub fn check(&self, within: Duration) -> Exit {
        let with_fallback = self.providers.iter().filter(|it| it.fallback().is_some());
        let with_fallback: BTreeSet<_> =
            with_fallback.map(|it| ProviderId::new(&it.name)).collect();
        let is_served = |provider: &ProviderId| {
            self.standing.plan(provider).is_served(with_fallback.contains(provider))
        };
        if !self.needed.iter().all(is_served) {
            Exit::Expired
        } else if self.standing.ending_within(within).next().is_some() {
            Exit::Expiring
        } else {
            Exit::Done
        }
    }

    /// What is handed out now for a provider.
    pub(crate) fn next(&self, auth: &ProviderAuth) -> Next {
        self.standing.next(&ProviderId::new(&auth.name), auth.fallback().as_deref())
    }

    /// The first of the models in use that belongs to this provider, with its name.
    pub(crate) fn model_of(&self, provider: &ProviderId) -> Option<String> {
        let default = ProviderId::new(DEFAULT_PROVIDER);
        let used = models_in_use(&self.default_model, &self.standing.view);
        let listed = self.standing.view.config.listed_models().map(|(model, _)| model.to_owned());
        let models = used.into_iter().chain(listed);
        let mut models = models.filter_map(|text| ModelRef::parse(&text, &default));
        models.find(|model| model.provider == *provider).map(|model| model.to_string())
    }

    /// The JSON of `models status --json`.
    pub fn to_json(&self, context: &Context) -> Value {
        let config = &self.standing.view.config;
        let (models, image) = (config.models(), config.image_models());
        let aliases = config
            .listed_models()
            .filter_map(|(model, alias)| alias.map(|alias| (alias.to_owned(), Value::from(model))));
        let allowed: Vec<_> = config.listed_models().map(|(model, _)| model).collect();
        let store = paths::store(&self.standing.view.agent.directory);
        let with_tokens = self.providers.iter().filter_map(ProviderAuth::tokens);
        let with_tokens: Vec<_> = with_tokens.collect();
        let providers = self.providers.iter().map(|it| it.to_json(self, &store, context));
        let providers: Vec<_> = providers.collect();
        let pending =
            self.responses.iter().chain(self.kept.iter().filter_map(|it| it.path.as_ref()));
        json!({
            "configPath": config.path.display().to_string(),
            "agentId": self.standing.view.agent.id,
            "agentDir": self.standing.view.agent.directory.display().to_string(),
            "defaultModel": self.default_model,
            "resolvedDefault": self.resolved_default,
            "agentModel": self.agent_model,
            "fallbacks": models.fallbacks,
            "imageModel": image.primary,
            "imageFallbacks": image.fallbacks,
            "aliases": aliases.collect::<Map<_, _>>(),
            "allowed": allowed,
            "auth": {
                "storePath": store.display().to_string(),
                "shellEnvFallback": { "enabled": false, "appliedKeys": [] },
                "providersWithOAuth": with_tokens,
                "missingProvidersInUse": self.missing,
                "providers": providers,
                "unusableProfiles": self.in_cooldown,
                "pendingAnswers": pending.map(|it| it.display().to_string()).collect::<Vec<_>>(),
                "unmergedAnswers": self.kept.iter().map(Kept::to_json).collect::<Vec<_>>(),
                "oauth": {
                    "warnAfterMs": self.health.warn_after_ms,
                    "profiles": self.health.profiles.iter().map(|it| self.profile(it)).collect::<Vec<_>>(),
                    "providers": self.health.providers.iter().map(|it| self.provider(it)).collect::<Vec<_>>(),
                },
            },
        })
    }

    /// A profile's health, and what it means: whether it can be used, and refreshed.
    fn profile(&self, health: &health::ProfileHealth) -> Value {
        let mut value = json!(health);
        if let (Some(ability), Some(object)) =
            (self.standing.ability(&health.profile_id), value.as_object_mut())
        {
            object.insert("access".to_owned(), json!(ability.access));
            object.insert("refresh".to_owned(), json!(ability.refresh));
        }
        value
    }

    fn provider(&self, health: &health::ProviderHealth) -> Value {
        let mut value = json!(health);
        let profiles: Vec<_> = health.profiles.iter().map(|it| self.profile(it)).collect();
        if let Some(object) = value.as_object_mut() {
            object.insert("profiles".to_owned(), Value::Array(profiles));
        }
        value
    }

    /// One profile in short, its secret masked.
    fn label(&self, profile: &Profile) -> String {
        let id = &profile.id;
        let secret = || {
            let credential = self.standing.view.document.credential(id);
            credential.map(|it| shown(&it)).unwrap_or_default()
        };
        let label = match profile.kind {
            Kind::ApiKey => format!("{id}={}", secret()),
            Kind::Token => format!("{id}=token:{}", secret()),
            Kind::OAuth => {
                let label = health::display_label(profile, &self.standing.view.routing);
                format!("{id}=OAuth{}", label.strip_prefix(id.as_str()).unwrap_or_default())
            }
        };
        let now = self.standing.view.now;
        match unusable_until(&profile.usage).filter(|end| now < *end) {
            None => label,
            Some(end) => {
                let usage = &profile.usage;
                let reason = usage.disabled_reason.as_deref();
                let kind = match usage.disabled_until.filter(|end| now < *end) {
                    Some(_) => reason.map_or("disabled".to_owned(), |it| format!("disabled:{it}")),
                    None => "cooldown".to_owned(),
                };
                let left = health::remaining_text(Some(end.0.saturating_sub(now.0)));
                format!("{label} [{kind} {left}]")
            }
        }
    }
}

impl ProviderAuth {
    fn count(&self, kind: Kind) -> usize {
        self.profiles.iter().filter(|it| it.kind == kind).count()
    }

    /// `name (count)`, if it has logins or tokens.
    fn tokens(&self) -> Option<String> {
        let env = usize::from(self.env.as_ref().is_some_and(|it| it.is_oauth));
        let count = self.count(Kind::OAuth) + self.count(Kind::Token) + env;
        (count > 0).then(|| format!("{} ({count})", self.name))
    }

    /// The name of what is used where no profile is a candidate.
    fn fallback(&self) -> Option<String> {
        match (&self.env, &self.described) {
            (Some(key), _) => Some(format!("${}", key.name)),
            (None, Some(_)) => Some("`models.providers` of the config".to_owned()),
            (None, None) => None,
        }
    }

    /// The displayable form of a key from the environment.
    fn env_value(key: &EnvKey) -> String {
        if key.is_oauth { "OAuth (env)".to_owned() } else { masked(&key.value) }
    }

    fn to_json(&self, overview: &Overview, store: &Path, context: &Context) -> Value {
        let (kind, detail) = match (&self.env, &self.described) {
            _ if !self.profiles.is_empty() => ("profiles", context.display(store)),
            (Some(key), _) => ("env", Self::env_value(key)),
            (None, described) => ("models.json", described.clone().unwrap_or_default()),
        };
        let labels: Vec<_> = self.profiles.iter().map(|it| overview.label(it)).collect();
        let next = overview.next(self);
        let mut value = Map::new();
        let mut set = |name: &str, part: Value| value.insert(name.to_owned(), part);
        set("provider", self.name.clone().into());
        set("effective", json!({ "kind": kind, "detail": detail }));
        set(
            "profiles",
            json!({
                "count": self.profiles.len(),
                "oauth": self.count(Kind::OAuth),
                "token": self.count(Kind::Token),
                "apiKey": self.count(Kind::ApiKey),
                "labels": labels,
            }),
        );
        set("next", json!(next.profile));
        set("nextReason", next.reason.into());
        if let Some(key) = &self.env {
            let source = format!("env: {}", key.name);
            set("env", json!({ "value": Self::env_value(key), "source": source }));
        }
        if let Some(described) = &self.described {
            let source =
                format!("config: {}", context.display(&overview.standing.view.config.path));
            set("modelsJson", json!({ "value": described, "source": source }));
        }
        Value::Object(value)
    }
}

fn responses(view: &View) -> Vec<PathBuf> {
    let keys = view.agent.store().responses().unwrap_or_default().into_iter();
    keys.map(|key| paths::response_file(&view.agent.directory, key)).collect()
}

/// The providers of the models in use, of the orders, and of the profiles that the config names.
fn needed(used: &[String], view: &View) -> BTreeSet<ProviderId> {
    let orders = view.document.orders();
    let stored = orders.iter().map(|(name, _)| ProviderId::new(name));
    let configured = view.routing.orders.iter().map(|(provider, _)| provider.clone());
    let declared = view.routing.profiles.iter().map(|(_, entry)| entry.provider.clone());
    let used = used.iter().map(|name| ProviderId::new(name));
    used.chain(stored).chain(configured).chain(declared).collect()
}

/// The models that may be used without anyone choosing one.
fn models_in_use(default: &str, view: &View) -> Vec<String> {
    let (models, image) = (view.config.models(), view.config.image_models());
    let own = view.config.models_of_agent(&view.agent.id);
    let mut all = vec![default.to_owned()];
    all.extend(own.primary);
    all.extend(models.fallbacks);
    all.extend(own.fallbacks);
    all.extend(image.primary);
    all.extend(image.fallbacks);
    all
}

/// The providers of those models, each once.
fn providers_of(models: impl Iterator<Item = String>) -> Vec<String> {
    let default = ProviderId::new(DEFAULT_PROVIDER);
    let mut names = Vec::new();
    for model in models.filter_map(|text| ModelRef::parse(&text, &default)) {
        let name = model.provider.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
