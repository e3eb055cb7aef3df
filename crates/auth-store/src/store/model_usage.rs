//! `.auth-models.json` beside the store: data that the store's own file has no place for.
//!
//! A provider may refuse one model of an account and serve the others, so a cooldown can belong to
//! one model of a profile. The file also records which entries of the runtime cache are ours (see
//! [`RuntimeCache`](crate::RuntimeCache)). It contains no secrets, and nothing depends on it for
//! longer than a cooldown. So a damaged file is read as empty, and is renamed before the next
//! write.

use std::path::{Path, PathBuf};

use crate::document;
use crate::document::json::{self, Object};
use crate::document::json_layout::Layout;
use crate::document::usage::Usage;
use crate::error::{ParseError, StoreError};
use crate::fs::atomic::{self, NextFile};
use crate::fs::flock::FileLock;
use crate::fs::open::read_trusted;
use crate::id::ProfileId;
use crate::paths;
use crate::store::Store;
use crate::time::{Clock as _, SystemClock, Timestamp};

/// The usage of individual models of profiles, as routing records it.
#[derive(Clone, Debug, Default)]
pub struct ModelUsage {
    /// All members of the file; `models` is opened.
    members: Object<'static>,
}

impl ModelUsage {
    fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (members, _) = document::object(bytes, &[MODELS])?;
        Ok(Self { members: members.into_owned() })
    }

    /// Whether the file has only what we write. Otherwise it must not be written again.
    fn is_whole(&self) -> bool {
        let is_object = |raw: &[u8]| Object::parse(raw).is_some();
        let are_objects = |raw: &[u8]| {
            Object::parse(raw).is_some_and(|models| models.iter().all(|(_, raw)| is_object(raw)))
        };
        let is_list = |raw: &[u8]| {
            json::elements(raw)
                .is_some_and(|it| it.iter().all(|raw| json::string(Some(raw)).is_some()))
        };
        self.members.get(MODELS).is_none()
            && self.all().iter().all(|(_, raw)| are_objects(raw))
            && self.members.get(CACHED).is_none_or(is_list)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        members.section_mut(MODELS, &[CACHED]);
        if !members.contains("version") {
            members.set("version", &1);
        }
        let mut bytes = Vec::new();
        members.write(&Layout::javascript(), &mut bytes);
        bytes.push(b'\n');
        bytes
    }

    fn all(&self) -> &Object<'static> {
        self.members.section(MODELS).unwrap_or(const { &Object::EMPTY })
    }

    /// The usage of `model` with the profile `id`.
    pub fn get(&self, id: &ProfileId, model: &str) -> Usage {
        Usage::from_raw(self.for_profile(id).get(model))
    }

    /// The models of the profile `id` with a recorded usage.
    pub fn models(&self, id: &ProfileId) -> Vec<(String, Usage)> {
        let models = self.for_profile(id);
        models.iter().map(|(model, raw)| (model.into_owned(), Usage::from_raw(Some(raw)))).collect()
    }

    /// Sets the usage of `model` with the profile `id`.
    pub fn set(&mut self, id: &ProfileId, model: &str, usage: &Usage) {
        let mut models = self.for_profile(id).into_owned();
        let mut of_model = Object::from_raw(models.get(model)).into_owned();
        usage.write_over(&mut of_model);
        models.set_edited(model, &of_model);
        self.put(id, &models);
    }

    /// Removes the usage of `model` with the profile `id`.
    pub fn forget_model(&mut self, id: &ProfileId, model: &str) {
        let mut models = self.for_profile(id).into_owned();
        if models.remove(model) {
            self.put(id, &models);
        }
    }

    /// Removes the usage of all models of the profile `id`.
    pub fn forget(&mut self, id: &ProfileId) {
        if self.all().contains(id.as_str())
            && let Some(models) = self.members.section_mut(MODELS, &[CACHED])
        {
            models.remove(id.as_str());
        }
    }

    /// Removes the models whose cooldown is over and that did not fail since `then`.
    pub fn forget_before(&mut self, then: Timestamp, now: Timestamp) {
        let ids: Vec<_> = self.all().iter().map(|(id, _)| ProfileId::new(id)).collect();
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
        let hashes = self.members.get(CACHED).and_then(json::elements).unwrap_or_default();
        hashes.into_iter().filter_map(|hash| json::string(Some(hash))).collect()
    }

    pub(crate) fn set_cached(&mut self, hashes: &[String]) {
        if self.cached() != hashes {
            self.members.set(CACHED, &hashes);
        }
    }

    fn for_profile(&self, id: &ProfileId) -> Object<'_> {
        Object::from_raw(self.all().get(id.as_str()))
    }

    fn put(&mut self, id: &ProfileId, models: &Object<'_>) {
        let Some(all) = self.members.section_mut(MODELS, &[CACHED]) else { return };
        if models.is_empty() {
            all.remove(id.as_str());
        } else {
            all.set_edited(id.as_str(), models);
        }
    }
}

impl Store {
    /// The usage of individual models, read without a lock.
    pub fn model_usage(&self) -> ModelUsage {
        self.read_model_usage().unwrap_or_default()
    }

    /// Like [`model_usage`](Self::model_usage), with errors.
    ///
    /// # Errors
    /// It is damaged or cannot be read. Do not overwrite it.
    pub(crate) fn read_model_usage(&self) -> Result<ModelUsage, StoreError> {
        let path = self.model_usage_path();
        let bytes = read_trusted(&path)?.filter(|bytes| !bytes.is_empty());
        let Some(bytes) = bytes else { return Ok(ModelUsage::default()) };
        ModelUsage::parse(&bytes).map_err(|error| StoreError::Damaged { path, error })
    }

    fn model_usage_path(&self) -> PathBuf {
        paths::model_usage(paths::directory_of(&self.canonical_path()))
    }

    /// The usage of individual models for a change, under the kernel lock. A file that we did not
    /// write in this form is renamed, and this returns an empty one.
    ///
    /// # Errors
    /// It cannot be read or renamed, or a newer program wrote it. Do not overwrite it.
    pub(crate) fn model_usage_to_change(&self, _lock: &FileLock) -> Result<ModelUsage, StoreError> {
        let path = self.model_usage_path();
        match self.read_model_usage() {
            Ok(usage) => match usage.members.get("version").map(json::number) {
                Some(version) if version > 1.0 => Err(StoreError::Newer { path, version }),
                _ if usage.is_whole() => Ok(usage),
                _ => set_aside(&path),
            },
            Err(StoreError::Damaged { .. }) => set_aside(&path),
            Err(error) => Err(error),
        }
    }

    /// Changes the usage of individual models with `edit`, under the kernel lock. The store's own
    /// file is not touched. An unchanged file is not written.
    ///
    /// # Errors
    /// Nothing was written. [`StoreError::Busy`] if another process held the lock until the
    /// timeout.
    pub fn update_model_usage<T>(
        &self,
        edit: impl FnOnce(&mut ModelUsage) -> T,
    ) -> Result<T, StoreError> {
        let lock = self.lock_companions()?;
        let mut usage = self.model_usage_to_change(&lock)?;
        let result = edit(&mut usage);
        write(&usage, &lock)?;
        Ok(result)
    }
}

/// Renames the damaged file, so that it is kept.
fn set_aside(path: &Path) -> Result<ModelUsage, StoreError> {
    atomic::set_aside(path, &paths::damaged_copy(path, SystemClock.now(), rand::random()))?;
    Ok(ModelUsage::default())
}

/// Writes `usage` beside the store, if it was changed. It is not synced: losing a cooldown does no
/// harm.
pub(crate) fn write(usage: &ModelUsage, lock: &FileLock) -> Result<(), StoreError> {
    if !usage.members.is_changed() {
        return Ok(());
    }
    let directory = paths::directory_of(&lock.path);
    let (path, temporary) = (paths::model_usage(directory), paths::next_model_usage(directory));
    // Only the holder of the lock creates one, so an old one is from a crashed process.
    atomic::remove(&temporary)?;
    let mut next = NextFile::create(&path, &temporary, 0)?;
    next.fill(&usage.to_bytes())?;
    next.install_without_sync()
}

const MODELS: &str = "models";
const CACHED: &str = "cachedSha256";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn at(end: i64) -> Usage {
        Usage { cooldown_until: Some(Timestamp(end)), ..Usage::default() }
    }

    #[test]
    fn a_cooldown_belongs_to_one_model_of_one_profile() {
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
        // A link to itself: it exists, and cannot be read.
        std::os::unix::fs::symlink(&file, &file).unwrap();
        assert!(set().is_err() && file.is_symlink());
        assert!(store.follow_routing(&directory.path().join("auth.json"), |_, _| vec![]).is_err());
        // Reading treats it as empty.
        assert!(store.model_usage().models(&id).is_empty());
        fs::remove_file(&file).unwrap();
        set().unwrap();
        assert_eq!(store.model_usage().get(&id, "a/big"), at(5));
    }

    #[test]
    fn what_we_do_not_know_stays_and_what_is_over_goes() {
        let text = br#"{"version": 1, "x": [1.50], "models": {
            "a:1": {"a/old": {"cooldownUntil": 5}, "a/new": {"cooldownUntil": 9, "y": 2}}}}"#;
        let mut usage = ModelUsage::parse(text).unwrap();
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
    fn a_damaged_file_is_as_good_as_none_and_kept_when_another_is_written() {
        for text in [
            "{",
            "[]",
            "\0\0",
            r#"{"models": 1, "cachedSha256": {}}"#,
            r#"{"models": {"a": 1}}"#,
            r#"{"models": {"a": {"m": []}}}"#,
            r#"{"cachedSha256": [1]}"#,
        ] {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::at(directory.path().join("auth-profiles.json"));
            let (id, file) = (ProfileId::from("a"), paths::model_usage(directory.path()));
            atomic::write_atomic(&file, text.as_bytes()).unwrap();
            assert_eq!(store.model_usage().get(&id, "m"), Usage::default());
            assert!(store.model_usage().cached().is_empty());
            store.update_model_usage(|usage| usage.set(&id, "m", &at(5))).unwrap();
            assert_eq!(store.model_usage().get(&id, "m"), at(5));
            let names = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path());
            let kept = names.filter(|it| it.to_string_lossy().contains(".corrupt."));
            let kept: Vec<_> = kept.map(|it| fs::read_to_string(it).unwrap()).collect();
            assert_eq!(kept, [text]);
        }
    }

    #[test]
    fn a_file_of_a_newer_version_is_read_and_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("auth-profiles.json"));
        let (id, file) = (ProfileId::from("a"), paths::model_usage(directory.path()));
        let text = r#"{"version": 2, "models": {"a": {"m": {"cooldownUntil": 5}}}}"#;
        atomic::write_atomic(&file, text.as_bytes()).unwrap();
        assert_eq!(store.model_usage().get(&id, "m"), at(5));
        let refused = store.update_model_usage(|usage| usage.set(&id, "m", &at(6)));
        assert!(matches!(refused, Err(StoreError::Newer { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}
