//! Packs the published crates, and compiles them from the packages as a user of the registry would.
//!
//! `cargo package` could compile them itself, but it unpacks each version only once per machine:
//! after a change without a new version it would compile the old crates.

use crate::ci::CRATES;
use crate::run::{CARGO, Outcome, read, run};
use std::path::Path;

const PACKED: &str = "target/package";
const UNPACKED: &str = "target/unpacked";

/// Packs, unpacks and compiles.
pub(crate) fn package() -> Outcome {
    let mut args = vec!["package", "--locked", "--allow-dirty", "--no-verify"];
    args.extend(CRATES.iter().flat_map(|name| ["-p", name]));
    run(CARGO, &args)?;

    if Path::new(UNPACKED).exists() {
        std::fs::remove_dir_all(UNPACKED).map_err(|error| format!("{UNPACKED}: {error}"))?;
    }
    std::fs::create_dir_all(UNPACKED).map_err(|error| format!("{UNPACKED}: {error}"))?;
    let version = version()?;
    for name in CRATES {
        run("tar", &["-xzf", &format!("{PACKED}/{name}-{version}.crate"), "-C", UNPACKED])?;
    }
    write("Cargo.toml", &workspace(&version))?;
    let lock =
        std::fs::read_to_string("Cargo.lock").map_err(|error| format!("Cargo.lock: {error}"))?;
    write("Cargo.lock", &lock)?;
    let manifest = format!("{UNPACKED}/Cargo.toml");
    run(CARGO, &["check", "--workspace", "--manifest-path", &manifest, "--target-dir", "target"])
}

/// A workspace of the unpacked crates, each replacing its registry version.
fn workspace(version: &str) -> String {
    let members: Vec<String> = CRATES.iter().map(|name| format!("\"{name}-{version}\"")).collect();
    let patches: Vec<String> =
        CRATES.iter().map(|name| format!("{name} = {{ path = \"{name}-{version}\" }}")).collect();
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[patch.crates-io]\n{}\n",
        members.join(", "),
        patches.join("\n")
    )
}

/// The version of all our crates, from cargo's output: `path+file:///…#0.1.0` or `…#name@0.1.0`.
fn version() -> Outcome<String> {
    let id = read(CARGO, &["pkgid", "--locked", "-p", CRATES[0]])?;
    let version = id.trim().rsplit(['#', '@']).next().unwrap_or_default().to_owned();
    if version.is_empty() { Err(format!("no version in `{id}`")) } else { Ok(version) }
}

#[expect(clippy::disallowed_methods, reason = "a file of the build, which nobody else reads")]
fn write(name: &str, text: &str) -> Outcome {
    let path = format!("{UNPACKED}/{name}");
    std::fs::write(&path, text).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unpacked_crate_is_a_member_and_stands_in_for_the_registry() {
        let text = workspace("1.2.3");
        for name in CRATES {
            assert!(text.contains(&format!("\"{name}-1.2.3\"")), "{text}");
            assert!(text.contains(&format!("{name} = {{ path = \"{name}-1.2.3\" }}")), "{text}");
        }
    }
}
