//! The state of all processes, and of the lock's path.

/// The number of our processes.
pub const PROCESSES: usize = 3;
/// The number of Clawdbots.
pub const CLAWDBOTS: usize = 2;

/// The maker of a directory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Maker {
    /// One of our processes.
    Ours(u8),
    /// A Clawdbot.
    Clawdbot(u8),
}

/// What identifies a directory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    /// Reused as soon as it is free.
    pub inode: u8,
    /// Its birth time.
    pub born: u8,
}

/// A directory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    /// Its identity.
    pub identity: Identity,
    /// Whether it was touched recently.
    pub is_fresh: bool,
    /// Its maker.
    pub maker: Maker,
}

/// The next step of one of our processes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum At {
    /// Waits for the kernel lock.
    LockStore,
    /// Checks the path.
    Try,
    /// Opens the remembered directory.
    Adopt,
    /// Moves back the directory that a crashed process of ours had moved away.
    GiveBack,
    /// Makes a directory beside the path: to take over the stale one, or to take the free path.
    Make(Option<Identity>),
    /// Records the new directory in the flock file.
    Remember(Option<Identity>),
    /// Renames it to the path.
    Place,
    /// Exchanges it with what is at the path.
    Exchange(Identity),
    /// Checks the directory that came out.
    Verify(Identity),
    /// Exchanges back.
    SwapBack,
    /// Removes its own directory.
    Discard,
    /// Removes the directory at the path, which only a mistake does.
    Rmdir,
    /// Waits until the processes that judged earlier are done, and checks again.
    Settle,
    /// Reads the store.
    Read,
    /// Lets go of the kernel lock and keeps the directory, to ask an issuer.
    Leave,
    /// Has its answer, and waits for the kernel lock.
    Return,
    /// Checks that the directory is still its own, and renames the store if no other process wrote.
    Write,
    /// Removes the directory.
    Release,
    /// Clears the remembered directory, and drops the kernel lock.
    Forget,
    /// It is over.
    Done,
    /// It was killed.
    Killed,
}

/// One of our processes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Process {
    /// Its next step.
    pub at: At,
    /// The directory that it has open.
    pub held: Option<Identity>,
    /// Whether it keeps that directory without the kernel lock: others of ours see it.
    pub keeps: bool,
    /// The store as it was read.
    pub seen: u8,
}

/// The next step of a Clawdbot.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Doing {
    /// Tries to make the directory.
    Poll,
    /// Removes the directory that it judged stale.
    Steal,
    /// Makes its own directory, once.
    Mkdir,
    /// Reads the store.
    Read,
    /// Writes it.
    Save,
    /// Removes the directory.
    Unlock,
    /// It is over.
    Done,
    /// It was killed.
    Killed,
}

/// A Clawdbot.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Clawdbot {
    /// Its next step.
    pub doing: Doing,
    /// The store as it was read.
    pub seen: u8,
    /// Whether one of our processes has moved its fresh directory away from the path.
    pub is_displaced: bool,
    /// Whether another Clawdbot has removed the directory at the path. Its lock is gone then, even
    /// if the directory was one that we had put there for a moment.
    pub is_ousted: bool,
}

/// The violations, as a set.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Wrongs(pub u8);

impl Wrongs {
    /// One of ours removed the fresh directory of a Clawdbot that lives, or one that another of ours
    /// keeps.
    pub const REMOVED: u8 = 1;
    /// One of our processes took the directory of a live Clawdbot as its own.
    pub const ADOPTED: u8 = 2;
    /// One of our processes wrote while a Clawdbot believed it had the lock that we had taken from
    /// it.
    pub const INTRUDED: u8 = 4;
    /// One of our processes overwrote an update.
    pub const DROPPED: u8 = 8;

    /// Whether the set contains it.
    pub fn has(self, wrong: u8) -> bool {
        self.0 & wrong != 0
    }
}

/// The complete state.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The directory at the lock's path.
    pub path: Option<Place>,
    /// The directory at the name beside it, where our processes make theirs.
    pub private: Option<Place>,
    /// The directory remembered in the flock file.
    pub memory: Option<Identity>,
    /// The holder of the kernel lock: 0, or a process plus 1.
    pub store_lock: u8,
    /// The birth time of the next directory.
    pub now: u8,
    /// The processes whose updates are in the store, as a set.
    pub store: u8,
    /// Our processes.
    pub processes: [Process; PROCESSES],
    /// Clawdbot's processes.
    pub clawdbots: [Clawdbot; CLAWDBOTS],
    /// How many processes may still be killed.
    pub crashes: u8,
    /// How many may still be stopped for so long that their directory is stale.
    pub stops: u8,
    /// The violations.
    pub wrongs: Wrongs,
}
