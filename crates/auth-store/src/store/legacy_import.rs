//! Imports the two legacy credential files, if there is no store yet.
//!
//! `auth.json` was a map from a name to a credential, beside today's store. We now write a cache
//! under that name, so the file counts as a legacy file only in a directory in which we never
//! locked a store. It is first renamed, so that after a crash at any point the next process can
//! continue; it is removed after the imported entries were read back. Entries that are not
//! credentials move into the store too, where they do no harm, because the file is removed.
//!
//! Only a file in the state directory is ours. Other programs have an `auth.json` too, and a
//! variable, a setting or a link may lead to it: such a file is left alone, and reported.
//!
//! `credentials/oauth.json` belongs to the whole state directory: a map from a provider to a login.
//! It stays unchanged.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::document::credential::Kind;
use crate::document::json::{self, Object};
use crate::document::{self, Document};
use crate::error::{ParseError, StoreError};
use crate::fs::atomic;
use crate::fs::exists::is_there;
use crate::fs::locate::is_within;
use crate::fs::open::read_regular;
use crate::id::ProfileId;
use crate::paths;
use crate::store::Store;
use crate::store::place::superseded_by;

/// The result of importing the legacy files.
#[derive(Debug, Default)]
pub struct Imported {
    /// The profiles imported from `auth.json`, which is removed.
    pub from_auth_json: Vec<ProfileId>,
    /// The profiles imported from `oauth.json`, which is left in place.
    pub from_oauth_json: Vec<ProfileId>,
    /// Why `oauth.json` was not imported. The user has to know. If it is damaged, the other file was
    /// imported. If it cannot be read, the next call tries both again.
    pub problem: Option<StoreError>,
    /// A file with credentials outside the state directory, links followed. Nothing was imported
    /// from it, and it is unchanged.
    pub outside: Option<PathBuf>,
}

/// Imports the legacy files, once: if there is a store already, nothing happens. `auth` is the
/// `auth.json` of the store's agent; `oauth` is the state directory's `oauth.json`, given for one
/// agent only, since a login must not be copied into several. An `auth` outside the state directory
/// `state` is left unchanged.
///
/// # Errors
/// No credential is lost in any case, and the next call continues from there.
/// [`StoreError::Damaged`] if `auth` cannot be parsed: the user fixes it or moves it away, because
/// it would be mistaken for our cache after a store is created.
pub fn import_legacy(
    store: &Store,
    auth: &Path,
    oauth: Option<&Path>,
    state: &Path,
) -> Result<Imported, StoreError> {
    let mut imported = Imported::default();
    let aside = paths::waiting_for_import(auth);
    let has_store = is_there(store.path())?;
    let is_begun = is_there(&aside)?;
    // Beside the database of a later program, nothing is imported into the file.
    if has_store && !is_begun || superseded_by(store.path())?.is_some() {
        return Ok(imported);
    }
    if !has_store && !is_begun && store.is_untouched()? {
        if is_within(auth, state)? {
            set_aside(auth, &aside)?;
        } else if read_entries(auth, LegacyEntries::from_auth_json).is_ok_and(holds_any) {
            imported.outside = Some(auth.to_owned());
        }
    }
    let credentials = if is_within(&aside, state)? {
        read_entries(&aside, LegacyEntries::from_auth_json)?
    } else {
        if is_begun {
            imported.outside = Some(aside.clone());
        }
        None
    };
    let read = |path: &Path| read_entries(path, LegacyEntries::from_oauth_json);
    let logins = match oauth.filter(|_| !has_store).map(read).transpose() {
        Ok(logins) => logins.flatten().filter(|entries| !entries.is_empty()),
        Err(error @ StoreError::Damaged { .. }) => {
            imported.problem = Some(error);
            None
        }
        // It may be readable next time, but only while there is no store.
        Err(error) => {
            imported.problem = Some(error);
            return Ok(imported);
        }
    };
    if credentials.is_none() && logins.is_none() {
        return Ok(imported);
    }

    let mut lock = store.lock_for_refresh()?;
    // Another process may have imported already, and the user may have logged out since.
    let is_first = !is_there(lock.path())?;
    let (auth_ids, oauth_ids) = lock.update(|document| {
        let mut add = |entries: Option<&LegacyEntries>| {
            entries.map(|entries| entries.add_to(document)).unwrap_or_default()
        };
        (add(credentials.as_ref()), add(logins.as_ref().filter(|_| is_first)))
    })?;
    if let Some(entries) = credentials {
        let document = lock.read()?;
        let is_missing = entries.0.iter().any(|(id, raw)| {
            let is_same = |stored| json::compact(stored) == json::compact(raw);
            auth_ids.contains(id) && !document.raw(id).is_some_and(is_same)
        });
        if is_missing {
            let why = io::Error::other("what was imported is not there");
            return Err(StoreError::io("read back", lock.path())(why));
        }
        atomic::remove_durably(&aside)?;
    }
    imported.from_auth_json = auth_ids;
    imported.from_oauth_json = oauth_ids;
    Ok(imported)
}

fn holds_any(entries: Option<LegacyEntries>) -> bool {
    entries.is_some_and(|entries| !entries.is_empty())
}

/// Renames a non-empty `auth.json` to the name under which it waits for its import.
fn set_aside(auth: &Path, aside: &Path) -> Result<(), StoreError> {
    if !holds_any(read_entries(auth, LegacyEntries::from_auth_json)?) {
        return Ok(());
    }
    atomic::set_aside(auth, aside)
}

/// The entries of a legacy file, under the ids that they get in a store.
#[derive(Clone, Default)]
pub struct LegacyEntries(Vec<(ProfileId, Vec<u8>)>);

impl LegacyEntries {
    /// Reads an `auth.json`: `{name: {type, provider?, …}}`. The result is empty if no entry is a
    /// credential, or if the file is a store.
    ///
    /// # Errors
    /// It is not an object.
    pub fn from_auth_json(bytes: &[u8]) -> Result<Self, ParseError> {
        let (members, _) = document::object(bytes, &[])?;
        let is_credential =
            |raw: &[u8]| Object::parse(raw).is_some_and(|it| kind_of(&it).is_some());
        if members.contains("profiles") || !members.iter().any(|(_, raw)| is_credential(raw)) {
            return Ok(Self::default());
        }
        let entries = members.iter().map(|(name, raw)| {
            let entry = Object::from_raw(Some(raw));
            let entry = kind_of(&entry).map(|kind| from_auth_entry(&name, kind, &entry));
            (default_id(&name), entry.unwrap_or_else(|| raw.to_vec()))
        });
        Ok(Self(entries.collect()))
    }

    /// Reads an `oauth.json`: `{provider: {access, refresh, expires, …}}`. An entry that is not a login
    /// is ignored, and stays where it is.
    ///
    /// # Errors
    /// It is not an object.
    pub fn from_oauth_json(bytes: &[u8]) -> Result<Self, ParseError> {
        let (members, _) = document::object(bytes, &[])?;
        let entries = members.iter().filter_map(|(provider, raw)| {
            let entry = Object::parse(raw)?;
            let is_text = |name| json::string(entry.get(name)).is_some();
            if provider.is_empty() || !is_text("access") && !is_text("refresh") {
                return None;
            }
            let mut login = headed(Kind::OAuth, &provider);
            copy_others(&entry, &mut login);
            Some((default_id(&provider), login.to_text()))
        });
        Ok(Self(entries.collect()))
    }

    /// Whether there is nothing to import.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the entries to `document`, except for profiles that it already has. Returns the added
    /// ones.
    pub fn add_to(&self, document: &mut Document) -> Vec<ProfileId> {
        let missing = self.0.iter().filter(|(id, _)| document.raw(id).is_none());
        let missing: Vec<_> = missing.cloned().collect();
        for (id, raw) in &missing {
            document.put_raw(id, raw);
        }
        missing.into_iter().map(|(id, _)| id).collect()
    }
}

impl fmt::Debug for LegacyEntries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

/// The id under which a legacy entry is stored.
fn default_id(name: &str) -> ProfileId {
    ProfileId::from(format!("{name}:default"))
}

fn kind_of(entry: &Object<'_>) -> Option<Kind> {
    Kind::parse(&json::string(entry.get("type"))?)
}

/// A credential of `auth.json`: the known members of its type in the order in which Clawdbot writes
/// them, then the others.
fn from_auth_entry(name: &str, kind: Kind, old: &Object<'_>) -> Vec<u8> {
    let provider = json::string(old.get("provider")).filter(|text| !text.trim().is_empty());
    let mut entry = headed(kind, provider.as_deref().unwrap_or(name));
    let known: &[&str] = match kind {
        Kind::ApiKey => &["key", "email"],
        Kind::Token => &["token", "expires", "email"],
        Kind::OAuth => {
            &["access", "refresh", "expires", "enterpriseUrl", "projectId", "accountId", "email"]
        }
    };
    for field in known {
        let says_nothing =
            OPTIONAL.contains(field) && matches!(old.get(field), Some(b"null" | b"\"\""));
        if let Some(raw) = old.get(field).filter(|_| !says_nothing) {
            entry.set_raw(field, raw);
        }
    }
    for (field, raw) in old.iter() {
        if !known.contains(&&*field) && !HEAD.contains(&&*field) {
            entry.set_raw(&field, raw);
        }
    }
    entry.to_text()
}

/// An entry with the members that we set.
fn headed(kind: Kind, provider: &str) -> Object<'static> {
    let mut entry = Object::default();
    entry.set(HEAD[0], &kind.as_str());
    entry.set(HEAD[1], &provider);
    entry
}

fn copy_others(from: &Object<'_>, to: &mut Object<'_>) {
    for (field, raw) in from.iter().filter(|(field, _)| !HEAD.contains(&&**field)) {
        to.set_raw(&field, raw);
    }
}

/// The entries in the file at `path`; `None` if there is no file.
fn read_entries(
    path: &Path,
    parse: fn(&[u8]) -> Result<LegacyEntries, ParseError>,
) -> Result<Option<LegacyEntries>, StoreError> {
    let bytes = match read_regular(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let damaged = |error| StoreError::Damaged { path: PathBuf::from(path), error };
    parse(&bytes).map(Some).map_err(damaged)
}

/// The members of an entry that we set.
const HEAD: [&str; 2] = ["type", "provider"];

/// The members that are not written if they are empty.
const OPTIONAL: [&str; 4] = ["enterpriseUrl", "projectId", "accountId", "email"];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Agent {
        directory: tempfile::TempDir,
    }

    impl Agent {
        fn with(files: &[(&str, &str)]) -> Self {
            let agent = Self { directory: tempfile::tempdir().unwrap() };
            for (name, text) in files {
                atomic::write_atomic(&agent.path(name), text.as_bytes()).unwrap();
            }
            agent
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn store(&self) -> Store {
            Store::at(self.path("auth-profiles.json"))
        }

        fn import(&self) -> Result<Imported, StoreError> {
            import_legacy(
                &self.store(),
                &self.path("auth.json"),
                Some(self.path("oauth.json").as_path()),
                self.directory.path(),
            )
        }

        fn bearer(&self, id: &str) -> Option<String> {
            let document = self.store().read().unwrap();
            Some(document.credential(&id.into())?.bearer().expose().to_owned())
        }

        fn text(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }
    }

    const AUTH: &str = r#"{"acme":{"type":"api_key","key":"k"},"other":{"type":"weird"}}"#;
    const OAUTH: &str = r#"{"acme":{"access":"old","refresh":"r"},"beta":{"access":"a","refresh":"r","type":"api_key","provider":"x"}}"#;

    #[test]
    fn both_files_are_imported_once_and_only_auth_json_is_removed() {
        let agent = Agent::with(&[("auth.json", AUTH), ("oauth.json", OAUTH)]);
        let imported = agent.import().unwrap();
        assert_eq!(imported.from_auth_json, ["acme:default".into(), "other:default".into()]);
        assert_eq!(imported.from_oauth_json, ["beta:default".into()]);
        assert_eq!(agent.bearer("acme:default").as_deref(), Some("k"));
        assert_eq!(agent.bearer("beta:default").as_deref(), Some("a"));
        assert_eq!(agent.text("auth.json"), None);
        assert_eq!(agent.text("oauth.json").as_deref(), Some(OAUTH));

        agent.store().update(|document| document.remove(&"beta:default".into())).unwrap();
        assert!(agent.import().unwrap().from_oauth_json.is_empty());
        assert_eq!(agent.bearer("beta:default"), None);
    }

    #[test]
    fn what_auth_json_holds_beyond_credentials_is_not_lost() {
        let agent = Agent::with(&[(
            "auth.json",
            r#"{"acme":{"type":"oauth","access":"a","provider":7,"x":1.50},"no":[1]}"#,
        )]);
        agent.import().unwrap();
        let text = agent.text("auth-profiles.json").unwrap();
        assert!(text.contains(r#""provider": "acme""#) && text.contains(r#""x": 1.50"#), "{text}");
        assert!(text.contains(r#""no:default": ["#), "{text}");
    }

    #[test]
    fn the_cache_of_a_directory_in_which_we_locked_a_store_is_no_legacy_file() {
        for (was_locked, expected) in [(true, None), (false, Some("k"))] {
            let agent = Agent::with(&[("auth.json", AUTH)]);
            if was_locked {
                agent.store().update(|_| ()).unwrap();
            }
            agent.import().unwrap();
            assert_eq!(agent.bearer("acme:default").as_deref(), expected);
            assert_eq!(agent.text("auth.json").is_some(), was_locked);
        }
    }

    #[test]
    fn an_import_that_was_cut_short_is_finished() {
        // After the file was renamed, and after the lock.
        for was_locked in [false, true] {
            let agent = Agent::with(&[(".auth.json.import", AUTH)]);
            if was_locked {
                agent.store().update(|_| ()).unwrap();
            }
            agent.import().unwrap();
            assert_eq!(agent.bearer("acme:default").as_deref(), Some("k"));
            assert_eq!(agent.text(".auth.json.import"), None);
        }
        // After the store was written.
        let agent = Agent::with(&[("auth.json", AUTH)]);
        agent.import().unwrap();
        atomic::write_atomic(&agent.path(".auth.json.import"), AUTH.as_bytes()).unwrap();
        assert!(agent.import().unwrap().from_auth_json.is_empty());
        assert_eq!(agent.text(".auth.json.import"), None);
    }

    #[test]
    fn a_damaged_auth_json_is_refused_and_left_and_nothing_is_locked() {
        for damaged in ["", "{", "[]", "null", r#"{"a":{"type":"token",}}"#] {
            let agent = Agent::with(&[("auth.json", damaged), ("oauth.json", OAUTH)]);
            assert!(matches!(agent.import(), Err(StoreError::Damaged { .. })), "{damaged}");
            assert_eq!(agent.text("auth.json").as_deref(), Some(damaged));
            assert!(agent.store().is_untouched().unwrap());
        }
    }

    #[test]
    fn what_is_there_twice_is_imported_as_javascript_reads_it() {
        let agent = Agent::with(&[(
            "auth.json",
            r#"{"a":{"type":"token","token":"1","token":"2","x":"\ud83d"},"b":1,"b":{"type":"api_key","key":"k"}}"#,
        )]);
        agent.import().unwrap();
        assert_eq!(agent.bearer("a:default").as_deref(), Some("2"));
        assert_eq!(agent.bearer("b:default").as_deref(), Some("k"));
        assert!(agent.text("auth-profiles.json").unwrap().contains(r#""x": "\ud83d""#));
        assert_eq!(agent.text("auth.json"), None);
    }

    #[test]
    fn a_damaged_oauth_json_is_told_and_left() {
        let agent = Agent::with(&[("auth.json", AUTH), ("oauth.json", "{")]);
        let imported = agent.import().unwrap();
        assert!(matches!(imported.problem, Some(StoreError::Damaged { .. })));
        assert_eq!(agent.bearer("acme:default").as_deref(), Some("k"));
        assert_eq!(agent.text("oauth.json").as_deref(), Some("{"));
    }

    #[test]
    #[cfg(unix)]
    fn an_oauth_json_that_cannot_be_read_now_is_imported_once_it_can() {
        let agent = Agent::with(&[("auth.json", AUTH)]);
        // Opening it fails, although it exists.
        std::os::unix::fs::symlink("oauth.json", agent.path("oauth.json")).unwrap();
        let imported = agent.import().unwrap();
        assert!(matches!(imported.problem, Some(StoreError::Io { .. })));
        assert!(!is_there(&agent.path("auth-profiles.json")).unwrap());
        fs::remove_file(agent.path("oauth.json")).unwrap();
        atomic::write_atomic(&agent.path("oauth.json"), OAUTH.as_bytes()).unwrap();
        agent.import().unwrap();
        assert_eq!(agent.bearer("acme:default").as_deref(), Some("k"));
        assert_eq!(agent.bearer("beta:default").as_deref(), Some("a"));
    }

    #[test]
    fn nothing_is_made_where_there_is_nothing_to_import() {
        for text in ["{}", r#"{"x":5}"#, r#"{"profiles":{"a":{"type":"api_key","key":"k"}}}"#] {
            let agent = Agent::with(&[("auth.json", text), ("oauth.json", text)]);
            agent.import().unwrap();
            assert_eq!(agent.text("auth.json").as_deref(), Some(text));
            assert!(!is_there(&agent.path("auth-profiles.json")).unwrap());
            assert!(agent.store().is_untouched().unwrap());
        }
    }

    /// Every file of a directory with its content, and the target of each link.
    #[cfg(unix)]
    fn listing(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        all.sort();
        all
    }

    #[cfg(unix)]
    #[test]
    fn an_auth_json_outside_the_state_directory_is_left_however_its_name_reads() {
        use std::os::unix::fs::symlink;

        let of_pi = tempfile::tempdir().unwrap();
        for (name, text) in [("auth.json", AUTH), ("settings.json", "{}")] {
            atomic::write_atomic(&of_pi.path().join(name), text.as_bytes()).unwrap();
        }
        let before = listing(of_pi.path());
        let state = tempfile::tempdir().unwrap();
        let at = |name: &str| state.path().join(name);
        fs::create_dir(at("agent")).unwrap();
        symlink(of_pi.path(), at("linked agent")).unwrap();
        symlink(of_pi.path().join("auth.json"), at("agent/auth.json")).unwrap();
        let up = at("agent/../..").join(of_pi.path().file_name().unwrap());
        for directory in [of_pi.path().to_owned(), at("linked agent"), at("agent"), up] {
            let store = Store::at(directory.join("auth-profiles.json"));
            let auth = directory.join("auth.json");
            let imported = import_legacy(&store, &auth, None, state.path()).unwrap();
            assert_eq!(imported.outside.as_deref(), Some(auth.as_path()));
            assert!(imported.from_auth_json.is_empty());
            assert_eq!(listing(of_pi.path()), before, "{}", directory.display());
            assert!(store.is_untouched().unwrap() && is_there(&auth).unwrap());
        }

        // The control: the same file in the state directory, through a link to that directory, is
        // ours.
        let own = Agent::with(&[("auth.json", AUTH)]);
        symlink(own.directory.path(), at("linked state")).unwrap();
        let (store, auth) = (own.store(), own.path("auth.json"));
        let imported = import_legacy(&store, &auth, None, &at("linked state")).unwrap();
        assert_eq!((imported.from_auth_json.len(), imported.outside), (2, None));
        assert_eq!(own.text("auth.json"), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_an_earlier_version_set_aside_elsewhere_is_named_and_left() {
        let elsewhere = Agent::with(&[(".auth.json.import", AUTH)]);
        let state = tempfile::tempdir().unwrap();
        let (store, auth) = (elsewhere.store(), elsewhere.path("auth.json"));
        for _ in 0..2 {
            let imported = import_legacy(&store, &auth, None, state.path()).unwrap();
            assert_eq!(imported.outside, Some(elsewhere.path(".auth.json.import")));
            assert_eq!(elsewhere.text(".auth.json.import").as_deref(), Some(AUTH));
        }
        assert!(store.is_untouched().unwrap());
    }

    #[test]
    fn a_file_of_another_program_that_is_damaged_or_empty_is_none_of_our_business() {
        let state = tempfile::tempdir().unwrap();
        for text in ["{", "{}", r#"{"x":5}"#] {
            let elsewhere = Agent::with(&[("auth.json", text)]);
            let (store, auth) = (elsewhere.store(), elsewhere.path("auth.json"));
            let imported = import_legacy(&store, &auth, None, state.path()).unwrap();
            assert_eq!(imported.outside, None, "{text}");
            assert_eq!(elsewhere.text("auth.json").as_deref(), Some(text));
        }
    }

    #[test]
    fn entries_print_without_their_secrets() {
        let entries = LegacyEntries::from_auth_json(AUTH.replace("\"k\"", "\"s3cret\"").as_bytes());
        let text = format!("{:?}", entries.unwrap());
        assert!(text.contains("acme:default") && !text.contains("s3cret"));
    }
}
