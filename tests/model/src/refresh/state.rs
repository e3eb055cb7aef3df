//! What there is: files, locks, the issuer, and how far everybody is.

use super::issuer::{Issuer, Reply};

/// A refresh token: the name of its lock and its record, too.
pub type Token = u8;

/// How many refresh tokens a run may see. One more ends the check with a panic.
pub const TOKENS: usize = 12;
/// How many agents there are.
pub const AGENTS: usize = 2;
/// How many profiles an agent has at most, each of another account.
pub const PROFILES: usize = 2;
/// How many processes of ours there are.
pub const PROCESSES: usize = 3;
/// How many Clawdbots there are.
pub const CLAWDBOTS: usize = 2;

/// What a profile holds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Login {
    /// The refresh token.
    pub refresh: Token,
    /// The serial number of the access token; a later one ends later.
    pub access: u8,
    /// The access token with which we obtained it; a Clawdbot keeps that of the one before.
    pub obtained: u8,
}

/// A store's content.
pub type Document = [Option<Login>; PROFILES];

/// What became of a refresh token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Record {
    /// Nothing is known.
    None,
    /// It is about to be sent, for this agent and profile.
    Intent(u8, u8),
    /// It was used up; its successor, and the agent whose store has that.
    Consumed(Token, u8),
    /// The issuer refused it.
    Rejected,
    /// The issuer could not answer.
    Waiting,
}

/// The answer file of a token beside a store.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Answer {
    /// There is none.
    None,
    /// Its place is reserved.
    Reserved,
    /// It came.
    Whole(Reply),
}

/// Clawdbot's lock.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Directory {
    /// There is no directory.
    Free,
    /// Ours have it in common: a bit for each process that does. None, if all of these died.
    Ours(u8),
    /// This Clawdbot has it.
    Clawdbot(u8),
    /// A Clawdbot died with it; in time that is seen.
    OfDeadClawdbot,
}

/// Why a process of ours locks a store.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Task {
    /// To send its token.
    Send,
    /// To save what came of it.
    Merge(Reply),
    /// To find out what became of a token whose process died.
    Resolve,
    /// To replace a used-up token by the end of its chain.
    Heal(Login),
    /// To give an answer to another agent.
    Give(Reply),
    /// To give an answer for which there is no place any more to another agent.
    Home(Reply),
    /// To give the login that is about to be replaced to another agent.
    Hand,
    /// To put a new login in the place of the old one.
    Replace(Login),
}

/// What a process of ours does next. Each is one access to something that others see.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum At {
    /// Reads the store without a lock.
    Look,
    /// Waits for the lock of its token.
    LockToken,
    /// Reads store and record.
    Decide,
    /// Records what took the token's place.
    Note(Token),
    /// Looks for the end of the chain in the stores, from this one of the list on.
    Find(Token, u8, u8),
    /// Waits for the lock of the chain's end, which was nowhere.
    LockEnd(Token),
    /// Reads the record of the chain's end.
    DecideEnd,
    /// Waits for the kernel lock of the store.
    LockStore(Task),
    /// Waits for Clawdbot's directory.
    LockDirectory(Task),
    /// Reads the store again, under all locks.
    Reread,
    /// Waits until somebody else has finished the older answer of this token.
    Await(Token),
    /// Records the intent.
    Intend,
    /// Sends without the lock of the store, if nothing has changed. So many answers were lost
    /// before.
    Transmit(u8),
    /// Was turned away, and waits for the lock of the endpoint.
    LockEndpoint,
    /// Notes that the endpoint asked to be left alone.
    NoteEndpoint,
    /// Has the answer in memory, and writes it to its file.
    Store(Reply),
    /// Looks for an answer file, or another trace, of a token whose process died.
    Resolve,
    /// Reads the store and makes of it what is to be written.
    Read(Task, Reply),
    /// Renames, if nobody wrote since: what was read, what is to be there, which profiles of it.
    Rename(Task, Reply, Document, Document, u8, Option<Token>),
    /// Writes the backup: which profiles, of what was committed.
    Backup(Task, Reply, Document, u8, Option<Token>),
    /// Records what came of the token.
    Settle(Reply, Option<Token>),
    /// Records that another agent has what came, and removes the answer file.
    SettleHome(Token),
    /// Removes the answer file.
    Unfile(Reply),
    /// Gives the answer to the agents that still hold the token.
    Give(Reply),
    /// Gives the login that is about to be replaced to the agents whose own was used up for it.
    Hand,
    /// It is over.
    Ended(End),
}

/// How a process of ours ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// With this access token.
    Valid(u8),
    /// The issuer refused the token.
    Rejected,
    /// The issuer could not be asked, or did not answer.
    Unavailable,
    /// Another agent holds a later token.
    Stale,
    /// The chain's end is nowhere.
    NeedsLogin,
    /// The answer fits nothing.
    Unmerged,
    /// The store kept changing.
    Unsettled,
    /// It was killed.
    Killed,
}

/// A process of ours.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Process {
    /// For whom it works.
    pub agent: u8,
    /// And for which profile.
    pub profile: u8,
    /// What it does next.
    pub at: At,
    /// How often it started again.
    pub attempts: u8,
    /// What it saw when it last looked.
    pub before: Option<Login>,
    /// The token whose lock it has.
    pub lock: Option<Token>,
    /// The token of an older answer that it finishes first, whose lock it has, too.
    pub older: Option<Token>,
    /// The agent whose store it has locked, or locks now.
    pub store: Option<u8>,
    /// For which agent and profile the token in `lock` was sent, or is.
    pub named: (u8, u8),
    /// The tokens that its profile held since it took the directory, a bit for each.
    pub seen: u16,
    /// Whether it has sent something and got an answer.
    pub has_sent: bool,
    /// The login that it is to put in the place of the old one: then it refreshes nothing.
    pub new: Option<Login>,
    /// The store as it was when its token was sent, which only a mistake remembers.
    pub snapshot: Option<Document>,
}

/// What a Clawdbot does next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Doing {
    /// Nothing.
    Idle,
    /// It has the lock.
    Locked,
    /// It has the issuer's answer.
    Answered(Reply),
    /// It has saved.
    Saved,
    /// It was killed.
    Killed,
}

/// A Clawdbot.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Clawdbot {
    /// For whom it works.
    pub agent: u8,
    /// What it does next.
    pub doing: Doing,
    /// The store as it loaded it.
    pub memory: Document,
    /// How often it may still load.
    pub loads: u8,
    /// How often it may still save what it has loaded, without the lock.
    pub saves: u8,
    /// How often it may still refresh.
    pub refreshes: u8,
}

/// What went wrong, as a set.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Wrongs(pub u8);

impl Wrongs {
    /// One of ours sent a token whose record says that it was used up.
    pub const SENT_USED_UP: u8 = 1;
    /// One of ours sent a used token, neither after a lost answer nor because of a Clawdbot.
    pub const SENT_TWICE: u8 = 2;
    /// One of ours wrote over a living token of a Clawdbot's that is nowhere else.
    pub const OVERWROTE: u8 = 4;
    /// One of ours returned an access token that had ended.
    pub const RETURNED_ENDED: u8 = 8;
    /// One of ours wrote over a profile that it was not about.
    pub const REVERTED: u8 = 16;
    /// One of ours asked an endpoint that was known to want to be left alone.
    pub const ASKED_TOO_SOON: u8 = 32;
    /// A Clawdbot had the directory and sent a token that one of ours had just sent, which had kept
    /// the directory for that.
    pub const LEFT_OPEN: u8 = 64;

    /// Adds one.
    pub fn add(&mut self, wrong: u8) {
        self.0 |= wrong;
    }

    /// Whether it is among them.
    pub fn has(self, wrong: u8) -> bool {
        self.0 & wrong != 0
    }
}

/// Everything.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The stores.
    pub stores: [Document; AGENTS],
    /// Their backups.
    pub backups: [Document; AGENTS],
    /// The answer files beside them.
    pub answers: [[Answer; TOKENS]; AGENTS],
    /// What became of each token; twice, for the mistake of keeping it per agent.
    pub records: [Record; 2 * TOKENS],
    /// Who has the lock of each token: 0, or a process and 1.
    pub token_locks: [u8; 2 * TOKENS],
    /// Who has the kernel lock of each store.
    pub store_locks: [u8; AGENTS],
    /// Clawdbot's lock beside each store.
    pub directories: [Directory; AGENTS],
    /// Whether the endpoint has asked to be left alone, and that is noted.
    pub is_endpoint_waiting: bool,
    /// Who has the lock of that note.
    pub endpoint_lock: u8,
    /// The issuer.
    pub issuer: Issuer,
    /// Ours.
    pub processes: [Process; PROCESSES],
    /// Theirs.
    pub clawdbots: [Clawdbot; CLAWDBOTS],
    /// How often somebody may still be killed.
    pub crashes: u8,
    /// How often an answer may still be lost, or the issuer be unavailable.
    pub faults: u8,
    /// How often all access tokens may still end.
    pub ends: u8,
    /// How often a directory may still be taken from one who lives and was stopped for too long.
    pub thefts: u8,
    /// How often a mistake may still remove a record.
    pub removals: u8,
    /// The answers with these tokens were lost before they could be written.
    pub in_window: u16,
    /// These logins suffered from a Clawdbot that sent a used token, or from one whose refresh
    /// nobody could know of.
    pub by_clawdbot: u8,
    /// What went wrong.
    pub wrongs: Wrongs,
}

impl State {
    /// A profile of a store.
    pub fn login(&self, agent: u8, profile: u8) -> Option<Login> {
        self.stores[usize::from(agent)][usize::from(profile)]
    }

    /// Whether the answer with this token was lost.
    pub fn is_in_window(&self, token: Token) -> bool {
        self.in_window & (1 << token) != 0
    }

    /// Whether a process of ours is among those that have the directory of an agent.
    pub fn has_directory(&self, id: u8, agent: u8) -> bool {
        matches!(self.directories[usize::from(agent)], Directory::Ours(all) if all & (1 << id) != 0)
    }

    /// Whether a Clawdbot has harmed the login that a token descends from.
    pub fn is_by_clawdbot(&self, token: Token) -> bool {
        self.by_clawdbot & (1 << self.issuer.lineage[usize::from(token)]) != 0
    }
}
