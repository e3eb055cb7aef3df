//! Two users of one machine, for real: one whom the binary runs for, and one who attacks. They have ids that no
//! account has, so nothing is installed. Only the administrator can be two users.
#![expect(clippy::print_stderr, reason = "what was not tested must be seen")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sandbox::{Sandbox, binary};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// Its id, which is also that of its own group.
    pub id: u32,
    /// A group of both.
    pub team: u32,
}

/// The victim's home, in which the binary runs as the victim; and the attacker.
#[derive(Debug)]
pub struct TwoUsers {
    /// The home. Everything in it is the victim's.
    pub sandbox: Sandbox,
    /// Whose home it is.
    pub victim: User,
    /// The other one.
    pub attacker: User,
}

impl TwoUsers {
    /// Two users; `None`, said loudly, where we are not the administrator. Then `cargo xtask ci` fails,
    /// unless the machine has no way to become one.
    pub fn new() -> Option<Self> {
        let mut sandbox = Sandbox::new();
        let root = sandbox.root().to_owned();
        if fs::metadata(&root).expect("the sandbox").uid() != 0 {
            eprintln!("NOT RUN: only the administrator can be two users");
            return None;
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let is_free = |id: &u32| !accounts.contains(&format!(":{id}:"));
        let ids: Vec<u32> = (63_000..64_000).filter(is_free).take(3).collect();
        let [victim, attacker, team] = ids[..] else { panic!("three ids that no account has") };
        let (victim, attacker) = (User { id: victim, team }, User { id: attacker, team });

        // The build directory may be in a home that only its owner enters.
        let program = root.join("program");
        fs::create_dir(&program).expect("a directory");
        // By another process: a file that we have open for writing while we start others is busy.
        let copied = Command::new("cp").arg(binary()).arg(program.join("clawdbot")).status();
        assert!(copied.is_ok_and(|it| it.success()), "the binary");
        for path in [&root, &program, &program.join("clawdbot")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        sandbox.run_as(victim.id);
        let both = Self { sandbox, victim, attacker };
        both.settle();
        Some(both)
    }

    /// Gives the victim everything in the home: after a test has put something there.
    pub fn settle(&self) {
        for directory in [self.sandbox.home(), self.sandbox.bin()] {
            self.victim.owns(&directory);
        }
    }
}

impl User {
    /// Gives the user a file, or a directory with everything in it.
    pub fn owns(self, path: &Path) {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            for entry in fs::read_dir(path).expect("a directory").flatten() {
                self.owns(&entry.path());
            }
        }
        lchown(path, Some(self.id), Some(self.id)).expect("an owner");
    }

    /// A program that this user runs, as a member of the group of both.
    pub fn command(self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
        command.uid(self.id).gid(self.team);
        command
    }

    /// Runs a line of shell as this user; whether it succeeded.
    pub fn runs(self, script: &str) -> bool {
        let mut command = self.command("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::null());
        command.status().expect("a shell").success()
    }

    /// Writes a file as this user; whether that was possible.
    pub fn writes(self, path: &Path, content: &[u8], mode: u32) -> bool {
        let script =
            "umask 000; cat > \"$1.part\" && chmod \"$2\" \"$1.part\" && mv -f \"$1.part\" \"$1\"";
        let mut command = self.command("/bin/sh");
        command.args(["-c", script, "sh"]).arg(path).arg(format!("{mode:o}"));
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        // Where it cannot write, nobody reads.
        let _ = child.stdin.take().expect("a pipe").write_all(content);
        child.wait().expect("a child of ours").success()
    }

    /// Makes a link as this user; whether that was possible.
    pub fn links(self, target: &Path, link: &Path) -> bool {
        let mut command = self.command("/bin/ln");
        command.arg("-sfn").arg(target).arg(link).stderr(Stdio::null());
        command.status().expect("ln").success()
    }
}

/// Lets others into a directory, and write there: all of them, or the group of both users.
pub fn open_to(directory: &Path, mode: u32, team: u32) {
    chown(directory, None, Some(team)).expect("a group");
    fs::set_permissions(directory, fs::Permissions::from_mode(mode)).expect("a mode");
}
