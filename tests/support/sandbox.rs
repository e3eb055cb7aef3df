//! A temporary home with its own state directory, in which the real binary runs isolated.

use crate::issuer::{CLIENT, Issuer, Tokens};
use crate::{TIMEOUT, now_ms, sha256_hex};
use serde_json::{Value, json};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

/// A home directory for one test, removed on drop.
#[derive(Debug)]
pub struct Sandbox {
    root: TempDir,
    env: Vec<(String, OsString)>,
    /// Who runs the binary, if not we.
    user: Option<u32>,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The arguments.
    pub args: Vec<String>,
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

/// A run in progress. Dropping it kills the process.
#[derive(Debug)]
pub struct Running {
    args: Vec<String>,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: String,
    stdout: Option<JoinHandle<String>>,
}

impl Sandbox {
    /// An empty home: `home/` and `home/.clawdbot/`.
    pub fn new() -> Self {
        Self::within(&env::temp_dir())
    }

    /// An empty home below a given directory.
    pub fn within(directory: &Path) -> Self {
        let root = tempfile::tempdir_in(directory).expect("a temporary directory");
        for directory in ["home/.clawdbot", "bin"] {
            fs::create_dir_all(root.path().join(directory)).expect("a directory in the sandbox");
        }
        Self { root, env: Vec::new(), user: None }
    }

    /// From now on the binary runs as the user with this id, in a group of its own, without any
    /// other group. The caller gives the user what it needs.
    pub fn run_as(&mut self, user: u32) {
        self.user = Some(user);
    }

    /// The directory that the sandbox is in.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The state directory, which the binary gets as `CLAWDBOT_STATE_DIR`.
    pub fn state(&self) -> PathBuf {
        self.home().join(".clawdbot")
    }

    /// The only directory on the binary's `PATH`; initially empty.
    pub fn bin(&self) -> PathBuf {
        self.root.path().join("bin")
    }

    /// The directory of an agent's store and the files beside it.
    pub fn agent_dir(&self, agent: &str) -> PathBuf {
        self.state().join("agents").join(agent).join("agent")
    }

    /// An agent's `auth-profiles.json`.
    pub fn store_path(&self, agent: &str) -> PathBuf {
        self.agent_dir(agent).join("auth-profiles.json")
    }

    /// Adds a variable to the environment of every later run.
    pub fn set_env(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.push((name.to_owned(), value.into()));
    }

    /// Adds the machine's own programs to the `PATH` of every later run, for scripts.
    pub fn allow_scripts(&mut self) {
        self.set_env("PATH", "/usr/local/bin:/usr/bin:/bin");
    }

    /// The path of a plugin.
    pub fn plugin_path(&self, id: &str) -> PathBuf {
        self.state().join("providers").join("bin").join(format!("clawdbot-provider-{id}"))
    }

    /// Installs a program as the plugin of a provider.
    pub fn install_plugin(&self, id: &str, program: &[u8]) {
        let path = self.plugin_path(id);
        write(&path, program);
        for step in path.ancestors().take_while(|step| *step != self.state()) {
            set_mode(step, 0o755);
        }
    }

    /// Puts a program into the only directory on the `PATH`.
    pub fn install_program(&self, name: &str, program: &[u8]) {
        let path = self.bin().join(name);
        write(&path, program);
        set_mode(&path, 0o755);
    }

    /// Writes an agent's store.
    pub fn seed_store(&self, agent: &str, store: &Value) {
        let text = serde_json::to_string_pretty(store).expect("JSON") + "\n";
        write(&self.store_path(agent), text.as_bytes());
    }

    /// Reads an agent's store back.
    pub fn read_store(&self, agent: &str) -> Value {
        let bytes = fs::read(self.store_path(agent)).expect("a store");
        serde_json::from_slice(&bytes).expect("a store that parses")
    }

    /// Changes an agent's store in place, as a user with an editor would.
    pub fn edit_store(&self, agent: &str, edit: impl FnOnce(&mut Value)) {
        let mut store = self.read_store(agent);
        edit(&mut store);
        self.seed_store(agent, &store);
    }

    /// Makes a profile's access token look expired since a minute, after a lifetime of an hour.
    pub fn expire(&self, agent: &str, id: &str) {
        self.edit_store(agent, |store| {
            let profile = &mut store["profiles"][id];
            assert!(profile.is_object(), "no profile {id}");
            profile["expires"] = (now_ms() - 60_000).into();
            profile["obtainedAt"] = (now_ms() - 3_660_000).into();
        });
    }

    /// One profile of an agent's store; null if it does not exist.
    pub fn profile(&self, agent: &str, id: &str) -> Value {
        self.read_store(agent)["profiles"][id].clone()
    }

    /// Writes `clawdbot.json`, including comments.
    pub fn write_config(&self, text: &str) {
        write(&self.state().join("clawdbot.json"), text.as_bytes());
    }

    /// Writes a provider manifest.
    pub fn write_manifest(&self, id: &str, manifest: &Value) {
        let path = self.state().join("providers").join(format!("{id}.json"));
        write(&path, manifest.to_string().as_bytes());
    }

    /// Adds an issuer as the provider `id`, and gives the agent `main` a profile of each account
    /// with an expired access token. Returns the tokens, in the same order; the profiles are
    /// `<id>:<account>`.
    pub fn seed_expired(&self, issuer: &Issuer, id: &str, accounts: &[&str]) -> Vec<Tokens> {
        self.write_manifest(id, &issuer.manifest(id));
        let tokens: Vec<_> = accounts.iter().map(|account| issuer.grant(account)).collect();
        let profiles: serde_json::Map<_, _> = tokens
            .iter()
            .map(|tokens| (format!("{id}:{}", tokens.account), expired(issuer, id, tokens)))
            .collect();
        self.seed_store("main", &json!({"version": 1, "profiles": profiles}));
        tokens
    }

    /// The record of a refresh token: `locks/refresh/<K>`.
    pub fn record_path(&self, token_endpoint: &str, client: &str, refresh: &str) -> PathBuf {
        let name = sha256_hex(&format!("{token_endpoint}\0{client}\0{refresh}"));
        self.state().join("locks").join("refresh").join(name)
    }

    /// The binary with these arguments, in this home and an otherwise empty environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let own = self.root.path().join("program/clawdbot");
        self.program(if self.user.is_some() { own } else { binary() }, args)
    }

    /// Another program in the same home and environment.
    fn program(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.home())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", self.bin())
            .env("CLAWDBOT_STATE_DIR", self.state())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        #[cfg(unix)]
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs a script to its end, with empty input.
    pub fn shell(&self, script: &str) -> Finished {
        let mut command = self.program("sh", &["-c", script]);
        let output = command.stdin(Stdio::null()).output().expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Finished {
            args: vec![script.to_owned()],
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs the binary to its end, with empty input.
    pub fn run(&self, args: &[&str]) -> Finished {
        self.run_with_input(args, "")
    }

    /// Runs the binary to its end with this input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Finished {
        let mut running = self.start(args);
        running.type_in(input);
        running.close_input();
        running.finish()
    }

    /// Starts the binary with open input.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {}: {error}; build it first", binary().display())
        });
        let stdin = child.stdin.take();
        let (sender, lines) = channel();
        let talk = BufReader::new(child.stderr.take().expect("a pipe"));
        thread::spawn(move || {
            for line in talk.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut data = child.stdout.take().expect("a pipe");
        let stdout = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = data.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Running { args, child, stdin, lines, stderr: String::new(), stdout: Some(stdout) }
    }

    /// Starts `count` runs at once, with empty input, and waits for all of them.
    pub fn run_many(&self, count: usize, args: &[&str]) -> Vec<Finished> {
        let begin = |_| {
            let mut running = self.start(args);
            running.close_input();
            running
        };
        let all: Vec<_> = (0..count).map(begin).collect();
        all.into_iter().map(Running::finish).collect()
    }

    /// Logs in at an issuer that consents automatically: the callback goes to the listener. Returns
    /// the finished run.
    pub fn log_in(&self, provider: &str, more: &[&str]) -> Finished {
        let args = ["models", "auth", "login", "--provider", provider, "--no-browser"];
        let mut login = self.start(&[&args[..], more].concat());
        let url = login.authorization_url();
        crate::user::User::named("anybody").visit(&url).expect("the listener answers");
        login.finish()
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Finished {
    /// Fails the test unless the run ended with this exit code.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "wrong exit code of {self:#?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }

    /// Standard output without its final newline.
    pub fn line(&self) -> &str {
        self.stdout.trim_end()
    }
}

impl Running {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types into the process.
    pub fn type_in(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            // It may have ended already without reading its input, which is fine.
            let _ = stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush());
        }
    }

    /// Closes the input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// The next line on standard error; `None` when it is closed.
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(TIMEOUT) {
            Ok(line) => {
                self.stderr.push_str(&line);
                self.stderr.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{:?} hangs: {}", self.args, self.stderr),
        }
    }

    /// The authorization URL, which is on a line of its own on standard error.
    #[track_caller]
    pub fn authorization_url(&mut self) -> String {
        while let Some(line) = self.next_line() {
            if line.starts_with("http") && line.contains("response_type=code") {
                return line;
            }
        }
        panic!("{:?} printed no authorization URL: {}", self.args, self.stderr);
    }

    /// The address and the code of a device login: each is on a line of its own on standard error.
    #[track_caller]
    pub fn device_code(&mut self) -> (String, String) {
        let mut address = None;
        let mut is_code_next = false;
        while let Some(line) = self.next_line() {
            if line.starts_with("http") {
                address = Some(line);
            } else if line.contains("enter this code") {
                is_code_next = true;
            } else if is_code_next && !line.is_empty() {
                return (address.expect("the address stands before the code"), line);
            }
        }
        panic!("{:?} showed no code: {}", self.args, self.stderr);
    }

    /// Kills only this process at once (SIGKILL); its children continue.
    pub fn kill_only(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end of the process: reads standard error to its end, then reaps it.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        while self.next_line().is_some() {}
        let status = self.child.wait().expect("a child of ours");
        let stdout = self.stdout.take().map_or_else(String::new, |thread| {
            thread.join().expect("the reader of standard output does not panic")
        });
        Finished {
            args: std::mem::take(&mut self.args),
            code: status.code(),
            stdout,
            stderr: std::mem::take(&mut self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An `oauth` profile as the binary would have stored it an hour ago, expired for a minute.
pub fn expired(issuer: &Issuer, provider: &str, tokens: &Tokens) -> Value {
    json!({
        "type": "oauth",
        "provider": provider,
        "access": tokens.access,
        "refresh": tokens.refresh,
        "expires": now_ms() - 60_000,
        "email": format!("{}@example.test", tokens.account),
        "accountId": tokens.account,
        "clientId": CLIENT,
        "tokenEndpoint": issuer.token_endpoint(),
        "obtainedAt": now_ms() - 3_660_000,
    })
}

/// The processes whose parent is `parent`: those that a killed foreground process leaves to finish
/// its work.
pub fn children_of(parent: u32) -> Vec<u32> {
    let listing = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let listing = listing.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let listing = listing.unwrap_or_else(|_| from_proc());
    let pairs = listing.lines().filter_map(|line| {
        let mut words = line.split_whitespace().map(str::parse::<u32>);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    });
    pairs.filter(|(_, of)| *of == parent).map(|(id, _)| id).collect()
}

/// The lines `pid ppid` of `/proc`, for a machine without `ps`.
fn from_proc() -> String {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let line = |entry: fs::DirEntry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        Some(format!("{id} {parent}\n"))
    };
    entries.filter_map(line).collect()
}

/// Kills a process at once (SIGKILL), with any parent.
pub fn kill(id: u32) {
    kill_with("KILL", id);
}

/// Sends a process a signal, by its name.
pub fn kill_with(signal: &str, id: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot send {signal} to {id}");
}

/// Writes a file and its parent directories. Only for preparing a test: the binary has its own way
/// to write.
#[expect(clippy::disallowed_methods, reason = "a test's own file, which nobody else writes yet")]
pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file in a directory")).expect("a directory");
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Changes the mode of a file, on systems with modes.
pub fn set_mode(path: &Path, mode: u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, mode)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    #[cfg(not(unix))]
    let _ = (path, mode);
}

/// The example plugin in Rust, as built beside the binary under test.
pub fn example_plugin() -> Vec<u8> {
    let path =
        binary().with_file_name(format!("clawdbot-provider-demo{}", env::consts::EXE_SUFFIX));
    fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; build it first: cargo build -p clawdbot-provider-demo", path.display())
    })
}

/// The binary under test: `CLAWDBOT_BIN`, else the one in this test's target directory.
#[expect(clippy::disallowed_methods, reason = "the one variable the tests take from the outside")]
pub fn binary() -> PathBuf {
    env::var_os("CLAWDBOT_BIN").map_or_else(
        || {
            let own = env::current_exe().expect("a path to this program");
            let directory = own.parent().expect("a directory");
            let directory = if directory.ends_with("deps") {
                directory.parent().expect("a target directory")
            } else {
                directory
            };
            directory.join(format!("clawdbot{}", env::consts::EXE_SUFFIX))
        },
        PathBuf::from,
    )
}
