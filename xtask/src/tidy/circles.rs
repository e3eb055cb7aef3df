//! No circular dependencies between modules, not even indirect ones.

use super::Tree;
use super::modules::{Use, lost_modules, uses};
use crate::ci::CRATES;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From a place to the places it uses, each with one line of code as evidence.
type Graph = BTreeMap<String, BTreeMap<String, Use>>;

/// Neither the files of a crate nor the folders and files of one folder use each other in a circle.
pub(super) fn no_circles(tree: &Tree) -> Vec<String> {
    CRATES.iter().flat_map(|name| circles_of(tree, name)).collect()
}

fn circles_of(tree: &Tree, name: &str) -> Vec<String> {
    let uses = uses(tree, name);
    let mut found = circles(graph(&uses, "", str::to_owned));
    for folder in folders(&uses) {
        found.extend(circles(graph(&uses, &folder, |path| place(path, &folder))));
    }
    // A circle of files may also be a circle of folders, with the same lines.
    let mut told = BTreeSet::new();
    found.retain(|circle| told.insert(lines(circle)));
    let mut complaints = lost_modules(tree, name);
    complaints.extend(found.iter().map(|circle| complaint(name, circle)));
    complaints
}

/// Every folder of the crate that has files; `src/` itself is the empty name.
fn folders(uses: &[Use]) -> BTreeSet<String> {
    let paths = uses.iter().flat_map(|it| [&it.from, &it.to]);
    let above = |path: &String| -> Vec<String> {
        path.match_indices('/').map(|(at, _)| path[..=at].to_owned()).collect()
    };
    let mut folders: BTreeSet<String> = paths.flat_map(above).collect();
    folders.insert(String::new());
    folders
}

/// The file or the folder directly below `folder` that a path belongs to.
fn place(path: &str, folder: &str) -> String {
    let below = path.strip_prefix(folder).unwrap_or(path);
    below.split_once('/').map_or(path.to_owned(), |(first, _)| format!("{folder}{first}/"))
}

/// The uses between files below `folder`, grouped by the places that the files belong to.
fn graph(uses: &[Use], folder: &str, place: impl Fn(&str) -> String) -> Graph {
    let mut graph = Graph::new();
    let is_inside = |it: &&Use| it.from.starts_with(folder) && it.to.starts_with(folder);
    // Each use of an imported module's items counts separately.
    for it in uses.iter().filter(is_inside).filter(|it| !it.names_module) {
        let (from, to) = (place(&it.from), place(&it.to));
        if from != to {
            graph.entry(from).or_default().entry(to).or_insert_with(|| it.clone());
        }
    }
    graph
}

/// The shortest circle, then the shortest one that shares no edge with it, and so on. Without all
/// of these there is no circle.
fn circles(mut graph: Graph) -> Vec<Vec<Use>> {
    let mut circles = Vec::new();
    loop {
        let through = graph.keys().filter_map(|start| circle_through(&graph, start));
        let Some(circle) = through.min_by_key(Vec::len) else { return circles };
        let uses = circle.iter().filter_map(|(from, to)| graph.get_mut(from)?.remove(to));
        circles.push(uses.collect());
    }
}

/// The shortest path from a place back to itself, as edges.
fn circle_through(graph: &Graph, start: &str) -> Option<Vec<(String, String)>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(place) = next.pop_front() {
        for target in graph.get(place).into_iter().flatten().map(|(target, _)| target.as_str()) {
            if came_from.contains_key(target) {
                continue;
            }
            came_from.insert(target, place);
            next.push_back(target);
        }
    }
    let mut circle = Vec::new();
    let mut to = start;
    loop {
        let from = *came_from.get(to)?;
        circle.push((from.to_owned(), to.to_owned()));
        to = from;
        if to == start {
            circle.reverse();
            return Some(circle);
        }
    }
}

/// A circle is the same regardless of where it begins.
fn lines(circle: &[Use]) -> BTreeSet<(String, usize)> {
    circle.iter().map(|it| (it.from.clone(), it.line)).collect()
}

fn complaint(name: &str, circle: &[Use]) -> String {
    let edge = |it: &Use| {
        format!("\n    crates/{name}/src/{}:{}: `{}` is in {}", it.from, it.line, it.what, it.to)
    };
    format!(
        "{name}: {} modules in a circle:{}",
        circle.len(),
        circle.iter().map(edge).collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn a_circle_of_files_is_told_with_a_line_for_each_edge() {
        let root = "mod a;\nmod b;\nmod c;\nmod d;";
        let files = [
            ("crates/auth-store/src/lib.rs", root),
            ("crates/auth-store/src/a.rs", "use crate::b::B;\npub struct A;"),
            (
                "crates/auth-store/src/b.rs",
                "use crate::d::D;\npub struct B;\nfn f() { crate::c::f(); }",
            ),
            ("crates/auth-store/src/c.rs", "pub fn f() { super::a::A; }"),
            ("crates/auth-store/src/d.rs", "pub struct D;"),
        ];
        let complaints = no_circles(&tree(&files));
        let expected = "auth-store: 3 modules in a circle:\
            \n    crates/auth-store/src/a.rs:1: `use crate::b::B` is in b.rs\
            \n    crates/auth-store/src/b.rs:3: `crate::c::f` is in c.rs\
            \n    crates/auth-store/src/c.rs:1: `super::a::A` is in a.rs";
        assert_eq!(complaints, [expected]);
        let clean =
            [&files[..3], &[("crates/auth-store/src/c.rs", "pub fn f() {}"), files[4]]].concat();
        assert!(no_circles(&tree(&clean)).is_empty());
    }

    #[test]
    fn a_module_that_cannot_be_followed_is_found() {
        let files = [
            ("crates/auth-store/src/lib.rs", "#[path = \"b.rs\"]\nmod a;"),
            ("crates/auth-store/src/b.rs", ""),
        ];
        let expected = ["crates/auth-store/src/lib.rs: `mod a;` leads to no file"];
        assert_eq!(no_circles(&tree(&files)), expected);
    }

    #[test]
    fn a_child_that_uses_what_its_parent_defines_is_in_a_circle_with_it() {
        let child = "use super::N;\npub struct Child;";
        let files = |parent| {
            [
                ("crates/auth-store/src/lib.rs", "mod p;"),
                ("crates/auth-store/src/p/mod.rs", parent),
                ("crates/auth-store/src/p/child.rs", child),
            ]
        };
        let of = |parent| no_circles(&tree(&files(parent))).len();
        assert_eq!(of("mod child;\npub use child::Child;\npub const N: u8 = 1;"), 1);
        assert_eq!(of("pub(crate) mod child;\npub const N: u8 = 1;"), 0);
    }

    #[test]
    fn folders_use_each_other_in_a_circle_where_files_do_not() {
        let files = [
            ("crates/auth-store/src/lib.rs", "mod x;\nmod y;"),
            ("crates/auth-store/src/x/mod.rs", "pub mod a;\npub mod b;"),
            ("crates/auth-store/src/x/a.rs", "use crate::y::One;"),
            ("crates/auth-store/src/x/b.rs", "pub struct B;"),
            ("crates/auth-store/src/y.rs", "pub struct One(crate::x::b::B);"),
        ];
        let complaints = no_circles(&tree(&files));
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("2 modules in a circle"), "{complaints:?}");
        let clean = [&files[..4], &[("crates/auth-store/src/y.rs", "pub struct One;")]].concat();
        assert!(no_circles(&tree(&clean)).is_empty());
    }
}
