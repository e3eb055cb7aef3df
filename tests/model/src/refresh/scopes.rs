//! Who takes part in a check, and how much may happen in it.

use super::issuer::{Issuer, Kind};
use super::state::{
    AGENTS, Answer, At, CLAWDBOTS, Clawdbot, Directory, Doing, Document, Login, PROCESSES, Process,
    Record, State, TOKENS, Wrongs,
};

/// The bounds of a check.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What it is called in a report.
    pub name: &'static str,
    /// What the issuer does about reuse.
    pub issuer: Kind,
    /// How many logins there are, each copied into both agents.
    pub logins: u8,
    /// How many processes of ours.
    pub processes: u8,
    /// For which agent and profile each works.
    pub work: [(u8, u8); PROCESSES],
    /// How many Clawdbots.
    pub clawdbots: u8,
    /// For which agent each works.
    pub homes: [u8; CLAWDBOTS],
    /// How often each loads, saves without a lock, and refreshes.
    pub whims: [(u8, u8, u8); CLAWDBOTS],
    /// How many are killed, of ours or theirs, before the last who recovers.
    pub crashes: u8,
    /// How many answers are lost, or requests turned away.
    pub faults: u8,
    /// How often all access tokens end.
    pub ends: u8,
    /// How often a lock is taken from one who was stopped.
    pub thefts: u8,
}

impl Scope {
    /// The beginning: everybody has a copy of each login, and all access tokens have ended.
    pub(super) fn initial(&self) -> State {
        let mut store = Document::default();
        for login in 0..self.logins {
            store[usize::from(login)] = Some(Login { refresh: login, access: 0, obtained: 0 });
        }
        let process = |id: usize| Process {
            agent: self.work[id].0,
            profile: self.work[id].1,
            at: At::Look,
            attempts: 0,
            before: None,
            lock: None,
            store: None,
            named: (0, 0),
            seen: None,
            has_sent: false,
        };
        let clawdbot = |id: usize| Clawdbot {
            agent: self.homes[id],
            doing: Doing::Idle,
            memory: store,
            loads: self.whims[id].0,
            saves: self.whims[id].1,
            refreshes: self.whims[id].2,
        };
        State {
            stores: [store; AGENTS],
            backups: [Document::default(); AGENTS],
            answers: [[Answer::None; TOKENS]; AGENTS],
            records: [Record::None; 2 * TOKENS],
            token_locks: [0; 2 * TOKENS],
            store_locks: [0; AGENTS],
            directories: [Directory::Free; AGENTS],
            issuer: Issuer::new(self.logins),
            processes: [process(0), process(1), process(2)],
            clawdbots: [clawdbot(0), clawdbot(1)],
            crashes: self.crashes,
            faults: self.faults,
            ends: self.ends,
            thefts: self.thefts,
            removals: 1,
            in_window: 0,
            by_clawdbot: 0,
            wrongs: Wrongs::default(),
        }
    }
}
