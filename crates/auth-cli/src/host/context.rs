//! The outside world as one value. Only this file asks the operating system for the environment,
//! the working directory, the clock, entropy or the terminal; tests build their own [`Context`],
//! with a fixed clock, temporary directories and captured output.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use auth_store::{Clock, Recoveries, SystemClock, Timestamp};
use jiff::tz::TimeZone;
use rand::TryRng as _;
use serde::Serialize;

use crate::host::error::{CliError, Exit};
use crate::host::paths::{self, Inputs, Paths};
use crate::host::text;

/// Everything that a run of the program may see and touch.
pub struct Context {
    /// The environment at the start of the process.
    pub env: BTreeMap<OsString, OsString>,
    /// The working directory; empty if it no longer exists.
    pub cwd: PathBuf,
    /// The home directory; empty if there is none.
    pub home: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Fills a buffer with random bytes.
    pub entropy: Arc<Entropy>,
    /// Which of our streams are a terminal, and its width.
    pub terminal: Terminal,
    /// The id of this process.
    pub process_id: u32,
    /// The path of this program.
    pub program: Option<PathBuf>,
    /// Standard input.
    stdin: RefCell<Reader>,
    /// Data: the requested output, and nothing else.
    stdout: RefCell<Writer>,
    /// Messages: progress, questions, warnings, errors.
    stderr: RefCell<Writer>,
    /// Recoveries of damaged stores, to be reported at the end.
    pub recoveries: Recoveries,
    /// What is done is said on stderr.
    pub verbose: Cell<bool>,
    /// Times are shown in UTC, whatever the zone.
    pub utc: Cell<bool>,
    /// The system has a local time. Without it, only `TZ` tells one.
    has_local_time: bool,
    /// Computed once: the paths do not change while we run.
    paths: OnceLock<Paths>,
    zone: OnceLock<TimeZone>,
}

/// The type of an input stream.
pub(crate) type Reader = Box<dyn Read + Send>;
/// The type of an output stream.
pub(crate) type Writer = Box<dyn Write + Send>;

/// Fills a buffer with random bytes.
pub type Entropy = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

/// Properties of the terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Standard input is a terminal.
    pub stdin: bool,
    /// Standard output is a terminal.
    pub stdout: bool,
    /// Standard error is a terminal.
    pub stderr: bool,
    /// The columns of the terminal, if stdout is one.
    pub width: Option<usize>,
    /// It sends keys, and its cursor can be moved.
    pub has_keys: bool,
}

/// What contexts in other threads are made of: all of a context but its streams.
#[derive(Clone)]
pub(crate) struct Surroundings {
    env: Arc<BTreeMap<OsString, OsString>>,
    cwd: PathBuf,
    home: PathBuf,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    process_id: u32,
    program: Option<PathBuf>,
}

impl Surroundings {
    /// A context that says what it has to say on standard error, and prints nothing.
    pub(crate) fn context(&self) -> Context {
        Context {
            env: BTreeMap::clone(&self.env),
            cwd: self.cwd.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            process_id: self.process_id,
            program: self.program.clone(),
            stderr: RefCell::new(Box::new(io::stderr())),
            ..Context::sealed(&self.home, Timestamp(0))
        }
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A variable of the environment, if it is text.
    pub(crate) fn env(&self, name: &str) -> Option<String> {
        Some(self.env.get(OsStr::new(name))?.to_str()?.to_owned())
    }
}
/// The agent that is meant when no option names one.
pub(crate) const AGENT_VARIABLE: &str = "CLAWDBOT_AGENT";
/// The profile that is meant when no option names one.
pub(crate) const PROFILE_VARIABLE: &str = "CLAWDBOT_AUTH_PROFILE";

impl Context {
    /// What contexts in other threads are made of.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            env: Arc::new(self.env.clone()),
            cwd: self.cwd.clone(),
            home: self.home.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            process_id: self.process_id,
            program: self.program.clone(),
        }
    }

    /// The real outside world.
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment enters")]
    pub fn real() -> Self {
        Self {
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir().unwrap_or_default(),
            home: std::env::home_dir().unwrap_or_default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(|buffer| {
                rand::rngs::SysRng.try_fill_bytes(buffer).map_err(io::Error::other)
            }),
            terminal: Terminal {
                stdin: io::stdin().is_terminal(),
                stdout: io::stdout().is_terminal(),
                stderr: io::stderr().is_terminal(),
                width: columns(),
                has_keys: io::stdin().is_terminal()
                    && io::stderr().is_terminal()
                    && std::env::var_os("TERM")
                        .is_some_and(|term| !term.is_empty() && term != "dumb"),
            },
            process_id: std::process::id(),
            program: std::env::current_exe().ok(),
            stdin: RefCell::new(Box::new(io::stdin())),
            stdout: RefCell::new(Box::new(io::stdout())),
            stderr: RefCell::new(Box::new(io::stderr())),
            recoveries: Recoveries::default(),
            verbose: Cell::new(false),
            utc: Cell::new(false),
            has_local_time: true,
            paths: OnceLock::new(),
            zone: OnceLock::new(),
        }
    }

    /// The real outside world as far as a read of the store needs it: only the variables that
    /// determine paths, and no terminal. A run that has more to print takes the slow path; only
    /// recoveries that happened while reading are reported here.
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment enters")]
    pub fn quick() -> Self {
        let names = paths::variables().chain([AGENT_VARIABLE, PROFILE_VARIABLE]);
        let env = names.filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((OsString::from(name), value))
        });
        let env: BTreeMap<_, _> = env.collect();
        // Only a relative path in one of our variables depends on the working directory.
        let is_name = |name: &OsString| name == AGENT_VARIABLE || name == PROFILE_VARIABLE;
        let needs_cwd =
            env.iter().any(|(name, value)| !is_name(name) && !Path::new(value).is_absolute());
        let cwd = if needs_cwd { std::env::current_dir().ok() } else { None };
        Self {
            env,
            cwd: cwd.unwrap_or_default(),
            home: std::env::home_dir().unwrap_or_default(),
            clock: Arc::new(SystemClock),
            stdout: RefCell::new(Box::new(io::stdout())),
            stderr: RefCell::new(Box::new(io::stderr())),
            ..Self::sealed(Path::new(""), Timestamp(0))
        }
    }

    /// A context with only a home directory and a clock: no environment, no terminal, empty input,
    /// output that is discarded, and entropy that is all zeros.
    pub fn sealed(home: &Path, now: Timestamp) -> Self {
        Self {
            env: BTreeMap::new(),
            cwd: home.to_owned(),
            home: home.to_owned(),
            clock: Arc::new(now),
            entropy: Arc::new(|buffer| {
                buffer.fill(0);
                Ok(())
            }),
            terminal: Terminal::default(),
            process_id: 0,
            program: None,
            stdin: RefCell::new(Box::new(io::empty())),
            stdout: RefCell::new(Box::new(io::sink())),
            stderr: RefCell::new(Box::new(io::sink())),
            recoveries: Recoveries::default(),
            verbose: Cell::new(false),
            utc: Cell::new(false),
            has_local_time: false,
            paths: OnceLock::new(),
            zone: OnceLock::new(),
        }
    }

    /// Replaces standard input.
    pub fn set_stdin(&mut self, stdin: impl Read + Send + 'static) {
        self.stdin = RefCell::new(Box::new(stdin));
    }

    /// Sends data to `stdout`.
    pub fn set_stdout(&mut self, stdout: impl Write + Send + 'static) {
        self.stdout = RefCell::new(Box::new(stdout));
    }

    /// Sends messages to `stderr`.
    pub fn set_stderr(&mut self, stderr: impl Write + Send + 'static) {
        self.stderr = RefCell::new(Box::new(stderr));
    }

    /// Takes standard input, for a reader in another thread. Until it is [given
    /// back](Self::give_back_stdin), nothing more can be read here.
    pub(crate) fn take_stdin(&self) -> Reader {
        self.stdin.replace(Box::new(io::empty()))
    }

    /// Gives back the stream from [`take_stdin`](Self::take_stdin).
    pub(crate) fn give_back_stdin(&self, stdin: Reader) {
        self.stdin.replace(stdin);
    }

    /// Takes standard error, for a writer in another thread. Until it is [given
    /// back](Self::give_back_stderr), messages here are discarded.
    pub(crate) fn take_stderr(&self) -> Writer {
        self.stderr.replace(Box::new(io::sink()))
    }

    /// Gives back the stream from [`take_stderr`](Self::take_stderr).
    pub(crate) fn give_back_stderr(&self, stderr: Writer) {
        self.stderr.replace(stderr);
    }

    /// All of standard input, up to a limit.
    pub(crate) fn read_stdin(&self, limit: u64) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.stdin.borrow_mut().by_ref().take(limit).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A point in time as the user reads it: in their zone, unless they want UTC.
    pub fn time(&self, at: Timestamp) -> String {
        if self.utc.get() { text::utc(at) } else { text::local(at, self.zone()) }
    }

    fn zone(&self) -> &TimeZone {
        self.zone.get_or_init(|| {
            let named = self.env("TZ").map(|name| name.trim_start_matches(':').trim());
            match named.filter(|name| !name.is_empty()) {
                Some(name) => TimeZone::get(name).or_else(|_| TimeZone::posix(name)).ok(),
                None if self.has_local_time => TimeZone::try_system().ok(),
                None => None,
            }
            .unwrap_or(TimeZone::UTC)
        })
    }

    /// Fills `buffer` with random bytes.
    pub(crate) fn fill_random(&self, buffer: &mut [u8]) -> Result<(), CliError> {
        (self.entropy)(buffer).map_err(|error| {
            let message = format!("the system gives no random bytes: {error}");
            CliError::new(Exit::TryLater, "no_entropy", message)
        })
    }

    /// An environment variable, if it is valid Unicode.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(OsStr::new(name)).and_then(|value| value.to_str())
    }

    /// What a variable of ours names, if it is set and not blank.
    pub(crate) fn chosen(&self, name: &str) -> Option<&str> {
        self.env(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The paths of all files and directories.
    pub fn paths(&self) -> &Paths {
        self.paths.get_or_init(|| {
            // Several rules check the same path.
            let asked = RefCell::new(Vec::<(PathBuf, bool)>::new());
            let known = |path: &Path| asked.borrow().iter().find(|it| it.0 == path).map(|it| it.1);
            let ask = |path: &Path| {
                let found = exists(path);
                asked.borrow_mut().push((path.to_owned(), found));
                found
            };
            Paths::resolve(&Inputs {
                env: &|name| self.env.get(OsStr::new(name)).cloned(),
                home: &self.home,
                cwd: &self.cwd,
                exists: &|path| known(path).unwrap_or_else(|| ask(path)),
            })
        })
    }

    /// Whether the paths are those that somebody means. No file is looked at.
    ///
    /// # Errors
    /// Something in the environment makes them others.
    pub(crate) fn check_paths(&self) -> Result<(), CliError> {
        let inputs = Inputs {
            env: &|name| self.env.get(OsStr::new(name)).cloned(),
            home: &self.home,
            cwd: &self.cwd,
            exists: &|_| false,
        };
        match paths::problem(&inputs, self.paths()) {
            None => Ok(()),
            Some((message, hint)) => Err(CliError::new(Exit::Usage, "paths", message).hint(hint)),
        }
    }

    /// Whether the state directory is there, or may be made.
    ///
    /// # Errors
    /// It is a link to nothing, as that to a disk that is not mounted: no reason to begin anew.
    pub(crate) fn check_state_directory(&self) -> Result<(), CliError> {
        let state = &self.paths().state_dir;
        match state.read_link() {
            Ok(to) if !state.exists() => {
                let (state, to) = (state.display(), to.display());
                let message = format!("`{state}` is a link to `{to}`, which is not there");
                Err(CliError::new(Exit::CannotWrite, "dangling_link", message)
                    .hint("is a disk not mounted? Bring back what it leads to, or remove the link"))
            }
            _ => Ok(()),
        }
    }

    /// The absolute path for the user's input `text`.
    pub fn user_path(&self, text: &str) -> PathBuf {
        paths::resolve_user_path(OsStr::new(text), &self.home, &self.cwd)
    }

    /// The absolute path that `text` means; `what` says where it is written.
    ///
    /// # Errors
    /// A variable in it was not replaced, or it begins at a directory that there is not.
    pub(crate) fn path_of(&self, what: &str, text: &str) -> Result<PathBuf, CliError> {
        if let Some(part) = paths::unresolved(text) {
            let message = format!("`{part}` in {what} (`{text}`) stands for nothing here");
            return Err(CliError::new(Exit::Usage, "paths", message).hint("write the whole path"));
        }
        let path = self.user_path(text);
        if path.is_absolute() || path.as_os_str().is_empty() {
            return Ok(path);
        }
        let message = format!("{what} (`{text}`) begins at a directory that is not there");
        Err(CliError::new(Exit::Usage, "paths", message).hint("write the whole path"))
    }

    /// `path` for display: `~` for the home directory.
    pub fn display(&self, path: &Path) -> String {
        paths::display(path, &self.home)
    }

    /// Writes a line of data, without characters that could change a terminal or begin another
    /// line.
    pub fn print(&self, line: impl fmt::Display) -> Result<(), CliError> {
        let line = text::line_for_terminal(&line.to_string());
        writeln!(self.stdout.borrow_mut(), "{line}").map_err(CliError::stdout)
    }

    /// Writes a line of data with our own colors. Foreign text in it must be printable already.
    pub(crate) fn print_styled(&self, line: &str) -> Result<(), CliError> {
        writeln!(self.stdout.borrow_mut(), "{}", text::styled_for_terminal(line))
            .map_err(CliError::stdout)
    }

    /// Writes several lines of data that contain no foreign text.
    pub fn print_lines(&self, lines: &str) -> Result<(), CliError> {
        writeln!(self.stdout.borrow_mut(), "{}", text::for_terminal(lines))
            .map_err(CliError::stdout)
    }

    /// Writes a value as two-space JSON.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text =
            serde_json::to_string_pretty(value).map_err(|json| CliError::stdout(json.into()))?;
        writeln!(self.stdout.borrow_mut(), "{}", text::json_for_terminal(&text))
            .map_err(CliError::stdout)
    }

    /// Begins at the top of an empty screen (ECMA-48 §8.3.21, §8.3.39).
    pub(crate) fn clear_screen(&self) -> Result<(), CliError> {
        self.write(b"\x1b[H\x1b[2J")
    }

    /// Writes data unchanged, to the byte.
    pub(crate) fn write(&self, data: &[u8]) -> Result<(), CliError> {
        self.stdout.borrow_mut().write_all(data).map_err(CliError::stdout)
    }

    /// Writes a message to the user, without characters that could change a terminal or begin
    /// another line. A closed stderr is not an error.
    pub fn say(&self, line: impl fmt::Display) {
        let line = text::line_for_terminal(&line.to_string());
        let _nobody_listens = writeln!(self.stderr.borrow_mut(), "{line}");
    }

    /// Puts a secret on the clipboard of the terminal (xterm, "Operating System Commands", 52).
    pub(crate) fn copy(&self, secret: &str) {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
        let mut stderr = self.stderr.borrow_mut();
        let _nobody_listens =
            write!(stderr, "\u{1b}]52;c;{encoded}\u{7}").and_then(|()| stderr.flush());
    }

    /// Writes a message of several lines that contain no foreign text.
    pub fn say_lines(&self, lines: &str) {
        let _nobody_listens = writeln!(self.stderr.borrow_mut(), "{}", text::for_terminal(lines));
    }

    /// Reports the recoveries of damaged stores. None may be silent.
    pub(crate) fn say_recoveries(&self) {
        for it in self.recoveries.take() {
            let (store, copy) = (self.display(&it.store), self.display(&it.copy));
            let now = if it.is_from_backup {
                "its backup is in its place now, whose orders and usage may be older"
            } else {
                "another program wrote it at the moment of our own write, which is in its place now"
            };
            self.say(format_args!(
                "warning: `{store}` was damaged ({}); {now}; the damaged file is kept as `{copy}`",
                it.reason
            ));
        }
    }

    /// Asks the user a question; the answer is typed on the same line.
    pub(crate) fn ask(&self, question: &str) {
        let mut stderr = self.stderr.borrow_mut();
        let _nobody_listens = write!(stderr, "{question}").and_then(|()| stderr.flush());
    }

    /// Reports why a command failed: on stderr, or with `json` as data on stdout.
    pub fn report(&self, error: &CliError, json: bool) {
        if error.is_reader_gone() {
            return;
        }
        if json {
            // If stdout itself failed, there is no reader.
            let _no_reader = self.print_json(&serde_json::json!({ "error": error.to_json() }));
            return;
        }
        // One line, even if a server or a file put line breaks into it.
        self.say(format_args!("error: {}", text::printable(&error.message)));
        if let Some(hint) = &error.hint {
            self.say_lines(&format!("hint: {hint}"));
        }
    }

    /// Flushes standard output.
    pub fn flush(&self) -> Result<(), CliError> {
        self.stdout.borrow_mut().flush().map_err(CliError::stdout)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Whether there is anything at `path`, be it a link to nothing.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(unix)]
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

#[cfg(not(unix))]
fn columns() -> Option<usize> {
    None
}

/// A stream that records its output; clones share the record.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Everything written so far, as text.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
