//! The accounts behind a server: the stores of the agents, as the command line reads and writes
//! them. Nothing is kept here that is not in a file, but for what is on its way there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use auth_gateway::{
    Accounts, AccountsError, Candidate, Fingerprint, Live, Question, Reason, overload_end,
};
use auth_routing::cooldown::judgement::{Class, Judgement};
use auth_routing::session::selector::ModelRef;
use auth_store::{Credential, KeyReference, ProfileId, Timestamp};

use crate::flows::gateway::notes::Notes;
use crate::flows::gateway::renewals::{Renewals, told};
use crate::flows::gateway::reporter::{Failure, Report, Reporter};
use crate::flows::gateway::snapshot::{GOOD_ENOUGH, Snapshot, live};
use crate::host::context::Surroundings;
use crate::host::error::CliError;
use crate::host::shell_quote::command;
use crate::profiles::cooldowns::usage::Worked;
use crate::profiles::key_reference;

/// The accounts of the agents of a state directory.
pub(crate) struct StoreAccounts {
    surroundings: Surroundings,
    snapshots: RwLock<HashMap<Whose, Arc<Snapshot>>>,
    notes: Arc<Notes>,
    reporter: Reporter,
    renewals: Renewals,
}

/// An agent by the name that was given, and a session.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Whose {
    agent: Option<String>,
    session: Option<String>,
}

impl StoreAccounts {
    /// The accounts as `surroundings` find them.
    pub(crate) fn new(surroundings: Surroundings) -> Result<Self, CliError> {
        let notes = Arc::new(Notes::default());
        Ok(Self {
            reporter: Reporter::start(surroundings.clone(), Arc::clone(&notes))?,
            renewals: Renewals::new(surroundings.clone()),
            snapshots: RwLock::default(),
            surroundings,
            notes,
        })
    }

    /// Writes all reports that wait. Later ones are lost.
    pub(crate) fn finish(&self) {
        self.reporter.finish();
    }

    fn now(&self) -> Timestamp {
        self.surroundings.now()
    }

    fn snapshot(&self, question: &Question<'_>) -> Result<Arc<Snapshot>, AccountsError> {
        let whose = Whose {
            agent: question.agent.map(str::to_owned),
            session: question.session.map(str::to_owned),
        };
        let known = {
            let all = self.snapshots.read().unwrap_or_else(PoisonError::into_inner);
            all.get(&whose).cloned()
        };
        if let Some(known) = known.filter(|known| known.is_current()) {
            return Ok(known);
        }
        // It may have to wait for a lock.
        let read = tokio::task::block_in_place(|| {
            let context = self.surroundings.context();
            let read = Snapshot::read(question.agent, question.session, &context);
            context.say_recoveries();
            read
        });
        let read = Arc::new(read.map_err(|error| told(&error))?);
        let mut all = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(whose, Arc::clone(&read));
        Ok(read)
    }

    /// The credential as it is stored, if it can be sent as it is.
    fn stored(
        &self,
        snapshot: &Snapshot,
        profile: &ProfileId,
        refused: Option<&Fingerprint>,
    ) -> Option<(Live, bool)> {
        let (credential, account) = snapshot.credential(profile)?;
        let now = self.now();
        let is_fresh = credential.is_fresh(now, std::time::Duration::ZERO);
        if !is_fresh && !credential.is_valid(now.plus(GOOD_ENOUGH)) {
            return None;
        }
        let live = match credential {
            Credential::Reference(KeyReference::Env { id }) => {
                let key = key_reference::in_variable(id, self.surroundings.env(id).as_deref());
                live(&Credential::ApiKey(key.ok()?.secret), account.as_ref())
            }
            known => live(known, account.as_ref()),
        }?;
        let is_refused = refused.is_some_and(|refused| *refused == live.fingerprint());
        (!is_refused).then_some((live, is_fresh))
    }
}

impl Accounts for StoreAccounts {
    fn plan(&self, question: &Question<'_>) -> Result<Arc<[Candidate]>, AccountsError> {
        let snapshot = self.snapshot(question)?;
        let planned = snapshot.plan(question.provider, question.model, &self.notes, self.now());
        let Some(only) = question.profile else { return Ok(Arc::clone(&planned.candidates)) };
        let only = planned.candidates.iter().filter(|candidate| candidate.profile == *only);
        Ok(only.cloned().collect())
    }

    async fn credential(
        &self,
        question: &Question<'_>,
        profile: &ProfileId,
        refused: Option<&Fingerprint>,
    ) -> Result<Live, AccountsError> {
        let snapshot = self.snapshot(question)?;
        if let Some(origin) = snapshot.foreign(profile) {
            let show = command("models auth destination show", &[profile], "");
            let message = format!("the secret of `{profile}` is not for {origin}; see: {show}");
            return Err(AccountsError { reason: Reason::NotThere, message });
        }
        match self.stored(&snapshot, profile, refused) {
            Some((live, true)) => return Ok(live),
            Some((live, false)) => {
                self.renewals.begin(snapshot.holder(profile), profile, refused);
                return Ok(live);
            }
            None => {}
        }
        self.renewals.wait_for(snapshot.holder(profile), profile, refused).await
    }

    fn report(&self, question: &Question<'_>, profile: &ProfileId, judgement: &Judgement) {
        let Ok(snapshot) = self.snapshot(question) else { return };
        let (holder, at) = (snapshot.holder(profile).clone(), self.now());
        let model = question
            .model
            .map(|model| ModelRef { provider: question.provider.clone(), model: model.to_owned() });
        let Some(failure) = &judgement.failure else {
            let plan = snapshot.plan(question.provider, question.model, &self.notes, at);
            if plan.is_rotating {
                self.notes.used(&holder.directory, profile, at);
            }
            let worked = Worked { id: profile.clone(), model, at };
            return self.reporter.take(Report::Worked(holder, worked));
        };
        let is_charged = matches!(
            judgement.class,
            Class::Credential | Class::Forbidden | Class::Billing | Class::Limit | Class::Overload
        );
        if !is_charged {
            return;
        }
        let model = model.filter(|_| judgement.is_of_one_model);
        let is_overload = judgement.class == Class::Overload;
        let overload_until = is_overload.then(|| overload_end(failure.until, at));
        // What the file will say is not known before it is read; for a moment this will do.
        let until = overload_until.or(failure.until).unwrap_or_else(|| at.plus(FIRST_COOLDOWN));
        let name = model.as_ref().map(ToString::to_string);
        let note = self.notes.failed(&holder.directory, profile, name.as_deref(), until, at);
        let failure = Failure {
            id: profile.clone(),
            provider: question.provider.clone(),
            why: failure.clone(),
            overload_until,
            model,
            at,
            note,
        };
        self.reporter.take(Report::Failed(holder, failure));
    }
}

impl fmt::Debug for StoreAccounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StoreAccounts").finish_non_exhaustive()
    }
}

/// The shortest cooldown of a failure whose end nobody stated.
const FIRST_COOLDOWN: std::time::Duration = std::time::Duration::from_mins(1);
