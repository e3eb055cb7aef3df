//! Checks of files: modes, owners, links, locks, stale files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_providers::PENDING_LIFETIME;
use auth_store::{Timestamp, paths};

use crate::agent::Agent;
use crate::agent::protected::Protected;
use crate::commands::doctor::examination::{Examination, of_agent};
use crate::commands::doctor::finding::{Finding, Fix, Severity};
use crate::host::error::CliError;
use crate::host::paths as places;
use crate::host::shell_quote::{moved_away, word};

pub(crate) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let state = &examination.context.paths().state_dir;
    let mut findings = Vec::new();
    for (directory, code) in [
        (state.clone(), STATE),
        (paths::refresh_records(state), "locks_mode"),
        (paths::pending_logins(state), "logins_mode"),
    ] {
        findings.extend(private(&directory, 0o700, code, examination));
    }
    for entry in entries(&paths::refresh_records(state)) {
        findings.extend(private(&entry, 0o600, "file_mode", examination));
    }
    for entry in entries(&paths::pending_logins(state)) {
        findings.extend(private(&entry, 0o600, "file_mode", examination));
        if age(&entry, examination.now).is_some_and(|age| age > PENDING_LIFETIME) {
            let what = format!(
                "{} is a login that was started and never finished",
                show(&entry, examination)
            );
            findings.push(
                Finding::new("old_login", Severity::Note, what)
                    .costs("nothing: it has run out")
                    .at(&entry)
                    .command("clawdbot doctor --fix")
                    .fix(Fix::Remove(entry.clone())),
            );
        }
    }
    findings.extend(network(state, examination));
    let mut seen = BTreeSet::new();
    for agent in &examination.agents {
        // Two agents may have one directory.
        if seen.insert(places::real(&agent.directory)) {
            findings.extend(of_the_agent(agent, examination));
        }
    }
    findings
}

/// The finding for a state directory on a network file system.
#[cfg(target_os = "linux")]
fn network(state: &Path, examination: &Examination<'_>) -> Option<Finding> {
    let kind = u64::try_from(rustix::fs::statfs(state).ok()?.f_type).ok()?;
    let what = format!("{} is on {}", show(state, examination), network_file_system(kind)?);
    Some(
        Finding::new("network_file_system", Severity::Warning, what)
            .costs("its locks are as good as the server's; a second machine that uses the logins ends them")
            .at(state)
            .command("keep it on a local disk: export CLAWDBOT_STATE_DIR=DIRECTORY"),
    )
}

#[cfg(not(target_os = "linux"))]
fn network(_: &Path, _: &Examination<'_>) -> Option<Finding> {
    None
}

/// The name of a network file system, by its number in `statfs(2)`. A file system in user space
/// (FUSE) may be anything, so it is not included.
#[cfg(any(target_os = "linux", test))]
fn network_file_system(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "a Windows share (SMB)",
        0x0102_1997 => "9P, the disk of another machine or of the host",
        0x5346_414f => "AFS",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x7375_7245 => "Coda",
        _ => return None,
    })
}

/// The finding for a directory that cannot be read.
pub(crate) fn unreadable(directory: &Path, error: &str) -> Finding {
    Finding::new("directory_unreadable", Severity::Error, error.to_owned())
        .costs("nothing is written and no token is sent where something unseen may lie")
        .at(directory)
        .command(format!("ls -ld {}", word(directory.display())))
}

fn of_the_agent(agent: &Agent, examination: &Examination<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> = match for_others(agent, examination) {
        Some(finding) => vec![finding],
        None => private(&agent.directory, 0o700, "agent_mode", examination).into_iter().collect(),
    };
    let store = agent.store();
    let lock = paths::lock(&paths::store(&agent.directory));
    for file in entries(&agent.directory) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = paths::is_ours(&name);
        if is_ours && file.is_file() {
            findings.extend(private(&file, 0o600, "file_mode", examination));
        } else if is_ours && file != lock {
            findings.extend(odd_file(&file, examination));
        }
        if is_ours && paths::is_damaged_copy(&name) && file.is_file() {
            let what = format!("{} is what was kept of a damaged file", show(&file, examination));
            findings.push(
                Finding::new("damaged_copy", Severity::Note, what)
                    .costs("credentials may be in it, also of profiles that were removed since")
                    .at(&file)
                    .command(format!("look at it, then: rm {}", word(file.display()))),
            );
        }
        if paths::is_unfinished(&name) {
            let what = format!(
                "{} is left of a process that died while writing",
                show(&file, examination)
            );
            findings.push(
                Finding::new("leftover", Severity::Note, what)
                    .costs("nothing: the next write removes it; it holds credentials until then")
                    .at(&file)
                    .command("clawdbot doctor --fix")
                    .fix(Fix::Remove(file.clone())),
            );
        }
    }
    findings.extend(link(store.path(), examination));
    let lock = paths::lock(&store.canonical_path());
    findings.extend(lock_findings(&lock, agent, examination));
    match auth_store::superseded_by(&store.canonical_path()) {
        Ok(None) => {}
        Ok(Some(sign)) => {
            let what = format!(
                "{} shows that a later OpenClaw keeps the credentials in its database",
                show(&sign, examination)
            );
            findings.push(
                Finding::new("store_superseded", Severity::Warning, what)
                    .costs("the file beside it is only read: nothing new is stored for this agent")
                    .at(&sign)
                    .command("export CLAWDBOT_STATE_DIR=~/.clawdbot-sink, then clawdbot models auth import --from openclaw"),
            );
        }
        Err(error) => {
            findings.push(unreadable(&agent.directory, &CliError::from(error).message));
        }
    }
    let cache = paths::runtime_cache(&agent.directory);
    if matches!(store.is_untouched(), Ok(false))
        && auth_store::read_regular_text(&cache).is_ok_and(|text| text.contains("\"refresh\""))
    {
        let what = format!("{} holds a refresh token beside the store", show(&cache, examination));
        let finding = Finding::new("runtime_cache", Severity::Warning, what).at(&cache);
        findings.push(if places::real(&cache).starts_with(places::real(&examination.context.paths().state_dir)) {
            finding
                .costs("a program that refreshes what it finds there ends the login for everybody")
                .command(moved_away(&cache, "old"))
        } else {
            // pi uses a file of that name, and removing it would log the user out of pi.
            finding.costs("it may be another program's, which keeps its own logins there").command(
                format!(
                    "keep the credentials of `{}` elsewhere: correct its `agentDir` in the config",
                    agent.id
                ),
            )
        });
    }
    findings
}

/// The agent's directory is for other things too, so its owner and rights are not ours to change.
fn for_others(agent: &Agent, examination: &Examination<'_>) -> Option<Finding> {
    let directory = &agent.directory;
    let protected = Protected::beside(agent, &examination.config, examination.context).ok()?;
    let what = match protected.within_but_for_agents(directory) {
        Some(what) => what,
        None if is_shared(directory) => "files of other users",
        None => return None,
    };
    let usual = paths::agent_directory(&examination.context.paths().state_dir, &agent.id);
    let what =
        format!("{} is the directory of `{}`, with {what}", show(directory, examination), agent.id);
    Some(
        Finding::new("agent_dir_for_others", Severity::Warning, what)
            .costs("anyone who may look into that directory may find the credentials, too")
            .at(directory)
            .command(format!(
                "write a directory of its own as its `agentDir` in the config, such as {}, and move the credentials there",
                word(usual.display())
            )),
    )
}

/// Whether all users put files into a directory, as into `/tmp`.
#[cfg(unix)]
fn is_shared(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    directory.metadata().is_ok_and(|found| found.mode() & 0o1002 == 0o1002)
}

#[cfg(not(unix))]
fn is_shared(_: &Path) -> bool {
    false
}

/// The finding for something other than a regular file: it is not opened, and nothing is read from
/// it.
fn odd_file(path: &Path, examination: &Examination<'_>) -> Option<Finding> {
    let error = auth_store::open_regular(path).err()?;
    if error.kind() == std::io::ErrorKind::NotFound {
        return None;
    }
    let what = format!("{}: {error}", show(path, examination));
    Some(
        Finding::new("odd_file", Severity::Error, what)
            .costs("what belongs there can be neither read nor written")
            .at(path)
            .command(format!("look at it, then move it away: {}", moved_away(path, "odd"))),
    )
}

/// The finding for a store that is a link, or has a second name.
fn link(path: &Path, examination: &Examination<'_>) -> Option<Finding> {
    let shown = show(path, examination);
    let found = fs::symlink_metadata(path).ok()?;
    if found.is_symlink() && !path.exists() {
        let what = format!("{shown} is a link to nothing");
        let cost = "nothing can be read or stored for this agent";
        return Some(
            Finding::new("dangling_link", Severity::Error, what)
                .costs(cost)
                .at(path)
                .command(format!("ls -l {}", word(path.display()))),
        );
    }
    if hard_links(&found) > 1 && found.is_file() {
        let what = format!("{shown} has a second name (a hard link)");
        let cost = "the next write leaves the other name with the old credentials";
        return Some(
            Finding::new("hard_link", Severity::Warning, what)
                .costs(cost)
                .at(path)
                .command(format!("find ~ -samefile {}", word(path.display()))),
        );
    }
    None
}

/// Checks the directory with which Clawdbot locks the store.
fn lock_findings(lock: &Path, agent: &Agent, examination: &Examination<'_>) -> Option<Finding> {
    let found = fs::symlink_metadata(lock).ok()?;
    let shown = show(lock, examination);
    if found.is_dir() && fs::read_dir(lock).ok()?.next().is_some() {
        let what = format!("{shown} is a lock with something in it");
        return Some(
            Finding::new("odd_lock", Severity::Error, what)
                .costs("it cannot be taken over: every write waits, then fails")
                .at(lock)
                .command(format!("look into it, then: rm -r {}", word(lock.display()))),
        );
    }
    let is_old = age(lock, examination.now).is_some_and(|age| age > STALE);
    if !is_old {
        return None;
    }
    let what = format!("{shown} is a stale lock: unchanged for {} s or more", STALE.as_secs());
    let finding = Finding::new("stale_lock", Severity::Warning, what)
        .costs("the next write takes it over after a moment; a Clawdbot may write without a lock")
        .at(lock);
    Some(if found.is_dir() {
        finding
            .command(format!("clawdbot doctor --fix{}", of_agent(agent, examination)))
            .fix(Fix::Recover(agent.store_to_change(examination.context).with_timeout(FIX_TIMEOUT)))
    } else {
        finding.command(format!("if no OpenClaw runs: rm {}", word(lock.display())))
    })
}

/// Checks that other users cannot read or change `path`, and that it is ours.
#[cfg(unix)]
fn private(
    path: &Path,
    mode: u32,
    code: &'static str,
    examination: &Examination<'_>,
) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::symlink_metadata(path).ok()?;
    if found.is_symlink() {
        return None;
    }
    let shown = show(path, examination);
    if code == STATE && found.uid() == 0 && !rustix::process::geteuid().is_root() {
        return Some(of_administrator(path, &found, examination));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        let what = format!("{shown} belongs to another user ({})", found.uid());
        let cost = "that user can read and change the credentials; writes are refused";
        let command = format!("sudo chown \"$(id -u)\" {}", word(path.display()));
        return Some(
            Finding::new("foreign_owner", Severity::Error, what)
                .costs(cost)
                .at(path)
                .command(command),
        );
    }
    let others = found.mode() & 0o077;
    if others == 0 {
        return None;
    }
    let what = format!("{shown} has mode {:03o}", found.mode() & 0o777);
    let (severity, cost) = if others & 0o022 == 0 {
        (Severity::Warning, "other users of this machine may read what is in it")
    } else {
        (Severity::Error, "other users of this machine may change what is in it")
    };
    Some(
        Finding::new(code, severity, what)
            .costs(cost)
            .at(path)
            .command(format!("chmod {mode:o} {}", word(path.display())))
            .fix(Fix::Mode(path.to_owned(), mode)),
    )
}

/// A state directory that the administrator made, such as a volume of Kubernetes with an `fsGroup`.
#[cfg(unix)]
fn of_administrator(path: &Path, found: &fs::Metadata, examination: &Examination<'_>) -> Finding {
    use std::os::unix::fs::MetadataExt as _;
    let what = format!(
        "{} belongs to the administrator, mode {:03o}, group {}",
        show(path, examination),
        found.mode() & 0o777,
        found.gid()
    );
    Finding::new("state_of_administrator", Severity::Note, what)
        .costs("members of its group can put files there; files of other users are not read")
        .at(path)
        .command("for a directory of your own: export CLAWDBOT_STATE_DIR=DIRECTORY")
}

#[cfg(not(unix))]
fn private(_: &Path, _: u32, _: &'static str, _: &Examination<'_>) -> Option<Finding> {
    None
}

#[cfg(unix)]
fn hard_links(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(found)
}

#[cfg(not(unix))]
fn hard_links(_: &fs::Metadata) -> u64 {
    1
}

/// How long ago it was changed; `None` if that is unknown or in the future.
fn age(path: &Path, now: Timestamp) -> Option<Duration> {
    let changed = fs::symlink_metadata(path).ok()?.modified().ok()?;
    let changed = changed.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = u64::try_from(now.0).ok()?;
    Duration::from_millis(now).checked_sub(changed)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn show(path: &Path, examination: &Examination<'_>) -> String {
    examination.context.display(path)
}

/// The code of a finding about the state directory itself.
const STATE: &str = "state_mode";
/// The age at which Clawdbot's lock counts as stale.
const STALE: Duration = Duration::from_secs(32);
/// How long a fix waits for locks.
const FIX_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_another_machine_is_known_by_its_number() {
        // ext4, tmpfs, overlay, btrfs, XFS, FUSE.
        for local in [0xef53, 0x0102_1994, 0x794c_7630, 0x9123_683e, 0x5846_5342, 0x6573_5546] {
            assert_eq!(network_file_system(local), None, "{local:x}");
        }
        assert_eq!(network_file_system(0x6969), Some("NFS"));
        assert_eq!(network_file_system(0xff53_4d42), Some("a Windows share (SMB)"));
    }
}
