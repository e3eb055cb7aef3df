//! The lock that Clawdbot uses: an empty directory beside the store (npm proper-lockfile 4.1).
//!
//! The directory's existence is the lock. Its modification time shows that the holder is alive. Any
//! process may remove it, so it never reliably excludes another process: the code here checks
//! whether the directory at the path is still *ours*. It is ours if the path leads to the directory
//! whose descriptor we keep open. An inode number alone proves nothing, because file systems reuse
//! it at once.
//!
//! All of this happens under the kernel lock on the flock file, so only one of our processes runs
//! it at a time. The flock file remembers the directory that we made last. If we crash, our next
//! process recognizes that directory and takes it at once.
//!
//! A request may [keep](DirectoryLock::keep) the directory without the flock. It then holds a shared
//! kernel lock on the directory itself, by which our other processes know it: they use the directory
//! too, and do not remove it. The last process to leave does.

pub(crate) mod memory;
pub(crate) mod openclaw;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::clawdbot_lock::memory::{Identity, Memory, identity_at};
use crate::clawdbot_lock::openclaw::holder_of_lock;
use crate::error::StoreError;
use crate::fs::atomic::{self, exchange, is_occupied, is_unsupported, rename_to_free};
use crate::fs::open::{open_regular, read_regular};
use crate::paths;
use crate::time::{Clock, SystemClock, Timestamp};

/// The held directory lock. It must be [released](Self::release) before the flock is.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    held: Arc<Held>,
    /// The thread that keeps the lock alive ends when this is dropped.
    pub(crate) keeper: Option<mpsc::Sender<()>>,
    /// Another process held it when we requested it.
    met_others: bool,
}

/// The held directory, which shows whether the lock is still ours.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    directory: File,
    taken: Instant,
}

impl DirectoryLock {
    /// Waits at most `timeout` for the lock at `path`. `memory` is the flock file, which the
    /// caller has locked.
    pub(crate) fn acquire(
        path: &Path,
        memory: &File,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let started = Instant::now();
        let mut met_others = false;
        loop {
            let holder = match Self::try_acquire(path, memory, met_others)? {
                Ok(lock) => return Ok(lock),
                Err(holder) => holder,
            };
            met_others = true;
            if started.elapsed() >= timeout {
                return Err(busy(path, timeout, holder));
            }
            pause();
        }
    }

    /// One attempt. `met_others`: another program held it at an earlier one. The inner error says
    /// which program holds it.
    pub(crate) fn try_acquire(
        path: &Path,
        memory: &File,
        met_others: bool,
    ) -> Result<Result<Self, String>, StoreError> {
        let (directory, age) = match attempt(path, memory)? {
            Attempt::Taken(directory) => (directory, Duration::ZERO),
            Attempt::Joined(directory) => {
                (directory, SystemClock.now().since(Memory::read(memory).made_at))
            }
            Attempt::Occupied(holder) => return Ok(Err(holder)),
        };
        let now = Instant::now();
        let taken = now.checked_sub(age).unwrap_or(now);
        let held = Held { path: path.to_owned(), directory, taken };
        Ok(Ok(Self { held: Arc::new(held), keeper: None, met_others }))
    }

    /// Whether the lock is still ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.held.is_ours()
    }

    /// A handle that checks later, from any thread, whether the lock is still ours.
    pub(crate) fn witness(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// How long processes of ours have held it.
    pub(crate) fn age(&self) -> Duration {
        self.held.taken.elapsed()
    }

    /// Keeps the lock for a request, while the caller lets go of the flock: our other processes use
    /// it meanwhile and leave it, and a thread touches it every 5 s. `false`: it cannot be kept,
    /// because the file system has no such locks, or because ours have had it for so long that
    /// Clawdbot would wait too long.
    pub(crate) fn keep(&mut self) -> bool {
        let is_kept = self.age() <= LONGEST_BEFORE_REQUEST && self.held.share();
        if is_kept {
            self.touch_every(HEARTBEAT);
        }
        is_kept
    }

    fn touch_every(&mut self, pause: Duration) {
        let (stop, stopped) = mpsc::channel::<()>();
        let held = self.witness();
        let keep = move || {
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                if held.is_ours() {
                    held.touch();
                }
            }
        };
        // Without the thread the lock looks stale after 30 s, which is longer than we ever hold it.
        if std::thread::Builder::new().spawn(keep).is_ok() {
            self.keeper = Some(stop);
        }
    }

    /// Releases it, and notes how long we held it. What another process of ours keeps stays there.
    pub(crate) fn release(self, memory: &File) {
        let is_kept = self.held.is_kept_by_another();
        let is_ours = self.is_ours();
        let is_gone = is_ours && !is_kept && fs::remove_dir(&self.held.path).is_ok();
        let now = SystemClock.now();
        let mut next = Memory::read(memory);
        // A directory that may still exist is remembered, so our next process can take it.
        if is_gone {
            next.directory = None;
        } else if is_ours {
            next.directory = Identity::from_file(&self.held.directory);
        }
        if !is_kept {
            next.held_ms = u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX);
            next.released_at = now;
        }
        if self.met_others {
            next.met_others_at = now;
        }
        next.write(memory);
    }
}

impl Held {
    /// Whether the path still leads to the directory we hold.
    pub(crate) fn is_ours(&self) -> bool {
        identity_at(&self.path)
            .is_some_and(|there| Identity::from_file(&self.directory) == Some(there))
    }

    /// Holds the shared kernel lock on the directory, until [`is_kept_by_another`] drops it or all of
    /// our descriptors are closed.
    ///
    /// [`is_kept_by_another`]: Self::is_kept_by_another
    fn share(&self) -> bool {
        cfg!(unix) && fs4::FileExt::try_lock_shared(&self.directory).is_ok()
    }

    /// Drops our own shared lock, and looks whether another process of ours holds one.
    fn is_kept_by_another(&self) -> bool {
        // A descriptor may be open a moment longer, in a thread or in a child.
        let _ = fs4::FileExt::unlock(&self.directory);
        is_kept(&self.directory)
    }

    fn touch(&self) {
        #[cfg(unix)]
        {
            let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
            let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
            // If this fails, another process may take the lock over. We notice that before we send
            // or rename.
            let _ = rustix::fs::futimens(&self.directory, &times);
        }
    }
}

enum Attempt {
    Taken(File),
    /// Another process of ours keeps it, and we have it in common.
    Joined(File),
    Occupied(String),
}

/// One attempt: looks at the path, and takes the lock if that is allowed.
fn attempt(path: &Path, memory: &File) -> Result<Attempt, StoreError> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            leave_a_turn_to_others(memory);
            return place(path, memory);
        }
        Err(error) => return Err(StoreError::io("look at", path)(error)),
        Ok(there) => there,
    };
    let refuse = |reason| Err(StoreError::Unsafe { path: path.to_owned(), reason });
    if there.file_type().is_symlink() {
        return refuse("a lock must not be a symbolic link");
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::uid(&there) != rustix::process::geteuid().as_raw() {
        return refuse("the lock belongs to another user");
    }
    let touched = modified(&there);
    if !there.is_file() && !there.is_dir() {
        return refuse("a lock must be a directory, or a regular file");
    }
    if there.is_file() {
        return file_lock_of_openclaw(path, touched, memory);
    }
    let identity = identity_at(path);
    if let Some(directory) = kept_directory(path, identity) {
        return Ok(Attempt::Joined(directory));
    }
    if identity.is_some() && identity == Memory::read(memory).directory {
        return adopt(path, identity, memory);
    }
    let age = SystemClock.now().since(touched);
    if age > STALE {
        return take_over(path, identity, touched, memory);
    }
    Ok(Attempt::Occupied(format!(
        "another program holds it, last heard of {} s ago",
        age.as_secs()
    )))
}

/// The directory at the path, if a process of ours that lives keeps it for a request.
fn kept_directory(path: &Path, identity: Option<Identity>) -> Option<File> {
    let directory = open_directory(path).ok()?;
    let is_it = identity.is_some() && Identity::from_file(&directory) == identity;
    (is_it && is_kept(&directory)).then_some(directory)
}

/// Whether a process of ours holds a kernel lock on the directory. Clawdbot never does.
fn is_kept(directory: &File) -> bool {
    let tried = fs4::FileExt::try_lock(directory);
    let _ = fs4::FileExt::unlock(directory);
    matches!(tried, Err(fs4::TryLockError::WouldBlock))
}

/// Whether no other program holds the lock at `path`, as far as it can be seen without the flock at
/// `flock`.
pub(crate) fn is_free_of_others(path: &Path, flock: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(there) => {
            let ours = open_regular(flock).ok().and_then(|(file, _)| Memory::read(&file).directory);
            ours == Some(Identity::new(&there))
        }
    }
}

/// The path is free: puts our directory there, unless another process is faster.
fn place(path: &Path, memory: &File) -> Result<Attempt, StoreError> {
    let (private, directory) = make_private(path, memory)?;
    // A plain rename would silently replace a live holder's empty directory.
    match rename_to_free(&private, path) {
        Ok(()) => Ok(Attempt::Taken(directory)),
        Err(error) => {
            drop(directory);
            let _ = fs::remove_dir(&private);
            not_placed(error, path, memory)
        }
    }
}

/// What to do if our directory could not be put at the path.
fn not_placed(error: io::Error, path: &Path, memory: &File) -> Result<Attempt, StoreError> {
    if is_occupied(&error) {
        Ok(Attempt::Occupied("another program was faster".to_owned()))
    } else if is_unsupported(&error) {
        place_without_rename(path, memory)
    } else {
        Err(StoreError::io("lock", path)(error))
    }
}

/// For file systems that cannot rename without replacing: `mkdir` at the path, as Clawdbot does.
fn place_without_rename(path: &Path, memory: &File) -> Result<Attempt, StoreError> {
    match atomic::create_lock_directory(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(Attempt::Occupied("another program was faster".to_owned()));
        }
        Err(error) => return Err(StoreError::io("lock", path)(error)),
    }
    let directory = open_directory(path).map_err(StoreError::io("open", path))?;
    Memory::read(memory).with(&directory).write(memory);
    Ok(Attempt::Taken(directory))
}

/// Makes our directory beside the path, and remembers it before it appears at the path. Its name
/// is fixed because only the holder of the flock makes one. An old one is from a crashed process.
fn make_private(path: &Path, memory: &File) -> Result<(PathBuf, File), StoreError> {
    let private = paths::next(path);
    // Private: a file inside would keep the lock from being removed.
    let make = || atomic::create_lock_directory(&private);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_dir(&private).and_then(|()| make())
        }
        result => result,
    }
    .map_err(StoreError::io("create", &private))?;
    let directory = open_directory(&private).map_err(StoreError::io("open", &private))?;
    Memory::read(memory).with(&directory).write(memory);
    Ok((private, directory))
}

/// The directory at the path belongs to one of our processes that crashed. If it crashed during a
/// take-over, the directory that it moved away is still beside the path. Its holder may be alive,
/// so the directory is moved back.
fn adopt(path: &Path, identity: Option<Identity>, memory: &File) -> Result<Attempt, StoreError> {
    let occupied = || Ok(Attempt::Occupied("another program holds it".to_owned()));
    let private = paths::next(path);
    if let Ok(came_out) = fs::symlink_metadata(&private) {
        let is_fresh = SystemClock.now().since(modified(&came_out)) <= STALE;
        if is_fresh && exchange(&private, path).is_ok() {
            let _ = fs::remove_dir(&private);
            return occupied();
        }
        // It is stale too.
        let _ = fs::remove_dir(&private);
    }
    let Ok(directory) = open_directory(path) else { return occupied() };
    let held = Held { path: path.to_owned(), directory, taken: Instant::now() };
    if Identity::from_file(&held.directory) != identity || !held.is_ours() {
        return occupied();
    }
    held.touch();
    Memory::read(memory).with(&held.directory).write(memory);
    Ok(Attempt::Taken(held.directory))
}

/// The lock is stale: exchanges the directory for ours, so that the path is never free for a third
/// process. Then checks the directory that came out, and moves it back if it is not the one that
/// was judged stale.
fn take_over(
    path: &Path,
    judged: Option<Identity>,
    touched: Timestamp,
    memory: &File,
) -> Result<Attempt, StoreError> {
    let lost = || Ok(Attempt::Occupied("another program took it over".to_owned()));
    let (private, directory) = make_private(path, memory)?;
    if let Err(error) = exchange(&private, path) {
        let _ = fs::remove_dir(&private);
        return not_exchanged(error, path, judged, touched, memory);
    }
    let ours = Held { path: path.to_owned(), directory, taken: Instant::now() };
    let came_out = fs::symlink_metadata(&private).map(|metadata| modified(&metadata));
    let is_judged = identity_at(&private) == judged && came_out.is_ok_and(|at| at == touched);
    let removed = if is_judged { fs::remove_dir(&private) } else { Ok(()) };
    if is_judged && removed.is_ok() {
        return Ok(wait_for_rivals(ours));
    }
    if ours.is_ours() && exchange(&private, path).is_ok() {
        let _ = fs::remove_dir(&private);
    }
    match removed {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            Ok(Attempt::Occupied("a dead program left it, not empty: look into it".to_owned()))
        }
        _ => lost(),
    }
}

/// What to do if the directory at the path could not be exchanged for ours.
fn not_exchanged(
    error: io::Error,
    path: &Path,
    judged: Option<Identity>,
    touched: Timestamp,
    memory: &File,
) -> Result<Attempt, StoreError> {
    if is_unsupported(&error) {
        take_over_aside(path, judged, touched, memory)
    } else if error.kind() == io::ErrorKind::NotFound {
        Ok(Attempt::Occupied("another program took it over".to_owned()))
    } else {
        Err(StoreError::io("take over", path)(error))
    }
}

/// For file systems that cannot exchange names: moves the stale directory aside, checks it, and
/// tries to take the free path.
fn take_over_aside(
    path: &Path,
    judged: Option<Identity>,
    touched: Timestamp,
    memory: &File,
) -> Result<Attempt, StoreError> {
    let aside = paths::stale_lock(path);
    let lost = || Ok(Attempt::Occupied("another program took it over".to_owned()));
    if fs::rename(path, &aside).is_err() {
        return lost();
    }
    let came_out = fs::symlink_metadata(&aside).map(|metadata| modified(&metadata));
    if identity_at(&aside) != judged || came_out.ok() != Some(touched) {
        let _ = rename_to_free(&aside, path).or_else(|_| fs::rename(&aside, path));
        return lost();
    }
    fs::remove_dir(&aside).map_err(StoreError::io("remove", &aside))?;
    match place(path, memory)? {
        Attempt::Taken(directory) => {
            Ok(wait_for_rivals(Held { path: path.to_owned(), directory, taken: Instant::now() }))
        }
        other => Ok(other),
    }
}

/// Other programs judge a stale lock, remove it and make their own, in three steps. A program that
/// judged before our take-over may still remove ours. So this waits until such programs are done,
/// and checks again.
fn wait_for_rivals(ours: Held) -> Attempt {
    std::thread::sleep(Duration::from_millis(rand::random_range(50..=100)));
    if ours.is_ours() {
        Attempt::Taken(ours.directory)
    } else {
        Attempt::Occupied("another program took it over".to_owned())
    }
}

/// Later versions of OpenClaw use a regular file that names its holder.
fn file_lock_of_openclaw(
    path: &Path,
    touched: Timestamp,
    memory: &File,
) -> Result<Attempt, StoreError> {
    let before = identity_at(path);
    let holder = read_regular(path).ok().and_then(|bytes| holder_of_lock(&bytes));
    let age = SystemClock.now().since(touched);
    let is_stale = match &holder {
        Some(holder) => !holder.is_alive() || age > FILE_STALE,
        None => age > STALE,
    };
    if is_stale && identity_at(path) == before {
        fs::remove_file(path).map_err(StoreError::io("remove", path))?;
        return place(path, memory);
    }
    Ok(Attempt::Occupied(match holder {
        Some(holder) => format!("process {} holds it", holder.pid),
        None => "another program holds it".to_owned(),
    }))
}

/// Clawdbot polls at long intervals. It would never find the lock free if we took it again at
/// once, so the lock stays free at least as long as we held it.
fn leave_a_turn_to_others(memory: &File) {
    let last = Memory::read(memory);
    let now = SystemClock.now();
    if let Some(left) = last.turn(now).checked_sub(now.since(last.released_at)) {
        std::thread::sleep(left);
    }
}

/// The error if the lock was held until the timeout.
pub(crate) fn busy(path: &Path, timeout: Duration, holder: String) -> StoreError {
    StoreError::Busy { path: path.to_owned(), seconds: timeout.as_secs(), holder }
}

/// Waits until the next attempt.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(rand::random_range(10..=50)));
}

fn modified(metadata: &fs::Metadata) -> Timestamp {
    let since = metadata.modified().ok();
    let since = since.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Timestamp(0).plus(since.unwrap_or_default())
}

fn open_directory(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
    }
    #[cfg(not(unix))]
    {
        use std::os::windows::fs::OpenOptionsExt as _;
        const BACKUP_SEMANTICS: u32 = 0x0200_0000;
        fs::OpenOptions::new().read(true).custom_flags(BACKUP_SEMANTICS).open(path)
    }
}

/// A request ends 20 s later at the latest, and Clawdbot looks for 43 s.
const LONGEST_BEFORE_REQUEST: Duration = Duration::from_secs(5);
/// How often a holder touches the lock.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A directory that was not touched for this long is stale: Clawdbot's 30 s and a margin.
const STALE: Duration = Duration::from_secs(32);
/// The same for OpenClaw's file, in case its process id was reused.
const FILE_STALE: Duration = Duration::from_mins(3);

#[cfg(test)]
#[cfg(unix)]
#[path = "tests.rs"]
mod tests;
