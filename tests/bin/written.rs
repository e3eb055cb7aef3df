//! Writes the generated documents: the reference in `docs/cli.md` and the outputs in
//! `tests/transcripts`. `cargo xtask docs` runs it; the whole-program tests compare.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool for developers")]

use e2e::{recording, reference, transcript};
use std::fs;
use std::path::Path;

fn main() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = tests.parent().expect("the workspace").join(reference::PAGE);
    put(&page, &reference::renewed(&fs::read_to_string(&page).expect("the page")));
    for entry in fs::read_dir(tests.join("transcripts")).expect("the transcripts") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|it| it == "txt") {
            let text = fs::read_to_string(&path).expect("a transcript");
            put(&path, &transcript::replay(&text).0);
        }
    }
    let root = tests.parent().expect("the workspace");
    let demo = fs::read_to_string(root.join(recording::TRANSCRIPT)).expect("the demo");
    put(&root.join(recording::PICTURE), &recording::picture(&demo));
}

fn put(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return;
    }
    e2e::sandbox::write(path, text.as_bytes());
    println!("written: {}", path.display());
}
