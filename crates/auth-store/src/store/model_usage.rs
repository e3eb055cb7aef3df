//! What the store's own file has no place for, in a file of ours beside it: `.auth-models.json`.
//!
//! A provider may refuse one model of an account and serve the others, so a rest can belong to a
//! model of a profile. The file also remembers which entries of the runtime cache are ours (see
//! [`RuntimeCache`](crate::RuntimeCache)). Nothing in it is secret, and nothing depends on it for
//! longer than a rest lasts: a damaged file is as good as none.

use serde_json::value::RawValue;

use crate::document::json::{self, Object};
use crate::document::usage::Usage;
use crate::error::StoreError;
use crate::fs::atomic::{self, NextFile};
use crate::fs::flock::FileLock;
use crate::fs::open::read_trusted;
use crate::id::ProfileId;
use crate::paths;
use crate::store::Store;
use crate::time::Timestamp;

/// What routing remembers about single models of profiles.
#[derive(Clone, Debug, Default)]
pub struct ModelUsage {
    members: Object<'static>,
    models: Object<'static>,
    is_changed: bool,
}

impl ModelUsage {
    fn parse(bytes: &[u8]) -> Self {
        let members: Object<'_> = serde_json::from_slice(bytes).unwrap_or_default();
        let models = Object::from_raw(members.get(MODELS)).into_owned();
        Self { members: members.into_owned(), models, is_changed: false }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        members.set("version", &1);
        members.set(MODELS, &self.models);
        // `Object` serialises infallibly: string keys, raw values.
        let mut text = json::indent(&serde_json::to_string(&members).unwrap_or_default());
        text.push('\n');
        text.into_bytes()
    }

    /// What is known of `model` with the profile `id`.
    pub fn get(&self, id: &ProfileId, model: &str) -> Usage {
        Usage::from_raw(self.of(id).get(model))
    }

    /// The models of which something is known with the profile `id`.
    pub fn models(&self, id: &ProfileId) -> Vec<(String, Usage)> {
        let models = self.of(id);
        models.iter().map(|(model, raw)| (model.to_owned(), Usage::from_raw(Some(raw)))).collect()
    }

    /// Sets what is known of `model` with the profile `id`.
    pub fn set(&mut self, id: &ProfileId, model: &str, usage: &Usage) {
        let mut models = self.of(id).into_owned();
        let written = usage.write_over(models.get(model));
        models.set(model, &written);
        self.put(id, &models);
    }

    /// Forgets `model` with the profile `id`.
    pub fn forget_model(&mut self, id: &ProfileId, model: &str) {
        let mut models = self.of(id).into_owned();
        if models.remove(model) {
            self.put(id, &models);
        }
    }

    /// Forgets all models of the profile `id`.
    pub fn forget(&mut self, id: &ProfileId) {
        self.is_changed |= self.models.remove(id.as_str());
    }

    /// Forgets the models whose rest is over and that did not fail since `then`.
    pub fn forget_before(&mut self, then: Timestamp, now: Timestamp) {
        let ids: Vec<_> = self.models.iter().map(|(id, _)| ProfileId::new(id)).collect();
        for id in ids {
            for (model, usage) in self.models(&id) {
                let is_over = usage.cooldown_until.is_none_or(|end| end <= now);
                if is_over && usage.last_failure_at.is_none_or(|at| at < then) {
                    self.forget_model(&id, &model);
                }
            }
        }
    }

    /// The hashes of the keys that we wrote into the runtime cache.
    pub(crate) fn cached(&self) -> Vec<String> {
        let raw = self.members.get(CACHED).map(RawValue::get);
        raw.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
    }

    pub(crate) fn set_cached(&mut self, hashes: &[String]) {
        if self.cached() != hashes {
            self.members.set(CACHED, &hashes);
            self.is_changed = true;
        }
    }

    fn of(&self, id: &ProfileId) -> Object<'_> {
        Object::from_raw(self.models.get(id.as_str()))
    }

    fn put(&mut self, id: &ProfileId, models: &Object<'_>) {
        if models.is_empty() {
            self.models.remove(id.as_str());
        } else {
            self.models.set(id.as_str(), models);
        }
        self.is_changed = true;
    }
}

impl Store {
    /// What is known of single models, without a lock.
    pub fn model_usage(&self) -> ModelUsage {
        self.read_model_usage().unwrap_or_default()
    }

    /// The same for a change.
    ///
    /// # Errors
    /// It cannot be read: write nothing over it.
    pub(crate) fn read_model_usage(&self) -> Result<ModelUsage, StoreError> {
        let path = paths::model_usage(paths::directory_of(&self.canonical_path()));
        let bytes = read_trusted(&path)?;
        Ok(bytes.map(|bytes| ModelUsage::parse(&bytes)).unwrap_or_default())
    }

    /// Has `edit` change what is known of single models, under the kernel lock. The store's own
    /// file is not touched. Nothing is written if nothing was changed.
    ///
    /// # Errors
    /// Nothing was written. [`StoreError::Busy`] if another process held the lock all the time.
    pub fn update_model_usage<T>(
        &self,
        edit: impl FnOnce(&mut ModelUsage) -> T,
    ) -> Result<T, StoreError> {
        let lock = self.lock_companions()?;
        let mut usage = self.read_model_usage()?;
        let result = edit(&mut usage);
        write(&usage, &lock)?;
        Ok(result)
    }
}

/// Writes `usage` beside the store, if it was changed. Not synced: the loss of a rest is no loss.
pub(crate) fn write(usage: &ModelUsage, lock: &FileLock) -> Result<(), StoreError> {
    if !usage.is_changed {
        return Ok(());
    }
    let directory = paths::directory_of(&lock.path);
    let (path, temporary) = (paths::model_usage(directory), paths::next_model_usage(directory));
    // Only the holder of the lock makes one: one that is left over is a dead one's.
    atomic::remove(&temporary)?;
    let mut next = NextFile::create(&path, &temporary, 0)?;
    next.fill(&usage.to_bytes())?;
    next.install_without_sync()
}

const MODELS: &str = "models";
const CACHED: &str = "cachedSha256";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(end: i64) -> Usage {
        Usage { cooldown_until: Some(Timestamp(end)), ..Usage::default() }
    }

    #[test]
    fn a_rest_belongs_to_one_model_of_one_profile() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("agent/auth-profiles.json"));
        let (one, other) = (ProfileId::from("a:1"), ProfileId::from("a:2"));
        store.update_model_usage(|usage| usage.set(&one, "a/big", &at(5))).unwrap();
        let usage = store.model_usage();
        assert_eq!(usage.get(&one, "a/big"), at(5));
        assert_eq!(usage.get(&one, "a/small"), Usage::default());
        assert_eq!(usage.get(&other, "a/big"), Usage::default());
        assert!(!store.path().exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let path = paths::model_usage(&directory.path().join("agent"));
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_cannot_be_read_now_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("auth-profiles.json"));
        let (id, file) = (ProfileId::from("a:1"), paths::model_usage(directory.path()));
        let set = || store.update_model_usage(|usage| usage.set(&id, "a/big", &at(5)));
        // A link to itself: there is something, and nobody can say what.
        std::os::unix::fs::symlink(&file, &file).unwrap();
        assert!(set().is_err() && file.is_symlink());
        assert!(store.follow_routing(&directory.path().join("auth.json"), |_, _| vec![]).is_err());
        // For reading it is as good as none.
        assert!(store.model_usage().models(&id).is_empty());
        std::fs::remove_file(&file).unwrap();
        set().unwrap();
        assert_eq!(store.model_usage().get(&id, "a/big"), at(5));
    }

    #[test]
    fn what_we_do_not_know_stays_and_what_is_over_goes() {
        let text = br#"{"version": 1, "x": [1.50], "models": {
            "a:1": {"a/old": {"cooldownUntil": 5}, "a/new": {"cooldownUntil": 9, "y": 2}}}}"#;
        let mut usage = ModelUsage::parse(text);
        usage.forget_before(Timestamp(0), Timestamp(5));
        let id = ProfileId::from("a:1");
        usage.set(&id, "a/new", &at(10));
        let text = String::from_utf8(usage.to_bytes()).unwrap();
        assert!(text.contains("1.50") && text.contains("\"y\": 2"), "{text}");
        assert_eq!(usage.models(&id), [("a/new".to_owned(), at(10))]);
        usage.forget(&id);
        assert!(usage.models(&id).is_empty());
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        for text in ["", "{", "[]", r#"{"models": 1, "cachedSha256": {}}"#] {
            let usage = ModelUsage::parse(text.as_bytes());
            assert!(usage.models(&ProfileId::from("a")).is_empty() && usage.cached().is_empty());
        }
    }
}
