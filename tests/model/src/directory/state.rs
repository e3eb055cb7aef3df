//! Who is where, and what is at the lock's path.

/// How many processes of ours there are.
pub const PROCESSES: usize = 3;
/// How many Clawdbots there are.
pub const CLAWDBOTS: usize = 2;

/// Who made a directory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Maker {
    /// A process of ours.
    Ours(u8),
    /// A Clawdbot.
    Clawdbot(u8),
}

/// What a directory is recognised by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    /// Given out again as soon as it is free.
    pub inode: u8,
    /// When it was made.
    pub born: u8,
}

/// A directory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    /// Which one.
    pub identity: Identity,
    /// Whether it was touched lately.
    pub is_fresh: bool,
    /// Whose it is.
    pub maker: Maker,
}

/// What a process of ours does next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum At {
    /// Waits for the kernel lock.
    LockStore,
    /// Looks at the path.
    Try,
    /// Opens the directory that it remembers.
    Adopt,
    /// Gives back what a dead one of ours had taken out.
    GiveBack,
    /// Makes a directory beside the path: to take over what it judged, or to take what is free.
    Make(Option<Identity>),
    /// Writes into the flock file which one it made.
    Remember(Option<Identity>),
    /// Renames it to the path.
    Place,
    /// Exchanges it with what is at the path.
    Exchange(Identity),
    /// Looks at what came out.
    Verify(Identity),
    /// Exchanges back.
    SwapBack,
    /// Removes its own directory.
    Discard,
    /// Removes what is at the path, which only a mistake does.
    Rmdir,
    /// Waits until those who judged before are done, and looks again.
    Settle,
    /// Reads the store.
    Read,
    /// Lets go of the kernel lock and keeps the directory, to ask an issuer.
    Leave,
    /// Has its answer, and waits for the kernel lock.
    Return,
    /// Checks that the directory is its own still, and renames the store if nobody wrote.
    Write,
    /// Removes the directory.
    Release,
    /// Forgets it, and drops the kernel lock.
    Forget,
    /// It is over.
    Done,
    /// It was killed.
    Killed,
}

/// A process of ours.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Process {
    /// What it does next.
    pub at: At,
    /// The directory whose descriptor it has.
    pub held: Option<Identity>,
    /// Whether it keeps that directory without the kernel lock: others of ours see it.
    pub keeps: bool,
    /// The store as it read it.
    pub seen: u8,
}

/// What a Clawdbot does next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Doing {
    /// Tries to make the directory.
    Poll,
    /// Removes what it judged to be stale.
    Steal,
    /// Makes its own, once.
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
    /// What it does next.
    pub doing: Doing,
    /// The store as it read it.
    pub seen: u8,
    /// Whether one of ours has taken its fresh directory from the path.
    pub is_displaced: bool,
    /// Whether another Clawdbot has removed what was at the path: with that, or with what ours had
    /// put in its place for a moment, its lock is gone.
    pub is_ousted: bool,
}

/// What went wrong, as a set.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Wrongs(pub u8);

impl Wrongs {
    /// One of ours removed the fresh directory of a Clawdbot that lives, or one that another of ours
    /// keeps.
    pub const REMOVED: u8 = 1;
    /// One of ours took the directory of a Clawdbot that lives for its own.
    pub const ADOPTED: u8 = 2;
    /// One of ours wrote while a Clawdbot had the lock that ours had taken from it.
    pub const INTRUDED: u8 = 4;
    /// One of ours wrote over an update.
    pub const DROPPED: u8 = 8;

    /// Whether it is among them.
    pub fn has(self, wrong: u8) -> bool {
        self.0 & wrong != 0
    }
}

/// Everything.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// What is at the lock's path.
    pub path: Option<Place>,
    /// What is at the name beside it, where ours make theirs.
    pub private: Option<Place>,
    /// What the flock file remembers.
    pub memory: Option<Identity>,
    /// Who has the kernel lock: 0, or a process and 1.
    pub store_lock: u8,
    /// When the next directory is made.
    pub now: u8,
    /// Whose updates are in the store, as a set.
    pub store: u8,
    /// Ours.
    pub processes: [Process; PROCESSES],
    /// Theirs.
    pub clawdbots: [Clawdbot; CLAWDBOTS],
    /// How many may still be killed.
    pub crashes: u8,
    /// How many may still be stopped for so long that their directory is stale.
    pub stops: u8,
    /// What went wrong.
    pub wrongs: Wrongs,
}
