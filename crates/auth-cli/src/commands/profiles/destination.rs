//! `models auth destination show|accept`: where the secrets of a profile may be sent to.

use auth_providers::{Destinations, Provider};
use auth_store::{Credential, Document, ProfileId};
use serde_json::{Map, json};

use crate::agent::Agent;
use crate::agent::invocation::Invocation;
use crate::agent::shared::Seen;
use crate::commands::profiles::args::DestinationArgs;
use crate::host::error::CliError;
use crate::host::report::Report;
use crate::host::shell_quote::command;
use crate::profiles::view::{self, no_profile};

/// Shows the origins that are recorded, and those of the provider's entry.
pub fn show(args: &DestinationArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (id, agent) = (ProfileId::new(args.profile.as_str()), invocation.agent()?);
    let seen = Seen::by(agent, &*invocation.config()?, invocation.context)?;
    let found = Found::of(&id, &seen.document, agent, invocation)?;
    Ok(found.report(agent))
}

/// Adds the origins of the provider's entry to those of the profile.
pub fn accept(args: &DestinationArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let (id, agent) = (ProfileId::new(args.profile.as_str()), invocation.agent()?);
    let seen = Seen::by(agent, &*invocation.config()?, invocation.context)?;
    let holder = seen.holder(&id, agent).clone();
    let found = Found::of(&id, &seen.document, agent, invocation)?;
    let all = found.known.and(&found.provider.destinations());
    let mut record = Map::new();
    record.insert(Credential::DESTINATIONS.to_owned(), all.origins().into());
    let is_there = invocation.change(&holder, |document| document.set_fields(&id, &record))?;
    if !is_there {
        return Err(no_profile(&id, &seen.document, agent));
    }
    let mut report = Found { known: all, source: "recorded", ..found }.report(agent);
    report.note(format_args!("Accepted: the secrets of `{id}` may be sent to these origins."));
    Ok(report)
}

/// A profile, and the two sides.
struct Found {
    id: ProfileId,
    provider: Provider,
    /// The origins that its secrets may be sent to.
    known: Destinations,
    /// Where these come from.
    source: &'static str,
}

impl Found {
    fn of(
        id: &ProfileId,
        document: &Document,
        agent: &Agent,
        invocation: &Invocation<'_>,
    ) -> Result<Self, CliError> {
        let profile = document.profile(id).ok_or_else(|| no_profile(id, document, agent))?;
        let credential = document.credential(id).ok_or_else(|| no_profile(id, document, agent))?;
        let providers = view::providers(invocation.context);
        let provider = providers.find(&profile.provider).cloned().ok_or_else(|| {
            CliError::usage(format!("no entry describes the provider `{}`", profile.provider))
                .hint("its secrets are sent nowhere; see which there are: clawdbot plugins list")
                .profile(id)
        })?;
        let recorded = document.destinations(id);
        let source = match &recorded {
            Some(_) => "recorded",
            None => "derived",
        };
        let known = provider.credential_destinations(&credential, recorded.as_deref());
        Ok(Self { id: id.clone(), provider, known, source })
    }

    fn report(&self, agent: &Agent) -> Report {
        let foreign = self.provider.foreign_destinations(&self.known);
        let named = foreign.iter().map(|it| json!({ "what": it.what, "origin": it.wanted }));
        let mut report = Report::from_data(json!({
            "agentId": agent.id,
            "profileId": self.id,
            "provider": self.provider.id,
            "source": self.source,
            "destinations": self.known.origins(),
            "refused": named.collect::<Vec<_>>(),
        }));
        let how = match self.source {
            "recorded" => "recorded with it",
            _ => "not recorded: the catalogue's, or that of its token endpoint",
        };
        report.line(format_args!("The secrets of `{}` may be sent to ({how}):", self.id));
        for origin in self.known.origins() {
            report.line(format_args!("  {origin}"));
        }
        if !foreign.is_empty() {
            report.line("The entry of the provider names others, which get nothing:");
            for it in &foreign {
                report.line(format_args!("  {}  ({})", it.wanted, it.what));
            }
            let accept = command("models auth destination accept", &[&self.id], &agent.option());
            report.note(format_args!("If you trust them: {accept}"));
        }
        report
    }
}
