//! Forwards commands that are not ours to the next `clawdbot` or `moltbot` on PATH, unchanged. So
//! this program can be first on PATH and no command is missing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::launch::{self, Program, path_folders};
use crate::host::shell_quote::word;

/// Replaces this process with the next program that may know the command. Returns if there is none.
pub(crate) fn to_next_on_path(arguments: &[OsString], context: &Context) -> Result<(), CliError> {
    let mut guard = Guard::read(context);
    let Some(next) = next(context, &guard) else { return Ok(()) };
    context.flush()?;
    guard.seen.extend(context.program.clone());
    guard.seen.push(next.clone());
    let program = Program::at(&next).map_err(|reason| {
        CliError::new(Exit::Usage, "hand_on", format!("the next program is not started: {reason}"))
            .hint(format!("look at it: ls -ld {}", word(next.display())))
            .path(&next)
    })?;
    let mut command = program.command_with_everything();
    command.args(arguments.iter().skip(1)).env(MARKER, guard.value(context.process_id));
    let error = launch::become_it(&mut command);
    let message = format!("could not run `{}`: {error}", next.display());
    Err(CliError::new(Exit::Usage, "hand_on", message).path(&next))
}

/// The first program with one of those names on PATH that is neither this one nor one that was
/// tried before.
fn next(context: &Context, guard: &Guard) -> Option<PathBuf> {
    if guard.depth >= DEEPEST {
        return None;
    }
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    };
    path_folders(context).flat_map(|dir| NAMES.iter().map(move |name| dir.join(name))).find(
        |candidate| {
            launch::is_executable(candidate)
                && !context.program.iter().chain(&guard.seen).any(|seen| same(candidate, seen))
        },
    )
}

/// Keeps two programs from forwarding a command to each other forever: the programs that this very
/// process has been, and how often a parent process has forwarded.
#[derive(Debug, Default)]
struct Guard {
    depth: u32,
    seen: Vec<PathBuf>,
}

impl Guard {
    /// `<process id> <depth> <programs, as in PATH>`. The programs count only for the process that
    /// wrote them: a gateway may legitimately start `clawdbot gateway` again.
    fn read(context: &Context) -> Self {
        let Some(value) = context.env(MARKER) else { return Self::default() };
        let mut fields = value.splitn(3, ' ');
        let process = fields.next().and_then(|id| id.parse::<u32>().ok());
        let depth = fields.next().and_then(|depth| depth.parse().ok()).unwrap_or(0);
        let seen = fields.next().map(|seen| std::env::split_paths(seen).collect());
        let is_same = process == Some(context.process_id);
        Self { depth, seen: seen.filter(|_| is_same).unwrap_or_default() }
    }

    fn value(&self, process_id: u32) -> OsString {
        let mut value = OsString::from(format!("{process_id} {} ", self.depth + 1));
        value.push(std::env::join_paths(&self.seen).unwrap_or_default());
        value
    }
}

const NAMES: &[&str] = if cfg!(windows) {
    &["clawdbot.exe", "clawdbot.cmd", "moltbot.exe", "moltbot.cmd"]
} else {
    &["clawdbot", "moltbot"]
};
const MARKER: &str = "CLAWDBOT_HANDED_ON";
const DEEPEST: u32 = 16;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    use auth_store::Timestamp;

    fn install(dir: &Path, name: &str) -> PathBuf {
        std::fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        std::fs::copy("/bin/sh", &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn context(dirs: &[&Path], program: &Path) -> Context {
        let mut context = Context::sealed(Path::new("/nowhere"), Timestamp(0));
        context.env.insert("PATH".into(), std::env::join_paths(dirs).unwrap());
        context.program = Some(program.to_owned());
        context
    }

    #[test]
    fn the_next_program_is_not_this_one_and_not_one_tried_before() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        let (ours, other) = (install(&a, "clawdbot"), install(&c, "moltbot"));
        std::fs::create_dir_all(&b).unwrap();
        std::os::unix::fs::symlink(&ours, b.join("clawdbot")).unwrap();
        let mut context = context(&[&a, &b, &c], &ours);
        assert_eq!(next(&context, &Guard::read(&context)), Some(other.clone()));

        let guard = Guard { depth: 0, seen: vec![other] };
        context.env.insert(MARKER.into(), guard.value(context.process_id));
        assert_eq!(next(&context, &Guard::read(&context)), None);
        context.env.insert(MARKER.into(), guard.value(context.process_id + 1));
        assert!(next(&context, &Guard::read(&context)).is_some());
    }

    #[test]
    fn processes_that_keep_handing_on_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let other = install(dir.path(), "clawdbot");
        let context = context(&[dir.path()], Path::new("/nowhere/clawdbot"));
        let at = |depth| next(&context, &Guard { depth, seen: Vec::new() });
        assert_eq!(at(DEEPEST - 1), Some(other));
        assert_eq!(at(DEEPEST), None);
    }
}
