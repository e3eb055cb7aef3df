//! The layers of each crate: an import goes down, or stays in its layer.

use super::Tree;
use super::modules::{Use, product_files, uses};

/// The folders and files directly below `src/`, the lowest layer first; those of one layer are on
/// one line.
const FLOORS: [(&str, &[&[&str]]); 4] = [
    (
        "auth-store",
        &[
            &["error", "time", "id", "secret", "text", "jwt", "paths", "variable"],
            &["fs"],
            &["document"],
            &["clawdbot_lock"],
            &["refresh_record"],
            &["store"],
        ],
    ),
    ("auth-routing", &[&["cooldown"], &["plan"], &["session"], &["health"]]),
    (
        "auth-providers",
        &[
            &["text"],
            &["http"],
            &["provider"],
            &["oauth"],
            &["login"],
            &["plugin"],
            &["backend"],
            &["refresh"],
            &["token_source"],
        ],
    ),
    (
        "auth-cli",
        &[&["host"], &["config"], &["agent"], &["profiles"], &["flows"], &["commands"], &["cli"]],
    ),
];

/// The composing modules of a crate may use every layer, and no layer may use them.
const COMPOSITION: [&str; 4] = ["lib", "main", "completions", "plugin_launcher"];

/// The modules that may use clap.
const CLAP: [&str; 5] = ["commands", "cli", "completions", "lib", "main"];

/// A file uses only its own layer and those below.
pub(super) fn imports_go_down(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, floors) in FLOORS {
        let floor = |path: &str| floors.iter().position(|places| places.contains(&place(path)));
        for path in product_files(tree, name) {
            if floor(&path).is_none() && !COMPOSITION.contains(&place(&path)) {
                complaints.push(format!(
                    "crates/{name}/src/{path}: `{}` is on no floor: see FLOORS in xtask/src/tidy/layers.rs",
                    place(&path)
                ));
            }
        }
        for it in uses(tree, name).iter().filter(|it| !COMPOSITION.contains(&place(&it.from))) {
            let goes_up = match (floor(&it.from), floor(&it.to)) {
                (Some(from), Some(to)) => from < to,
                // The crate root may be named for items of lower layers.
                (Some(_), None) => COMPOSITION.contains(&place(&it.to)) && !it.names_module,
                (None, _) => false,
            };
            if goes_up {
                let (from, to) = (place(&it.from), place(&it.to));
                complaints.push(complaint(
                    name,
                    it,
                    &format!("`{from}` must not use `{to}` above it"),
                ));
            }
        }
    }
    complaints
}

/// A command does not import another command: code that two of them share moves to a lower layer.
pub(super) fn commands_stand_alone(tree: &Tree) -> Vec<String> {
    let own = |path: &str| -> Option<String> {
        let below = path.strip_prefix("commands/")?;
        Some(below.split('/').next().unwrap_or(below).trim_end_matches(".rs").to_owned())
    };
    let uses = uses(tree, "auth-cli");
    let between = uses.iter().filter_map(|it| Some((it, own(&it.from)?, own(&it.to)?)));
    between
        .filter(|(_, from, to)| from != to && from != "mod")
        .map(|(it, from, to)| {
            complaint("auth-cli", it, &format!("the command `{from}` must not use `{to}`"))
        })
        .collect()
}

/// Clap's structs stop at the commands: below them, functions take resolved requests.
pub(super) fn clap_stops_at_the_commands(tree: &Tree) -> Vec<String> {
    let src = "crates/auth-cli/src/";
    let words = ["clap", "clap_complete", "clap_mangen"];
    tree.under(src, ".rs")
        .filter(|(path, _)| !CLAP.contains(&place(&path[src.len()..])))
        .flat_map(|(path, text)| super::banned(path, text, &words))
        .collect()
}

/// The folder or file directly below `src/`.
fn place(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn complaint(name: &str, it: &Use, why: &str) -> String {
    format!("crates/{name}/src/{}:{}: `{}` is in {}: {why}", it.from, it.line, it.what, it.to)
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    /// A command line crate with these files below `src/`.
    fn cli(files: &[(&str, &str)]) -> Tree {
        let paths: Vec<String> =
            files.iter().map(|(path, _)| format!("crates/auth-cli/src/{path}")).collect();
        let files: Vec<(&str, &str)> =
            paths.iter().zip(files).map(|(path, (_, text))| (path.as_str(), *text)).collect();
        tree(&files)
    }

    #[test]
    fn an_import_that_goes_up_is_found_and_one_that_goes_down_is_not() {
        let files = [
            ("lib.rs", "mod host;\nmod config;\npub use config::Config;\npub fn run() {}"),
            ("host.rs", "pub struct Context;\nfn f() { crate::Config::load(); }"),
            ("config.rs", "use crate::host::Context;\npub struct Config;"),
        ];
        let expected = "crates/auth-cli/src/host.rs:2: `crate::Config::load` is in config.rs: \
                        `host` must not use `config` above it";
        assert_eq!(imports_go_down(&cli(&files)), [expected]);
        let up = [files[0], files[2], ("host.rs", "fn f() { crate::run(); }\npub struct Context;")];
        assert_eq!(imports_go_down(&cli(&up)).len(), 1);
        let clean = [files[0], files[2], ("host.rs", "pub struct Context;")];
        assert!(imports_go_down(&cli(&clean)).is_empty());
    }

    #[test]
    fn a_file_on_no_floor_is_found() {
        let files = [("lib.rs", "mod attic;"), ("attic.rs", "")];
        assert_eq!(imports_go_down(&cli(&files)).len(), 1);
    }

    #[test]
    fn a_command_that_uses_another_is_found() {
        let files = [
            ("lib.rs", "mod commands;"),
            ("commands/mod.rs", "pub mod login;\npub mod token;"),
            ("commands/login.rs", "pub fn run() {}\nuse super::token::args::TokenArgs;"),
            ("commands/token/mod.rs", "pub mod args;\nfn f() { args::TokenArgs; }"),
            ("commands/token/args.rs", "pub struct TokenArgs;"),
        ];
        let complaints = commands_stand_alone(&cli(&files));
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].ends_with("the command `login` must not use `token`"));
    }

    #[test]
    fn the_arguments_of_the_command_line_below_the_commands_are_found() {
        let text = "#[derive(clap::Args)]\nstruct A;";
        let files =
            [("host/a.rs", text), ("commands/a/args.rs", text), ("cli.rs", "use clap::Parser;")];
        assert_eq!(clap_stops_at_the_commands(&cli(&files)).len(), 1);
    }
}
