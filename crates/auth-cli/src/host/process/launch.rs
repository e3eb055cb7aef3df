//! The one door by which this program starts others, or becomes one: an absolute path, to a file that
//! nobody else could have put there or changed, with an environment from a list.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use auth_store::{UnsafeProgram, check_program};

use crate::host::context::Context;
use crate::host::process::environment::Sees;

pub(crate) use std::process::Command;

/// A program that may be started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
}

impl Program {
    /// The program at `path`.
    pub(crate) fn at(path: &Path) -> Result<Self, UnsafeProgram> {
        check_program(path)?;
        // Not where its links lead: many programs look at the name by which they were started.
        Ok(Self { path: path.to_owned() })
    }

    /// The first program called `name` in the folders of PATH. If others can change that one, it is
    /// an error: another one further on would not be the one that is meant.
    pub(crate) fn named(name: &OsStr, context: &Context) -> Result<Self, UnsafeProgram> {
        let mut candidates = path_folders(context).map(|folder| folder.join(name));
        let path = candidates.find(|path| is_executable(path));
        let path = path.ok_or_else(|| UnsafeProgram::Missing {
            path: name.into(),
            reason: "no folder of PATH has such a program".to_owned(),
        })?;
        Self::at(&path)
    }

    /// A program that the user runs, by the path they typed: what is there is their own choice.
    pub(crate) fn chosen_by_user(text: &OsStr, context: &Context) -> Result<Self, UnsafeProgram> {
        if Path::new(text).components().count() > 1 || Path::new(text).is_absolute() {
            return Ok(Self { path: context.cwd.join(text) });
        }
        Self::named(text, context)
    }

    /// This program itself. Who can change it has changed us.
    pub(crate) fn ourselves(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// To be started with this environment and nothing else.
    pub(crate) fn command(&self, sees: &Sees) -> Command {
        let mut command = self.command_with_everything();
        command.env_clear().envs(sees.variables());
        command
    }

    /// To be started with our environment as it is: what the user runs through us.
    pub(crate) fn command_with_everything(&self) -> Command {
        Command::new(&self.path)
    }
}

/// The folders of PATH. A relative or empty one would depend on where we are.
pub(crate) fn path_folders(context: &Context) -> impl Iterator<Item = PathBuf> {
    let usual = OsString::from("/usr/local/bin:/usr/bin:/bin");
    let path = context.env.get(OsStr::new("PATH")).cloned();
    let path = path.or_else(|| cfg!(unix).then_some(usual)).unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.into_iter().filter(|folder| folder.is_absolute())
}

/// What a program may take, and print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// It and all that it started are ended after this time.
    pub(crate) lifetime: Duration,
    /// It is ended when it has printed this much.
    pub(crate) output: u64,
}

/// What a program prints on standard output, and how it ended. It gets no input.
///
/// # Errors
/// It does not start, takes longer or prints more than `limits` say.
pub(crate) fn output(
    mut command: Command,
    limits: Limits,
) -> Result<(Vec<u8>, ExitStatus), String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // It ends with all that it started.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| format!("it does not start: {error}"))?;
    let Some(stdout) = child.stdout.take() else { return Err("it has no output".to_owned()) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(limits.output).read_to_end(&mut bytes);
        // The receiver may have given up.
        let _ = sender.send(read.map(|_| bytes));
    });
    let Ok(read) = receiver.recv_timeout(limits.lifetime) else {
        end(&mut child);
        return Err(format!("it did not end within {} seconds", limits.lifetime.as_secs()));
    };
    let bytes = read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 >= limits.output {
        end(&mut child);
        return Err(format!("it prints more than {} bytes", limits.output));
    }
    // It closed its output; what it does after that must not take long either.
    if let Some(status) = ended(&mut child) {
        return Ok((bytes, status));
    }
    end(&mut child);
    Err("it closed its output and did not end".to_owned())
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    for pause in [0, 1, 10, 100, 400, 500] {
        std::thread::sleep(Duration::from_millis(pause));
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
    }
    None
}

fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may be gone already.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Replaces this process with another program. Returns only if that fails.
#[cfg(unix)]
pub(crate) fn become_it(command: &mut Command) -> io::Error {
    crate::host::process::hardening::end();
    std::os::unix::process::CommandExt::exec(command)
}

/// Runs another program to its end, and exits with its exit code. Returns only if it could not be
/// started.
#[cfg(not(unix))]
#[expect(clippy::exit, reason = "stands for exec: the other program's exit code is ours")]
pub(crate) fn become_it(command: &mut Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// Ends this process as another one ended.
#[expect(clippy::exit, reason = "stands for exec: the other program's exit code is ours")]
pub(crate) fn end_like(status: ExitStatus) -> ! {
    #[cfg(unix)]
    let by_signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|it| 128 + it);
    #[cfg(not(unix))]
    let by_signal = None;
    std::process::exit(status.code().or(by_signal).unwrap_or(1))
}

/// Whether a file is executable.
#[cfg(unix)]
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether a file is executable.
#[cfg(not(unix))]
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use auth_store::Timestamp;
    use std::os::unix::fs::PermissionsExt as _;

    fn install(folder: &Path, name: &str) -> PathBuf {
        auth_store::create_private_directory(folder).unwrap();
        let path = folder.join(name);
        std::fs::copy("/bin/sh", &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_program_is_found_in_absolute_folders_and_the_first_one_must_be_safe() {
        let home = tempfile::tempdir().unwrap();
        let (open, safe) = (home.path().join("open"), home.path().join("safe"));
        let (in_open, in_safe) = (install(&open, "tool"), install(&safe, "tool"));
        install(home.path(), "tool");
        let mut context = Context::sealed(home.path(), Timestamp(0));
        let find = |context: &Context| Program::named("tool".as_ref(), context);
        let path = |entries: &str| {
            OsString::from(entries.replace('@', &home.path().display().to_string()))
        };

        context.env.insert("PATH".into(), path(".:::@/safe"));
        assert_eq!(find(&context).unwrap().path(), in_safe);
        context.env.insert("PATH".into(), path(".::bin:"));
        assert!(matches!(find(&context), Err(UnsafeProgram::Missing { .. })));
        context.env.insert("PATH".into(), path("@/open:@/safe"));
        assert_eq!(find(&context).unwrap().path(), in_open, "the control");
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(find(&context), Err(UnsafeProgram::Open { .. })));
        // By its path too; but what the user runs by a path is the user's choice.
        assert!(Program::at(&in_open).is_err());
        assert!(Program::chosen_by_user("open/tool".as_ref(), &context).is_ok());
        assert!(Program::chosen_by_user("tool".as_ref(), &context).is_err());
    }

    #[test]
    fn a_program_that_floods_or_hangs_is_ended() {
        let context = Context::sealed(Path::new("/"), Timestamp(0));
        let sh = Program::at(Path::new("/bin/sh")).unwrap();
        let run = |script: &str, lifetime| {
            let mut command = sh.command(&Sees::browser(&context));
            command.args(["-c", script]);
            output(command, Limits { lifetime, output: 1 << 10 })
        };
        let long = Duration::from_mins(1);
        assert_eq!(run("echo x", long).unwrap().0, b"x\n");
        assert!(run("exec yes", long).unwrap_err().contains("prints more"));
        let hang = run("sleep 60 & sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(hang.contains("did not end"), "{hang}");
    }
}
