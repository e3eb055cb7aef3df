//! A real terminal: `tmux` runs the binary in it, types into it, and returns what it shows.

use crate::TIMEOUT;
use crate::sandbox::{Sandbox, write};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A terminal with a program in it. Dropping it ends both.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
    watcher: Child,
    changes: Receiver<()>,
}

impl Terminal {
    /// Runs the binary with these arguments in a terminal of that size. When it ends, the terminal
    /// shows `exit N`, and `echo on` if the echo is on.
    pub fn start(sandbox: &Sandbox, columns: usize, rows: usize, args: &[&str]) -> Self {
        Self::for_command(&sandbox.command(args), sandbox, columns, rows)
    }

    /// Runs another program in a terminal of that size.
    pub fn for_command(command: &Command, sandbox: &Sandbox, columns: usize, rows: usize) -> Self {
        let mut script = "trap : INT\nenv -i".to_owned();
        for (name, value) in command.get_envs() {
            let value = value.unwrap_or_default();
            let _ =
                write!(script, " {}={}", name.to_string_lossy(), quoted(&value.to_string_lossy()));
        }
        let words = [command.get_program()].into_iter().chain(command.get_args());
        for word in words {
            let _ = write!(script, " {}", quoted(&word.to_string_lossy()));
        }
        script += "\necho \"exit $?\"\ncase \"$(stty -a)\" in *' -echo '*) echo echo off;; *) echo echo on;; esac\nexec sleep 600\n";
        let path = sandbox.home().join("in-a-terminal.sh");
        write(&path, script.as_bytes());
        let socket = sandbox.home().join("tmux");
        let size = [columns.to_string(), rows.to_string()];
        let start = tmux(&socket)
            .args(["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1]])
            .arg("cat")
            .current_dir(sandbox.home())
            .status();
        assert!(
            start.is_ok_and(|it| it.success()),
            "tmux starts; is it installed? cargo xtask setup"
        );
        for option in
            [["window-size", "manual"], ["history-limit", "2000"], ["remain-on-exit", "on"]]
        {
            let set = tmux(&socket).args(["set-option", "-g"]).args(option).status();
            assert!(set.is_ok_and(|it| it.success()));
        }
        // A second client only listens for changes, so that no polling is needed.
        let mut watcher = tmux(&socket)
            .args(["-C", "attach-session"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tmux attaches");
        let lines = BufReader::new(watcher.stdout.take().expect("a pipe")).lines();
        let (sender, changes) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.starts_with("%output") && sender.send(()).is_err() {
                    return;
                }
            }
        });
        let terminal = Self { socket, watcher, changes };
        let run = format!("sh {}", quoted(&path.to_string_lossy()));
        let run = tmux(&terminal.socket).args(["respawn-pane", "-k", &run]).status();
        assert!(run.is_ok_and(|it| it.success()));
        terminal
    }

    /// The content of the terminal, including scrolled-out lines; wrapped lines are joined.
    pub fn screen(&self) -> String {
        self.captured(&["-J"])
    }

    /// The visible lines; a wrapped line counts as several.
    pub fn lines(&self) -> Vec<String> {
        self.captured(&[]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn captured(&self, more: &[&str]) -> String {
        let output = tmux(&self.socket).args(["capture-pane", "-p", "-S", "-"]).args(more).output();
        String::from_utf8_lossy(&output.expect("tmux answers").stdout).trim_end().to_owned()
    }

    /// Waits until the terminal shows `text`, and returns its content.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(
                self.changes.recv_timeout(TIMEOUT).is_ok(),
                "`{text}` never came:\n{}",
                self.screen()
            );
        }
    }

    /// Types text unchanged.
    pub fn type_in(&self, text: &str) {
        let typed = tmux(&self.socket).args(["send-keys", "-l", "--", text]).status();
        assert!(typed.is_ok_and(|it| it.success()), "tmux types");
    }

    /// Presses a key: `Enter`, `C-c`.
    pub fn press(&self, key: &str) {
        let pressed = tmux(&self.socket).args(["send-keys", key]).status();
        assert!(pressed.is_ok_and(|it| it.success()), "tmux presses {key}");
    }

    /// Types a line.
    pub fn enter(&self, text: &str) {
        self.type_in(text);
        self.press("Enter");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tmux(&self.socket).arg("kill-server").status();
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

fn tmux(socket: &PathBuf) -> Command {
    let mut command = Command::new("tmux");
    command.arg("-u").arg("-S").arg(socket).env_remove("TMUX").stderr(Stdio::null());
    command
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
