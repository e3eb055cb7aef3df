//! Linker options that make the program start sooner: on Linux with glibc, one shared library less,
//! and no relocations of its own addresses at startup. An option that is not available is skipped;
//! the program works the same.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "this is how cargo talks to a build script")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    let variable = |name| std::env::var(name).unwrap_or_default();
    let is = |name, value| variable(name) == value;
    let is_static = variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|it| it == "crt-static");
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") || is_static {
        return;
    }
    // Unwinding is needed only to print the origin of a panic.
    let linker = std::env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_owned());
    let found = output(&linker, &["-print-file-name=libgcc_eh.a"]);
    if found.contains('/') {
        println!("cargo:rustc-link-lib=dylib:+verbatim=libgcc_eh.a");
    }
    // A relocation model chosen by the user takes precedence.
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    if !variable("CARGO_ENCODED_RUSTFLAGS").contains("relocation-model") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}

/// The output of a program; empty if it cannot be run.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default()
}
