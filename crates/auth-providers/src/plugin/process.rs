//! A running plugin: lines in, lines out, and nothing is left running at the end.

use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auth_store::Secret;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::plugin::protocol::{KEPT_STDERR, LARGEST_OUTPUT, LONGEST_LINE};
use crate::plugin::session::Violation;
use crate::provider::executable::{Environment, Executable};
use crate::text;

/// A running plugin. Dropping it ends the plugin and every process in its group.
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The line that is being read.
    line: Vec<u8>,
    read: usize,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a plugin: in its own process group, in its own directory, with pipes for its streams.
    pub(super) async fn start(
        executable: &Executable,
        environment: &Environment,
    ) -> std::io::Result<Self> {
        let mut command = Command::from(executable.command(environment));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut attempts = ATTEMPTS;
        let mut child = loop {
            match command.spawn() {
                // Another process still has the file open for writing, if only for a moment.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && attempts > 0 => {
                    attempts -= 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                spawned => break spawned?,
            }
        };
        let gone = || std::io::Error::other("it has no standard streams");
        let stdin = Some(child.stdin.take().ok_or_else(gone)?);
        let stdout = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let pipe = child.stderr.take();
        let stderr_reader = pipe.map(|pipe| tokio::spawn(keep(pipe, Arc::clone(&stderr))));
        Ok(Self { child, stdin, stdout, line: Vec::new(), read: 0, stderr, stderr_reader })
    }

    /// The next line, without its line end; `None` at the end of the output. It may be dropped and
    /// called again.
    pub(super) async fn line(&mut self) -> Result<Option<Vec<u8>>, Violation> {
        loop {
            let bytes = match self.stdout.fill_buf().await {
                Ok(bytes) => bytes,
                Err(error) => {
                    return Err(Violation::Protocol(format!("it cannot be heard: {error}")));
                }
            };
            if bytes.is_empty() {
                if self.line.is_empty() {
                    return Ok(None);
                }
                return Err(Violation::Protocol("its last line has no end".to_owned()));
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(bytes.len());
            self.line.extend_from_slice(&bytes[..taken]);
            let used = taken + usize::from(end.is_some());
            self.stdout.consume(used);
            self.read += used;
            if self.line.len() > LONGEST_LINE {
                return Err(Violation::Protocol("a line that is too long".to_owned()));
            }
            if self.read > LARGEST_OUTPUT {
                return Err(Violation::Protocol(
                    "more output than a conversation may have".to_owned(),
                ));
            }
            if end.is_some() {
                let mut line = std::mem::take(&mut self.line);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
        }
    }

    /// Sends a line. If the plugin does not read it, that shows in its output.
    pub(super) async fn write(&mut self, line: &[u8]) {
        if let Some(stdin) = &mut self.stdin
            && (stdin.write_all(line).await.is_err() || stdin.flush().await.is_err())
        {
            self.stdin = None;
        }
    }

    /// The unprocessed standard error of the plugin.
    pub(super) fn raw_stderr(&self) -> String {
        let bytes = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends the plugin's standard input, which is not needed any more.
    pub(super) fn close(&mut self) {
        self.stdin = None;
    }

    /// Waits until the plugin ends by itself; `None` if it does not within `time`.
    pub(super) async fn ended(&mut self, time: Duration) -> Option<std::process::ExitStatus> {
        // Remaining output is discarded, but must not keep the plugin from ending.
        let silent = async {
            let mut rest = Vec::new();
            while self.stdout.read_buf(&mut rest).await.is_ok_and(|length| length > 0) {
                rest.clear();
            }
            self.child.wait().await
        };
        let status = tokio::time::timeout(time, silent).await.ok()?.ok()?;
        if let Some(reader) = self.stderr_reader.take() {
            // A child of the plugin may still hold the pipe open.
            let _all_was_read = tokio::time::timeout(time, reader).await;
        }
        Some(status)
    }

    /// The standard error of the plugin: shortened, cleaned, and without `secrets`.
    pub(super) fn stderr(&self, secrets: &[Secret]) -> Vec<String> {
        let mut said = self.raw_stderr();
        for secret in secrets {
            said = text::without(&said, secret);
        }
        said.lines().map(text::clean).filter(|line| !line.is_empty()).take(MOST_LINES).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // No `wait` has returned for it, so its process id is not reused yet.
        #[cfg(unix)]
        if let Some(id) = self.child.id()
            && let Some(group) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _it_may_have_ended =
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _it_may_have_ended = self.child.start_kill();
    }
}

/// Reads to the end, so that the writing process never blocks, and keeps the beginning.
async fn keep(mut pipe: impl AsyncRead + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT_STDERR.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(&buffer[..room]);
    }
}

const MOST_LINES: usize = 100;
/// For starting a file that is still being written.
const ATTEMPTS: u32 = 20;
