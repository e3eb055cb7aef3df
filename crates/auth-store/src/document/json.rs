//! JSON objects whose members keep their order and their exact text.
//!
//! Other programs and users edit the store too, so unknown data must survive an edit, including the
//! digits of a number and the white space around it. So an object is its text with the positions of
//! its members, and only members that were set are written anew. It is read as JavaScript's
//! `JSON.parse` reads it: of a repeated name the last one counts, and an edit changes that one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use indexmap::IndexMap;
use serde::Serialize;

use crate::document::ParseError;
use crate::document::json_layout::Layout;
use crate::document::json_text::{self, flaw, skip_name, skip_space, skip_value};
pub(crate) use crate::document::json_value::{
    compact, elements, integer, is_unreadable_time, name, name_text, number, string, time, without,
};

/// An object: its text, its members in the order of the text, and what became of them since. Its
/// `Debug` shows the names only: some of the texts are secrets.
#[derive(Clone)]
pub(crate) struct Object<'a> {
    text: Cow<'a, [u8]>,
    members: Vec<Member>,
    /// The last member of each name by the name's hash, where there are many.
    index: Option<Index>,
    is_changed: bool,
}

#[derive(Clone)]
struct Member {
    /// Where the name is in the text, quotes included; nowhere, if the member is new.
    name: Range<usize>,
    /// What the name says, if that is not just what is written there.
    said: Option<Box<str>>,
    /// Where the value was read.
    place: Range<usize>,
    value: Value,
}

#[derive(Clone)]
enum Value {
    /// As it was read.
    Read,
    /// Another text, to be laid out as its neighbours are.
    New(Box<[u8]>),
    /// What was read, with edits in it.
    Edited(Box<[u8]>),
    /// An object that is edited member by member.
    Open(Box<Object<'static>>),
    Removed,
}

#[derive(Clone, Default)]
struct Index {
    last: HashMap<u64, usize, BuildHasherDefault<NameHasher>>,
    /// Whether some names, or their hashes, occur several times.
    has_repeats: bool,
}

/// FNV-1a, eight bytes at a time: the names are short and the user's own, so what counts is that
/// nothing has to be seeded (a system call) and little has to be computed.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            let mixed = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 = mixed ^ (mixed >> 32);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Object<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> Object<'a> {
    pub(crate) const EMPTY: Self =
        Self { text: Cow::Borrowed(b"{}"), members: Vec::new(), index: None, is_changed: false };

    /// The object that begins at `at`, and where it ends. Members of these names that are objects are
    /// [opened](Self::section) at once.
    pub(crate) fn at(
        text: &'a [u8],
        at: usize,
        sections: &[&str],
    ) -> Result<(Self, usize), ParseError> {
        if text.get(at) != Some(&b'{') {
            return Err(flaw(text, at));
        }
        let mut members: Vec<Member> = Vec::new();
        let mut next = skip_space(text, at + 1);
        let end = loop {
            if members.is_empty() && text.get(next) == Some(&b'}') {
                break next + 1;
            }
            let (name_end, start) = skip_name(text, next)?;
            let name = next - at..name_end - at;
            let said = said(&text[next..name_end]);
            let is_section = text.get(start) == Some(&b'{')
                && sections.iter().any(|it| {
                    said.as_deref().map_or(&text[next + 1..name_end - 1], str::as_bytes)
                        == it.as_bytes()
                });
            let (value, end) = if is_section {
                let (section, end) = Self::at(text, start, &[])?;
                (Value::Open(Box::new(section.into_owned())), end)
            } else {
                (Value::Read, skip_value(text, start)?)
            };
            members.push(Member { name, said, place: start - at..end - at, value });
            let after = skip_space(text, end);
            match text.get(after) {
                Some(b',') => next = skip_space(text, after + 1),
                Some(b'}') => break after + 1,
                _ => return Err(flaw(text, after)),
            }
        };
        let text = Cow::Borrowed(&text[at..end]);
        let mut object = Self { text, members, index: None, is_changed: false };
        object.reindex();
        Ok((object, end))
    }

    /// The object that `raw` is, which must be JSON; `None` if it is something else.
    pub(crate) fn of(raw: &'a [u8]) -> Option<Self> {
        Self::at(raw, 0, &[]).ok().map(|(object, _)| object)
    }

    /// The object in `raw`, or an empty one if that is something else: for reading only.
    pub(crate) fn from_raw(raw: Option<&'a [u8]>) -> Self {
        raw.and_then(Self::of).unwrap_or_default()
    }

    /// The same with a text of its own.
    pub(crate) fn into_owned(self) -> Object<'static> {
        let Self { text, members, index, is_changed } = self;
        Object { text: Cow::Owned(text.into_owned()), members, index, is_changed }
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.iter().all(|member| matches!(member.value, Value::Removed))
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.is_changed
            || self
                .members
                .iter()
                .any(|member| matches!(&member.value, Value::Open(section) if section.is_changed()))
    }

    /// Whether there is a member `name`.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The text of the member `name`; `None` also for a [section](Self::section).
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.raw(&self.members[self.find(name)?])
    }

    /// The members as JavaScript lists them: names that are indexes of an array first, then each name
    /// where it first occurred, with what it says last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, &[u8])> {
        let is_there = |member: &&Member| !matches!(member.value, Value::Removed | Value::Open(_));
        let members: Vec<&Member> = match self.in_order() {
            Some(order) => order.into_iter().map(|at| &self.members[at]).collect(),
            None => self.members.iter().collect(),
        };
        let members = members.into_iter().filter(is_there);
        members.filter_map(|it| Some((String::from_utf8_lossy(self.name(it)), self.raw(it)?)))
    }

    /// The places of the members as JavaScript lists them; `None` where that is the order of the text.
    fn in_order(&self) -> Option<Vec<usize>> {
        let names = || self.members.iter().map(|member| self.name(member));
        let has_repeats = match &self.index {
            Some(index) => index.has_repeats,
            None => names().enumerate().any(|(at, name)| names().take(at).any(|it| it == name)),
        };
        if !has_repeats && !names().any(|name| array_index(name).is_some()) {
            return None;
        }
        let mut last = IndexMap::<_, _, BuildHasherDefault<NameHasher>>::default();
        for (at, member) in self.members.iter().enumerate() {
            if !matches!(member.value, Value::Removed) {
                last.insert(self.name(member), at);
            }
        }
        last.sort_by_key(|name, _| array_index(name).map_or((true, 0), |index| (false, index)));
        Some(last.into_values().collect())
    }

    /// The object that the member `name` is, if it was [opened](Self::at).
    pub(crate) fn section(&self, name: &str) -> Option<&Object<'static>> {
        match &self.members[self.find(name)?].value {
            Value::Open(section) => Some(section),
            _ => None,
        }
    }

    /// The same for edits. One that is not there, or `null`, is made: before the first of `later` that
    /// is there. `None` if there is something else, which must not be replaced.
    pub(crate) fn section_mut(
        &mut self,
        name: &str,
        later: &[&str],
    ) -> Option<&mut Object<'static>> {
        let new = || Value::Open(Box::default());
        let at = match self.find(name) {
            Some(at) => {
                if !matches!(self.members[at].value, Value::Open(_)) {
                    if self.raw(&self.members[at]) != Some(b"null") {
                        return None;
                    }
                    self.members[at].value = new();
                    self.is_changed = true;
                }
                at
            }
            None => {
                let is_later = |it: &Member| later.iter().any(|l| l.as_bytes() == self.name(it));
                let at = self.members.iter().position(is_later).unwrap_or(self.members.len());
                self.members.insert(at, Member::new(name, new()));
                self.reindex();
                self.is_changed = true;
                at
            }
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
        self.is_changed = true;
        if let Some(at) = self.find(name) {
            self.members[at].value = value;
            return;
        }
        self.members.push(Member::new(name, value));
        match &mut self.index {
            Some(index) => {
                let was = index.last.insert(hash(name.as_bytes()), self.members.len() - 1);
                index.has_repeats |= was.is_some();
            }
            None => self.reindex(),
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        let is_it = |at: &usize| {
            let member = &self.members[*at];
            self.name(member) == name.as_bytes() && !matches!(member.value, Value::Removed)
        };
        let Some(index) = &self.index else { return (0..self.members.len()).rev().find(is_it) };
        let at = index.last.get(&hash(name.as_bytes()))?;
        match is_it(at) {
            true => Some(*at),
            false if index.has_repeats => (0..self.members.len()).rev().find(is_it),
            false => None,
        }
    }

    fn reindex(&mut self) {
        self.index = None;
        if self.members.len() <= FEW {
            return;
        }
        let mut index = Index::default();
        index.last.reserve(self.members.len());
        for (at, member) in self.members.iter().enumerate() {
            let was = index.last.insert(hash(self.name(member)), at);
            index.has_repeats |= was.is_some();
        }
        self.index = Some(index);
    }

    fn name<'s>(&'s self, member: &'s Member) -> &'s [u8] {
        match &member.said {
            Some(said) => said.as_bytes(),
            None => &self.text[member.name.start + 1..member.name.end - 1],
        }
    }

    fn raw<'s>(&'s self, member: &'s Member) -> Option<&'s [u8]> {
        match &member.value {
            Value::Read => Some(&self.text[member.place.clone()]),
            Value::New(text) | Value::Edited(text) => Some(text),
            Value::Open(_) | Value::Removed => None,
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

impl fmt::Debug for Object<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.members.iter().map(|it| String::from_utf8_lossy(self.name(it)));
        formatter.debug_set().entries(names).finish()
    }
}

/// What a name says, if that is not just what is written.
fn said(raw: &[u8]) -> Option<Box<str>> {
    let is_plain = raw.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    if is_plain || std::str::from_utf8(raw).is_ok_and(|raw| !raw.contains('\\')) {
        return None;
    }
    json_text::name(raw).map(|name| name.into())
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = NameHasher::default();
    hasher.write(name);
    hasher.finish()
}

/// The number of a name that JavaScript takes for an index of an array.
fn array_index(name: &[u8]) -> Option<u32> {
    let is_number = match name {
        [] => false,
        [b'0'] => true,
        [first, rest @ ..] => {
            (b'1'..=b'9').contains(first) && rest.len() < 10 && rest.iter().all(u8::is_ascii_digit)
        }
    };
    let number = std::str::from_utf8(name).ok().filter(|_| is_number)?.parse().ok();
    number.filter(|number| *number < u32::MAX)
}

/// So many members are found by looking at each.
const FEW: usize = 16;

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
