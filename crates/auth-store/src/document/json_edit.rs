//! Edits of a JSON object, and its text after them: every byte that was not edited as it was read.

use serde::Serialize;

use crate::document::json::{Member, Object, Value, hash, name_text};
use crate::document::json_layout::Layout;

impl Object<'_> {
    /// The object that the member `name` is, for edits of it. One that is not there, or `null`, is made:
    /// before the first of `later` that is there. `None` if there is something else: it is not for us to
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

    /// Sets the member `name`: in its place if it is there, at the end if it is new.
    pub(crate) fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // Only a map with keys that are not strings, or a failing `Serialize`, could fail here;
        // nothing of ours is either.
        if let Ok(text) = serde_json::to_vec(value) {
            self.put(name, Value::New(text.into()));
        }
    }

    /// The same with the text of a value, which is laid out as its neighbours are.
    pub(crate) fn set_raw(&mut self, name: &str, text: &[u8]) {
        self.put(name, Value::New(text.into()));
    }

    /// The same with what became of the member: what was not edited in `object` keeps its text.
    pub(crate) fn set_edited(&mut self, name: &str, object: &Object<'_>) {
        if object.members.iter().any(Member::was_read) {
            self.set_text(name, &object.to_text());
        } else {
            self.set_raw(name, &object.to_text());
        }
    }

    /// The same with the text that became of it.
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

    /// Removes the member, however often it is there; whether it was.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let mut was_there = false;
        while let Some(at) = self.find(name) {
            self.members[at].value = Value::Removed;
            was_there = true;
        }
        self.is_changed |= was_there;
        was_there
    }

    /// Has `edit` change the sections `name` that do not count, since the same name comes again later.
    /// Whether one of them was changed.
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

    /// Its text now. What it does not have from where it was read is on one line.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 64);
        self.write(&Layout::from_text(b"", b":", b""), &mut out);
        out
    }

    /// Writes its text now: every byte that was not edited as it was read. `layout` is for the members
    /// of an object that had none.
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
        // Where the last member that was read ends.
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

    /// How it is laid out, with the white space after its opening and before its closing bracket;
    /// `None` if it had no members.
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
