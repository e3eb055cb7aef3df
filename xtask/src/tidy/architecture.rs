//! The allowed dependencies between crates, and the files that may use certain functions.

use super::{Tree, banned};
use crate::ci::CRATES;
use crate::run::{CARGO, read};
use std::collections::{BTreeMap, BTreeSet};

/// The crates that each crate may depend on, directly or not.
const EDGES: [(&str, &[&str]); 6] = [
    ("auth-store", &[]),
    ("auth-pkce", &[]),
    ("auth-routing", &["auth-store"]),
    ("auth-providers", &["auth-store", "auth-pkce"]),
    ("auth-gateway", &["auth-store", "auth-pkce", "auth-routing", "auth-providers"]),
    ("auth-cli", &["auth-store", "auth-pkce", "auth-routing", "auth-providers", "auth-gateway"]),
];

/// The packages that must not be a dependency of a crate, even indirectly.
const FOREIGN: [(&str, &[&str]); 5] = [
    ("auth-store", &["tokio", "hyper", "reqwest", "url"]),
    ("auth-routing", &["tokio", "hyper", "reqwest", "url"]),
    ("auth-pkce", &["reqwest", "rustls", "serde_json"]),
    // A program that embeds `TokenSink` must not build a command line.
    ("auth-providers", &["clap", "toml_edit"]),
    ("auth-gateway", &["clap"]),
];

/// The only folders of `auth-store` that touch the disk.
const DISK: [&str; 2] = ["crates/auth-store/src/fs/", "crates/auth-store/src/clawdbot_lock/"];

/// Functions that touch the disk: of the libraries, and methods of paths and entries.
const DISK_CALLS: [&str; 17] = [
    "std::fs",
    "rustix::fs",
    "tokio::fs",
    "fs4",
    "File::open",
    "OpenOptions",
    ".exists(",
    ".try_exists(",
    ".is_dir(",
    ".is_file(",
    ".is_symlink(",
    ".canonicalize(",
    ".metadata(",
    ".symlink_metadata(",
    ".read_dir(",
    ".read_link(",
    ".file_type(",
];

/// What opens or reads a file.
const OPENING: [&str; 11] = [
    "fs::read",
    "fs::read_to_string",
    "fs::copy",
    "File::open",
    "File::options",
    "File::create",
    "File::create_new",
    "OpenOptions",
    "tokio::fs",
    "rustix::fs::open",
    "rustix::fs::openat",
];

/// The maximum number of files directly in a source folder.
const LARGEST_FOLDER: usize = 15;

/// The crates depend only on each other as listed.
pub(super) fn crate_edges(_: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, allowed) in EDGES {
        let below = match below(name) {
            Ok(below) => below,
            Err(why) => return vec![why],
        };
        let ours = below.iter().filter(|dependency| CRATES.contains(&dependency.as_str()));
        for dependency in ours.filter(|d| *d != name && !allowed.contains(&d.as_str())) {
            complaints.push(format!("{name} must not depend on {dependency}"));
        }
    }
    complaints
}

/// Leaf crates stay light: they have no runtime and no network client among their dependencies.
pub(super) fn foreign_edges(_: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, forbidden) in FOREIGN {
        let below = match below(name) {
            Ok(below) => below,
            Err(why) => return vec![why],
        };
        for dependency in forbidden.iter().filter(|d| below.iter().any(|have| have == *d)) {
            complaints.push(format!("{name} must not depend on {dependency}"));
        }
    }
    complaints
}

/// Every dependency of a crate, direct or not, and the crate itself.
fn below(name: &str) -> Result<Vec<String>, String> {
    let tree = read(CARGO, &["tree", "--locked", "-p", name, "-e", "normal", "--prefix", "none"])?;
    Ok(tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// Routing decides on values: no files, no network, no clock, no environment, no secret.
pub(super) fn routing_is_pure(tree: &Tree) -> Vec<String> {
    let doors = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant",
        "SystemClock",
        "Secret",
        ".expose(",
        "auth_store::Store",
    ];
    all_banned(tree, "crates/auth-routing/src/", &doors)
}

/// The store never uses the network.
pub(super) fn store_knows_no_network(tree: &Tree) -> Vec<String> {
    all_banned(tree, "crates/auth-store/src/", &["std::net", "TcpStream", "UdpSocket", "http://"])
}

/// In `auth-store` only two folders open, lock, write or remove files, or query the disk.
/// In every crate files are opened and read by `auth-store/fs` alone, which looks at owner, mode, links,
/// type and size; `/proc` is read in one more place.
pub(super) fn files_behind_their_doors(tree: &Tree) -> Vec<String> {
    let is_door = |path: &str| DISK.iter().any(|folder| path.starts_with(folder));
    let of_store = tree
        .under("crates/auth-store/src/", ".rs")
        .filter(|(path, _)| !is_door(path))
        .flat_map(|(path, text)| banned(path, text, &DISK_CALLS));
    let of_all = product(tree)
        .filter(|(path, _)| !is_door(path) && *path != "crates/auth-pkce/src/procfs.rs")
        .flat_map(|(path, text)| banned(path, text, &OPENING));
    of_store.chain(of_all).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Directories are made by one function, for their owner only whatever the umask.
pub(super) fn directories_are_private(tree: &Tree) -> Vec<String> {
    let doors = ["create_dir", "create_dir_all", "DirBuilder"];
    product(tree)
        .filter(|(path, _)| !path.starts_with(DISK[0]) && !path.starts_with(DISK[1]))
        .flat_map(|(path, text)| banned(path, text, &doors))
        .collect()
}

/// Programs are started by one door, which looks at their path, owner, mode and environment; a plugin
/// by that of the library, which does the same.
pub(super) fn programs_have_one_launcher(tree: &Tree) -> Vec<String> {
    const DOORS: [&str; 2] = [
        "crates/auth-cli/src/host/process/launch.rs",
        "crates/auth-providers/src/provider/executable.rs",
    ];
    let doors = ["Command::new", "std::process::Command", "posix_spawn", "execve", "fork("];
    product(tree)
        .filter(|(path, _)| !DOORS.contains(path))
        .flat_map(|(path, text)| banned(path, text, &doors))
        .collect()
}

/// The sources of the product.
fn product(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.under("crates/", ".rs").filter(|(path, _)| path.contains("/src/"))
}

/// A source folder has few files, so that it is easy to survey.
pub(super) fn folders_are_small(tree: &Tree) -> Vec<String> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, _) in tree.under("crates/", "").filter(|(path, _)| path.contains("/src/")) {
        let (folder, _) = path.rsplit_once('/').unwrap_or_default();
        *folders.entry(folder).or_default() += 1;
    }
    let is_large = |(_, count): &(&str, usize)| *count > LARGEST_FOLDER;
    let told = |(folder, count)| format!("{folder}: {count} files, more than {LARGEST_FOLDER}");
    folders.into_iter().filter(is_large).map(told).collect()
}

/// The login crate keeps nothing on disk; one file reads from `/proc` which process is at the other
/// end of a connection.
pub(super) fn pkce_touches_no_files(tree: &Tree) -> Vec<String> {
    tree.under("crates/auth-pkce/src/", ".rs")
        .filter(|(path, _)| !path.ends_with("/procfs.rs"))
        .flat_map(|(path, text)| banned(path, text, &["std::fs", "std::env", "tokio::fs"]))
        .collect()
}

fn all_banned(tree: &Tree, folder: &str, words: &[&str]) -> Vec<String> {
    tree.under(folder, ".rs").flat_map(|(path, text)| banned(path, text, words)).collect()
}

/// A workspace member that does not opt in has no lints at all.
pub(super) fn lints_opted_in(tree: &Tree) -> Vec<String> {
    // A separate workspace has its own lints.
    let is_root =
        |(path, text): &(&str, &str)| *path == "Cargo.toml" || text.contains("[workspace]");
    let members = tree.under("", "Cargo.toml").filter(|found| !is_root(found));
    members
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| format!("{path}: add `[lints]` with `workspace = true`"))
        .collect()
}

/// Each crate explains itself with an example in its `lib.rs`, and has an example program.
pub(super) fn crates_explain_themselves(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in CRATES {
        let path = format!("crates/{name}/src/lib.rs");
        if !tree.get(&path).is_some_and(|text| text.contains("//! ```")) {
            complaints.push(format!("{path}: its documentation has no example"));
        }
        let folder = format!("crates/{name}/examples/");
        if tree.under(&folder, ".rs").next().is_none() {
            complaints.push(format!("{folder} has no program"));
        }
    }
    complaints
}

/// Each dependency has its reason in `docs/decisions.md`.
pub(super) fn dependencies_explained(tree: &Tree) -> Vec<String> {
    let Some(decisions) = tree.get("docs/decisions.md") else {
        return vec!["docs/decisions.md is missing".to_owned()];
    };
    let manifest = tree.get("Cargo.toml").unwrap_or_default();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter(|line| line.contains('=') && !line.contains("path ="))
        .filter_map(|line| line.split([' ', '.', '=']).next())
        .filter(|name| !decisions.contains(&format!("`{name}`")))
        .map(|name| format!("docs/decisions.md: no word on why `{name}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    #[test]
    fn a_clock_in_routing_is_found_and_a_mention_in_prose_is_not() {
        let clean = tree(&[("crates/auth-routing/src/plan.rs", "//! No SystemTime here.\n")]);
        assert!(routing_is_pure(&clean).is_empty());
        let dirty = tree(&[("crates/auth-routing/src/plan.rs", "let t = SystemTime::now();\n")]);
        assert_eq!(routing_is_pure(&dirty).len(), 1);
    }

    #[test]
    fn files_are_touched_behind_their_doors_only() {
        for text in ["use std::{fs, io};", "if entry.path().is_dir() {}", "rustix::fs::flock(f);"] {
            let files = [
                ("crates/auth-store/src/fs/atomic.rs", text),
                ("crates/auth-store/src/clawdbot_lock/mod.rs", text),
                ("crates/auth-store/src/fs.rs", text),
            ];
            assert_eq!(files_behind_their_doors(&tree(&files)).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_folder_with_too_many_files_is_found() {
        let paths: Vec<String> =
            (0..=LARGEST_FOLDER).map(|it| format!("crates/a/src/b/{it}.rs")).collect();
        let files: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
        assert_eq!(folders_are_small(&tree(&files)).len(), 1);
        assert!(folders_are_small(&tree(&files[1..])).is_empty());
    }

    #[test]
    fn a_file_that_is_opened_beside_its_door_is_found_in_every_crate() {
        for planted in [
            "fs::read(path);",
            "use std::fs::{self, OpenOptions};",
            "let f = std::fs::File::open(path)?;",
            "File::options().read(true);",
            "tokio::fs::read_to_string(path).await;",
            "std::fs::copy(a, b);",
        ] {
            let files = [
                ("crates/auth-cli/src/a.rs", planted),
                ("crates/auth-gateway/src/b.rs", planted),
                ("crates/auth-pkce/src/procfs.rs", planted),
                ("crates/auth-cli/src/c.rs", "read_regular(path);\nfs::read_dir(path);\n"),
                ("crates/auth-cli/tests/d.rs", planted),
            ];
            let found = files_behind_their_doors(&tree(&files));
            let of = |name: &str| found.iter().filter(|it| it.contains(name)).count();
            assert!(of("/a.rs:1") > 0 && of("/b.rs:1") > 0, "{planted}: {found:?}");
            assert_eq!(of("/a.rs") + of("/b.rs"), found.len(), "{planted}: {found:?}");
        }
    }

    #[test]
    fn a_directory_that_is_made_by_hand_is_found() {
        let planted = "std::fs::create_dir_all(path)?;\nbuilder(DirBuilder::new());\n";
        let files = [
            ("crates/auth-cli/src/a.rs", planted),
            ("crates/auth-store/src/fs/atomic.rs", planted),
            ("crates/auth-cli/src/b.rs", "auth_store::create_private_directory(path)?;\n"),
        ];
        assert_eq!(directories_are_private(&tree(&files)).len(), 2);
    }

    #[test]
    fn a_program_that_is_started_beside_the_launcher_is_found() {
        let planted = "let mut c = Command::new(path);\n#[cfg(test)]\nmod tests { fn f() { Command::new(1); } }\n";
        let files = [
            ("crates/auth-cli/src/a.rs", planted),
            ("crates/auth-providers/src/b.rs", "use std::process::{Command as Other, Stdio};\n"),
            ("crates/auth-cli/src/host/process/launch.rs", planted),
            ("crates/auth-cli/src/c.rs", "program.command(&sees);\n"),
        ];
        assert_eq!(programs_have_one_launcher(&tree(&files)).len(), 2);
    }

    #[test]
    fn a_member_without_lints_is_found() {
        let files = [("Cargo.toml", ""), ("xtask/Cargo.toml", "[lints]\nworkspace = true\n")];
        assert!(lints_opted_in(&tree(&files)).is_empty());
        assert_eq!(lints_opted_in(&tree(&[("crates/a/Cargo.toml", "")])).len(), 1);
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "[workspace.dependencies]\nours = { path = \"x\" }\nclap = \"4\"\nurl = { v = 1 }\n[x]\nb = 1\n";
        let files = [("Cargo.toml", manifest), ("docs/decisions.md", "`clap`: words.")];
        let complaints = dependencies_explained(&tree(&files));
        assert_eq!(complaints, ["docs/decisions.md: no word on why `url`"]);
    }
}
