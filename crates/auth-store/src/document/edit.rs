//! Edits of a store: each changes its own entry and no other byte.

use crate::document::credential::{self, Credential};
use crate::document::json::{self, Object};
use crate::document::usage::Usage;
use crate::document::{Document, SECTIONS, is_something, later_sections};
use crate::error::Unusable;
use crate::id::{ProfileId, ProviderId};

impl Document {
    /// Stores a login: adds a new entry, or replaces the old one. `fields` are additional members
    /// of the entry; they cannot replace the credential's own.
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

    /// Changes the credential of an existing profile: the fields of `credential` are written, all
    /// others stay unchanged. `false`, without a change, if there is no such profile.
    pub fn renew(&mut self, id: &ProfileId, credential: &Credential) -> bool {
        let Some(mut entry) = self.raw(id).and_then(Object::parse).map(Object::into_owned) else {
            return false;
        };
        credential::write_over(&mut entry, credential);
        if let Some(profiles) = self.section_mut("profiles") {
            profiles.set_edited(id.as_str(), &entry);
        }
        self.touch(id);
        true
    }

    /// Sets further members of an existing profile. `false`, and nothing done, if there is no such
    /// profile.
    pub fn set_fields(
        &mut self,
        id: &ProfileId,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> bool {
        let Some(mut entry) = self.raw(id).and_then(Object::parse).map(Object::into_owned) else {
            return false;
        };
        for (name, value) in fields {
            entry.set(name, value);
        }
        if let Some(profiles) = self.section_mut("profiles") {
            profiles.set_edited(id.as_str(), &entry);
        }
        self.touch(id);
        true
    }

    /// Replaces the entry of `id`, if any, with `raw`, unchanged.
    pub(crate) fn put_raw(&mut self, id: &ProfileId, raw: &[u8]) {
        if let Some(profiles) = self.section_mut("profiles") {
            profiles.set_raw(id.as_str(), raw);
        }
        self.touch(id);
    }

    /// Copies the entry of `id` unchanged from `other`, or removes it if `other` has none. Its
    /// usage and everything else stays unchanged.
    pub fn copy_entry(&mut self, id: &ProfileId, other: &Self) {
        if let Some(raw) = other.raw(id) {
            self.put_raw(id, raw);
        } else {
            self.remove_entry(id);
            self.touch(id);
        }
    }

    /// Removes a profile and every reference to it: its usage, its place in orders, `lastGood`.
    /// Returns whether it existed.
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

    /// Removes the entry of `id` and every earlier duplicate of it, since no secret may remain.
    /// Returns whether it existed.
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

    /// Sets the stored order of `provider`, or clears it with `None`, under whatever spelling of
    /// the provider the file has.
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

    /// Records that `id` worked for `provider`.
    pub fn set_last_good(&mut self, provider: &ProviderId, id: &ProfileId) {
        if let Some(last_good) = self.section_mut("lastGood") {
            last_good.set_raw(provider.as_str(), json::name_text(id.as_str()).as_bytes());
        }
    }

    /// Sets the usage of `id`. Fields of other programs in that entry stay.
    pub fn set_usage(&mut self, id: &ProfileId, usage: &Usage) {
        let raw = self.section("usageStats").get(id.as_str()).filter(|raw| is_something(Some(raw)));
        let Some(mut entry) = raw.map_or_else(|| Some(Object::default()), Object::parse) else {
            self.refused = Some(Unusable::entry("usageStats", id));
            return;
        };
        usage.write_over(&mut entry);
        let entry = entry.into_owned();
        if let Some(usage) = self.section_mut("usageStats") {
            usage.set_edited(id.as_str(), &entry);
        }
    }

    /// One of the [`SECTIONS`] for a change. `None` if the file has another value there; the change
    /// is refused then.
    fn section_mut(&mut self, name: &str) -> Option<&mut Object<'static>> {
        if is_something(self.members.get(name)) {
            self.refused = Some(Unusable::section(name));
            return None;
        }
        if !self.members.contains("profiles") {
            // Other programs do not accept the file as a store without these members.
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

    /// Removes sections with an unexpected type, which reading ignores.
    pub(crate) fn drop_unusable(&mut self) {
        for name in SECTIONS {
            if is_something(self.members.get(name)) {
                self.members.remove(name);
            }
        }
    }
}
