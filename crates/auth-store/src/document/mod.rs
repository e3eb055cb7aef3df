//! The store's file as a value: bytes in, bytes out, nothing lost between.

pub(crate) mod credential;
pub(crate) mod json;
pub(crate) mod reference;
pub(crate) mod shared;
pub(crate) mod usage;

use std::hash::BuildHasherDefault;
use std::path::{Path, PathBuf};

use indexmap::IndexSet;
use serde_json::value::RawValue;

use crate::document::credential::{Credential, Profile};
use crate::document::json::{NameHasher, Object};
use crate::document::usage::Usage;
use crate::error::ParseError;
use crate::fs::open::LARGEST;
use crate::id::{ProfileId, ProviderId};

/// The content of `auth-profiles.json`.
///
/// Fields, entries and credential types that we do not know survive every edit, in their order
/// and with their text; reading skips them.
#[derive(Clone, Debug)]
pub struct Document {
    /// All members of the file; those below are written back into it.
    members: Object<'static>,
    profiles: Object<'static>,
    usage: Object<'static>,
    /// The profiles whose credential was put, changed or removed since parsing.
    touched: IndexSet<ProfileId, BuildHasherDefault<NameHasher>>,
    usage_changed: bool,
    sections_changed: bool,
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
    /// A store with nothing in it.
    pub fn empty() -> Self {
        let mut members = Object::default();
        members.set("version", &VERSION);
        members.set("profiles", &Object::default());
        Self {
            members,
            profiles: Object::default(),
            usage: Object::default(),
            touched: IndexSet::default(),
            usage_changed: false,
            sections_changed: false,
            recovered_from: None,
        }
    }

    /// Reads a file's bytes. A byte order mark is accepted, and not written again.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (members, text, mark) = object(bytes)?;
        let error = |offset, reason| ParseError { offset, reason };
        let profiles = match members.get("profiles").map(RawValue::get) {
            None | Some("null") => Object::default(),
            Some(raw) => serde_json::from_str::<Object<'_>>(raw).map_err(|json| {
                let start = text.find(raw).unwrap_or(0);
                let offset = mark + start + offset(raw, json.line(), json.column());
                error(offset, "`profiles` is not an object with unique names")
            })?,
        };
        for (_id, raw) in profiles.iter() {
            if raw.get().starts_with('{') && serde_json::from_str::<Object<'_>>(raw.get()).is_err()
            {
                return Err(error(mark, "a profile names a field twice"));
            }
        }
        let profiles = profiles.into_owned();
        let usage = Object::from_raw(members.get("usageStats")).into_owned();
        Ok(Self { members: members.into_owned(), profiles, usage, ..Self::empty() })
    }

    /// The file's bytes: two-space JSON and a final newline.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        if !self.touched.is_empty() || members.get("profiles").is_none() {
            members.set("profiles", &self.profiles);
        }
        if self.usage_changed {
            members.set("usageStats", &self.usage);
        }
        // `Object` serialises infallibly: string keys, raw values.
        let text = serde_json::to_string(&members).unwrap_or_default();
        let mut text = json::indent(&text);
        text.push('\n');
        text.into_bytes()
    }

    /// Whether anything was changed since parsing.
    pub fn is_changed(&self) -> bool {
        self.usage_changed || self.sections_changed || !self.touched.is_empty()
    }

    /// The copy of the damaged file, if this is the backup that took its place just now.
    pub fn recovered_from(&self) -> Option<&Path> {
        self.recovered_from.as_deref()
    }

    pub(crate) fn set_recovered_from(&mut self, copy: PathBuf) {
        self.recovered_from = Some(copy);
    }

    /// Whether we may write this file: its `version` is at most ours. A file of a newer version
    /// is read as far as it can be, and never written.
    pub fn is_writable(&self) -> bool {
        match self.members.get("version").map(RawValue::get) {
            None | Some("null") => true,
            Some(text) => text.parse::<f64>().is_ok_and(|version| version <= f64::from(VERSION)),
        }
    }

    /// All usable profiles, in the order of the file.
    pub fn profiles(&self) -> impl Iterator<Item = Profile> {
        self.profiles.iter().filter_map(|(id, raw)| self.view(id, raw))
    }

    /// The profile `id`, if it is there and usable.
    pub fn profile(&self, id: &ProfileId) -> Option<Profile> {
        self.profiles.get(id.as_str()).and_then(|raw| self.view(id.as_str(), raw))
    }

    fn view(&self, id: &str, raw: &RawValue) -> Option<Profile> {
        let usage = Usage::from_raw(self.usage.get(id));
        credential::profile(id, &credential::entry_of(raw), usage)
    }

    /// Whether there is an entry of that id, usable or not.
    pub fn contains(&self, id: &ProfileId) -> bool {
        self.profiles.get(id.as_str()).is_some()
    }

    /// The entries that routing skips, for `doctor`.
    pub fn malformed(&self) -> Vec<Malformed> {
        let malformed = self.profiles.iter().filter_map(|(id, raw)| {
            let reason = if raw.get().starts_with('{') {
                credential::head(&credential::entry_of(raw)).err()?
            } else {
                "it is not an object"
            };
            Some(Malformed { id: ProfileId::new(id), reason })
        });
        malformed.collect()
    }

    /// The credential of `id`.
    pub fn credential(&self, id: &ProfileId) -> Option<Credential> {
        self.profiles
            .get(id.as_str())
            .and_then(|raw| credential::credential(&credential::entry_of(raw)))
    }

    /// A field of the profile `id` as JSON text, for what only one provider knows.
    pub fn field(&self, id: &ProfileId, name: &str) -> Option<serde_json::Value> {
        let entry = credential::entry_of(self.profiles.get(id.as_str())?);
        serde_json::from_str(entry.get(name)?.get()).ok()
    }

    /// Stores a login: a new entry, or a new one in the place of the old. `fields` are further
    /// members of the entry; they cannot replace the credential's own.
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
        self.put_entry(id, &entry);
    }

    /// Changes the credential of an existing profile: the fields of `credential` are written,
    /// all others stay as they are. `false`, and nothing done, if there is no such profile.
    pub fn renew(&mut self, id: &ProfileId, credential: &Credential) -> bool {
        let Some(raw) = self.profiles.get(id.as_str()) else { return false };
        let mut entry = credential::entry_of(raw).into_owned();
        credential::write_over(&mut entry, credential);
        self.put_entry(id, &entry);
        true
    }

    fn put_entry(&mut self, id: &ProfileId, entry: &Object<'_>) {
        self.profiles.set(id.as_str(), entry);
        self.touch(id);
    }

    /// Puts the entry `raw` in place of whatever `id` was, as it is.
    pub(crate) fn put_raw(&mut self, id: &ProfileId, raw: &RawValue) {
        self.profiles.set_raw(id.as_str(), raw);
        self.touch(id);
    }

    /// The entry of `id` as it is.
    pub(crate) fn raw(&self, id: &ProfileId) -> Option<&RawValue> {
        self.profiles.get(id.as_str())
    }

    /// Copies the entry of `id` as it is from `other`; removes it if it is not there. Its usage,
    /// and everything else, is left alone.
    pub fn copy_entry(&mut self, id: &ProfileId, other: &Self) {
        match other.profiles.get(id.as_str()) {
            Some(raw) => self.profiles.set_raw(id.as_str(), raw),
            None => {
                self.profiles.remove(id.as_str());
            }
        }
        self.touch(id);
    }

    /// Removes a profile and every mention of it: its usage, its place in orders, `lastGood`.
    /// Whether it was there.
    pub fn remove(&mut self, id: &ProfileId) -> bool {
        if !self.profiles.remove(id.as_str()) {
            return false;
        }
        self.touch(id);
        if self.usage.remove(id.as_str()) {
            self.usage_changed = true;
        }
        let orders: Vec<_> = self.orders().into_iter().collect();
        for (provider, ids) in orders {
            if ids.contains(id) {
                let rest: Vec<_> = ids.into_iter().filter(|listed| listed != id).collect();
                self.set_order_literally(&provider, (!rest.is_empty()).then_some(&rest));
            }
        }
        let mut last_good = Object::from_raw(self.members.get("lastGood")).into_owned();
        let mentions: Vec<_> = last_good
            .iter()
            .filter(|(_, raw)| json::string(Some(raw)).as_deref() == Some(id.as_str()))
            .map(|(provider, _)| provider.to_owned())
            .collect();
        for provider in &mentions {
            last_good.remove(provider);
        }
        if !mentions.is_empty() {
            self.set_section("lastGood", &last_good);
        }
        true
    }

    fn touch(&mut self, id: &ProfileId) {
        self.touched.insert(id.clone());
    }

    /// The profiles whose entry was put, changed or removed since parsing.
    pub fn touched(&self) -> impl ExactSizeIterator<Item = &ProfileId> {
        self.touched.iter()
    }

    /// The stored orders, by provider as written: for each, the ids that are strings and not
    /// empty. A list without any such id is as good as none.
    pub fn orders(&self) -> Vec<(String, Vec<ProfileId>)> {
        let orders = Object::from_raw(self.members.get("order"));
        let lists = orders.iter().filter_map(|(provider, raw)| {
            let ids: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            let ids = ids.into_iter().filter_map(|raw| json::string(Some(raw)));
            let ids = ids.map(|id| crate::id::trim(&id).to_owned()).filter(|id| !id.is_empty());
            let ids: Vec<_> = ids.map(ProfileId::from).collect();
            (!ids.is_empty()).then(|| (provider.to_owned(), ids))
        });
        lists.collect()
    }

    /// The stored order of `provider`: which profile first. Should it be there under several
    /// spellings, the first in the file counts, as for the original.
    pub fn order(&self, provider: &ProviderId) -> Option<Vec<ProfileId>> {
        let mut orders = self.orders().into_iter();
        orders.find(|(name, _)| ProviderId::new(name) == *provider).map(|(_, ids)| ids)
    }

    /// Sets the stored order of `provider`, or clears it with `None`, under whatever name it is
    /// there.
    pub fn set_order(&mut self, provider: &ProviderId, order: Option<&[ProfileId]>) {
        let orders = Object::from_raw(self.members.get("order"));
        let names: Vec<_> = orders
            .iter()
            .map(|(name, _)| name.to_owned())
            .filter(|name| ProviderId::new(name) == *provider && name != provider.as_str())
            .collect();
        for name in names {
            self.set_order_literally(&name, None);
        }
        self.set_order_literally(provider.as_str(), order);
    }

    fn set_order_literally(&mut self, provider: &str, order: Option<&[ProfileId]>) {
        let mut orders = Object::from_raw(self.members.get("order")).into_owned();
        let order = order.map(|ids| ids.iter().map(ProfileId::as_str).collect::<Vec<_>>());
        if order.is_none() && orders.get(provider).is_none() {
            return;
        }
        orders.set_or_remove(provider, order);
        self.set_section("order", &orders);
    }

    fn set_section(&mut self, name: &str, section: &Object<'_>) {
        self.sections_changed = true;
        if section.is_empty() {
            self.members.remove(name);
        } else {
            self.members.set_before(name, section, later_sections(name));
        }
    }

    /// The profile that last worked for `provider`.
    pub fn last_good(&self, provider: &ProviderId) -> Option<ProfileId> {
        let last_good = Object::from_raw(self.members.get("lastGood"));
        let raw = last_good.get(provider.as_str()).or_else(|| {
            last_good
                .iter()
                .find(|(name, _)| ProviderId::new(name) == *provider)
                .map(|(_, raw)| raw)
        });
        json::string(raw).map(ProfileId::from)
    }

    /// Notes that `id` worked for `provider`.
    pub fn set_last_good(&mut self, provider: &ProviderId, id: &ProfileId) {
        let mut last_good = Object::from_raw(self.members.get("lastGood")).into_owned();
        last_good.set(provider.as_str(), &id.as_str());
        self.members.set_before("lastGood", &last_good, later_sections("lastGood"));
        self.sections_changed = true;
    }

    /// What routing remembers about `id`; nothing, if the file has nothing.
    pub fn usage(&self, id: &ProfileId) -> Usage {
        Usage::from_raw(self.usage.get(id.as_str()))
    }

    /// Sets what routing remembers about `id`. Fields of others in that entry stay.
    pub fn set_usage(&mut self, id: &ProfileId, usage: &Usage) {
        let entry = usage.write_over(self.usage.get(id.as_str()));
        self.usage.set(id.as_str(), &entry);
        self.usage_changed = true;
    }
}

/// The object in a file's bytes, with its text and the length of the byte order mark before it.
pub(crate) fn object(bytes: &[u8]) -> Result<(Object<'_>, &str, usize), ParseError> {
    let error = |offset, reason| ParseError { offset, reason };
    if bytes.len() > LARGEST {
        return Err(error(LARGEST, "larger than 64 MiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|utf8| error(utf8.valid_up_to(), "not UTF-8"))?;
    let mark = text.len() - text.trim_start_matches('\u{feff}').len();
    let text = &text[mark..];
    if text.is_empty() {
        return Err(error(mark, "empty file"));
    }
    if json::is_too_deep(text) {
        return Err(error(mark, "nested deeper than 64"));
    }
    let members: Object<'_> = serde_json::from_str(text).map_err(|json| {
        let reason = match json.classify() {
            serde_json::error::Category::Eof => "unexpected end of the file",
            serde_json::error::Category::Data => "not an object with unique names",
            _ => "not JSON",
        };
        error(mark + offset(text, json.line(), json.column()), reason)
    })?;
    Ok((members, text, mark))
}

/// The version we write.
const VERSION: u32 = 1;

/// The sections that follow `name` where Clawdbot writes the file: a new one takes its place.
fn later_sections(name: &str) -> &'static [&'static str] {
    let place = SECTIONS.iter().position(|section| *section == name);
    place.map_or(&[], |place| &SECTIONS[place + 1..])
}

const SECTIONS: [&str; 3] = ["order", "lastGood", "usageStats"];

/// The byte offset of a line and column as `serde_json` counts them (from 1; column 0 is the end
/// of the line before).
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}
