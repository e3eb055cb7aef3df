//! The lock that Clawdbot knows: an empty directory beside the store (npm proper-lockfile 4.1).
//!
//! The directory's existence is the lock, its modification time says that the holder is alive,
//! and anyone may remove it: so its protocol excludes nobody for certain, and everything here is
//! about knowing whether the directory at the path is still *ours*. It is ours iff the path leads
//! to the directory whose descriptor we keep open; an inode number alone proves nothing, since
//! file systems give it out again at once.
//!
//! All of this happens under the kernel lock on the flock file, so at most one process of ours
//! is ever here. That file's content remembers the directory we last made: should we die, the
//! next of us knows it for a dead one's and goes on at once.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::atomic::{self, exchange, is_occupied, is_unsupported, rename_to_free};
use crate::error::StoreError;
use crate::time::{Clock, SystemClock, Timestamp};

/// The held directory lock. It must be [released](Self::release) before the flock is.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    held: Arc<Held>,
    /// Dropping it ends the thread that keeps the lock alive.
    keeper: Option<mpsc::Sender<()>>,
    /// Somebody else had it when we wanted it.
    met_others: bool,
}

/// What proves that the lock is ours.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    directory: File,
    taken: Instant,
}

impl DirectoryLock {
    /// Waits at most `patience` for the lock at `path`. `memory` is the flock file, which the
    /// caller has locked.
    pub(crate) fn acquire(
        path: &Path,
        memory: &File,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let started = Instant::now();
        leave_a_turn_to_others(memory);
        let mut met_others = false;
        loop {
            let holder = match attempt(path, memory)? {
                Attempt::Taken(directory) => {
                    let held = Held { path: path.to_owned(), directory, taken: Instant::now() };
                    return Ok(Self { held: Arc::new(held), keeper: None, met_others });
                }
                Attempt::Occupied(holder) => holder,
            };
            met_others = true;
            if started.elapsed() >= patience {
                return Err(StoreError::Busy {
                    path: path.to_owned(),
                    seconds: patience.as_secs(),
                    holder,
                });
            }
            std::thread::sleep(Duration::from_millis(rand::random_range(10..=50)));
        }
    }

    /// Whether it is still ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.held.is_ours()
    }

    /// For those who must ask later, from elsewhere, whether it is still ours.
    pub(crate) fn witness(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// How long we have had it.
    pub(crate) fn age(&self) -> Duration {
        self.held.taken.elapsed()
    }

    /// Has a thread say every 5 s that we are alive, for holds across the network.
    pub(crate) fn keep_alive(&mut self) {
        let (stop, stopped) = mpsc::channel::<()>();
        let held = self.witness();
        std::thread::spawn(move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                if held.is_ours() {
                    held.touch();
                }
            }
        });
        self.keeper = Some(stop);
    }

    /// Gives it up, and notes how long we had it.
    pub(crate) fn release(self, memory: &File) {
        // What may still be there is remembered: the next of us knows it for ours, and goes on.
        let is_gone = self.is_ours() && fs::remove_dir(&self.held.path).is_ok();
        let now = SystemClock.now();
        let met_others_at = if self.met_others { now } else { Memory::read(memory).met_others_at };
        Memory {
            directory: Identity::of(&self.held.directory).filter(|_| !is_gone),
            held_ms: u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX),
            released_at: now,
            met_others_at,
        }
        .write(memory);
    }
}

impl Held {
    /// Whether the path still leads to the directory we hold.
    pub(crate) fn is_ours(&self) -> bool {
        identity_at(&self.path).is_some_and(|there| Identity::of(&self.directory) == Some(there))
    }

    fn touch(&self) {
        #[cfg(unix)]
        {
            let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
            let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
            // A lock that looks stale to others is found out before anything is sent or renamed.
            let _ = rustix::fs::futimens(&self.directory, &times);
        }
    }
}

enum Attempt {
    Taken(File),
    Occupied(String),
}

/// One try: look at what is at the path, and take it if it may be taken.
fn attempt(path: &Path, memory: &File) -> Result<Attempt, StoreError> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return place(path, memory),
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
    if there.is_file() {
        return file_lock_of_openclaw(path, touched, memory);
    }
    let identity = identity_at(path);
    if identity.is_some() && identity == Memory::read(memory).directory {
        return adopt(path, identity);
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

/// The path is free: put a directory of ours there, unless somebody is faster.
fn place(path: &Path, memory: &File) -> Result<Attempt, StoreError> {
    let (private, directory) = make_private(path, memory)?;
    // A plain rename would silently replace a live holder's empty directory.
    match rename_to_free(&private, path) {
        Ok(()) => Ok(Attempt::Taken(directory)),
        Err(error) if is_occupied(&error) => {
            let _ = fs::remove_dir(&private);
            Ok(Attempt::Occupied("another program was faster".to_owned()))
        }
        Err(error) if is_unsupported(&error) => {
            let _ = fs::remove_dir(&private);
            drop(directory);
            place_without_rename(path, memory)
        }
        Err(error) => {
            let _ = fs::remove_dir(&private);
            Err(StoreError::io("lock", path)(error))
        }
    }
}

/// Where the file system cannot rename without replacing: `mkdir` at the path, as Clawdbot does.
fn place_without_rename(path: &Path, memory: &File) -> Result<Attempt, StoreError> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(Attempt::Occupied("another program was faster".to_owned()));
        }
        Err(error) => return Err(StoreError::io("lock", path)(error)),
    }
    let directory = open_directory(path).map_err(StoreError::io("open", path))?;
    Memory { directory: Identity::of(&directory), ..Memory::read(memory) }.write(memory);
    Ok(Attempt::Taken(directory))
}

/// A directory of ours beside the path, remembered before it can be seen there. Its name is
/// fixed, since only the holder of the flock makes one: one that is left over is a dead one's.
fn make_private(path: &Path, memory: &File) -> Result<(PathBuf, File), StoreError> {
    let private = atomic::sibling(path, ".new");
    let make = || fs::create_dir(&private);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_dir(&private).and_then(|()| make())
        }
        result => result,
    }
    .map_err(StoreError::io("create", &private))?;
    let directory = open_directory(&private).map_err(StoreError::io("open", &private))?;
    Memory { directory: Identity::of(&directory), ..Memory::read(memory) }.write(memory);
    Ok((private, directory))
}

/// The directory at the path is that of a process of ours which died. If that was in the middle of
/// a take-over, what it took out is still beside the path: another program that took the lock
/// over just before it may be alive, and gets it back.
fn adopt(path: &Path, identity: Option<Identity>) -> Result<Attempt, StoreError> {
    let occupied = || Ok(Attempt::Occupied("another program holds it".to_owned()));
    let private = atomic::sibling(path, ".new");
    if let Ok(came_out) = fs::symlink_metadata(&private) {
        let is_fresh = SystemClock.now().since(modified(&came_out)) <= STALE;
        if is_fresh && exchange(&private, path).is_ok() {
            let _ = fs::remove_dir(&private);
            return occupied();
        }
        // Otherwise it is as dead as the one who took it out.
        let _ = fs::remove_dir(&private);
    }
    let Ok(directory) = open_directory(path) else { return occupied() };
    let held = Held { path: path.to_owned(), directory, taken: Instant::now() };
    if Identity::of(&held.directory) != identity || !held.is_ours() {
        return occupied();
    }
    held.touch();
    Ok(Attempt::Taken(held.directory))
}

/// Nobody has been heard of for too long: exchange the directory for ours, so that the path is
/// never free and no third can slip in; look at what came out; give it back if that is not what
/// was judged.
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
        return if is_unsupported(&error) {
            take_over_aside(path, judged, touched, memory)
        } else if error.kind() == io::ErrorKind::NotFound {
            lost()
        } else {
            Err(StoreError::io("take over", path)(error))
        };
    }
    let ours = Held { path: path.to_owned(), directory, taken: Instant::now() };
    let came_out = fs::symlink_metadata(&private).map(|metadata| modified(&metadata));
    let is_judged = identity_at(&private) == judged && came_out.is_ok_and(|at| at == touched);
    if !is_judged || fs::remove_dir(&private).is_err() {
        if ours.is_ours() && exchange(&private, path).is_ok() {
            let _ = fs::remove_dir(&private);
        }
        return lost();
    }
    Ok(settle(ours))
}

/// The same without an exchange: move the stale directory aside, look at it, and race for the
/// free path.
fn take_over_aside(
    path: &Path,
    judged: Option<Identity>,
    touched: Timestamp,
    memory: &File,
) -> Result<Attempt, StoreError> {
    let aside = atomic::sibling(path, ".stale");
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
            Ok(settle(Held { path: path.to_owned(), directory, taken: Instant::now() }))
        }
        occupied @ Attempt::Occupied(_) => Ok(occupied),
    }
}

/// Others judge a stale lock, remove it and make theirs, one after the other: whoever judged
/// before we took over may still remove ours. So wait until they are done, and look again.
fn settle(ours: Held) -> Attempt {
    std::thread::sleep(Duration::from_millis(rand::random_range(50..=100)));
    if ours.is_ours() {
        Attempt::Taken(ours.directory)
    } else {
        Attempt::Occupied("another program took it over".to_owned())
    }
}

/// OpenClaw's later lock is a regular file that names its holder.
fn file_lock_of_openclaw(
    path: &Path,
    touched: Timestamp,
    memory: &File,
) -> Result<Attempt, StoreError> {
    let before = identity_at(path);
    let holder = fs::read(path).ok().and_then(|bytes| holder_of_lock(&bytes));
    let age = SystemClock.now().since(touched);
    let is_dead = match &holder {
        Some(pid) => !is_alive(*pid) || age > FILE_STALE,
        None => age > STALE,
    };
    if is_dead && identity_at(path) == before {
        fs::remove_file(path).map_err(StoreError::io("remove", path))?;
        return place(path, memory);
    }
    Ok(Attempt::Occupied(match holder {
        Some(pid) => format!("process {pid} holds it"),
        None => "another program holds it".to_owned(),
    }))
}

/// Who holds a lock of that kind, if the file says it.
#[doc(hidden)]
pub fn holder_of_lock(bytes: &[u8]) -> Option<i32> {
    #[derive(Deserialize)]
    struct Holder {
        pid: i32,
    }
    serde_json::from_slice(bytes).ok().map(|Holder { pid }| pid)
}

fn is_alive(pid: i32) -> bool {
    #[cfg(unix)]
    {
        rustix::process::Pid::from_raw(pid).is_some_and(|pid| {
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        })
    }
    #[cfg(not(unix))]
    {
        let _ = pid;
        true
    }
}

/// Clawdbot polls at long intervals. If we came back the instant we left, it would never find
/// the lock free; so leave it free at least as long as we last had it.
fn leave_a_turn_to_others(memory: &File) {
    let last = Memory::read(memory);
    let now = SystemClock.now();
    if let Some(rest) = last.turn(now).checked_sub(now.since(last.released_at)) {
        std::thread::sleep(rest);
    }
}

/// What a directory is recognised by. The birth time tells it from a later one that was given
/// the same inode number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Identity {
    device: u64,
    inode: u64,
    /// Nanoseconds since the epoch; 0 where the file system does not know it.
    born: u64,
}

impl Identity {
    fn of(directory: &File) -> Option<Self> {
        directory.metadata().ok().map(|metadata| Self::new(&metadata))
    }

    fn new(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
        let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(0);
        Self { device, inode, born }
    }
}

fn identity_at(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|metadata| Identity::new(&metadata))
}

/// What the flock file remembers.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Memory {
    /// The directory we last made, if we have not released it.
    directory: Option<Identity>,
    held_ms: u64,
    released_at: Timestamp,
    /// When one of us found the lock in other hands.
    met_others_at: Timestamp,
}

impl Memory {
    /// How long the lock stays free after we had it: as long as we had it. Where others wanted it
    /// lately, three times as long, so that each of Clawdbot's eleven looks finds it free more
    /// often than not, however many of us there are.
    fn turn(&self, now: Timestamp) -> Duration {
        let held = Duration::from_millis(self.held_ms);
        if self.met_others_at.0 > 0 && now.since(self.met_others_at) < LATELY {
            (held * 3).min(LONGEST_TURN_AMONG_OTHERS)
        } else {
            held.min(LONGEST_TURN)
        }
    }

    /// What is remembered; nothing, if that is unreadable. A directory whose birth is not known
    /// is not remembered: it could be anyone's by now.
    fn read(file: &File) -> Self {
        let mut text = String::new();
        let mut file = file;
        let read = io::Seek::rewind(&mut file)
            .and_then(|()| io::Read::read_to_string(&mut io::Read::take(file, 1024), &mut text));
        let mut memory: Self =
            read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        memory.directory = memory.directory.filter(|directory| directory.born != 0);
        memory
    }

    /// Best effort: without it, the next of us waits until a dead one's directory is stale.
    fn write(&self, file: &File) {
        let mut file = file;
        let text = serde_json::to_string(self).unwrap_or_default();
        let _ = io::Seek::rewind(&mut file)
            .and_then(|()| io::Write::write_all(&mut file, text.as_bytes()))
            .and_then(|()| file.set_len(text.len() as u64));
    }
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
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt as _;
        const BACKUP_SEMANTICS: u32 = 0x0200_0000;
        fs::OpenOptions::new().read(true).custom_flags(BACKUP_SEMANTICS).open(path)
    }
    #[cfg(not(any(unix, windows)))]
    File::open(path)
}

/// How often a holder says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A directory nobody touched for that long is taken over: Clawdbot's 30 s and a margin.
const STALE: Duration = Duration::from_secs(32);
/// OpenClaw's file lock, should its process id have been given to another process.
const FILE_STALE: Duration = Duration::from_mins(3);
/// The longest we wait for others to have their turn.
const LONGEST_TURN: Duration = Duration::from_millis(50);
/// The same, if there are others.
const LONGEST_TURN_AMONG_OTHERS: Duration = Duration::from_secs(1);
/// How long others are reckoned with after they were met.
const LATELY: Duration = Duration::from_mins(1);

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        _directory: tempfile::TempDir,
        path: PathBuf,
        memory: File,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.json.lock");
        let memory = atomic::create_private(&directory.path().join("flock")).unwrap();
        Place { _directory: directory, path, memory }
    }

    fn acquire(place: &Place) -> Result<DirectoryLock, StoreError> {
        DirectoryLock::acquire(&place.path, &place.memory, Duration::ZERO)
    }

    fn make_stale(path: &Path) {
        let long_ago = rustix::fs::Timespec { tv_sec: 1_000_000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: long_ago, last_modification: long_ago };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
    }

    #[test]
    fn where_others_want_the_lock_it_stays_free_for_longer() {
        let place = place();
        fs::create_dir(&place.path).unwrap();
        let path = place.path.clone();
        let other = std::thread::spawn(move || {
            std::thread::park_timeout(Duration::from_millis(20));
            fs::remove_dir(path).unwrap();
        });
        let patience = Duration::from_mins(1);
        let acquire = || DirectoryLock::acquire(&place.path, &place.memory, patience).unwrap();
        acquire().release(&place.memory);
        other.join().unwrap();
        acquire().release(&place.memory);
        let memory = Memory { held_ms: 100, ..Memory::read(&place.memory) };
        let now = SystemClock.now();
        assert_eq!(memory.turn(now), Duration::from_millis(300));
        // The controls: nobody for a minute, nobody ever.
        assert_eq!(memory.turn(now.plus(LATELY)), LONGEST_TURN);
        let alone = Memory { met_others_at: Timestamp(0), ..memory };
        assert_eq!(alone.turn(now), LONGEST_TURN);
    }

    #[test]
    fn the_lock_is_an_empty_directory_and_gone_after_release() {
        let place = place();
        let lock = acquire(&place).unwrap();
        assert_eq!(fs::read_dir(&place.path).unwrap().count(), 0);
        assert!(lock.is_ours());
        lock.release(&place.memory);
        assert!(!place.path.exists());
        assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_live_foreign_lock_is_left_alone() {
        let place = place();
        fs::create_dir(&place.path).unwrap();
        let before = identity_at(&place.path);
        assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
        assert_eq!(identity_at(&place.path), before);
    }

    #[test]
    fn a_stale_foreign_lock_is_taken_over() {
        let place = place();
        fs::create_dir(&place.path).unwrap();
        make_stale(&place.path);
        let lock = acquire(&place).unwrap();
        assert!(lock.is_ours());
        lock.release(&place.memory);
        assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_dead_process_of_ours_delays_nobody() {
        let place = place();
        let dead = acquire(&place).unwrap();
        std::mem::forget(dead);
        let lock = acquire(&place).unwrap();
        assert!(lock.is_ours());
    }

    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    #[test]
    fn a_living_lock_that_a_dead_process_of_ours_had_taken_out_is_given_back() {
        let place = place();
        std::mem::forget(acquire(&place).unwrap());
        let taken_out = atomic::sibling(&place.path, ".new");
        fs::create_dir(&taken_out).unwrap();
        let living = identity_at(&taken_out);
        assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
        assert_eq!(identity_at(&place.path), living);
        assert!(!taken_out.exists());
    }

    #[test]
    fn a_dead_lock_that_a_dead_process_of_ours_had_taken_out_is_removed() {
        let place = place();
        std::mem::forget(acquire(&place).unwrap());
        let taken_out = atomic::sibling(&place.path, ".new");
        fs::create_dir(&taken_out).unwrap();
        make_stale(&taken_out);
        assert!(acquire(&place).unwrap().is_ours());
        assert!(!taken_out.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_removed_delays_none_of_us() {
        let place = place();
        let lock = acquire(&place).unwrap();
        let obstacle = place.path.join("obstacle");
        fs::create_dir(&obstacle).unwrap();
        lock.release(&place.memory);
        assert!(place.path.exists());
        let lock = acquire(&place).unwrap();
        fs::remove_dir(&obstacle).unwrap();
        lock.release(&place.memory);
        assert!(!place.path.exists());
    }

    #[test]
    fn what_a_dead_takeover_left_is_removed() {
        let place = place();
        std::mem::forget(acquire(&place).unwrap());
        let came_out = atomic::sibling(&place.path, ".new");
        fs::create_dir(&came_out).unwrap();
        make_stale(&came_out);
        acquire(&place).unwrap().release(&place.memory);
        assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_whose_directory_was_replaced_is_not_ours_and_not_removed() {
        let place = place();
        let lock = acquire(&place).unwrap();
        fs::remove_dir(&place.path).unwrap();
        assert!(!lock.is_ours());
        fs::create_dir(&place.path).unwrap();
        assert!(!lock.is_ours());
        lock.release(&place.memory);
        assert!(place.path.exists());
    }

    #[test]
    fn a_link_at_the_path_is_refused() {
        let place = place();
        std::os::unix::fs::symlink("/", &place.path).unwrap();
        assert!(matches!(acquire(&place), Err(StoreError::Unsafe { .. })));
    }

    #[test]
    fn the_file_lock_of_a_live_process_is_honoured_and_that_of_a_dead_one_is_removed() {
        let place = place();
        let write = |pid: u32| {
            atomic::write_atomic(&place.path, format!("{{\"pid\":{pid}}}").as_bytes()).unwrap();
        };
        write(std::process::id());
        assert!(matches!(acquire(&place), Err(StoreError::Busy { .. })));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        write(child.id());
        assert!(acquire(&place).unwrap().is_ours());
    }
}
