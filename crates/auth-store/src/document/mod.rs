//! The store's file as a value: bytes in, bytes out, and no unknown data is lost.

pub(crate) mod credential;
pub(crate) mod entry;
pub(crate) mod json;
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
/// It is read as JavaScript's `JSON.parse` reads it. An edit changes no other byte: unknown fields,
/// entries and credential types, repeated names, numbers and white space stay as they are.
#[derive(Clone, Debug)]
pub struct Document {
    /// All members of the file. The [`SECTIONS`] are opened if they are objects.
    members: Object<'static>,
    /// The white space before and after the object.
    around: (Vec<u8>, Vec<u8>),
    /// The profiles whose credential was put, changed or removed since parsing.
    touched: IndexSet<ProfileId, BuildHasherDefault<NameHasher>>,
    /// A change that cannot be written.
    refused: Option<Unusable>,
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

    /// The file's bytes. Unedited bytes are as they were read, and new members have the layout of
    /// their neighbours.
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

    /// The copy of the damaged file, if this document was just recovered from the backup.
    pub fn recovered_from(&self) -> Option<&Path> {
        self.recovered_from.as_deref()
    }

    pub(crate) fn set_recovered_from(&mut self, copy: PathBuf) {
        self.recovered_from = Some(copy);
    }

    /// Whether we may write this file: its `version` is at most ours. A file of a newer version is read
    /// as far as possible, and never written.
    pub fn is_writable(&self) -> bool {
        self.version().is_none_or(|version| version <= VERSION)
    }

    /// Its `version`, as JavaScript's `Number` reads it; `None` if it has none.
    fn version(&self) -> Option<f64> {
        self.members.get("version").filter(|raw| *raw != b"null").map(json::number)
    }

    /// Checks that this content, with its changes, may be written to the file at `path`.
    ///
    /// # Errors
    /// A newer program wrote the file, or a part of it has an unexpected type.
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

    /// The sections that are ignored because of their type, for warnings and for `doctor`.
    pub fn unusable(&self) -> Vec<Unusable> {
        let sections = SECTIONS.iter().filter(|name| is_something(self.members.get(name)));
        let usage = self.section("usageStats").iter();
        let entries = usage.filter(|(_, raw)| is_something(Some(raw)) && Object::of(raw).is_none());
        let entries = entries.map(|(id, _)| Unusable::entry("usageStats", &ProfileId::new(id)));
        sections.map(|name| Unusable::section(name)).chain(entries).collect()
    }

    /// The members of one of the [`SECTIONS`].
    fn section(&self, name: &str) -> &Object<'static> {
        self.members.section(name).unwrap_or(const { &Object::EMPTY })
    }

    /// The same for a change. `None`, and the change is refused, if it is no object.
    fn section_mut(&mut self, name: &str) -> Option<&mut Object<'static>> {
        if is_something(self.members.get(name)) {
            self.refused = Some(Unusable::section(name));
            return None;
        }
        if !self.members.contains("profiles") {
            // Without this member, other programs do not take the file for a store.
            self.members.section_mut("profiles", later_sections("profiles"));
        }
        self.members.section_mut(name, later_sections(name))
    }

    /// Changes an existing section with `edit`. An empty section is removed.
    fn edit_if_there(&mut self, name: &str, edit: impl FnOnce(&mut Object<'static>)) {
        if self.members.section(name).is_none_or(Object::is_empty) {
            return;
        }
        let Some(section) = self.members.section_mut(name, &[]) else { return };
        edit(section);
        if section.is_empty() && name != "usageStats" {
            self.members.remove(name);
        }
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

    /// Whether there is an entry of that id, usable or not.
    pub fn contains(&self, id: &ProfileId) -> bool {
        self.raw(id).is_some()
    }

    /// The entries that routing skips, for `doctor`.
    pub fn malformed(&self) -> Vec<Malformed> {
        let malformed = self.entries().iter().filter_map(|(id, raw)| {
            let reason = match Object::of(raw) {
                Some(entry) => credential::head(&entry).err()?,
                None => "it is not an object",
            };
            Some(Malformed { id: ProfileId::new(id), reason })
        });
        malformed.collect()
    }

    /// The times that cannot be read, each with its profile and its name. Such an end is unknown.
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

    /// The credential of `id`.
    pub fn credential(&self, id: &ProfileId) -> Option<Credential> {
        credential::credential(&Object::of(self.raw(id)?)?)
    }

    /// A field of the profile `id`, for data of a single provider.
    pub fn field(&self, id: &ProfileId, name: &str) -> Option<serde_json::Value> {
        serde_json::from_slice(Object::of(self.raw(id)?)?.get(name)?).ok()
    }

    /// Stores a credential as a new entry. An old entry is replaced. `fields` are further members of the
    /// entry, and cannot replace those of the credential.
    pub fn put(
        &mut self,
        id: &ProfileId,
        provider: &str,
        credential: &Credential,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) {
        let mut entry = Object::default();
        entry.set("type", &credential.kind().as_str());
        entry.set("provider", &provider);
        for (name, value) in fields {
            entry.set(name, value);
        }
        entry.set("provider", &provider);
        credential::write_over(&mut entry, credential);
        self.put_raw(id, &entry.to_text());
    }

    /// Changes the credential of an existing profile: the fields of `credential` are written, and all
    /// others stay as they are. `false` if there is no such profile.
    pub fn renew(&mut self, id: &ProfileId, credential: &Credential) -> bool {
        let Some(mut entry) = self.raw(id).and_then(Object::of).map(Object::into_owned) else {
            return false;
        };
        credential::write_over(&mut entry, credential);
        if let Some(profiles) = self.section_mut("profiles") {
            profiles.set_edited(id.as_str(), &entry);
        }
        self.touch(id);
        true
    }

    /// Replaces the entry of `id` by `raw`, unchanged.
    pub(crate) fn put_raw(&mut self, id: &ProfileId, raw: &[u8]) {
        if let Some(profiles) = self.section_mut("profiles") {
            profiles.set_raw(id.as_str(), raw);
        }
        self.touch(id);
    }

    /// The text of the entry of `id`.
    pub(crate) fn raw(&self, id: &ProfileId) -> Option<&[u8]> {
        self.entries().get(id.as_str())
    }

    /// Copies the entry of `id` unchanged from `other`, or removes it if `other` has none. Nothing else
    /// changes, not even its usage.
    pub fn copy_entry(&mut self, id: &ProfileId, other: &Self) {
        match other.raw(id) {
            Some(raw) => self.put_raw(id, raw),
            None => {
                self.remove_entry(id);
                self.touch(id);
            }
        }
    }

    /// Removes a profile and every mention of it: its usage, its place in orders, `lastGood`. Returns
    /// whether it existed.
    pub fn remove(&mut self, id: &ProfileId) -> bool {
        if !self.remove_entry(id) {
            return false;
        }
        self.edit_if_there("usageStats", |usage| {
            usage.remove(id.as_str());
        });
        let is_it = |raw: &[u8]| {
            json::name(Some(raw)).is_some_and(|it| crate::id::trim(&it) == id.as_str())
        };
        self.edit_if_there("order", |orders| {
            let lists = orders
                .iter()
                .filter(|(_, raw)| json::elements(raw).unwrap_or_default().into_iter().any(is_it));
            let lists = lists.map(|(name, raw)| (name.into_owned(), json::without(raw, is_it)));
            for (name, rest) in lists.collect::<Vec<_>>() {
                match rest.filter(|rest| rest != b"[]") {
                    Some(rest) => orders.set_text(&name, &rest),
                    None => drop(orders.remove(&name)),
                }
            }
        });
        self.edit_if_there("lastGood", |last_good| {
            let mentions = last_good
                .iter()
                .filter(|(_, raw)| json::name(Some(raw)).as_deref() == Some(id.as_str()));
            let mentions = mentions.map(|(provider, _)| provider.into_owned());
            for provider in mentions.collect::<Vec<_>>() {
                last_good.remove(&provider);
            }
        });
        true
    }

    /// Removes the entry of `id`, and earlier entries of the same name, because their secrets must be
    /// gone too. Returns whether it existed.
    fn remove_entry(&mut self, id: &ProfileId) -> bool {
        let was_hidden = self.members.edit_hidden("profiles", |profiles| {
            profiles.remove(id.as_str());
        });
        let is_there = self.contains(id);
        if let Some(profiles) = self.section_mut("profiles").filter(|_| is_there) {
            profiles.remove(id.as_str());
        }
        if was_hidden || is_there {
            self.touch(id);
        }
        is_there
    }

    fn touch(&mut self, id: &ProfileId) {
        self.touched.insert(id.clone());
    }

    /// The profiles whose entry was put, changed or removed since parsing.
    pub fn touched(&self) -> impl ExactSizeIterator<Item = &ProfileId> {
        self.touched.iter()
    }

    /// The stored orders, by provider as written: the ids that are non-empty strings. A list without
    /// such an id counts as none.
    pub fn orders(&self) -> Vec<(String, Vec<ProfileId>)> {
        let orders = self.section("order").iter();
        orders.filter_map(|(provider, raw)| Some((provider.into_owned(), ids(raw)?))).collect()
    }

    /// The stored order of `provider`. If it has several spellings, the first in the file counts, as in
    /// Clawdbot.
    pub fn order(&self, provider: &ProviderId) -> Option<Vec<ProfileId>> {
        let mut orders = self.section("order").iter();
        orders.find_map(|(name, raw)| ids(raw).filter(|_| ProviderId::new(&name) == *provider))
    }

    /// Sets the stored order of `provider`, or clears it with `None`, under every spelling.
    pub fn set_order(&mut self, provider: &ProviderId, order: Option<&[ProfileId]>) {
        let is_another =
            |name: &str| name != provider.as_str() && ProviderId::new(name) == *provider;
        self.edit_if_there("order", |orders| {
            let names = orders.iter().map(|(name, _)| name.into_owned());
            let names = names
                .filter(|name| is_another(name) || order.is_none() && name == provider.as_str());
            for name in names.collect::<Vec<_>>() {
                orders.remove(&name);
            }
        });
        match order {
            Some(ids) => {
                let ids: Vec<_> = ids.iter().map(|id| json::name_text(id.as_str())).collect();
                if let Some(orders) = self.section_mut("order") {
                    orders.set_raw(provider.as_str(), format!("[{}]", ids.join(",")).as_bytes());
                }
            }
            None if is_something(self.members.get("order")) => {
                self.refused = Some(Unusable::section("order"));
            }
            None => {}
        }
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

    /// Notes that `id` worked for `provider`.
    pub fn set_last_good(&mut self, provider: &ProviderId, id: &ProfileId) {
        if let Some(last_good) = self.section_mut("lastGood") {
            last_good.set_raw(provider.as_str(), json::name_text(id.as_str()).as_bytes());
        }
    }

    /// The usage of `id`. Empty if the file has none.
    pub fn usage(&self, id: &ProfileId) -> Usage {
        Usage::from_raw(self.section("usageStats").get(id.as_str()))
    }

    /// Sets the usage of `id`. Fields of other programs in that entry stay.
    pub fn set_usage(&mut self, id: &ProfileId, usage: &Usage) {
        let raw = self.section("usageStats").get(id.as_str()).filter(|raw| is_something(Some(raw)));
        let Some(mut entry) = raw.map_or_else(|| Some(Object::default()), Object::of) else {
            self.refused = Some(Unusable::entry("usageStats", id));
            return;
        };
        usage.write_over(&mut entry);
        let entry = entry.into_owned();
        if let Some(usage) = self.section_mut("usageStats") {
            usage.set_edited(id.as_str(), &entry);
        }
    }
}

/// The profile that an entry describes.
fn view(id: &str, raw: &[u8], usage: &Object<'_>) -> Option<Profile> {
    credential::profile(id, &Object::of(raw)?, Usage::from_raw(usage.get(id)))
}

/// The ids in a stored order. `None` if there are none.
fn ids(raw: &[u8]) -> Option<Vec<ProfileId>> {
    let ids = json::elements(raw)?.into_iter().filter_map(|raw| json::name(Some(raw)));
    let ids = ids.map(|id| crate::id::trim(&id).to_owned()).filter(|id| !id.is_empty());
    let ids: Vec<_> = ids.map(ProfileId::from).collect();
    (!ids.is_empty()).then_some(ids)
}

/// Whether a member has a value. To JavaScript `null` counts as none.
fn is_something(raw: Option<&[u8]>) -> bool {
    raw.is_some_and(|raw| raw != b"null")
}

/// The object in a file's bytes, its members of these names opened, and the white space around it.
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

/// The sections that follow `name` in a file that Clawdbot wrote. A new section goes before them.
fn later_sections(name: &str) -> &'static [&'static str] {
    let place = SECTIONS.iter().position(|section| *section == name);
    place.map_or(&[], |place| &SECTIONS[place + 1..])
}

const SECTIONS: [&str; 4] = ["profiles", "order", "lastGood", "usageStats"];
