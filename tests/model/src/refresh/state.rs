//! The state: files, locks, the issuer, and the progress of each process.

use super::issuer::{Issuer, Reply};

/// A refresh token, which also identifies its lock and its record.
pub type Token = u8;

/// How many refresh tokens a run may use. One more ends the check with a panic.
pub const TOKENS: usize = 12;
/// The number of agents.
pub const AGENTS: usize = 2;
/// The maximum number of profiles of an agent, each of another account.
pub const PROFILES: usize = 2;
/// The number of our processes.
pub const PROCESSES: usize = 3;
/// The number of Clawdbots.
pub const CLAWDBOTS: usize = 2;

/// The content of a profile.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Login {
    /// The refresh token.
    pub refresh: Token,
    /// The serial number of the access token; a later one expires later.
    pub access: u8,
    /// The access token from when we obtained the login; a Clawdbot keeps this value when it
    /// refreshes.
    pub obtained: u8,
}

/// A store's content.
pub type Document = [Option<Login>; PROFILES];

/// The record of a refresh token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Record {
    /// There is no record.
    None,
    /// It is about to be sent, for this agent and profile.
    Intent(u8, u8),
    /// It was used up; its successor, and the agent whose store has that.
    Consumed(Token, u8),
    /// The issuer refused it.
    Rejected,
    /// The issuer could not respond.
    Waiting,
}

/// The response file of a token beside a store.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Answer {
    /// There is none.
    None,
    /// It is reserved.
    Reserved,
    /// It has the response.
    Whole(Reply),
}

/// Clawdbot's lock.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Directory {
    /// There is no directory.
    Free,
    /// Ours have it in common: a bit for each process that does. None, if all of these died.
    Ours(u8),
    /// This Clawdbot holds it.
    Clawdbot(u8),
    /// A Clawdbot crashed with it, which is detected after a while.
    OfDeadClawdbot,
}

/// Why a process of ours locks a store.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Task {
    /// To send its token.
    Send,
    /// To save what came of it.
    Merge(Reply),
    /// To determine the outcome of a token whose process crashed.
    Resolve,
    /// To replace a used-up token with the end of its rotation chain.
    Heal(Login),
    /// To write a response to another agent.
    Give(Reply),
    /// To give an answer for which there is no place any more to another agent.
    Home(Reply),
    /// To give the login that is about to be replaced to another agent.
    Hand,
    /// To put a new login in the place of the old one.
    Replace(Login),
}

/// The next step of one of our processes. Each is one access to shared state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum At {
    /// Reads the store without a lock.
    Look,
    /// Waits for the lock of its token.
    LockToken,
    /// Reads store and record.
    Decide,
    /// Records the successor of the token.
    Note(Token),
    /// Searches the stores for the end of the rotation chain, from this store of the list on.
    Find(Token, u8, u8),
    /// Waits for the lock of the chain's end, which was in no store.
    LockEnd(Token),
    /// Reads the record of the chain's end.
    DecideEnd,
    /// Waits for the kernel lock of the store.
    LockStore(Task),
    /// Waits for Clawdbot's directory.
    LockDirectory(Task),
    /// Reads the store again, under all locks.
    Reread,
    /// Waits until another process has finished the older response of this token.
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
    /// Has the response in memory, and writes it to its file.
    Store(Reply),
    /// Looks for a response file, or another trace, of a token whose process crashed.
    Resolve,
    /// Reads the store and computes the new content.
    Read(Task, Reply),
    /// Renames, if no other process wrote since: the content that was read, the new content, the
    /// changed profiles.
    Rename(Task, Reply, Document, Document, u8, Option<Token>),
    /// Writes the backup: these profiles of the committed content.
    Backup(Task, Reply, Document, u8, Option<Token>),
    /// Records the outcome for the token.
    Settle(Reply, Option<Token>),
    /// Records that another agent has what came, and removes the answer file.
    SettleHome(Token),
    /// Removes the response file.
    Unfile(Reply),
    /// Writes the response to the agents that still hold the token.
    Give(Reply),
    /// Gives the login that is about to be replaced to the agents whose own was used up for it.
    Hand,
    /// It has ended.
    Ended(End),
}

/// The result of one of our processes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// It got this access token.
    Valid(u8),
    /// The issuer refused the token.
    Rejected,
    /// The issuer could not be reached, or did not respond.
    Unavailable,
    /// Another agent holds a later token.
    Stale,
    /// The end of the rotation chain is in no store.
    NeedsLogin,
    /// The response matches no login.
    Unmerged,
    /// The store kept changing.
    Unsettled,
    /// It was killed.
    Killed,
}

/// One of our processes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Process {
    /// Its agent.
    pub agent: u8,
    /// Its profile.
    pub profile: u8,
    /// Its next step.
    pub at: At,
    /// How often it has started again.
    pub attempts: u8,
    /// The login that it saw last.
    pub before: Option<Login>,
    /// The token whose lock it holds.
    pub lock: Option<Token>,
    /// The token of an older response that it finishes first; it holds that lock, too.
    pub older: Option<Token>,
    /// The agent whose store it has locked, or is locking.
    pub store: Option<u8>,
    /// The agent and profile for which the token in `lock` was or is sent.
    pub named: (u8, u8),
    /// The tokens that its profile held since it took the directory, one bit each.
    pub seen: u16,
    /// Whether it has sent something and got a response.
    pub has_sent: bool,
    /// The login that it is to put in the place of the old one: then it refreshes nothing.
    pub new: Option<Login>,
    /// The store as it was when its token was sent, which only a mistake remembers.
    pub snapshot: Option<Document>,
}

/// The next step of a Clawdbot.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Doing {
    /// Nothing.
    Idle,
    /// It holds the lock.
    Locked,
    /// It has the issuer's response.
    Answered(Reply),
    /// It has saved.
    Saved,
    /// It was killed.
    Killed,
}

/// A Clawdbot.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Clawdbot {
    /// Its agent.
    pub agent: u8,
    /// Its next step.
    pub doing: Doing,
    /// The store as it was loaded.
    pub memory: Document,
    /// How often it may still load.
    pub loads: u8,
    /// How often it may still save the loaded content without the lock.
    pub saves: u8,
    /// How often it may still refresh.
    pub refreshes: u8,
}

/// The violations, as a set.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Wrongs(pub u8);

impl Wrongs {
    /// One of our processes sent a token whose record says that it was used up.
    pub const SENT_USED_UP: u8 = 1;
    /// One of our processes sent a used token, neither after a lost response nor because of a
    /// Clawdbot.
    pub const SENT_TWICE: u8 = 2;
    /// One of our processes overwrote a Clawdbot's live token that exists nowhere else.
    pub const OVERWROTE: u8 = 4;
    /// One of our processes returned an expired access token.
    pub const RETURNED_ENDED: u8 = 8;
    /// One of ours wrote over a profile that it was not about.
    pub const REVERTED: u8 = 16;
    /// One of ours asked an endpoint that was known to want to be left alone.
    pub const ASKED_TOO_SOON: u8 = 32;
    /// A Clawdbot had the directory and sent a token that one of ours had just sent, which had kept
    /// the directory for that.
    pub const LEFT_OPEN: u8 = 64;

    /// Adds a violation.
    pub fn add(&mut self, wrong: u8) {
        self.0 |= wrong;
    }

    /// Whether the set contains it.
    pub fn has(self, wrong: u8) -> bool {
        self.0 & wrong != 0
    }
}

/// The complete state.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The stores.
    pub stores: [Document; AGENTS],
    /// Their backups.
    pub backups: [Document; AGENTS],
    /// The response files beside them.
    pub answers: [[Answer; TOKENS]; AGENTS],
    /// The record of each token; twice, for the mistake of keeping it per agent.
    pub records: [Record; 2 * TOKENS],
    /// The holder of each token's lock: 0, or a process plus 1.
    pub token_locks: [u8; 2 * TOKENS],
    /// The holder of each store's kernel lock.
    pub store_locks: [u8; AGENTS],
    /// Clawdbot's lock beside each store.
    pub directories: [Directory; AGENTS],
    /// Whether the endpoint has asked to be left alone, and that is noted.
    pub is_endpoint_waiting: bool,
    /// Who has the lock of that note.
    pub endpoint_lock: u8,
    /// The issuer.
    pub issuer: Issuer,
    /// Our processes.
    pub processes: [Process; PROCESSES],
    /// Clawdbot's processes.
    pub clawdbots: [Clawdbot; CLAWDBOTS],
    /// How many processes may still be killed.
    pub crashes: u8,
    /// How often a response may still be lost, or the issuer be unavailable.
    pub faults: u8,
    /// How often all access tokens may still expire.
    pub ends: u8,
    /// How often a directory may still be taken from a live process that was stopped for too long.
    pub thefts: u8,
    /// How often a mistake may still remove a record.
    pub removals: u8,
    /// The tokens whose responses were lost before they could be written.
    pub in_window: u16,
    /// The logins that were harmed by a Clawdbot that sent a used token, or by one whose refresh
    /// was undetectable.
    pub by_clawdbot: u8,
    /// The violations.
    pub wrongs: Wrongs,
}

impl State {
    /// A profile of a store.
    pub fn login(&self, agent: u8, profile: u8) -> Option<Login> {
        self.stores[usize::from(agent)][usize::from(profile)]
    }

    /// Whether the response with this token was lost.
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
