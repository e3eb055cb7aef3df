//! A cache of the store for programs that ask often: one system call shows that the store has not
//! changed, and no byte is read.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, PoisonError, RwLock};

use auth_store::{Credential, ProfileId, Stamp, Store, StoreError, Timestamp};

/// The content of a store when it was last read.
#[derive(Default)]
pub struct Warm(RwLock<Option<Arc<Seen>>>);

struct Seen {
    stamp: Stamp,
    /// Kept open, so that no other file gets the same inode number.
    _file: File,
    credentials: HashMap<ProfileId, Credential>,
}

impl Warm {
    /// The credential of the profile `id` in `store`, which is read only if it may have changed.
    /// `None`: there is no usable entry for that id.
    ///
    /// # Errors
    /// Those of [`Store::read`].
    pub fn credential(
        &self,
        store: &Store,
        id: &ProfileId,
        now: Timestamp,
    ) -> Result<Option<Credential>, StoreError> {
        let seen = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(seen) = seen
            && std::fs::metadata(store.path()).ok().and_then(|it| Stamp::from_metadata(&it))
                == Some(seen.stamp)
        {
            return Ok(seen.credentials.get(id).cloned());
        }
        let (document, file) = store.read_open()?;
        let Some((file, stamp)) = file.and_then(|(file, as_it_was)| {
            let stamp = Stamp::from_metadata(&as_it_was).filter(|stamp| stamp.is_stable(now))?;
            Some((file, stamp))
        }) else {
            return Ok(document.credential(id));
        };
        let ids = document.profiles().map(|profile| profile.id);
        let credentials: HashMap<_, _> =
            ids.filter_map(|id| Some((id.clone(), document.credential(&id)?))).collect();
        let found = credentials.get(id).cloned();
        let seen = Arc::new(Seen { stamp, _file: file, credentials });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(found)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::{Seek as _, Write as _};
    use std::time::Duration;

    use auth_store::{Clock as _, SystemClock};
    use serde_json::Map;

    use super::*;

    struct World {
        _directory: tempfile::TempDir,
        store: Store,
        warm: Warm,
    }

    fn world() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("auth-profiles.json"));
        World { _directory: directory, store, warm: Warm::default() }
    }

    impl World {
        fn put(&self, key: &str) {
            let key = Credential::ApiKey(key.into());
            self.store.update(|it| it.put(&"a".into(), "acme", &key, &Map::new())).unwrap();
        }

        /// The key, requested `later` than now.
        fn ask(&self, later: Duration) -> Option<String> {
            self.ask_at(SystemClock.now().plus(later))
        }

        fn ask_at(&self, now: Timestamp) -> Option<String> {
            let found = self.warm.credential(&self.store, &"a".into(), now).unwrap();
            found.map(|it| it.bearer().expose().to_owned())
        }

        fn is_warm(&self) -> bool {
            self.warm.0.read().unwrap().is_some()
        }
    }

    const LATER: Duration = Duration::from_secs(1);

    #[test]
    fn a_store_that_rests_is_not_read_again() {
        let world = world();
        world.put("one");
        assert_eq!(world.ask(LATER).as_deref(), Some("one"));
        let before = world.warm.0.read().unwrap().clone().unwrap();
        assert_eq!(world.ask(LATER).as_deref(), Some("one"));
        let after = world.warm.0.read().unwrap().clone().unwrap();
        assert!(Arc::ptr_eq(&before, &after));
    }

    #[test]
    fn a_store_that_changed_just_now_is_not_trusted() {
        let world = world();
        world.put("one");
        let changed = std::fs::metadata(world.store.path()).unwrap().modified().unwrap();
        let changed = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let changed = Timestamp(changed.try_into().unwrap());
        assert_eq!(world.ask_at(changed).as_deref(), Some("one"));
        assert!(!world.is_warm());
        // The control.
        world.ask_at(changed.plus(LATER));
        assert!(world.is_warm());
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let world = world();
        assert_eq!(world.ask(LATER), None);
        world.put("one");
        assert_eq!(world.ask(LATER).as_deref(), Some("one"));
        world.put("two");
        assert_eq!(world.ask(LATER).as_deref(), Some("two"));
        // Written in place, with the same length, and with the modification time restored.
        let text = std::fs::read_to_string(world.store.path()).unwrap().replace("two", "six");
        let mut file = File::options().write(true).open(world.store.path()).unwrap();
        let before = file.metadata().unwrap();
        // Wait for the file system's clock to advance.
        while Stamp::from_metadata(&file.metadata().unwrap()) == Stamp::from_metadata(&before) {
            file.rewind().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
        }
        assert_eq!(world.ask(LATER).as_deref(), Some("six"));
        std::fs::remove_file(world.store.path()).unwrap();
        assert_eq!(world.ask(LATER), None);
    }

    #[test]
    fn a_damaged_store_is_an_error_although_it_was_whole() {
        let world = world();
        world.put("one");
        world.ask(LATER);
        auth_store::write_atomic(world.store.path(), b"{").unwrap();
        // From the backup; the damage is reported to callers that read the store itself.
        assert_eq!(world.ask(LATER).as_deref(), Some("one"));
        for entry in std::fs::read_dir(world.store.path().parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "bak") {
                std::fs::remove_file(path).unwrap();
            }
        }
        auth_store::write_atomic(world.store.path(), b"{").unwrap();
        assert!(world.warm.credential(&world.store, &"a".into(), SystemClock.now()).is_err());
    }
}
