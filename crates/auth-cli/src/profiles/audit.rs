//! What goes to the audit log, with who asked. A log that cannot be written is said and stops nothing.

use auth_providers::{Destinations, HttpClient, HttpRequest, Login, Provider, Sending};
use auth_store::{AuditEvent, AuditKind, AuditLog, Credential, ProfileId, ProviderId};

use crate::agent::Agent;
use crate::host::context::Context;
use crate::host::process::parent;
use crate::host::settings::{Audit, Settings};
use crate::profiles::token_output::TokenOutput;

/// Notes an event of a profile.
pub(crate) fn note(
    what: AuditKind,
    provider: &ProviderId,
    profile: &ProfileId,
    agent: &Agent,
    detail: Option<String>,
    context: &Context,
) {
    let event = AuditEvent {
        provider: Some(provider.clone()),
        profile: Some(profile.clone()),
        agent: Some(agent.id.clone()),
        detail,
        ..AuditEvent::of(what)
    };
    write(event, context);
}

/// Notes a login, with the origin it came from.
pub(crate) fn login(
    id: &ProfileId,
    login: &Login,
    provider: &Provider,
    agent: &Agent,
    context: &Context,
) {
    let from = match &login.credential {
        Credential::OAuth(login) => login.token_endpoint.as_deref(),
        _ => provider.endpoints.token.as_deref(),
    };
    let event = AuditEvent {
        provider: Some(login.provider.clone()),
        profile: Some(id.clone()),
        agent: Some(agent.id.clone()),
        destination: from.and_then(origin),
        ..AuditEvent::of(AuditKind::Login)
    };
    write(event, context);
}

/// Notes that an agent may use what is not its own from now on, or no longer.
pub(crate) fn grant(agent: &Agent, detail: String, context: &Context) {
    let event = AuditEvent {
        agent: Some(agent.id.clone()),
        detail: Some(detail),
        ..AuditEvent::of(AuditKind::Grant)
    };
    write(event, context);
}

/// Notes that a token was handed out.
pub(crate) fn token(output: &TokenOutput, context: &Context) {
    let event = AuditEvent {
        provider: Some(output.provider.clone()),
        profile: output.profile.clone(),
        agent: Some(output.agent.clone()),
        detail: output.profile.is_none().then(|| output.source.clone()),
        ..AuditEvent::of(AuditKind::Token)
    };
    write(event, context);
}

/// The same for one that was fresh in the store, if those are to be noted too.
pub(crate) fn fresh_token(output: &TokenOutput, context: &Context) {
    if Settings::load(context).is_ok_and(|settings| settings.audit() == Audit::All) {
        token(output, context);
    }
}

fn write(event: AuditEvent, context: &Context) {
    // Settings that cannot be read are named by whoever changes them, and turn nothing off.
    let setting = Settings::load(context).map_or(Audit::Slow, |settings| settings.audit());
    if setting == Audit::Off {
        return;
    }
    let log = AuditLog::at(&context.paths().state_dir);
    if let Err(error) = log.record(&complete(event, context)) {
        context.say(format_args!("warning: the audit log was not written: {error}"));
    }
}

/// The event with when it was and who asked.
fn complete(event: AuditEvent, context: &Context) -> AuditEvent {
    AuditEvent {
        at: context.now(),
        program: parent::program(context),
        uid: parent::user(),
        ..event
    }
}

/// A network that notes each refresh token before it leaves.
pub(crate) struct Noted<'a> {
    http: &'a dyn HttpClient,
    log: Option<AuditLog>,
    event: AuditEvent,
}

impl<'a> Noted<'a> {
    /// The refreshes of `profile` by way of `http`.
    pub(crate) fn new(
        http: &'a dyn HttpClient,
        provider: &ProviderId,
        profile: &ProfileId,
        agent: &Agent,
        context: &Context,
    ) -> Self {
        let setting = Settings::load(context).map_or(Audit::Slow, |settings| settings.audit());
        let event = AuditEvent {
            provider: Some(provider.clone()),
            profile: Some(profile.clone()),
            agent: Some(agent.id.clone()),
            ..AuditEvent::of(AuditKind::Refresh)
        };
        let log = (setting != Audit::Off).then(|| AuditLog::at(&context.paths().state_dir));
        Self { http, log, event: complete(event, context) }
    }
}

impl HttpClient for Noted<'_> {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        if let Some(log) = self.log.as_ref().filter(|_| request.carries_secret()) {
            let event = AuditEvent { destination: origin(request.url()), ..self.event.clone() };
            if let Err(error) = log.record(&event) {
                tracing::warn!(%error, "the audit log was not written");
            }
        }
        self.http.send(request)
    }
}

fn origin(url: &str) -> Option<String> {
    Destinations::from_urls([url]).origins().pop()
}
