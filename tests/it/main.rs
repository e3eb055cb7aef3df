//! The whole-program tests: the real binary against our issuer and against a certified one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod agents;
mod canary;
mod certified;
mod codex;
mod config;
mod crash;
mod django;
mod doctor;
mod failover;
mod files;
mod goldens;
#[cfg(unix)]
mod hints;
mod import;
mod injection;
mod javascript;
mod login;
mod login_page;
mod logout;
mod mistakes;
#[cfg(unix)]
mod odd_files;
mod paste;
mod plug_in;
#[cfg(unix)]
mod plugins;
mod providers;
mod refresh;
mod routing;
mod runtime_cache;
mod sessions;
mod shell;
mod terminal;
mod tools;
mod written;

/// A file nobody lists here is a test nobody runs.
#[test]
fn every_file_of_this_folder_is_listed_in_main() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let found = module == "main" || listed.lines().any(|line| line == format!("mod {module};"));
        assert!(found, "tests/it/{name} is not listed in main.rs");
    }
}
