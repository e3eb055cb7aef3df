//! A writer that behaves like Clawdbot, with the real `proper-lockfile`: `tests/peers/proper-lockfile`.

use crate::peer::node;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running process. Dropping it kills it, and leaves its locks in place.
#[derive(Debug)]
pub struct Clawdbot {
    child: Child,
    stdin: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
}

impl Clawdbot {
    /// Starts a process for this store.
    ///
    /// `npm ci` must have been run in its folder: `cargo xtask setup` does that.
    pub fn start(store: &Path) -> Self {
        Self::start_under(&[], store)
    }

    /// Starts it under another program, such as `strace` with its arguments.
    pub fn start_under(wrapper: &[&str], store: &Path) -> Self {
        let folder = folder();
        assert!(
            folder.join("node_modules").is_dir(),
            "the peer is not installed: run `cargo xtask setup`"
        );
        let node = node(&folder);
        let mut words = wrapper.iter().map(|word| (*word).into()).collect::<Vec<PathBuf>>();
        words.extend([node, folder.join("clawdbot.mjs"), store.to_owned()]);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let stdin = child.stdin.take().expect("a pipe");
        let replies = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut started = Self { child, stdin, replies };
        started.ask(&json!({"op": "hello"}));
        started
    }

    /// Starts a command, without waiting for its end.
    pub fn begin(&mut self, command: &Value) {
        writeln!(self.stdin, "{command}").expect("the process reads");
    }

    /// The result of the oldest command without a collected result.
    pub fn reply(&mut self) -> Value {
        let line = self.replies.next().expect("an answer").expect("a line of text");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Runs a command, and waits for its end.
    pub fn ask(&mut self, command: &Value) -> Value {
        self.begin(command);
        self.reply()
    }

    /// Its process id, or that of the wrapper program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Clawdbot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join("proper-lockfile")
}
