//! What was reported and is not in the files yet, so that the next request knows it already.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use auth_store::{Profile, ProfileId, Timestamp};

/// What waits to be written, by the directory of the agent and the profile.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    marks: AtomicU64,
    all: Mutex<HashMap<(PathBuf, ProfileId), Note>>,
}

/// What is known of one profile beyond its file.
#[derive(Debug, Default)]
struct Note {
    used: Option<Timestamp>,
    failed: Vec<Failed>,
}

#[derive(Debug)]
struct Failed {
    number: u64,
    model: Option<String>,
    until: Timestamp,
    at: Timestamp,
}

impl Notes {
    /// A number that is another one after every change.
    pub(crate) fn marks(&self) -> u64 {
        self.marks.load(Ordering::Acquire)
    }

    /// The profile was used.
    pub(crate) fn used(&self, directory: &Path, id: &ProfileId, at: Timestamp) {
        self.change(|all| of(all, directory, id).used = Some(at));
    }

    /// The profile, or one model of it, is in cooldown. The number takes the note back.
    pub(crate) fn failed(
        &self,
        directory: &Path,
        id: &ProfileId,
        model: Option<&str>,
        until: Timestamp,
        at: Timestamp,
    ) -> u64 {
        let number = self.marks();
        let model = model.map(str::to_owned);
        self.change(|all| of(all, directory, id).failed.push(Failed { number, model, until, at }));
        number
    }

    /// A failure is in the file now.
    pub(crate) fn is_written(&self, directory: &Path, id: &ProfileId, number: u64) {
        self.change(|all| of(all, directory, id).failed.retain(|failed| failed.number != number));
    }

    /// All uses up to `at` are in the files now.
    pub(crate) fn uses_are_written(&self, at: Timestamp) {
        self.change(|all| {
            all.retain(|_, note| {
                note.used = note.used.filter(|used| *used > at);
                note.failed.retain(|failed| failed.until > at);
                note.used.is_some() || !note.failed.is_empty()
            });
        });
    }

    /// Whether a cooldown of that one model waits to be written.
    pub(crate) fn is_about_model(&self, directory: &Path, id: &ProfileId, model: &str) -> bool {
        let all = self.lock();
        let is_it = |failed: &Failed| failed.model.as_deref() == Some(model);
        !all.is_empty()
            && all
                .get(&(directory.to_owned(), id.clone()))
                .is_some_and(|note| note.failed.iter().any(is_it))
    }

    /// The profile as it will be when all is written.
    pub(crate) fn lay_over(&self, directory: &Path, profile: &mut Profile, model: Option<&str>) {
        let all = self.lock();
        if all.is_empty() {
            return;
        }
        let Some(note) = all.get(&(directory.to_owned(), profile.id.clone())) else { return };
        let usage = &mut profile.usage;
        usage.last_used = usage.last_used.max(note.used);
        for failed in &note.failed {
            if failed.model.is_none() || failed.model.as_deref() == model {
                usage.cooldown_until = usage.cooldown_until.max(Some(failed.until));
                usage.last_failure_at = usage.last_failure_at.max(Some(failed.at));
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<(PathBuf, ProfileId), Note>)) {
        let mut all = self.lock();
        change(&mut all);
        self.marks.fetch_add(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(PathBuf, ProfileId), Note>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a>(
    all: &'a mut HashMap<(PathBuf, ProfileId), Note>,
    directory: &Path,
    id: &ProfileId,
) -> &'a mut Note {
    all.entry((directory.to_owned(), id.clone())).or_default()
}
