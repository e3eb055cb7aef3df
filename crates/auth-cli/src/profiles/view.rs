//! The commands' view of an agent's credentials and of routing, read once.

use std::rc::Rc;

use auth_providers::Providers;
use auth_routing::session::selector::{Aliases, ModelRef};
use auth_routing::{Pin, Plan, Routing, for_model, plan};
use auth_store::{Document, ModelUsage, Profile, ProfileId, ProviderId, Timestamp, paths};

use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::agent::{self, Agent};
use crate::config::Config;
use crate::host;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::prompt::suggest;
use crate::host::remedy::Remedy;
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
                "warning: the entry `{}` is ignored: {}",
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
            for_model(profile, &name, &of_model)
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
        found.ok_or_else(|| no_profile(id, &self.document, &self.agent))
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
pub fn no_profile(id: &ProfileId, document: &Document, agent: &Agent) -> CliError {
    let message = format!("agent `{}` has no profile `{id}`", agent.id);
    let known: Vec<ProfileId> = document.profiles().map(|it| it.id).collect();
    let error = CliError::new(Exit::NoCredential, "unknown_profile", message);
    let error = match suggest::did_you_mean(id.as_str(), known.iter().map(ProfileId::as_str)) {
        Some(suggestion) => error.hint(suggestion),
        None => error,
    };
    error
        .remedy(Remedy::new(
            "list the profiles",
            format!("clawdbot models auth list{}", option("--agent", &agent.id)),
        ))
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
            "run `claude setup-token`, then: clawdbot models auth setup-token".to_owned()
        }
        Some(known) if known.has_oauth_login() => {
            format!("clawdbot models auth login{of}")
        }
        _ => format!("clawdbot models auth paste-api-key{of}"),
    }
}

/// Whether there is a provider of that name.
///
/// # Errors
/// There is none; the one that was most likely meant, if any is near.
pub(crate) fn known_provider(
    provider: &ProviderId,
    providers: &Providers,
    view: &View,
) -> Result<(), Option<String>> {
    let described = view.config.described_providers().map(ProviderId::new);
    let stored = view.profiles.iter().map(|it| it.provider.clone());
    let known: Vec<ProviderId> = described.chain(stored).collect();
    if providers.find(provider).is_some() || known.contains(provider) {
        return Ok(());
    }
    let built_in = providers.all().iter().map(|it| it.id.as_str());
    let names = built_in.chain(known.iter().map(ProviderId::as_str));
    Err(suggest::nearest(provider.as_str(), names).map(str::to_owned))
}
