//! Installs what the tests need and cargo does not provide: Debian packages, and the peers pinned
//! by lock files.

use crate::run::{Outcome, is_installed, read, run, run_with, succeeds};
use std::path::Path;

/// A command that must succeed, and the Debian packages that provide what it needs.
const NEEDED: [(&[&str], &[&str]); 12] = [
    (&["npm", "--version"], &["nodejs", "npm"]),
    (&["faketime", "--help"], &["faketime"]),
    (&["tmux", "-V"], &["tmux"]),
    // Whose completion is tried.
    (&["zsh", "--version"], &["zsh"]),
    (&["fish", "--version"], &["fish"]),
    (&["man", "--version"], &["man-db"]),
    (&["chromium", "--version"], &["chromium"]),
    (&["chromedriver", "--version"], &["chromium-driver"]),
    (&["python3", "-c", "import ensurepip, venv"], &["python3", "python3-venv"]),
    (&["bash", "--version"], &["bash"]),
    // For the disks of the torture suite, on Linux only.
    (&["sh", "-c", HAS_EXT4], &["e2fsprogs"]),
    // For processes that the suite stops at a system call, on Linux only.
    (&["sh", "-c", HAS_STRACE], &["strace"]),
];

const HAS_EXT4: &str =
    r#"[ "$(uname)" != Linux ] || PATH="$PATH:/usr/sbin:/sbin" mkfs.ext4 -V 2>/dev/null"#;

const HAS_STRACE: &str = r#"[ "$(uname)" != Linux ] || strace -V"#;

/// Folders with a `package-lock.json`.
const NODE_PEERS: [&str; 6] = [
    "tests/peers/oidc-provider",
    "tests/peers/dotenv",
    PROPER_LOCKFILE,
    CODEX,
    "tests/peers/tools",
    "tests/peers/openclaw",
];
const PROPER_LOCKFILE: &str = "tests/peers/proper-lockfile";
const CODEX: &str = "tests/peers/codex";

/// Requirements with hashes, and the virtual environment they are installed into.
const PYTHON: [(&str, &str); 3] = [
    ("xtask/requirements.txt", TOOLS),
    ("tests/peers/django/requirements.txt", "target/python/django"),
    ("tests/peers/dotenv/requirements.txt", "target/python/dotenv"),
];

/// The environment with the tools of the checks.
pub(crate) const TOOLS: &str = "target/python/tools";

/// Installs everything. Existing parts are left alone, except the peers, which are reinstalled.
pub(crate) fn setup() -> Outcome {
    debian()?;
    for folder in NODE_PEERS {
        npm(folder)?;
    }
    for (requirements, environment) in PYTHON {
        run("python3", &["-m", "venv", environment])?;
        let pip = format!("{environment}/bin/pip");
        let quiet = ["install", "-q", "--disable-pip-version-check", "--require-hashes"];
        run(&pip, &[&quiet[..], &["-r", requirements]].concat())?;
    }
    Ok(())
}

/// The Debian packages that are missing.
fn debian() -> Outcome {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(command, _)| !succeeds(command[0], &command[1..]))
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect();
    if missing.is_empty() { Ok(()) } else { install_debian(&missing) }
}

/// Installs the tools that count system calls, instructions and memory.
pub(crate) fn measuring() -> Outcome {
    let tools = [("strace", "-V"), ("valgrind", "--version"), ("time", "--version")];
    let missing: Vec<&str> =
        tools.iter().filter(|(name, ask)| !succeeds(name, &[ask])).map(|it| it.0).collect();
    if missing.is_empty() { Ok(()) } else { install_debian(&missing) }
}

/// Installs the commands of other projects for the benchmarks. Commands that are not available are
/// skipped, and reported.
pub(crate) fn measured_beside() -> Outcome {
    let packages = [("gh", "gh"), ("/usr/bin/aws", "awscli")];
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(program, _)| !succeeds(program, &["--version"]))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        install_debian(&missing)?;
    }
    if Path::new(CODEX).join("node_modules").is_dir() { Ok(()) } else { npm(CODEX) }
}

/// Installs Clawdbot's lock library, for the torture suite.
pub(crate) fn tortured_beside() -> Outcome {
    let is_installed = Path::new(PROPER_LOCKFILE).join("node_modules").is_dir();
    if is_installed { Ok(()) } else { npm(PROPER_LOCKFILE) }
}

fn npm(folder: &str) -> Outcome {
    run("npm", &["ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund"])
}

/// Like [`setup`], unless it was done in this tree before.
pub(crate) fn setup_once() -> Outcome {
    debian()?;
    let installed = |folder: &&str| Path::new(folder).join("node_modules").is_dir();
    let made = |(_, environment): &(&str, &str)| Path::new(environment).join("bin/pip").is_file();
    if NODE_PEERS.iter().all(installed) && PYTHON.iter().all(made) { Ok(()) } else { setup() }
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
