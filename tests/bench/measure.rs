//! Measurements: how long a command takes compared with others, and which resources it uses.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The durations of repeated runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        let place = self.0.partition_point(|known| *known < time);
        self.0.insert(place, time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn minimum(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    pub(crate) fn p99(&self) -> Duration {
        self.0.get(self.0.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// A command to be timed.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) command: Box<dyn Fn() -> Command + 'a>,
    pub(crate) times: Times,
}

impl<'a> Case<'a> {
    pub(crate) fn new(name: &str, command: impl Fn() -> Command + 'a) -> Self {
        Self { name: name.to_owned(), command: Box::new(command), times: Times::default() }
    }

    fn run_once(&mut self) {
        let mut command = (self.command)();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status();
        let taken = start.elapsed();
        let status = status.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        assert!(status.success(), "{} failed: {status}", self.name);
        self.times.add(taken);
    }
}

/// Times the commands in turn, so that other load on the machine affects all of them. Slow commands
/// are run less often.
pub(crate) fn interleaved(cases: &mut [Case<'_>], rounds: usize) {
    for case in &mut *cases {
        // One run to warm the caches.
        case.run_once();
        case.times = Times::default();
    }
    for round in 0..rounds {
        for case in &mut *cases {
            let every = match case.times.minimum().as_millis() {
                0..5 => 1,
                5..50 => 5,
                50..200 => 20,
                _ => 50,
            };
            if round % every == 0 {
                case.run_once();
            }
        }
    }
}

/// The system calls of a program.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    pub(crate) total: usize,
    lines: Vec<String>,
}

impl Calls {
    /// Runs the command under `strace`.
    pub(crate) fn from_strace(command: &Command, scratch: &Path) -> Self {
        let log = scratch.join("strace");
        let strace = under(command, "strace", &["-f", "-o", &log.display().to_string()]);
        assert!(run_quietly(strace).success(), "strace of {command:?}");
        let text = fs::read_to_string(&log).expect("strace wrote its log");
        let lines = text.lines().filter_map(|line| line.split_once(' ').map(|(_id, call)| call));
        let lines: Vec<_> = lines.map(|line| line.trim_start().to_owned()).collect();
        let is_call = |line: &&String| line.starts_with(|c: char| c.is_ascii_lowercase());
        Self { total: lines.iter().filter(is_call).count(), lines }
    }

    /// How many calls start with one of these texts, in the format of `strace`.
    pub(crate) fn count(&self, starts: &[&str]) -> usize {
        let is_one = |line: &&String| starts.iter().any(|start| line.starts_with(start));
        self.lines.iter().filter(is_one).count()
    }
}

/// The instructions a command executes in user space, as counted by `valgrind`.
pub(crate) fn instructions(command: &Command) -> u64 {
    let arguments = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let mut valgrind = under(command, "valgrind", &arguments);
    let output = valgrind.stdin(Stdio::null()).output().expect("valgrind");
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    count.and_then(|it| it.trim().parse().ok()).unwrap_or_else(|| panic!("valgrind said {text}"))
}

/// The peak memory of a command, file pages included, in KiB.
pub(crate) fn peak_memory(command: &Command) -> u64 {
    let mut time = under(command, "time", &["-f", "%M"]);
    let output = time.stdin(Stdio::null()).stdout(Stdio::null()).output().expect("time");
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    last.trim().parse().unwrap_or_else(|_| panic!("time said {text}"))
}

/// The memory that belongs to a program alone, in KiB, at the moment when it writes its output: its
/// pipe is full, so it blocks there and can be inspected. The rest are file pages, which are in
/// memory only once for all running copies.
pub(crate) fn own_memory(command: &mut Command) -> u64 {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // As much as a pipe holds.
    writer.write_all(&vec![b'x'; 1 << 16]).expect("a pipe holds 64 KiB");
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).spawn();
    let mut child = child.expect("a program");
    let read =
        |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
    let start = Instant::now();
    // 1 is write(2); the first number is its descriptor.
    while !read("syscall").starts_with("1 0x1 ") && start.elapsed() < e2e::TIMEOUT {
        std::thread::yield_now();
    }
    let rollup = read("smaps_rollup");
    // Not `Private_Dirty`: for a program that was linked just now, the pages of its file are dirty
    // too.
    let own = rollup.lines().filter_map(|line| line.strip_prefix("Anonymous:"));
    let own = own.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum();
    let _ = child.kill();
    let _ = child.wait();
    drop(reader);
    own
}

/// `command` as the argument of another program, with the same environment.
fn under(command: &Command, program: &str, arguments: &[&str]) -> Command {
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program()).args(command.get_args());
    outer.env_clear();
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    outer.envs(set).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

fn run_quietly(mut command: Command) -> std::process::ExitStatus {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}
