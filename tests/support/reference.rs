//! The command reference in `docs/cli.md`, generated from the parser's own definition.

use auth_cli::cli::Cli;
use clap::{Arg, Command, CommandFactory as _};
use std::fmt::Write as _;

/// The page, relative to the root of the workspace.
pub const PAGE: &str = "docs/cli.md";
const START: &str = "<!-- reference: made by `cargo xtask docs` -->";
const END: &str = "<!-- end of the reference -->";

/// The page with a new reference between its markers.
///
/// # Panics
/// The markers are missing.
pub fn renewed(page: &str) -> String {
    let (before, rest) = page.split_once(START).expect("the page has a start mark");
    let (_, after) = rest.split_once(END).expect("the page has an end mark");
    format!("{before}{START}\n\n{}{END}{after}", reference())
}

/// The whole command line.
pub fn root() -> Command {
    Cli::command()
}

/// Every command without subcommands, by its words: `models auth login`.
pub fn commands() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    let mut root = root();
    root.build();
    collect(&root, "", &mut all);
    all
}

fn collect(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
    for child in command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help")
    {
        let path = format!("{path} {}", child.get_name()).trim().to_owned();
        if child.has_subcommands() {
            collect(child, &path, all);
        } else {
            all.push((path, child.clone()));
        }
    }
}

fn reference() -> String {
    let mut text = String::new();
    for (path, command) in commands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "- **`{path}`**: {about}");
        let own = command.get_arguments().filter(|it| !it.is_hide_set() && !it.is_global_set());
        for argument in own.filter(|it| it.get_id() != "help" && it.get_id() != "version") {
            let _ = writeln!(text, "  - `{}` {}", usage(argument), help(argument));
        }
    }
    text.push('\n');
    text
}

fn usage(argument: &Arg) -> String {
    let values: Vec<_> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| format!("<{name}>"))
        .collect();
    let values =
        if argument.get_action().takes_values() { values.join(" ") } else { String::new() };
    match argument.get_long() {
        Some(long) => format!("--{long} {values}").trim().to_owned(),
        None => values,
    }
}

fn help(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}
