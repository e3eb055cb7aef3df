//! The commands' view of an agent's credentials and of routing, read once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use auth_providers::{Providers, TargetError};
use auth_routing::session::selector::{Aliases, ModelRef};
use auth_routing::{Pin, Plan, Routing, for_model, health, plan};
use auth_store::{
    Credential, Document, ModelUsage, Profile, ProfileId, ProviderId, Records, State,
    StateDirectory, Timestamp, TokenKey, paths,
};
use serde::Serialize;

use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::agent::{self, Agent};
use crate::config::Config;
use crate::host;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::shell_quote::option;

/// An agent's credentials, and everything that affects them.
#[derive(Debug)]
pub struct View {
    /// The agent.
    pub agent: Agent,
    /// The user's file.
    pub config: Rc<Config>,
    /// The routing configuration.
    pub routing: auth_routing::Config,
    /// The agent's view: its own store, and the shared profiles. It is read-only.
    pub document: Document,
    /// The agent whose profiles are shared, with those profiles.
    pub shared: Option<(Agent, Vec<ProfileId>)>,
    /// Its usable profiles, in the order of the file.
    pub profiles: Vec<Profile>,
    /// The time used for all checks.
    pub now: Timestamp,
}

impl View {
    /// Reads the store and the config of the command's agent. Warnings about them are printed on
    /// stderr.
    pub fn read(invocation: &Invocation<'_>) -> Result<Self, CliError> {
        let context = invocation.context;
        let config = invocation.config()?;
        for warning in &config.warnings {
            context.say(format_args!("warning: {warning}"));
        }
        let view = Self::from_agent(invocation.agent()?.clone(), config, context)?;
        let path = context.display(view.agent.store().path());
        for unusable in view.document.unusable() {
            context.say(format_args!("warning: `{path}`: {unusable}; it is ignored"));
        }
        for malformed in view.document.malformed() {
            context.say(format_args!(
                "warning: the entry `{}` is passed over: {}",
                malformed.id, malformed.reason
            ));
        }
        Ok(view)
    }

    /// Reads the store, with a config that was read before.
    pub fn with(
        config: Rc<Config>,
        named: Option<&str>,
        context: &Context,
    ) -> Result<Self, CliError> {
        let agent = Agent::named(named, &config, context)?;
        Self::from_agent(agent, config, context)
    }

    fn from_agent(agent: Agent, config: Rc<Config>, context: &Context) -> Result<Self, CliError> {
        let Seen { document, shared } = Seen::by(&agent, &config, context)?;
        Ok(Self {
            profiles: document.profiles().collect(),
            routing: config.routing(),
            now: context.now(),
            agent,
            config,
            document,
            shared,
        })
    }

    /// Like [`read`](Self::read), for the agent of the session `key`: `agent:work:main` belongs to
    /// the agent `work`.
    pub fn of_session(key: &str, invocation: &Invocation<'_>) -> Result<Self, CliError> {
        let config = invocation.config()?;
        let named = agent::of_session(key, invocation.named(), &config)?;
        Self::read(&invocation.about(named))
    }

    /// The plan for `provider`.
    pub fn plan(&self, provider: &ProviderId, pin: Option<&Pin>) -> Plan {
        self.plan_over(&self.profiles, provider, pin)
    }

    /// The plan for a request for `model`, which may be in cooldown with some of the profiles.
    pub fn plan_for_model(
        &self,
        model: &ModelRef,
        cooldowns: &ModelUsage,
        pin: Option<&Pin>,
    ) -> Plan {
        let name = model.to_string();
        let profiles = self.profiles.iter().cloned();
        let profiles = profiles.map(|profile| {
            let of_model = cooldowns.get(&profile.id, &name);
            for_model(profile, &of_model)
        });
        self.plan_over(&profiles.collect::<Vec<_>>(), &model.provider, pin)
    }

    fn plan_over(&self, profiles: &[Profile], provider: &ProviderId, pin: Option<&Pin>) -> Plan {
        let routing = Routing {
            stored_order: self.document.order(provider),
            provider: provider.clone(),
            config: &self.routing,
        };
        plan(profiles, &routing, pin, self.now)
    }

    /// The usage of individual models of the profiles.
    pub fn model_usage(&self) -> ModelUsage {
        let mut usage = self.agent.store().model_usage();
        let Some((owner, ids)) = &self.shared else { return usage };
        let theirs = owner.store().model_usage();
        for id in ids {
            for (model, _) in usage.models(id) {
                usage.forget_model(id, &model);
            }
            for (model, of_model) in theirs.models(id) {
                usage.set(id, &model, &of_model);
            }
        }
        usage
    }

    /// The agent whose file has the profile `id`.
    pub fn holder(&self, id: &ProfileId) -> &Agent {
        match &self.shared {
            Some((owner, ids)) if ids.contains(id) => owner,
            _ => &self.agent,
        }
    }

    /// The profile `id`.
    ///
    /// # Errors
    /// There is none: exit code 3.
    pub fn profile(&self, id: &ProfileId) -> Result<&Profile, CliError> {
        let found = self.profiles.iter().find(|profile| profile.id == *id);
        found.ok_or_else(|| no_profile(id, &self.agent))
    }

    /// The default model: the configured one, its alias resolved, else the built-in one.
    pub fn default_model(&self) -> ModelRef {
        default_model(&self.config)
    }

    /// The default model of this agent: its own, else the common one.
    pub fn agent_model(&self) -> ModelRef {
        let own = self.config.models_of_agent(&self.agent.id).primary;
        let anthropic = ProviderId::new(DEFAULT_PROVIDER);
        let own = own.and_then(|text| model_of(&text, &anthropic, &self.config).ok());
        own.unwrap_or_else(|| self.default_model())
    }

    /// The providers of the stored profiles, and those with an explicit order.
    pub fn routed_providers(&self) -> Vec<ProviderId> {
        let stored = self.document.orders();
        let stored = stored.iter().map(|(name, _)| ProviderId::new(name));
        let configured = self.routing.orders.iter().map(|(provider, _)| provider.clone());
        let mut providers = self.providers();
        providers.extend(stored.chain(configured));
        providers.sort();
        providers.dedup();
        providers
    }

    /// The providers of the stored profiles, by canonical id.
    pub fn providers(&self) -> Vec<ProviderId> {
        let mut providers: Vec<_> = self.profiles.iter().map(|it| it.provider.clone()).collect();
        providers.sort();
        providers.dedup();
        providers
    }
}

/// The error for a profile that is not in this agent's store.
pub fn no_profile(id: &ProfileId, agent: &Agent) -> CliError {
    let message = format!("the agent `{}` has no profile `{id}`", agent.id);
    CliError::new(Exit::NoCredential, "unknown_profile", message)
        .hint(format!("see `clawdbot models auth list{}`", option("--agent", &agent.id)))
        .profile(id)
        .path(&paths::store(&agent.directory))
}

/// The default model of all agents.
pub fn default_model(config: &Config) -> ModelRef {
    let anthropic = ProviderId::new(DEFAULT_PROVIDER);
    let configured = config.models().primary.and_then(|text| {
        let aliases = Aliases::from_json(&config.value, &anthropic);
        aliases.resolve(&text, &anthropic).map(|(model, _)| model)
    });
    configured.unwrap_or(ModelRef { provider: anthropic, model: DEFAULT_MODEL.to_owned() })
}

/// The model that a user named: an alias of the config, `provider/model`, or the bare name of a
/// model of `provider`.
///
/// # Errors
/// The text names no model.
pub fn model_of(text: &str, provider: &ProviderId, config: &Config) -> Result<ModelRef, CliError> {
    let aliases = Aliases::from_json(&config.value, &ProviderId::new(DEFAULT_PROVIDER));
    let found = aliases.resolve(text, provider).map(|(model, _)| model);
    found.ok_or_else(|| CliError::usage(format!("`{text}` names no model")))
}

/// The provider of a model without one.
pub const DEFAULT_PROVIDER: &str = "anthropic";
const DEFAULT_MODEL: &str = "claude-opus-4-5";

/// The known providers: the catalogue and the manifests of the state directory.
pub fn providers(context: &Context) -> Providers {
    let manifests = host::paths::providers(&context.paths().state_dir);
    Providers::load(Some(&manifests), &|name| context.env(name).map(str::to_owned))
}

/// How a user gets a credential of `provider`.
pub fn way_in(provider: &ProviderId, providers: &Providers) -> String {
    let of = option("--provider", provider);
    match providers.find(provider) {
        Some(known) if known.id.as_str() == DEFAULT_PROVIDER => {
            "run `claude setup-token`, then `clawdbot models auth setup-token`".to_owned()
        }
        Some(known) if known.has_oauth_login() => {
            format!("clawdbot models auth login{of}")
        }
        Some(_) => format!("clawdbot models auth paste-api-key{of}"),
        None => format!(
            "no provider of that name is described (`clawdbot plugins list` shows those that are); a key of any provider: clawdbot models auth paste-api-key{of}"
        ),
    }
}

/// Whether the access token, key or token can be used now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Yes, and for a while.
    Valid,
    /// Yes, but it expires soon: inside the margin for a refresh, or, if it cannot be refreshed,
    /// within a day.
    Expiring,
    /// No.
    Expired,
    /// Yes, and it does not expire.
    Static,
    /// Unknown, because its expiry cannot be read.
    Unknown,
}

/// Whether it can be refreshed without a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// It has a refresh token.
    Yes,
    /// It has none.
    No,
    /// It has one, but the issuer refused it, it was revoked, or the response to it could not be
    /// read.
    NeedsLogin,
}

/// What can be done with a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ability {
    /// Whether it can be used now.
    pub access: Access,
    /// Whether it can be refreshed.
    pub refresh: Refresh,
}

/// Judges `credential` at `now`.
pub fn ability(credential: &Credential, refresh: Refresh, now: Timestamp) -> Ability {
    let margin = match refresh {
        Refresh::Yes => Duration::ZERO,
        Refresh::No | Refresh::NeedsLogin => health::WARN_AFTER,
    };
    let access = if !credential.is_valid(now) {
        Access::Expired
    } else if credential.expires().is_none() {
        Access::Static
    } else if credential.is_fresh(now, margin) {
        Access::Valid
    } else {
        Access::Expiring
    };
    Ability { access, refresh }
}

/// What can be done with each profile of `view`.
pub fn abilities(view: &View, providers: &Providers, context: &Context) -> Abilities {
    let records = StateDirectory::at(&context.paths().state_dir).records();
    let each = view.profiles.iter().filter_map(|profile| {
        let credential = view.document.credential(&profile.id)?;
        let refresh = refresh(&profile.provider, &credential, providers, &records);
        let mut ability = ability(&credential, refresh, view.now);
        if ability.access == Access::Static && view.document.has_unreadable_end(&profile.id) {
            ability.access = Access::Unknown;
        }
        Some((profile.id.clone(), ability))
    });
    each.collect()
}

/// What can be done with each profile.
pub type Abilities = BTreeMap<ProfileId, Ability>;

/// Whether `credential` can be refreshed: it has a refresh token with a known target, and the
/// issuer has not refused it.
fn refresh(
    provider: &ProviderId,
    credential: &Credential,
    providers: &Providers,
    records: &Records,
) -> Refresh {
    let Credential::OAuth(login) = credential else { return Refresh::No };
    let Some(provider) = providers.find(provider).filter(|_| !login.refresh.is_blank()) else {
        return Refresh::No;
    };
    let key = match provider.refresh_target(login) {
        Ok(target) => TokenKey::new(&target.token_endpoint, &target.client_id, &login.refresh),
        Err(TargetError::NeedsDiscovery { .. }) => return Refresh::Yes,
        Err(_) => return Refresh::No,
    };
    match records.peek(key) {
        Ok(Some(record))
            if matches!(record.state, State::Rejected | State::Revoked | State::Unmerged) =>
        {
            Refresh::NeedsLogin
        }
        _ => Refresh::Yes,
    }
}
