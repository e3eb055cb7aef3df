//! Accounts in memory, for tests and for programs that keep their accounts elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_routing::cooldown::judgement::{Class, Judgement, overload_end};
use auth_routing::{CooldownPolicy, after_failure, after_success, unusable_until};
use auth_store::{Clock, Kind, ProfileId, ProviderId, Secret, Timestamp, Usage};

use crate::accounts::{Accounts, AccountsError, Candidate, Cooldown, Fingerprint, Live, Question};

/// Accounts in memory, in the order in which they were added.
pub struct MemoryAccounts {
    clock: Arc<dyn Clock>,
    accounts: Mutex<Vec<Account>>,
}

struct Account {
    provider: ProviderId,
    profile: ProfileId,
    live: Live,
    /// The secrets that refreshes yield, in this order.
    next: Vec<Secret>,
    usage: Usage,
    /// The cooldowns of individual models.
    models: HashMap<String, Cooldown>,
}

impl MemoryAccounts {
    /// An empty set of accounts.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, accounts: Mutex::default() }
    }

    /// Adds an account. Its refreshes yield the secrets of `next`, in order.
    pub fn add(&self, provider: &str, profile: &str, live: Live, next: Vec<Secret>) {
        self.with(|accounts| {
            accounts.push(Account {
                provider: ProviderId::new(provider),
                profile: ProfileId::from(profile),
                live,
                next,
                usage: Usage::default(),
                models: HashMap::new(),
            });
        });
    }

    /// The recorded usage of a profile.
    pub fn usage(&self, profile: &str) -> Usage {
        self.with(|accounts| {
            let found = accounts.iter().find(|account| account.profile.as_str() == profile);
            found.map(|account| account.usage.clone()).unwrap_or_default()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Account>) -> T) -> T {
        act(&mut self.accounts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Accounts for MemoryAccounts {
    fn plan(&self, question: &Question<'_>) -> Result<Arc<[Candidate]>, AccountsError> {
        let now = self.clock.now();
        let candidates: Arc<[_]> = self.with(|accounts| {
            let ours = accounts.iter().filter(|account| {
                account.provider == *question.provider
                    && question.profile.is_none_or(|only| *only == account.profile)
            });
            ours.map(|account| account.candidate(question.model, now)).collect()
        });
        if candidates.is_empty() {
            return Err(AccountsError::new(format!("no profile of `{}`", question.provider)));
        }
        Ok(candidates)
    }

    async fn credential(
        &self,
        question: &Question<'_>,
        profile: &ProfileId,
        refused: Option<&Fingerprint>,
    ) -> Result<Live, AccountsError> {
        self.with(|accounts| {
            let mut all = accounts.iter_mut();
            let account = all
                .find(|it| it.provider == *question.provider && it.profile == *profile)
                .ok_or_else(|| AccountsError::new(format!("no profile `{profile}`")))?;
            if refused.is_some_and(|refused| *refused == account.live.fingerprint()) {
                if account.next.is_empty() {
                    return Err(AccountsError::new(format!("`{profile}` needs a new login")));
                }
                account.live.secret = account.next.remove(0);
            }
            Ok(account.live.clone())
        })
    }

    fn report(&self, question: &Question<'_>, profile: &ProfileId, judgement: &Judgement) {
        let now = self.clock.now();
        self.with(|accounts| {
            let mut all = accounts.iter_mut();
            if let Some(account) =
                all.find(|it| it.provider == *question.provider && it.profile == *profile)
            {
                account.note(question, judgement, now);
            }
        });
    }
}

impl Account {
    fn candidate(&self, model: Option<&str>, now: Timestamp) -> Candidate {
        let until = unusable_until(&self.usage).filter(|until| now < *until);
        let whole =
            until.map(|until| Cooldown { until, since: self.usage.last_failure_at.unwrap_or(now) });
        let of_model = model.and_then(|model| self.models.get(model)).copied();
        let cooldown = whole.or(of_model.filter(|it| now < it.until));
        Candidate { profile: self.profile.clone(), kind: self.live.kind, cooldown }
    }

    fn note(&mut self, question: &Question<'_>, judgement: &Judgement, now: Timestamp) {
        let Some(failure) = &judgement.failure else {
            self.usage = after_success(&self.usage, now);
            return;
        };
        match (judgement.class, question.model) {
            (Class::Overload, _) => {
                let until = Some(overload_end(failure.until, now));
                self.usage.cooldown_until = self.usage.cooldown_until.max(until);
                self.usage.last_failure_at = Some(now);
            }
            (Class::Limit, Some(model)) if judgement.is_of_one_model => {
                let until = failure.until.unwrap_or_else(|| now.plus(Duration::from_mins(1)));
                self.models.insert(model.to_owned(), Cooldown { until, since: now });
            }
            (Class::Credential | Class::Forbidden | Class::Billing | Class::Limit, _) => {
                self.usage = after_failure(
                    &self.usage,
                    failure.reason,
                    &CooldownPolicy::default(),
                    question.provider,
                    failure.until,
                    now,
                );
            }
            _ => {}
        }
    }
}

/// An API key as a live credential.
impl Live {
    /// An API key.
    pub fn api_key(key: &str) -> Self {
        Self { kind: Kind::ApiKey, secret: Secret::new(key), account: None, expires: None }
    }
}
