//! What the tests need and cargo does not bring: Debian packages, and the peers that lock files pin.

use crate::run::{Outcome, is_installed, read, run, run_with};
use std::path::Path;

/// A program that must answer `--version`, and the Debian packages that bring it.
const PROGRAMS: [(&str, &[&str]); 1] = [("npm", &["nodejs", "npm"])];

/// Folders with a `package-lock.json`.
const NODE_PEERS: [&str; 1] = ["tests/peers/oidc-provider"];

/// Installs all of it. What is there already is left alone, but for the peers, which are laid anew.
pub(crate) fn setup() -> Outcome {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect();
    if !missing.is_empty() {
        install_debian(&missing)?;
    }
    for folder in NODE_PEERS {
        run("npm", &["ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund"])?;
    }
    Ok(())
}

/// The same, unless it was done in this tree before.
pub(crate) fn setup_once() -> Outcome {
    let installed = |folder: &&str| Path::new(folder).join("node_modules").is_dir();
    if NODE_PEERS.iter().all(installed) { Ok(()) } else { setup() }
}

fn install_debian(packages: &[&str]) -> Outcome {
    if !is_installed("apt-get") {
        let names = packages.join(", ");
        return Err(format!("missing, and there is no apt-get: {names}; install them by hand"));
    }
    let apt = |args: &[&str]| {
        let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
        if read("id", &["-u"])?.trim() == "0" {
            run_with("apt-get", args, &quiet)
        } else {
            run_with("sudo", &[&["-n", "apt-get"], args].concat(), &quiet)
        }
    };
    apt(&["update", "-q"])?;
    apt(&[&["install", "-q", "-y", "--no-install-recommends"], packages].concat())
}
