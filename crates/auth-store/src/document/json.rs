//! JSON objects whose members keep their order and their exact text.
//!
//! Other programs and users edit the store too: whatever we do not understand must survive an edit,
//! down to the digits of a number and the white space around it. So an object is its text plus the
//! positions of its members, and only the members we set are written again. It is read as
//! JavaScript's `JSON.parse` reads it: of several members with the same name the last one counts,
//! and an edit changes that one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use indexmap::IndexMap;

use crate::document::ParseError;
use crate::document::json_text::{self, flaw, skip_name, skip_space, skip_value};
pub(crate) use crate::document::json_value::{
    compact, elements, integer, is_blank, is_unreadable_time, name, name_text, number, string,
    time, without,
};

/// An object: its text, its members in the order of the text, and the changes to them. Its `Debug`
/// shows only the names, because some of the texts are secrets.
#[derive(Clone)]
pub(crate) struct Object<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    pub(crate) members: Vec<Member>,
    /// The last member of each name by the name's hash, if there are many members.
    pub(crate) index: Option<Index>,
    pub(crate) is_changed: bool,
}

#[derive(Clone)]
pub(crate) struct Member {
    /// The position of the name in the text, quotes included; empty for a new member.
    pub(crate) name: Range<usize>,
    /// The decoded name, if it differs from its text.
    pub(crate) said: Option<Box<str>>,
    /// The position of the value that was read.
    pub(crate) place: Range<usize>,
    pub(crate) value: Value,
}

#[derive(Clone)]
pub(crate) enum Value {
    /// Unchanged.
    Read,
    /// A new text, to be formatted like its neighbors.
    New(Box<[u8]>),
    /// The text that was read, with edits in it.
    Edited(Box<[u8]>),
    /// An object that is edited member by member.
    Open(Box<Object<'static>>),
    Removed,
}

#[derive(Clone, Default)]
pub(crate) struct Index {
    pub(crate) last: HashMap<u64, usize, BuildHasherDefault<NameHasher>>,
    /// Whether some names, or their hashes, are repeated.
    pub(crate) has_repeats: bool,
}

/// FNV-1a, eight bytes at a time. The names are short and come from the user's own file, so this
/// needs no seed (a system call) and little computation.
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

    /// The object that begins at `at`, and where it ends. Members with these names that are objects
    /// are [opened](Self::section) at once.
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

    /// The object in `raw`, which must be valid JSON; `None` if it is another type.
    pub(crate) fn parse(raw: &'a [u8]) -> Option<Self> {
        Self::at(raw, 0, &[]).ok().map(|(object, _)| object)
    }

    /// The object in `raw`, or an empty one if `raw` is another type: for reading only.
    pub(crate) fn from_raw(raw: Option<&'a [u8]>) -> Self {
        raw.and_then(Self::parse).unwrap_or_default()
    }

    /// This object with its own copy of the text.
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

    /// The text of the member `name`; also `None` for a [section](Self::section).
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.raw(&self.members[self.find(name)?])
    }

    /// The members in JavaScript's order: names that are array indexes first, then each name where
    /// it first occurred, with its last value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, &[u8])> {
        let is_there = |member: &&Member| !matches!(member.value, Value::Removed | Value::Open(_));
        let members: Vec<&Member> = match self.in_order() {
            Some(order) => order.into_iter().map(|at| &self.members[at]).collect(),
            None => self.members.iter().collect(),
        };
        let members = members.into_iter().filter(is_there);
        members.filter_map(|it| Some((json_text::lossy(self.name(it)), self.raw(it)?)))
    }

    /// The positions of the members in JavaScript's order; `None` if that is the order of the text.
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

    /// The object in the member `name`, if it was [opened](Self::at).
    pub(crate) fn section(&self, name: &str) -> Option<&Object<'static>> {
        match &self.members[self.find(name)?].value {
            Value::Open(section) => Some(section),
            _ => None,
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
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

    pub(crate) fn reindex(&mut self) {
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

    pub(crate) fn name<'s>(&'s self, member: &'s Member) -> &'s [u8] {
        match &member.said {
            Some(said) => said.as_bytes(),
            None => &self.text[member.name.start + 1..member.name.end - 1],
        }
    }

    pub(crate) fn raw<'s>(&'s self, member: &'s Member) -> Option<&'s [u8]> {
        match &member.value {
            Value::Read => Some(&self.text[member.place.clone()]),
            Value::New(text) | Value::Edited(text) => Some(text),
            Value::Open(_) | Value::Removed => None,
        }
    }
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.members.iter().map(|it| String::from_utf8_lossy(self.name(it)));
        formatter.debug_set().entries(names).finish()
    }
}

/// The decoded name, if it differs from its text.
fn said(raw: &[u8]) -> Option<Box<str>> {
    let is_plain = raw.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    if is_plain || std::str::from_utf8(raw).is_ok_and(|raw| !raw.contains('\\')) {
        return None;
    }
    json_text::name(raw).map(Into::into)
}

pub(crate) fn hash(name: &[u8]) -> u64 {
    let mut hasher = NameHasher::default();
    hasher.write(name);
    hasher.finish()
}

/// The number of a name that JavaScript treats as an array index.
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

/// Up to this many members a linear search is used.
const FEW: usize = 16;

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
