//! The model and the code have the same steps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::steps::{FILES, NO_STEPS, STEPS};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn source(path: &Path) -> String {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
}

/// The functions that a source defines.
fn functions(text: &str) -> BTreeSet<String> {
    let defined = |line: &str| {
        let line = line.trim_start();
        let (before, after) = line.split_once("fn ")?;
        let is_definition = before
            .split_whitespace()
            .all(|word| word.starts_with("pub") || ["async", "const"].contains(&word));
        let name = after.split(['(', '<']).next()?;
        (is_definition && !line.starts_with("//")).then(|| name.to_owned())
    };
    text.lines().filter_map(defined).collect()
}

/// The source that the first part of a name stands for.
fn file_of(name: &str) -> PathBuf {
    let crates = ["auth-store", "auth-providers"];
    let paths = crates.map(|it| root().join(format!("crates/{it}/src/{name}.rs")));
    paths.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no source `{name}`"))
}

#[test]
fn every_function_that_the_model_names_is_there() {
    let named = STEPS.iter().chain(&NO_STEPS).flat_map(|(_, functions)| *functions);
    for name in named {
        let (file, function) = name.split_once("::").unwrap();
        assert!(functions(&source(&file_of(file))).contains(function), "there is no `{name}`");
    }
}

#[test]
fn every_function_of_the_protocols_is_a_step_or_has_a_reason_why_not() {
    let judged: BTreeSet<_> = STEPS
        .iter()
        .chain(&NO_STEPS)
        .flat_map(|(_, functions)| functions.iter().copied())
        .collect();
    let mut missing = Vec::new();
    for path in FILES {
        let (_, file) = path.split_once("/src/").unwrap();
        let file = file.trim_end_matches(".rs");
        let all = functions(&source(&root().join(path)));
        assert!(!all.is_empty(), "no function was found in {path}");
        missing.extend(
            all.iter().map(|it| format!("{file}::{it}")).filter(|it| !judged.contains(it.as_str())),
        );
    }
    assert!(missing.is_empty(), "not in tests/model/src/steps.rs: {missing:?}");
}

#[test]
fn every_step_of_the_models_names_its_functions() {
    let named: BTreeSet<_> = STEPS.iter().map(|(step, _)| *step).collect();
    for model in ["refresh", "directory"] {
        let text = source(&root().join(format!("tests/model/src/{model}/state.rs")));
        let steps = text.split("pub enum At {").nth(1).unwrap().split("\n}").next().unwrap();
        let steps = steps.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        for step in steps.filter(|line| !line.is_empty()) {
            let step = step.split(['(', ',']).next().unwrap();
            // What only a mistake does is nowhere in the code.
            let is_mistake = step == "Rmdir";
            let name = format!("{model}::At::{step}");
            assert!(is_mistake || named.contains(name.as_str()), "`{name}` names no function");
        }
    }
}
