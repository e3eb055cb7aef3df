//! What a report writes: into the store, or, where it is about one model only, beside it.
//! Credentials are not touched.

use std::time::Duration;

use auth_routing::cooldown::response::Failure;
use auth_routing::session::selector::ModelRef;
use auth_routing::{
    CooldownPolicy, FailureReason, after_failure, after_pause, after_success, unusable_until,
};
use auth_store::{Document, ProfileId, ProviderId, Store, Timestamp, Usage};

use crate::host::error::CliError;

/// A profile that worked.
#[derive(Clone, Debug)]
pub(crate) struct Worked {
    /// Its id.
    pub(crate) id: ProfileId,
    /// The model that it was used with.
    pub(crate) model: Option<ModelRef>,
    /// When.
    pub(crate) at: Timestamp,
}

/// A profile that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failed<'a> {
    /// Its id.
    pub(crate) id: &'a ProfileId,
    /// Its provider.
    pub(crate) provider: &'a ProviderId,
    /// Why.
    pub(crate) failure: &'a Failure,
    /// The model that is in cooldown instead of the whole profile.
    pub(crate) model: Option<&'a ModelRef>,
    /// When.
    pub(crate) at: Timestamp,
}

impl Worked {
    /// The profile, and the model it was used with, are ready. `None`: the profile is gone.
    pub(crate) fn write(&self, store: &Store) -> Result<Option<Usage>, CliError> {
        let usage = store.update(|document| self.note(document, after_success))?;
        self.forget_model(store)?;
        Ok(usage)
    }

    /// The same of many, in one write. A profile that failed just now was asked before that, and
    /// its cooldown stays.
    pub(crate) fn write_all(all: &[Self], store: &Store) -> Result<(), CliError> {
        let after = |usage: &Usage, at: Timestamp| {
            let is_in_cooldown = unusable_until(usage).is_some_and(|until| at < until);
            let failed = usage.last_failure_at.filter(|_| is_in_cooldown);
            match failed {
                Some(failed) if at.since(failed) < LONGEST_ATTEMPT => {
                    Usage { last_used: Some(at), ..usage.clone() }
                }
                _ => after_success(usage, at),
            }
        };
        store.update(|document| {
            for worked in all {
                worked.note(document, after);
            }
        })?;
        all.iter().try_for_each(|worked| worked.forget_model(store))
    }

    fn note(
        &self,
        document: &mut Document,
        after: impl Fn(&Usage, Timestamp) -> Usage,
    ) -> Option<Usage> {
        let profile = document.profile(&self.id)?;
        let usage = after(&profile.usage, self.at);
        document.set_usage(&self.id, &usage);
        document.set_last_good(&profile.provider, &self.id);
        Some(usage)
    }

    fn forget_model(&self, store: &Store) -> Result<(), CliError> {
        let Some(model) = self.model.as_ref().map(ToString::to_string) else { return Ok(()) };
        if store.model_usage().get(&self.id, &model) != Usage::default() {
            store.update_model_usage(|usage| usage.forget_model(&self.id, &model))?;
        }
        Ok(())
    }
}

impl Failed<'_> {
    /// The profile, or the one model, is in cooldown. `None`: the profile is gone.
    pub(crate) fn write(
        &self,
        policy: &CooldownPolicy,
        store: &Store,
    ) -> Result<Option<Usage>, CliError> {
        let after = |usage: &Usage| {
            let (reason, until) = (self.failure.reason, self.failure.until);
            after_failure(usage, reason, policy, self.provider, until, self.at)
        };
        self.write_as(&after, policy, store)
    }

    /// The same for seconds, and no failure is counted.
    pub(crate) fn pause(
        &self,
        until: Timestamp,
        policy: &CooldownPolicy,
        store: &Store,
    ) -> Result<Option<Usage>, CliError> {
        self.write_as(&|usage| after_pause(usage, until), policy, store)
    }

    fn write_as(
        &self,
        next: &dyn Fn(&Usage) -> Usage,
        policy: &CooldownPolicy,
        store: &Store,
    ) -> Result<Option<Usage>, CliError> {
        let raw = Some(self.failure.raw.clone()).filter(|raw| !raw.is_empty());
        let after = |usage: &Usage| Usage { last_failure_raw: raw.clone(), ..next(usage) };
        let Some(model) = self.model.map(ToString::to_string) else {
            return Ok(store.update(|document| {
                let usage = after(&document.profile(self.id)?.usage);
                document.set_usage(self.id, &usage);
                Some(usage)
            })?);
        };
        let usage = store.update_model_usage(|known| {
            known.forget_before(self.at.minus(policy.failure_window), self.at);
            let usage = after(&known.get(self.id, &model));
            known.set(self.id, &model, &usage);
            usage
        })?;
        Ok(Some(usage))
    }
}

/// Overload is nobody's fault: out of use for seconds, and no failure is counted.
pub(crate) fn write_overload(
    id: &ProfileId,
    until: Timestamp,
    at: Timestamp,
    store: &Store,
) -> Result<(), CliError> {
    store.update(|document| {
        let Some(profile) = document.profile(id) else { return };
        let cooldown_until = profile.usage.cooldown_until.max(Some(until));
        let usage = Usage { cooldown_until, last_failure_at: Some(at), ..profile.usage };
        document.set_usage(id, &usage);
    })?;
    Ok(())
}

/// Whether what is wrong concerns all models: the credential, or its account.
pub(crate) fn is_about_the_account(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::Auth | FailureReason::Billing)
}

/// An answer that comes so long after a failure was asked for after it.
const LONGEST_ATTEMPT: Duration = Duration::from_mins(15);
