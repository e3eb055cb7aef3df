//! `auth.json` beside the store: the credential in use for each provider. Runtimes inside other
//! programs read it, and know nothing about profiles.
//!
//! Such runtimes refresh every login that they find, so the file never has a refresh token: each
//! entry is an API key. An older version used the file as its store, and a runtime may write its
//! own logins into it. So an entry is ours only if the hash of its key was recorded before the
//! write. Other entries are never touched.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::document::json::{self, Object};
use crate::document::json_layout::Layout;
use crate::document::{self, Document};
use crate::error::StoreError;
use crate::fs::atomic::{self, NextFile};
use crate::fs::open::read_trusted;
use crate::paths;
use crate::secret::Secret;
use crate::store::Store;
use crate::store::model_usage::{self, ModelUsage};

/// The wanted entries: a provider, and the key that is sent to its API.
pub type RuntimeCache = Vec<(String, Secret)>;

impl Store {
    /// Writes the entries that `routed` finds in the store into the runtime cache at `path`, under the
    /// kernel lock. Entries of other programs stay, and their providers keep them. An empty cache is
    /// removed, and an unchanged one is not written.
    ///
    /// # Errors
    /// The cache is as it was. The store does not depend on it.
    pub fn follow_routing(
        &self,
        path: &Path,
        routed: impl Fn(&Document, &ModelUsage) -> RuntimeCache,
    ) -> Result<(), StoreError> {
        let current = |usage: &ModelUsage| -> Result<_, StoreError> {
            // Not `read`, which takes the lock to recover a damaged store: we may hold the lock.
            let document = match read_trusted(self.path())? {
                None => Document::empty(),
                Some(bytes) => Document::parse(&bytes)
                    .map_err(|error| StoreError::Damaged { path: self.path().to_owned(), error })?,
            };
            Ok((read_trusted(path)?, routed(&document, usage)))
        };
        let is_done = |before: Option<&[u8]>, wanted: &RuntimeCache, usage: &ModelUsage| {
            merged(before, wanted, &usage.cached()) == Change::None
        };
        let usage = match self.read_model_usage() {
            Err(StoreError::Damaged { .. }) => ModelUsage::default(),
            usage => usage?,
        };
        let (before, wanted) = current(&usage)?;
        if is_done(before.as_deref(), &wanted, &usage) {
            return Ok(());
        }

        let lock = self.lock_companions()?;
        let mut usage = self.model_usage_to_change(&lock)?;
        let (before, wanted) = current(&usage)?;
        let was = usage.cached();
        let change = merged(before.as_deref(), &wanted, &was);
        if change == Change::None {
            return Ok(());
        }
        // The hashes first, then the file: after a crash between the two, the next process still
        // recognizes the entries. Old hashes stay as long as their entries may exist.
        let mut ours: Vec<_> = wanted.iter().map(|(_, key)| hash(key.expose())).collect();
        let still = still_ours(before.as_deref(), &was);
        ours.extend(still.into_iter().filter(|hash| !ours.contains(hash)).collect::<Vec<_>>());
        usage.set_cached(&ours);
        model_usage::write(&usage, &lock)?;
        match change {
            Change::None => Ok(()),
            Change::Write(text) => {
                // Only the holder of the lock creates one, so an old one is from a crashed process.
                let temporary = paths::next(path);
                atomic::remove(&temporary)?;
                let mut next = NextFile::create(path, &temporary, 0)?;
                next.fill(&text)?;
                next.sync()?;
                next.install()
            }
            Change::Remove => atomic::remove(path),
        }
    }
}

#[derive(Eq, PartialEq)]
enum Change {
    None,
    Write(Zeroizing<Vec<u8>>),
    Remove,
}

/// The change of the file: our entries are replaced with those of `wanted`, all others stay.
fn merged(before: Option<&[u8]>, wanted: &RuntimeCache, ours: &[String]) -> Change {
    let Some((mut members, around)) = members(before) else { return Change::None };
    let stale: Vec<_> = members
        .iter()
        .filter(|(name, raw)| {
            let key = key_of(raw).filter(|key| ours.contains(&hash(key.expose())));
            key.is_some_and(|key| !wanted.iter().any(|it| it.0 == *name && it.1 == key))
        })
        .map(|(name, _)| name.into_owned())
        .collect();
    let mut is_changed = false;
    for name in &stale {
        if !wanted.iter().any(|it| it.0 == *name) {
            is_changed |= members.remove(name);
        }
    }
    for (name, key) in wanted {
        if members.get(name).is_none() || stale.contains(name) {
            let mut entry = Object::default();
            entry.set("type", &"api_key");
            entry.set("key", &key.expose());
            members.set_raw(name, &entry.to_text());
            is_changed = true;
        }
    }
    match (is_changed, members.is_empty()) {
        (false, _) => Change::None,
        (true, true) => Change::Remove,
        (true, false) => {
            let mut text = around[0].to_vec();
            members.write(&Layout::javascript(), &mut text);
            text.extend_from_slice(around[1]);
            Change::Write(text.into())
        }
    }
}

/// The hashes of `ours` whose entries are in the file.
fn still_ours(before: Option<&[u8]>, ours: &[String]) -> Vec<String> {
    let members = members(before).map(|(members, _)| members).unwrap_or_default();
    let hashes = members.iter().filter_map(|(_, raw)| Some(hash(key_of(raw)?.expose())));
    hashes.filter(|hash| ours.contains(hash)).collect()
}

/// The entries of the file, and the white space around them. `None` if it is something else, which
/// is left unchanged.
fn members(before: Option<&[u8]>) -> Option<(Object<'_>, [&[u8]; 2])> {
    match before {
        None | Some([]) => Some((Object::default(), [b"", b"\n"])),
        Some(bytes) => document::object(bytes, &[]).ok(),
    }
}

/// The key of an entry, if the entry has the format that we write.
fn key_of(raw: &[u8]) -> Option<Secret> {
    let entry = Object::parse(raw)?;
    let is_plain = entry.iter().all(|(name, _)| name == "type" || name == "key");
    let is_key = json::string(entry.get("type")).as_deref() == Some("api_key");
    json::string(entry.get("key")).filter(|_| is_plain && is_key).map(Secret::from)
}

fn hash(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    struct Agent {
        directory: tempfile::TempDir,
    }

    impl Agent {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("auth.json")
        }

        fn follow(&self, wanted: &[(&str, &str)]) {
            let store = Store::at(self.directory.path().join("auth-profiles.json"));
            let wanted: RuntimeCache =
                wanted.iter().map(|(name, key)| ((*name).into(), (*key).into())).collect();
            store.follow_routing(&self.path(), |_, _| wanted.clone()).unwrap();
        }

        fn text(&self) -> Option<String> {
            fs::read_to_string(self.path()).ok()
        }

        #[expect(clippy::disallowed_methods, reason = "a file of another program")]
        fn seed(&self, text: &str) {
            fs::write(self.path(), text).unwrap();
        }
    }

    #[test]
    fn the_cache_holds_what_is_routed_and_goes_when_nothing_is() {
        let agent = Agent::new();
        agent.follow(&[("acme", "k1"), ("zai", "k2")]);
        let text = agent.text().unwrap();
        let want = "{\n  \"acme\": {\n    \"type\": \"api_key\",\n    \"key\": \"k1\"\n  },\n  \"zai\": {\n    \"type\": \"api_key\",\n    \"key\": \"k2\"\n  }\n}\n";
        assert_eq!(text, want);
        agent.follow(&[("acme", "k3")]);
        let text = agent.text().unwrap();
        assert!(text.contains("k3") && !text.contains("k1") && !text.contains("zai"), "{text}");
        agent.follow(&[]);
        assert_eq!(agent.text(), None);
    }

    #[test]
    fn the_entries_of_other_programs_stay() {
        let agent = Agent::new();
        let login = r#"{"acme":{"type":"oauth","access":"a","refresh":"r"},"old":{"type":"api_key","key":"k"}}"#;
        agent.seed(login);
        agent.follow(&[("acme", "k1")]);
        assert_eq!(agent.text().unwrap(), login);
        agent.follow(&[("acme", "k1"), ("zai", "k2")]);
        agent.follow(&[]);
        let text = agent.text().unwrap();
        assert!(text.contains("\"refresh\":") && text.contains("old"), "{text}");
        assert!(!text.contains("k2") && !text.contains("k1"), "{text}");
        // One of our entries that was changed is no longer ours.
        agent.follow(&[("zai", "k2")]);
        agent.seed(r#"{"zai":{"type":"api_key","key":"changed"}}"#);
        agent.follow(&[("zai", "k3")]);
        assert_eq!(agent.text().unwrap(), r#"{"zai":{"type":"api_key","key":"changed"}}"#);
    }

    #[test]
    fn a_file_that_is_not_ours_to_read_is_left_alone() {
        let agent = Agent::new();
        for text in ["{", "[]", "null", r#"{"a": 1, "a" 2}"#] {
            agent.seed(text);
            agent.follow(&[("acme", "k")]);
            assert_eq!(agent.text().as_deref(), Some(text));
        }
        // A file that JavaScript can read is edited, and every other byte stays.
        let odd = r#"{"a": 1, "a": "\ud83d" }"#;
        agent.seed(odd);
        agent.follow(&[("acme", "k")]);
        let added = odd.replace("\" }", r#"", "acme": {"type": "api_key", "key": "k"} }"#);
        assert_eq!(agent.text(), Some(added));
        agent.follow(&[]);
        assert_eq!(agent.text().as_deref(), Some(odd));
        agent.seed("");
        agent.follow(&[("acme", "k")]);
        assert!(agent.text().unwrap().contains("acme"));
    }
}
