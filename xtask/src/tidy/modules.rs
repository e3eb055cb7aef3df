//! The modules of a crate, and which file uses which: `use` and paths in code, followed through
//! `pub use` to the file that defines the item.

use super::Tree;
use super::source::{Kind, Token, product_tokens};
use std::collections::{BTreeMap, BTreeSet};

/// One file uses another.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Use {
    /// Relative to `src/`, like `to`.
    pub(super) from: String,
    pub(super) line: usize,
    pub(super) to: String,
    /// The path as written, with `use` and the words before the braces.
    pub(super) what: String,
    /// Only the name of a module is imported. Uses of its items are listed separately.
    pub(super) names_module: bool,
}

/// Every use of one file of `crates/NAME/src` by another, without tests.
pub(super) fn uses(tree: &Tree, name: &str) -> Vec<Use> {
    Crate::read(tree, name).uses()
}

/// The files of `crates/NAME/src` that are part of the product, relative to `src/`.
pub(super) fn product_files(tree: &Tree, name: &str) -> Vec<String> {
    Crate::read(tree, name).files
}

/// The modules that are declared in the product without a file in the expected place.
pub(super) fn lost_modules(tree: &Tree, name: &str) -> Vec<String> {
    Crate::read(tree, name).lost
}

/// Every path in the product code of a file and its line, with the braces of `use` expanded.
pub(super) fn paths(text: &str) -> Vec<(usize, String)> {
    let mut alone = Crate { modules: vec![Module::default()], ..Crate::default() };
    alone.read_module(&product_tokens(text), 0);
    alone.references.iter().map(|it| (it.line, it.path.join("::"))).collect()
}

#[derive(Default)]
struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    /// The names that `use` imports, and their paths.
    imported: BTreeMap<String, Vec<String>>,
    /// `use path::*`.
    globs: Vec<Vec<String>>,
}

/// A path that occurs in a module.
struct Reference {
    module: usize,
    line: usize,
    path: Vec<String>,
    /// Whether it occurs in a `use`.
    is_import: bool,
}

/// The target of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    Module(usize),
    /// An item of this file.
    Item(usize),
}

#[derive(Default)]
struct Crate {
    /// The crate's name for other targets of the package: `auth_cli`.
    name: String,
    files: Vec<String>,
    lost: Vec<String>,
    modules: Vec<Module>,
    references: Vec<Reference>,
}

impl Crate {
    fn read(tree: &Tree, name: &str) -> Self {
        let mut own = Self { name: name.replace('-', "_"), ..Self::default() };
        let src = format!("crates/{name}/src/");
        for root in ["lib.rs", "main.rs"] {
            own.file(tree, &src, root, None);
        }
        own
    }

    /// Reads a file and the files it declares; returns the index of its module.
    fn file(&mut self, tree: &Tree, src: &str, path: &str, parent: Option<usize>) -> Option<usize> {
        let text = tree.get(&format!("{src}{path}"))?;
        let module = self.modules.len();
        self.modules.push(Module { file: self.files.len(), parent, ..Module::default() });
        self.files.push(path.to_owned());
        let is_own_folder = ["lib.rs", "main.rs", "mod.rs"].iter().any(|it| path.ends_with(it));
        let folder = match path.rsplit_once('/') {
            Some((folder, _)) if is_own_folder => format!("{folder}/"),
            None if is_own_folder => String::new(),
            _ => format!("{}/", path.trim_end_matches(".rs")),
        };
        for (child, inside) in self.read_module(&product_tokens(text), module) {
            let below = format!("{folder}{}{child}", inside.concat());
            let declared_in = self.inline(module, &inside);
            let found = [format!("{below}.rs"), format!("{below}/mod.rs")]
                .iter()
                .find_map(|path| self.file(tree, src, path, Some(declared_in)));
            match found {
                Some(found) => drop(self.modules[declared_in].children.insert(child, found)),
                None => self.lost.push(format!("{src}{path}: `mod {child};` leads to no file")),
            }
        }
        Some(module)
    }

    /// The module at these nested inline modules.
    fn inline(&self, module: usize, inside: &[String]) -> usize {
        inside.iter().fold(module, |module, name| {
            let name = name.trim_end_matches('/');
            self.modules[module].children.get(name).copied().unwrap_or(module)
        })
    }

    /// Records the content of a module and its inline modules. Returns the names of the files it
    /// declares, each with the inline modules around it.
    fn read_module(&mut self, tokens: &[Token<'_>], module: usize) -> Vec<(String, Vec<String>)> {
        let mut declared = Vec::new();
        // The open inline modules: their names, indices, and the brace depth outside.
        let mut open: Vec<(String, usize, usize)> = Vec::new();
        let (mut depth, mut at) = (0_usize, 0);
        while let Some(token) = tokens.get(at) {
            let current = open.last().map_or(module, |(_, index, _)| *index);
            let is_top = depth == open.last().map_or(0, |(_, _, outside)| outside + 1);
            let next = tokens.get(at + 1).and_then(Token::word);
            let is_next = |ahead: usize, text| tokens.get(at + ahead).is_some_and(|it| it.is(text));
            match (token.kind, next) {
                (Kind::Mark("{"), _) => depth += 1,
                (Kind::Mark("}"), _) => {
                    depth = depth.saturating_sub(1);
                    if open.last().is_some_and(|(_, _, outside)| *outside == depth) {
                        open.pop();
                    }
                }
                (Kind::Word("mod"), Some(name)) if is_top && is_next(2, ";") => {
                    let inside = open.iter().map(|(name, _, _)| format!("{name}/")).collect();
                    declared.push((name.to_owned(), inside));
                }
                (Kind::Word("mod"), Some(name)) if is_top && is_next(2, "{") => {
                    let index = self.modules.len();
                    let file = self.modules[module].file;
                    let parent = Some(current);
                    self.modules.push(Module { file, parent, ..Module::default() });
                    self.modules[current].children.insert(name.to_owned(), index);
                    open.push((name.to_owned(), index, depth));
                    depth += 1;
                    at += 2;
                }
                (Kind::Word("use"), _) if !is_next(1, "<") => {
                    let end = tokens[at..].iter().position(|it| it.is(";"));
                    let end = end.map_or(tokens.len(), |length| at + length);
                    self.read_use(&tokens[at + 1..end], current, &mut Vec::new());
                    at = end;
                }
                (Kind::Word("macro_rules"), _) if is_top && is_next(1, "!") => {
                    let name = tokens.get(at + 2).and_then(Token::word).unwrap_or_default();
                    self.modules[current].items.insert(name.to_owned());
                }
                (
                    Kind::Word(
                        "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static",
                    ),
                    Some(name),
                ) if is_top => {
                    self.modules[current].items.insert(name.to_owned());
                }
                // `pub(in path)` restricts visibility and is not a use.
                (Kind::Word("in"), Some(_)) if at > 0 && tokens[at - 1].is("(") => {
                    while tokens.get(at + 1).is_some_and(|it| !it.is(")")) {
                        at += 1;
                    }
                }
                (Kind::Word(first), _) if is_next(1, "::") && !is_joined(tokens, at) => {
                    let mut path = vec![first.to_owned()];
                    let line = token.line;
                    while tokens.get(at + 1).is_some_and(|it| it.is("::"))
                        && let Some(next) = tokens.get(at + 2).and_then(Token::word)
                    {
                        path.push(next.to_owned());
                        at += 2;
                    }
                    self.references.push(Reference {
                        module: current,
                        line,
                        path,
                        is_import: false,
                    });
                }
                _ => {}
            }
            at += 1;
        }
        declared
    }

    /// One tree of a `use`, after the words in `before`.
    fn read_use(&mut self, tree: &[Token<'_>], module: usize, before: &mut Vec<String>) {
        let length = before.len();
        let mut at = 0;
        while let Some(token) = tree.get(at) {
            match token.kind {
                Kind::Word("as") => at += 1,
                Kind::Word(word) => before.push(word.to_owned()),
                Kind::Mark("{") => {
                    for part in parts(&tree[at + 1..tree.len() - 1]) {
                        self.read_use(part, module, before);
                    }
                    before.truncate(length);
                    return;
                }
                Kind::Mark("*") => {
                    self.modules[module].globs.push(before.clone());
                    before.push("*".to_owned());
                }
                Kind::Mark(_) | Kind::Text(_) => {}
            }
            at += 1;
        }
        if let Some(first) = tree.first() {
            if before.len() > 1 && before.last().is_some_and(|last| last == "self") {
                before.pop();
            }
            let alias = tree.iter().position(|it| it.is("as")).and_then(|at| tree.get(at + 1));
            let name =
                alias.and_then(Token::word).map(str::to_owned).or_else(|| before.last().cloned());
            let path = before.clone();
            if let Some(name) = name.filter(|name| name != "*" && name != "_") {
                self.modules[module].imported.insert(name, path.clone());
            }
            let line = first.line;
            self.references.push(Reference { module, line, path, is_import: true });
        }
        before.truncate(length);
    }

    fn uses(&self) -> Vec<Use> {
        let mut uses = BTreeSet::new();
        for reference in &self.references {
            let mut path = &reference.path[..];
            if path.last().is_some_and(|last| last == "*") {
                path = &path[..path.len() - 1];
            }
            let from = self.modules[reference.module].file;
            let (to, is_module) = match self.resolve(reference.module, path, 0) {
                None => continue,
                Some(Target::Item(file)) => (file, false),
                Some(Target::Module(module)) => (self.modules[module].file, true),
            };
            if from == to {
                continue;
            }
            let is_glob = path.len() < reference.path.len();
            let word = if reference.is_import { "use " } else { "" };
            uses.insert(Use {
                from: self.files[from].clone(),
                to: self.files[to].clone(),
                line: reference.line,
                what: format!("{word}{}", reference.path.join("::")),
                names_module: is_module && !is_glob,
            });
        }
        uses.into_iter().collect()
    }

    /// The target of a path in this module; `None` for another crate.
    fn resolve(&self, module: usize, path: &[String], steps: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Target::Module(0),
            own if own == self.name => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            name => self.step(module, name, rest.is_empty(), steps)?,
        };
        let mut rest = rest.iter().peekable();
        let mut target = start;
        while let Target::Module(at) = target
            && let Some(name) = rest.next()
        {
            target = match name.as_str() {
                "super" => Target::Module(self.modules[at].parent?),
                // An item generated by a macro has no name in the file.
                name => self
                    .step(at, name, rest.peek().is_none(), steps)
                    .unwrap_or(Target::Item(self.modules[at].file)),
            };
        }
        Some(target)
    }

    /// The meaning of a name in a module. A module and a function may have the same name: the last
    /// word of a path is the function.
    fn step(&self, module: usize, name: &str, is_last: bool, steps: usize) -> Option<Target> {
        const LONGEST: usize = 30;
        if steps > LONGEST {
            return None;
        }
        let at = &self.modules[module];
        let child = at.children.get(name).map(|child| Target::Module(*child));
        let item = || at.items.contains(name).then_some(Target::Item(at.file));
        let imported = || {
            let path = at.imported.get(name)?;
            let is_itself = path.len() == 1;
            if is_itself { None } else { self.resolve(module, path, steps + 1) }
        };
        let named = if is_last {
            item().or_else(imported).or(child)
        } else {
            child.or_else(item).or_else(imported)
        };
        named.or_else(|| {
            at.globs.iter().find_map(|glob| match self.resolve(module, glob, steps + 1)? {
                Target::Module(other) if other != module => {
                    self.step(other, name, is_last, steps + 1)
                }
                Target::Module(_) | Target::Item(_) => None,
            })
        })
    }
}

/// Whether the word at `at` continues a path or is a method.
fn is_joined(tokens: &[Token<'_>], at: usize) -> bool {
    at > 0 && (tokens[at - 1].is("::") || tokens[at - 1].is("."))
}

/// The parts of a `use` group, split at its commas.
fn parts<'t, 'a>(group: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, token) in group.iter().enumerate() {
        match token.kind {
            Kind::Mark("{") => depth += 1,
            Kind::Mark("}") => depth -= 1,
            Kind::Mark(",") if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    /// The edges of a crate with these files, as `from:line what -> to`.
    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let paths: Vec<String> =
            files.iter().map(|(path, _)| format!("crates/a-b/src/{path}")).collect();
        let files: Vec<(&str, &str)> =
            paths.iter().zip(files).map(|(path, (_, text))| (path.as_str(), *text)).collect();
        let line = |it: Use| format!("{}:{} {} -> {}", it.from, it.line, it.what, it.to);
        uses(&tree(&files), "a-b").into_iter().filter(|it| !it.names_module).map(line).collect()
    }

    #[test]
    fn a_path_leads_through_faces_to_the_file_that_defines_the_item() {
        let files = [
            ("lib.rs", "mod face;\nmod user;\npub use face::Thing;"),
            (
                "face/mod.rs",
                "mod deep;\npub(crate) use deep::{Thing, make as made};\npub(crate) const N: u8 = 1;",
            ),
            (
                "face/deep.rs",
                "pub(crate) struct Thing;\npub(crate) fn make() {}\nfn f() { super::N; }",
            ),
            (
                "user.rs",
                "use crate::{\n    Thing,\n    face::{self, N},\n};\nfn f() { face::made(); }",
            ),
        ];
        let expected = [
            "face/deep.rs:3 super::N -> face/mod.rs",
            "face/mod.rs:2 use deep::Thing -> face/deep.rs",
            "face/mod.rs:2 use deep::make -> face/deep.rs",
            "lib.rs:3 use face::Thing -> face/deep.rs",
            "user.rs:2 use crate::Thing -> face/deep.rs",
            "user.rs:3 use crate::face::N -> face/mod.rs",
            "user.rs:5 face::made -> face/deep.rs",
        ];
        assert_eq!(edges(&files), expected);
    }

    #[test]
    fn declarations_tests_and_other_crates_are_no_uses() {
        let files = [
            ("lib.rs", "mod a;\n#[cfg(test)]\nmod a_tests;\npub(in crate::a) fn f() {}\nfn g() {}"),
            (
                "a.rs",
                "use std::fs;\n#[cfg(test)]\nmod tests { use crate::g; }\nfn h() { fs::read(1); }",
            ),
            ("a_tests.rs", "use crate::g;"),
        ];
        assert_eq!(edges(&files), [""; 0]);
    }

    #[test]
    fn a_module_and_a_function_may_share_a_name() {
        let files = [
            ("lib.rs", "mod send;\nmod user;\npub use send::send;"),
            ("send.rs", "pub fn send() {}\npub fn other() {}"),
            ("user.rs", "use crate::send;\nfn f() { send(); crate::send::other(); }"),
        ];
        let expected = [
            "lib.rs:3 use send::send -> send.rs",
            "user.rs:1 use crate::send -> send.rs",
            "user.rs:2 crate::send::other -> send.rs",
        ];
        assert_eq!(edges(&files), expected);
    }

    #[test]
    fn inline_modules_globs_and_the_binary_are_followed() {
        let files = [
            (
                "lib.rs",
                "mod a;\nmod inner { pub use super::a::*; pub fn b() { super::a::deep::d(); } }\npub fn run() { inner::One; }",
            ),
            ("a.rs", "pub struct One;\npub mod deep { pub fn d() { super::super::run(); } }"),
            ("main.rs", "fn main() { a_b::run() }"),
        ];
        let expected = [
            "a.rs:2 super::super::run -> lib.rs",
            "lib.rs:2 super::a::deep::d -> a.rs",
            "lib.rs:2 use super::a::* -> a.rs",
            "lib.rs:3 inner::One -> a.rs",
            "main.rs:1 a_b::run -> lib.rs",
        ];
        assert_eq!(edges(&files), expected);
    }
}
