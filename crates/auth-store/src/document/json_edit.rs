//! Edits of a JSON object, and its text afterwards: every byte that was not edited stays as it was
//! read.

use serde::Serialize;

use crate::document::json::{Member, Object, Value, hash, name_text};
use crate::document::json_layout::Layout;

impl Object<'_> {
    /// The object in the member `name`, for editing. A missing or `null` member is created before
    /// the first existing member of `later`. `None` if it has another type, which we must not
    /// replace.
    pub(crate) fn section_mut(
        &mut self,
        name: &str,
        later: &[&str],
    ) -> Option<&mut Object<'static>> {
        let new = || Value::Open(Box::default());
        let at = if let Some(at) = self.find(name) {
            if !matches!(self.members[at].value, Value::Open(_)) {
                if self.raw(&self.members[at]) != Some(b"null") {
                    return None;
                }
                self.members[at].value = new();
                self.is_changed = true;
            }
            at
        } else {
            let is_later = |it: &Member| later.iter().any(|l| l.as_bytes() == self.name(it));
            let at = self.members.iter().position(is_later).unwrap_or(self.members.len());
            self.members.insert(at, Member::new(name, new()));
            self.reindex();
            self.is_changed = true;
            at
        };
        match &mut self.members[at].value {
            Value::Open(section) => Some(section),
            _ => None,
        }
    }

    /// Sets the member `name`: in its place if it exists, at the end if it is new.
    pub(crate) fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // Serializing fails only for a map with keys that are not strings, or for a failing
        // `Serialize`; we use neither.
        if let Ok(text) = serde_json::to_vec(value) {
            self.put(name, Value::New(text.into()));
        }
    }

    /// Sets the member to the text of a value, which is formatted like its neighbors.
    pub(crate) fn set_raw(&mut self, name: &str, text: &[u8]) {
        self.put(name, Value::New(text.into()));
    }

    /// Sets the member to an edited object: whatever was not edited in `object` keeps its text.
    pub(crate) fn set_edited(&mut self, name: &str, object: &Object<'_>) {
        if object.members.iter().any(Member::was_read) {
            self.set_text(name, &object.to_text());
        } else {
            self.set_raw(name, &object.to_text());
        }
    }

    /// Sets the member to its edited text.
    pub(crate) fn set_text(&mut self, name: &str, text: &[u8]) {
        let before = self.find(name).map(|at| &self.members[at].value);
        match before {
            Some(Value::Read | Value::Edited(_)) => self.put(name, Value::Edited(text.into())),
            _ => self.put(name, Value::New(text.into())),
        }
    }

    /// Sets the member if there is a value, removes it if there is none.
    pub(crate) fn set_or_remove(&mut self, name: &str, value: Option<impl Serialize>) {
        match value {
            Some(value) => self.set(name, &value),
            None => {
                self.remove(name);
            }
        }
    }

    /// Removes all members with this name; returns whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let mut was_there = false;
        while let Some(at) = self.find(name) {
            self.members[at].value = Value::Removed;
            was_there = true;
        }
        self.is_changed |= was_there;
        was_there
    }

    /// Changes with `edit` the sections `name` that are hidden by a later one of the same name.
    /// Returns whether one of them was changed.
    pub(crate) fn edit_hidden(&mut self, name: &str, edit: impl Fn(&mut Object<'_>)) -> bool {
        let Some(last) = self.find(name) else { return false };
        let mut is_changed = false;
        for at in 0..last {
            let is_it = self.name(&self.members[at]) == name.as_bytes();
            if let Value::Open(section) = &mut self.members[at].value
                && is_it
            {
                edit(section);
                is_changed |= section.is_changed();
            }
        }
        is_changed
    }

    fn put(&mut self, name: &str, value: Value) {
        if let Some(at) = self.find(name) {
            let member = &self.members[at];
            if !matches!(&value, Value::New(text) | Value::Edited(text) if self.raw(member) == Some(text))
            {
                self.members[at].value = value;
                self.is_changed = true;
            }
            return;
        }
        self.is_changed = true;
        self.members.push(Member::new(name, value));
        match &mut self.index {
            Some(index) => {
                let was = index.last.insert(hash(name.as_bytes()), self.members.len() - 1);
                index.has_repeats |= was.is_some();
            }
            None => self.reindex(),
        }
    }

    /// The current text. Parts without an original text are written on one line.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 64);
        self.write(&Layout::from_text(b"", b":", b""), &mut out);
        out
    }

    /// Writes the current text: every byte that was not edited stays as it was read. `layout` is
    /// for the members of an object that had none.
    pub(crate) fn write(&self, layout: &Layout, out: &mut Vec<u8>) {
        if !self.is_changed() {
            return out.extend_from_slice(&self.text);
        }
        if self.is_empty() {
            return out.extend_from_slice(b"{}");
        }
        let own = self.layout();
        let (layout, before, after) = match &own {
            Some((own, before, after)) => (own, *before, *after),
            None => (layout, layout.before(), layout.after()),
        };
        // The end of the last member that was read.
        let (mut end, mut is_first) = (None, true);
        for member in &self.members {
            let between = member.was_read().then(|| {
                let between = end.map(|end| &self.text[end..member.name.start]);
                end = Some(member.place.end);
                between
            });
            if matches!(member.value, Value::Removed) {
                continue;
            }
            match between.flatten() {
                _ if is_first => {
                    out.push(b'{');
                    out.extend_from_slice(before);
                }
                Some(between) => out.extend_from_slice(between),
                None => out.extend_from_slice(&layout.between()),
            }
            is_first = false;
            if member.was_read() {
                out.extend_from_slice(&self.text[member.name.start..member.place.start]);
            } else {
                let said = member.said.as_deref().unwrap_or_default();
                out.extend_from_slice(name_text(said).as_bytes());
                out.extend_from_slice(layout.colon());
            }
            match &member.value {
                Value::New(text) => layout.write(text, out),
                Value::Open(section) => section.write(&layout.inner(), out),
                Value::Read | Value::Edited(_) | Value::Removed => {
                    out.extend_from_slice(self.raw(member).unwrap_or_default());
                }
            }
        }
        out.extend_from_slice(after);
        out.push(b'}');
    }

    /// The layout of the object, with the white space after its opening and before its closing
    /// bracket; `None` if it had no members.
    fn layout(&self) -> Option<(Layout, &[u8], &[u8])> {
        let first = self.members.iter().find(|member| member.was_read())?;
        let last = self.members.iter().rfind(|member| member.was_read())?;
        let before = &self.text[1..first.name.start];
        let after = &self.text[last.place.end..self.text.len() - 1];
        let colon = &self.text[first.name.end..first.place.start];
        Some((Layout::from_text(before, colon, after), before, after))
    }
}

impl Member {
    fn new(name: &str, value: Value) -> Self {
        Self { name: 0..0, said: Some(name.into()), place: 0..0, value }
    }

    fn was_read(&self) -> bool {
        !self.name.is_empty()
    }
}
