//! Runs other programs, or reads their output.

use std::process::{Command, Stdio};

/// The error is a sentence for the user.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Runs a program to its end, with its output on our terminal and its input closed.
pub(crate) fn run(program: &str, args: &[&str]) -> Outcome {
    run_with(program, args, &[])
}

/// Like [`run`], with additional environment variables.
pub(crate) fn run_with(program: &str, args: &[&str], env: &[(&str, &str)]) -> Outcome {
    println!("$ {} {}", name(program), args.join(" "));
    let mut command = command(program, args);
    command.envs(env.iter().copied());
    let status = command.status().map_err(|error| format!("cannot start `{program}`: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{} {}` failed: {status}", name(program), args.join(" ")))
}

/// Runs a program quietly and returns its standard output; its standard error stays on our terminal.
pub(crate) fn read(program: &str, args: &[&str]) -> Outcome<String> {
    let mut command = command(program, args);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("`{} {}` failed: {}", name(program), args.join(" "), output.status))
}

/// Like [`read`], for a program whose report matters and not its exit code.
pub(crate) fn read_even_if_it_fails(program: &str, args: &[&str]) -> Outcome<String> {
    let mut command = command(program, args);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program is on the PATH and responds to `--version`.
pub(crate) fn is_installed(program: &str) -> bool {
    succeeds(program, &["--version"])
}

/// Whether a program exists and succeeds; its output is discarded.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    let mut command = command(program, args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A program with its arguments, with closed input, and without the variables that `cargo run` set
/// for *us*: build scripts that depend on them would run again in every cargo we start, and in
/// every one started by hand afterwards.
fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    for part in ["DIR", "PATH"] {
        command.env_remove(format!("CARGO_MANIFEST_{part}"));
    }
    let package = "NAME VERSION VERSION_MAJOR VERSION_MINOR VERSION_PATCH VERSION_PRE AUTHORS DESCRIPTION HOMEPAGE \
                   LICENSE LICENSE_FILE README REPOSITORY RUST_VERSION";
    for part in package.split_whitespace() {
        command.env_remove(format!("CARGO_PKG_{part}"));
    }
    command
}

/// The name of a program, without its directory.
fn name(program: &str) -> &str {
    program.rsplit(['/', '\\']).next().unwrap_or(program)
}

/// The cargo that runs us.
pub(crate) const CARGO: &str = env!("CARGO");
