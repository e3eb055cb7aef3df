//! A tracer: runs the binary to one system call, and injects the fault there (Linux on `x86_64`).
//!
//! strace counts its injections per thread and by name, and cannot distinguish the command from the
//! process that it starts for a refresh. Here a point is the n-th call of a name in one of the two,
//! counted over all threads.

use super::calls::{self, Change};
use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One of our two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The command that was typed.
    Command,
    /// The process it starts to send and save.
    Child,
}

/// The n-th call of a name in one process, counted from 1 at the command's first open below the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) role: Role,
    pub(crate) call: &'static str,
    pub(crate) nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Command => "command",
            Role::Child => "child",
        };
        write!(formatter, "{role} {} {}", self.call, self.nth)
    }
}

/// The fault at a point, before the call is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Kill the process at the point.
    Kill,
    /// Kill all our processes.
    KillAll,
    /// Send this signal to the process.
    Signal(Signal),
    /// Make the call fail.
    Fail(Errno),
    /// Make the call fail, and every later one that would change a file, as on a broken disk.
    FailFromNow(Errno),
}

/// One counted call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) point: Point,
    /// The target of its first argument, if that is a descriptor.
    pub(crate) leads_to: Place,
}

/// The target of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File,
    Directory,
    Socket,
    /// A pipe, a counter, a terminal; or there is no descriptor.
    Other,
}

/// The result of a traced run.
#[derive(Debug)]
pub(crate) struct Traced {
    /// The exit code of the command; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Every counted call, in order.
    pub(crate) calls: Vec<Call>,
    /// Whether the point was reached.
    pub(crate) hit: bool,
    /// Whether a child sent something and never wrote a response.
    pub(crate) is_response_missing: bool,
    /// Whether anything was sent at all.
    pub(crate) requested: bool,
    /// How often something was sent after the point of the fault.
    pub(crate) sent_after: u32,
    /// When the write of the last response of a child began, and the calls between the last
    /// received bytes and that write.
    pub(crate) reply: Option<Reply>,
    /// It hung and was killed.
    pub(crate) hung: bool,
}

/// The write of an issuer's response to its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// Its index in the list of calls.
    pub(crate) index: usize,
    /// When it was done.
    pub(crate) written: Instant,
    /// The calls of that thread after the last one that received something, up to the write.
    pub(crate) calls_between: usize,
}

/// Runs `command` with this input, and injects `fault` at its point. Calls are counted from the
/// first open below `state`.
pub(crate) fn trace(
    command: &Command,
    input: &str,
    state: &Path,
    fault: Option<(Point, Fault)>,
) -> Traced {
    let mut child = gated(command).spawn().expect("/bin/sh starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let first = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, options).expect("we may trace our own child");
    let mut tracer = Tracer {
        state: state.as_os_str().as_bytes().to_vec(),
        fault,
        first,
        threads: HashMap::new(),
        roles: HashMap::from([(first, Role::Command)]),
        counts: HashMap::new(),
        counting: false,
        received: HashMap::new(),
        waiting: HashSet::new(),
        failing: None,
        traced: Traced {
            code: None,
            stdout: String::new(),
            stderr: String::new(),
            calls: Vec::new(),
            hit: false,
            is_response_missing: false,
            requested: false,
            sent_after: 0,
            reply: None,
            hung: false,
        },
    };
    tracer.threads.insert(first, Thread::new(first));
    open_gate(&mut stdin, input);
    drop(stdin);
    let watch = Watch::over(first);
    tracer.run(&watch);
    tracer.traced.hung = watch.end();
    let is_response_missing = !tracer.waiting.is_empty();
    let (stdout, stderr) = outputs(&mut child);
    Traced { stdout, stderr, is_response_missing, ..tracer.traced }
}

/// The program behind a shell that waits for a line before it becomes the program: until then the
/// tracer can attach.
fn gated(command: &Command) -> Command {
    let mut gated = Command::new("/bin/sh");
    gated
        .args(["-c", "read -r go && exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            gated.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        gated.current_dir(directory);
    }
    gated
}

fn open_gate(stdin: &mut ChildStdin, input: &str) {
    stdin.write_all(b"go\n").and_then(|()| stdin.write_all(input.as_bytes())).expect("a pipe");
}

fn outputs(child: &mut Child) -> (String, String) {
    let read = |stream: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        let _ = stream.expect("a pipe").read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let stdout = read(child.stdout.as_mut().map(|it| it as &mut dyn Read));
    (stdout, read(child.stderr.as_mut().map(|it| it as &mut dyn Read)))
}

struct Tracer {
    state: Vec<u8>,
    fault: Option<(Point, Fault)>,
    first: Pid,
    threads: HashMap<Pid, Thread>,
    roles: HashMap<Pid, Role>,
    counts: HashMap<(Role, &'static str), u32>,
    counting: bool,
    /// How many calls a thread of the child has made since it last received something.
    received: HashMap<Pid, usize>,
    /// The children that sent something and have not written a response.
    waiting: HashSet<Pid>,
    /// From now on every call that would change a file fails with this error.
    failing: Option<Errno>,
    traced: Traced,
}

struct Thread {
    process: Pid,
    /// The current call of the thread, if it is in one.
    inside: Option<Inside>,
}

struct Inside {
    call: &'static str,
    fails: Option<Errno>,
    is_response: bool,
    is_socket: bool,
}

impl Thread {
    fn new(process: Pid) -> Self {
        Self { process, inside: None }
    }
}

impl Tracer {
    /// Goes from stop to stop until all processes have ended.
    fn run(&mut self, watch: &Watch) {
        // Only this thread's tracees: other threads have their own.
        let ours = Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD);
        loop {
            let status = match waitpid(None, ours) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            match status {
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread);
                    resume(thread, None);
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.at_event(thread, event, watch);
                    resume(thread, None);
                }
                WaitStatus::Stopped(thread, signal) => {
                    self.know(thread);
                    resume(thread, Some(signal));
                }
                WaitStatus::Exited(thread, code) => self.gone(thread, Some(code)),
                WaitStatus::Signaled(thread, _, _) => self.gone(thread, None),
                _ => {}
            }
        }
    }

    fn gone(&mut self, thread: Pid, code: Option<i32>) {
        self.threads.remove(&thread);
        if thread == self.first {
            self.traced.code = code;
        }
    }

    /// The process of this thread; a new thread is registered.
    fn know(&mut self, thread: Pid) -> Pid {
        if let Some(known) = self.threads.get(&thread) {
            return known.process;
        }
        let process = process_of(thread).unwrap_or(thread);
        self.threads.insert(thread, Thread::new(process));
        // An unknown process is about to become the child.
        self.roles.entry(process).or_insert(Role::Child);
        process
    }

    fn at_event(&mut self, thread: Pid, event: i32, watch: &Watch) {
        let process = self.know(thread);
        watch.know(process);
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            // The thread that called it is gone, and so is the call.
            self.threads.insert(thread, Thread::new(process));
        }
    }

    fn at_call(&mut self, thread: Pid) {
        let process = self.know(thread);
        let Ok(registers) = ptrace::getregs(thread) else { return };
        let is_entry = ptrace::syscall_info(thread)
            .is_ok_and(|info| info.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY);
        if !is_entry {
            let inside = self.threads.get_mut(&thread).and_then(|known| known.inside.take());
            if let Some(inside) = inside {
                self.leave(thread, process, &inside, registers);
            }
            return;
        }
        let call = calls::name(registers.orig_rax);
        let role = self.roles[&process];
        if !self.counting && role == Role::Command && calls::opens(call) {
            let path = text_at(thread, if call == "open" { registers.rdi } else { registers.rsi });
            self.counting = path.is_some_and(|path| path.starts_with(&self.state));
        }
        let mut inside = Inside { call, fails: None, is_response: false, is_socket: false };
        if self.counting {
            let nth = self.counts.entry((role, call)).or_default();
            *nth += 1;
            let point = Point { role, call, nth: *nth };
            let (leads_to, path) = place(process, registers.rdi);
            self.traced.calls.push(Call { point, leads_to });
            if role == Role::Child {
                self.received.entry(thread).and_modify(|calls| *calls += 1);
                inside.is_socket =
                    (calls::receives(call) || calls::sends(call)) && leads_to == Place::Socket;
                inside.is_response = call == "write"
                    && registers.rdx != RESERVED
                    && path.is_some_and(|path| path.to_string_lossy().ends_with(".answer"));
            }
            if self.fault.is_some_and(|(wanted, _)| wanted == point) {
                self.traced.hit = true;
                inside.fails = self.play(process);
            } else if self.failing.is_some() && self.changes_state(process, call, &registers) {
                inside.fails = self.failing;
            }
        }
        if inside.fails.is_some() {
            let mut registers = registers;
            // An invalid call number, so nothing is carried out.
            registers.orig_rax = u64::MAX;
            let _ = ptrace::setregs(thread, registers);
        }
        if let Some(known) = self.threads.get_mut(&thread) {
            known.inside = Some(inside);
        }
    }

    /// Whether the call would change a file below the state directory.
    fn changes_state(&self, process: Pid, call: &str, registers: &user_regs_struct) -> bool {
        let place = match calls::change(call) {
            Some(Change::Descriptor) => {
                link(process, registers.rdi).map(|path| path.into_os_string().into_vec())
            }
            Some(Change::Path) => text_at(process, registers.rdi),
            Some(Change::PathAt) => text_at(process, registers.rsi),
            None => None,
        };
        place.is_some_and(|place| place.starts_with(&self.state))
    }

    /// Injects the fault. Returns the error with which the call fails, if it does.
    fn play(&mut self, process: Pid) -> Option<Errno> {
        match self.fault?.1 {
            Fault::Kill => {
                let _ = signal::kill(process, Signal::SIGKILL);
                None
            }
            Fault::KillAll => {
                for process in self.roles.keys() {
                    let _ = signal::kill(*process, Signal::SIGKILL);
                }
                None
            }
            Fault::Signal(which) => {
                let _ = signal::kill(process, which);
                None
            }
            Fault::Fail(errno) => Some(errno),
            Fault::FailFromNow(errno) => {
                self.failing = Some(errno);
                Some(errno)
            }
        }
    }

    fn leave(&mut self, thread: Pid, process: Pid, inside: &Inside, registers: user_regs_struct) {
        if let Some(errno) = inside.fails {
            let mut registers = registers;
            registers.rax = (-i64::from(errno as i32)).cast_unsigned();
            let _ = ptrace::setregs(thread, registers);
            return;
        }
        let returned = registers.rax.cast_signed();
        if inside.is_socket && returned > 0 {
            if calls::sends(inside.call) {
                self.traced.requested = true;
                self.waiting.insert(process);
                self.traced.sent_after += u32::from(self.traced.hit);
            } else {
                self.received.insert(thread, 0);
            }
        }
        if inside.is_response && returned > 0 {
            self.waiting.remove(&process);
            self.traced.reply = Some(Reply {
                index: self.traced.calls.len() - 1,
                written: Instant::now(),
                // The write itself does not count.
                calls_between: self
                    .received
                    .get(&thread)
                    .map_or(0, |calls| calls.saturating_sub(1)),
            });
        }
    }
}

fn resume(thread: Pid, signal: Option<Signal>) {
    // It may have been killed meanwhile; then there is nothing to continue.
    let _ = ptrace::syscall(thread, signal);
}

fn process_of(thread: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

fn link(process: Pid, descriptor: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/fd/{descriptor}")).ok()
}

fn place(process: Pid, descriptor: u64) -> (Place, Option<PathBuf>) {
    let Some(path) = link(process, descriptor) else { return (Place::Other, None) };
    let place = if path.to_string_lossy().starts_with("socket:") {
        Place::Socket
    } else if path.is_dir() {
        Place::Directory
    } else if path.is_absolute() {
        Place::File
    } else {
        Place::Other
    };
    (place, Some(path))
}

/// The zero-terminated text at an address of a stopped thread.
fn text_at(thread: Pid, address: u64) -> Option<Vec<u8>> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = [0; 512];
    let length = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..length].iter().position(|byte| *byte == 0)?;
    Some(bytes[..end].to_vec())
}

/// Kills a process that hangs.
struct Watch {
    processes: Arc<Mutex<Vec<Pid>>>,
    done: std::sync::mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watch {
    fn over(first: Pid) -> Self {
        let processes = Arc::new(Mutex::new(vec![first]));
        let (done, ended) = channel();
        let watched = Arc::clone(&processes);
        let thread = thread::spawn(move || {
            if ended.recv_timeout(HANGS_AFTER) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
            for process in watched.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = signal::kill(*process, Signal::SIGKILL);
            }
            true
        });
        Self { processes, done, thread }
    }

    fn know(&self, process: Pid) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        if !processes.contains(&process) {
            processes.push(process);
        }
    }

    /// Whether it had to.
    fn end(self) -> bool {
        let _ = self.done.send(());
        self.thread.join().unwrap_or(true)
    }
}

/// The number of zeros that reserve the space for a response: the only other write to its file.
const RESERVED: u64 = 64 << 10;
/// Longer than all deadlines of the binary under test together.
const HANGS_AFTER: Duration = Duration::from_secs(75);
