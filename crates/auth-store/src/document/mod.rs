//! The store's file as a value: reading and writing it back loses nothing.

pub(crate) mod credential;
mod edit;
pub(crate) mod entry;
pub(crate) mod json;
mod json_edit;
pub(crate) mod json_layout;
pub(crate) mod json_text;
pub(crate) mod json_value;
pub(crate) mod reference;
pub(crate) mod shared;
pub(crate) mod usage;

use std::hash::BuildHasherDefault;
use std::path::{Path, PathBuf};

use indexmap::IndexSet;

use crate::document::credential::{Credential, Profile, TIMES};
use crate::document::json::{NameHasher, Object};
use crate::document::json_layout::Layout;
use crate::document::json_text::{flaw, skip_space, skip_value};
use crate::document::usage::Usage;
use crate::error::{ParseError, StoreError, Unusable};
use crate::fs::open::LARGEST;
use crate::id::{ProfileId, ProviderId};

/// The content of `auth-profiles.json`.
///
/// It is read as JavaScript's `JSON.parse` reads it. An edit changes its own part and no other
/// byte: unknown fields, entries and credential types, duplicate names, numbers and white space
/// stay unchanged.
#[derive(Clone, Debug)]
pub struct Document {
    /// All members of the file; the [`SECTIONS`] are opened if they are objects.
    pub(crate) members: Object<'static>,
    /// The white space before and after the object.
    around: (Vec<u8>, Vec<u8>),
    /// The profiles whose credential was added, changed or removed since parsing.
    pub(crate) touched: IndexSet<ProfileId, BuildHasherDefault<NameHasher>>,
    /// A change that cannot be written.
    pub(crate) refused: Option<Unusable>,
    recovered_from: Option<PathBuf>,
}

/// An entry of the file that cannot be used, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Malformed {
    /// Its id.
    pub id: ProfileId,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Default for Document {
    fn default() -> Self {
        Self::empty()
    }
}

impl Document {
    /// An empty store.
    pub fn empty() -> Self {
        Self::parse(EMPTY).unwrap_or_else(|_| Self::from_members(Object::default(), b"", b""))
    }

    fn from_members(members: Object<'_>, before: &[u8], after: &[u8]) -> Self {
        Self {
            members: members.into_owned(),
            around: (before.to_vec(), after.to_vec()),
            touched: IndexSet::default(),
            refused: None,
            recovered_from: None,
        }
    }

    /// Reads a file's bytes. A byte order mark is accepted, and not written again.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (members, [before, after]) = object(bytes, &SECTIONS)?;
        if members.section("profiles").is_none()
            && let Some(raw) = members.get("profiles").filter(|raw| *raw != b"null")
        {
            let offset = raw.as_ptr() as usize - bytes.as_ptr() as usize;
            let reason = "`profiles` is not an object";
            return Err(ParseError { offset, reason, is_json: true });
        }
        Ok(Self::from_members(members, before, after))
    }

    /// The file's bytes: every byte that was not edited stays as it was read, and additions are
    /// formatted like their neighbors.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (before, after) = &self.around;
        let mut bytes = before.clone();
        self.members.write(&Layout::javascript(), &mut bytes);
        bytes.extend_from_slice(after);
        bytes
    }

    /// Whether anything was changed since parsing, or a change was refused.
    pub fn is_changed(&self) -> bool {
        self.members.is_changed() || self.refused.is_some()
    }

    /// The copy of the damaged file, if this document is the backup that has just replaced it.
    pub fn recovered_from(&self) -> Option<&Path> {
        self.recovered_from.as_deref()
    }

    pub(crate) fn set_recovered_from(&mut self, copy: PathBuf) {
        self.recovered_from = Some(copy);
    }

    /// Whether we may write this file: its `version` is at most ours. A file of a newer version is
    /// read as far as possible, and never written.
    pub fn is_writable(&self) -> bool {
        self.version().is_none_or(|version| version <= VERSION)
    }

    /// Its `version` according to JavaScript's `Number`; `None` if it has none.
    fn version(&self) -> Option<f64> {
        self.members.get("version").filter(|raw| *raw != b"null").map(json::number)
    }

    /// Checks whether the file at `path`, which has this content, may be written with the changes
    /// made to it.
    ///
    /// # Errors
    /// A newer program wrote it, or a part of it has an unexpected type.
    pub fn check_writable(&self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_owned();
        match self.version() {
            Some(version) if version > VERSION => return Err(StoreError::Newer { path, version }),
            Some(version) if version.is_nan() => {
                let error = Unusable { part: "`version`".to_owned(), reason: "is not a number" };
                return Err(StoreError::Unusable { path, error });
            }
            _ => {}
        }
        match &self.refused {
            Some(error) => Err(StoreError::Unusable { path, error: error.clone() }),
            None => Ok(()),
        }
    }

    /// The sections that are ignored, for callers that read the file and for `doctor`.
    pub fn unusable(&self) -> Vec<Unusable> {
        let sections = SECTIONS.iter().filter(|name| is_something(self.members.get(name)));
        let usage = self.section("usageStats").iter();
        let entries =
            usage.filter(|(_, raw)| is_something(Some(raw)) && Object::parse(raw).is_none());
        let entries = entries.map(|(id, _)| Unusable::entry("usageStats", &ProfileId::new(id)));
        sections.map(|name| Unusable::section(name)).chain(entries).collect()
    }

    /// The members of one of the [`SECTIONS`].
    pub(crate) fn section(&self, name: &str) -> &Object<'static> {
        self.members.section(name).unwrap_or(const { &Object::EMPTY })
    }

    /// The profiles as they are in the file.
    fn entries(&self) -> &Object<'static> {
        self.section("profiles")
    }

    /// All usable profiles, in the order of the file.
    pub fn profiles(&self) -> impl Iterator<Item = Profile> {
        let usage = self.section("usageStats");
        self.entries().iter().filter_map(|(id, raw)| view(&id, raw, usage))
    }

    /// The profile `id`, if it exists and is usable.
    pub fn profile(&self, id: &ProfileId) -> Option<Profile> {
        view(id.as_str(), self.raw(id)?, self.section("usageStats"))
    }

    /// Whether there is an entry with that id, usable or not.
    pub fn contains(&self, id: &ProfileId) -> bool {
        self.raw(id).is_some()
    }

    /// The entries that routing skips, for `doctor`.
    pub fn malformed(&self) -> Vec<Malformed> {
        let malformed = self.entries().iter().filter_map(|(id, raw)| {
            let reason = match Object::parse(raw) {
                Some(entry) => credential::head(&entry).err()?,
                None => "it is not an object",
            };
            Some(Malformed { id: ProfileId::new(id), reason })
        });
        malformed.collect()
    }

    /// The times that cannot be read, each as its profile and its name. An unreadable expiry counts
    /// as unknown.
    pub fn unreadable_times(&self) -> Vec<(ProfileId, &'static str)> {
        let sections = [(self.entries(), &TIMES[..]), (self.section("usageStats"), &usage::TIMES)];
        let times = sections.into_iter().flat_map(|(section, names)| {
            section.iter().flat_map(move |(id, raw)| {
                let entry = Object::from_raw(Some(raw));
                let is_odd = |name: &&&str| json::is_unreadable_time(entry.get(name));
                let odd: Vec<_> = names.iter().filter(is_odd).collect();
                odd.into_iter().map(move |name| (ProfileId::new(id.clone()), *name))
            })
        });
        times.collect()
    }

    /// Whether the profile `id` has an expiry that cannot be read.
    pub fn has_unreadable_end(&self, id: &ProfileId) -> bool {
        let entry = self.raw(id).and_then(Object::parse);
        entry.is_some_and(|entry| json::is_unreadable_time(credential::end(&entry)))
    }

    /// The credential of `id`.
    pub fn credential(&self, id: &ProfileId) -> Option<Credential> {
        credential::credential(&Object::parse(self.raw(id)?)?)
    }

    /// A field of the profile `id` as JSON, for fields that are specific to one provider.
    pub fn field(&self, id: &ProfileId, name: &str) -> Option<serde_json::Value> {
        serde_json::from_slice(Object::parse(self.raw(id)?)?.get(name)?).ok()
    }

    /// The origins that the secrets of `id` may be sent to, if they are recorded.
    pub fn destinations(&self, id: &ProfileId) -> Option<Vec<String>> {
        credential::destinations(&Object::from_raw(self.raw(id)))
    }

    /// The raw entry of `id`.
    pub(crate) fn raw(&self, id: &ProfileId) -> Option<&[u8]> {
        self.entries().get(id.as_str())
    }

    /// The profiles whose entry was added, changed or removed since parsing.
    pub fn touched(&self) -> impl ExactSizeIterator<Item = &ProfileId> {
        self.touched.iter()
    }

    /// The stored orders, by provider as written: for each, the ids that are non-empty strings. A
    /// list without any such id counts as absent.
    pub fn orders(&self) -> Vec<(String, Vec<ProfileId>)> {
        let orders = self.section("order").iter();
        orders.filter_map(|(provider, raw)| Some((provider.into_owned(), ids(raw)?))).collect()
    }

    /// The stored order of `provider`: the preferred profile first. If the file has it under
    /// several spellings, the first one counts, as in Clawdbot.
    pub fn order(&self, provider: &ProviderId) -> Option<Vec<ProfileId>> {
        let mut orders = self.section("order").iter();
        orders.find_map(|(name, raw)| ids(raw).filter(|_| ProviderId::new(&name) == *provider))
    }

    /// The profile that last worked for `provider`.
    pub fn last_good(&self, provider: &ProviderId) -> Option<ProfileId> {
        let last_good = self.section("lastGood");
        let raw = last_good.get(provider.as_str()).or_else(|| {
            last_good
                .iter()
                .find(|(name, _)| ProviderId::new(name) == *provider)
                .map(|(_, raw)| raw)
        });
        json::name(raw).map(ProfileId::from)
    }

    /// The usage of `id`; empty if the file has none.
    pub fn usage(&self, id: &ProfileId) -> Usage {
        Usage::from_raw(self.section("usageStats").get(id.as_str()))
    }
}

/// The profile described by its entry.
fn view(id: &str, raw: &[u8], usage: &Object<'_>) -> Option<Profile> {
    credential::profile(id, &Object::parse(raw)?, Usage::from_raw(usage.get(id)))
}

/// The ids in a stored order; `None`, if there are none.
fn ids(raw: &[u8]) -> Option<Vec<ProfileId>> {
    let ids = json::elements(raw)?.into_iter().filter_map(|raw| json::name(Some(raw)));
    let ids = ids.map(|id| crate::id::trim(&id).to_owned()).filter(|id| !id.is_empty());
    let ids: Vec<_> = ids.map(ProfileId::from).collect();
    (!ids.is_empty()).then_some(ids)
}

/// Whether a member has a value: to JavaScript `null` counts as absent.
pub(crate) fn is_something(raw: Option<&[u8]>) -> bool {
    raw.is_some_and(|raw| raw != b"null")
}

/// The object in a file's bytes, with the members of these names opened, and the white space around
/// it.
pub(crate) fn object<'a>(
    bytes: &'a [u8],
    sections: &[&str],
) -> Result<(Object<'a>, [&'a [u8]; 2]), ParseError> {
    let error = |offset, reason, is_json| Err(ParseError { offset, reason, is_json });
    if bytes.len() > LARGEST {
        return error(LARGEST, "larger than 512 MiB", false);
    }
    let mut unmarked = bytes;
    while let Some(rest) = unmarked.strip_prefix("\u{feff}".as_bytes()) {
        unmarked = rest;
    }
    let mark = bytes.len() - unmarked.len();
    if unmarked.is_empty() {
        return error(mark, "empty file", false);
    }
    let start = skip_space(bytes, mark);
    let parsed = match bytes.get(start) {
        Some(b'{') => Object::at(bytes, start, sections).map(|(object, end)| (Some(object), end)),
        _ => skip_value(bytes, start).map(|end| (None, end)),
    };
    let (object, end) = parsed?;
    if skip_space(bytes, end) < bytes.len() {
        return Err(flaw(bytes, skip_space(bytes, end)));
    }
    match object {
        Some(object) => Ok((object, [&bytes[mark..start], &bytes[end..]])),
        None => error(start, "not an object", true),
    }
}

/// The version we write.
const VERSION: f64 = 1.0;

const EMPTY: &[u8] = b"{\n  \"version\": 1,\n  \"profiles\": {}\n}\n";

/// The sections that follow `name` in a file written by Clawdbot, which determine the position of a
/// new one.
pub(crate) fn later_sections(name: &str) -> &'static [&'static str] {
    let place = SECTIONS.iter().position(|section| *section == name);
    place.map_or(&[], |place| &SECTIONS[place + 1..])
}

pub(crate) const SECTIONS: [&str; 4] = ["profiles", "order", "lastGood", "usageStats"];
