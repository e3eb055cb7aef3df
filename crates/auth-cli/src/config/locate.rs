//! The config with positions: each value with the places it comes from. An edit needs the file that
//! holds a key; an error names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::include::{INCLUDE, included_path};
use crate::config::json5::{Node, Shape, Step};

/// A position in one of the files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// The path in that file's own text.
    pub(crate) path: Vec<Step>,
    /// Whether it is, or is inside, an object with an `$include`: its own keys take precedence over
    /// those of the included file.
    is_beside_include: bool,
}

/// A value of the whole config and the places it comes from, the one with the highest precedence
/// last.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) places: Vec<Place>,
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Members(BTreeMap<String, Slot>),
    Items(Vec<Slot>),
    Nothing,
}

/// A member or an item: its own position, and the value there. With `$include` these differ.
#[derive(Clone, Debug)]
struct Slot {
    at: Vec<Place>,
    part: Part,
}

/// Why the position of an edit is ambiguous.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unclear {
    /// Several files contribute to the value.
    Several,
    /// The value is not the expected object or array.
    OtherKind,
}

impl Part {
    /// Locates the parts of the config at `path`. `read` returns the text of a file, or `None` if
    /// it cannot be read; then the file counts as empty, since reading the config reports the
    /// error.
    pub(crate) fn read(path: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        Self::of_file(path, read, 0)
    }

    fn of_file(path: &Path, read: &dyn Fn(&Path) -> Option<String>, depth: usize) -> Self {
        let here = Place { file: path.to_owned(), path: Vec::new(), is_beside_include: false };
        let tree = read(path).and_then(|text| Node::parse(&text).ok().flatten());
        match tree {
            Some(node) => Self::of_node(&node, &here, read, depth),
            None => Self { places: vec![here], inner: Inner::Nothing },
        }
    }

    fn of_node(
        node: &Node,
        here: &Place,
        read: &dyn Fn(&Path) -> Option<String>,
        depth: usize,
    ) -> Self {
        let below = |step: Step| {
            let path = here.path.iter().cloned().chain([step]).collect();
            Place { file: here.file.clone(), path, is_beside_include: false }
        };
        let slot = |node: &Node, at: Place| {
            let part = Self::of_node(node, &at, read, depth);
            Slot { at: vec![at], part }
        };
        let part = |inner| Self { places: vec![here.clone()], inner };
        match &node.shape {
            Shape::Array(entries) => {
                let items = entries.iter().enumerate();
                let items = items.map(|(index, entry)| slot(&entry.node, below(index.into())));
                part(Inner::Items(items.collect()))
            }
            Shape::Object(entries) => {
                // Of two members with one name the later one counts, as in the parser.
                let named = entries.iter().filter_map(|entry| Some((entry, entry.name.as_ref()?)));
                let others = named.filter(|(_, (name, _))| name != INCLUDE);
                let members: BTreeMap<_, _> = others
                    .map(|(entry, (name, _))| {
                        (name.clone(), slot(&entry.node, below(name.as_str().into())))
                    })
                    .collect();
                let has_own = !members.is_empty();
                let mut own = part(Inner::Members(members));
                let include = node.at(&[INCLUDE.into()]);
                match include.and_then(|include| included(include, here, read, depth)) {
                    None => own,
                    Some(included) if !has_own => included,
                    Some(included) => {
                        own.is_beside_include();
                        merged(included, own)
                    }
                }
            }
            Shape::Text(_) | Shape::Other => part(Inner::Nothing),
        }
    }

    fn is_beside_include(&mut self) {
        for place in &mut self.places {
            place.is_beside_include = true;
        }
        match &mut self.inner {
            Inner::Members(members) => {
                for slot in members.values_mut() {
                    slot.part.is_beside_include();
                }
            }
            Inner::Items(items) => {
                for slot in items {
                    slot.part.is_beside_include();
                }
            }
            Inner::Nothing => {}
        }
    }

    /// Where to set the value of `path`: the place of the existing value, or of the nearest object
    /// on the way, and how many steps lead to it.
    pub(crate) fn to_set(&self, path: &[Step]) -> Result<(&Place, usize), Unclear> {
        let (part, taken) = self.nearest(path);
        if taken == path.len() {
            let [place] = &part.places[..] else { return Err(Unclear::Several) };
            return Ok((place, taken));
        }
        match &part.places[..] {
            [place] => Ok((place, taken)),
            [.., last] if last.is_beside_include => Ok((last, taken)),
            _ => Err(Unclear::Several),
        }
    }

    /// The place of the entry at `path`.
    pub(crate) fn to_remove(&self, path: &[Step]) -> Result<&Place, Unclear> {
        let (last, to) = path.split_last().ok_or(Unclear::OtherKind)?;
        let (container, taken) = self.nearest(to);
        let slot = container.slot(last).filter(|_| taken == to.len());
        let slot = slot.ok_or(Unclear::OtherKind)?;
        let [place] = &slot.at[..] else { return Err(Unclear::Several) };
        Ok(place)
    }

    /// The array at `path`, if an item can be appended to it.
    pub(crate) fn to_push(&self, path: &[Step]) -> Result<&Place, Unclear> {
        let (part, taken) = self.nearest(path);
        match part.places.last() {
            Some(place) if taken == path.len() && matches!(part.inner, Inner::Items(_)) => {
                Ok(place)
            }
            _ => Err(Unclear::OtherKind),
        }
    }

    /// The place of the value at `path`, or of the nearest one on the way to it.
    pub(crate) fn place_of(&self, path: &[Step]) -> Option<&Place> {
        self.nearest(path).0.places.last()
    }

    /// Whether there is anything at `path`.
    pub(crate) fn has(&self, path: &[Step]) -> bool {
        self.nearest(path).1 == path.len()
    }

    fn nearest(&self, path: &[Step]) -> (&Self, usize) {
        let mut part = self;
        for (taken, step) in path.iter().enumerate() {
            match part.slot(step) {
                Some(slot) => part = &slot.part,
                None => return (part, taken),
            }
        }
        (part, path.len())
    }

    fn slot(&self, step: &Step) -> Option<&Slot> {
        match (&self.inner, step) {
            (Inner::Members(members), Step::Name(name)) => members.get(name),
            (Inner::Items(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }
}

/// The included value: one file, or several merged in order.
fn included(
    include: &Node,
    here: &Place,
    read: &dyn Fn(&Path) -> Option<String>,
    depth: usize,
) -> Option<Part> {
    let names: Vec<&str> = match &include.shape {
        Shape::Text(name) => vec![name],
        _ => include
            .entries()
            .iter()
            .filter_map(|entry| match &entry.node.shape {
                Shape::Text(name) => Some(name.as_str()),
                _ => None,
            })
            .collect(),
    };
    let parts = names.into_iter().filter(|_| depth < DEEPEST).map(|name| {
        let path = included_path(&here.file, name);
        Part::of_file(&path, read, depth + 1)
    });
    parts.reduce(merged)
}

/// Merges `over` into `base`.
fn merged(base: Part, over: Part) -> Part {
    let places = base.places.into_iter().chain(over.places.iter().cloned()).collect();
    let inner = match (base.inner, over.inner) {
        (Inner::Items(mut items), Inner::Items(more)) => {
            items.extend(more);
            Inner::Items(items)
        }
        (Inner::Members(mut members), Inner::Members(more)) => {
            for (name, slot) in more {
                let slot = match members.remove(&name) {
                    Some(below) => Slot {
                        at: below.at.into_iter().chain(slot.at).collect(),
                        part: merged(below.part, slot.part),
                    },
                    None => slot,
                };
                members.insert(name, slot);
            }
            Inner::Members(members)
        }
        (_, inner) => return Part { places: over.places, inner },
    };
    Part { places, inner }
}

const DEEPEST: usize = 10;
