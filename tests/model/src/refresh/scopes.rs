//! The participants of a check, and its bounds.

use super::issuer::{Issuer, Kind};
use super::state::{
    AGENTS, Answer, At, CLAWDBOTS, Clawdbot, Directory, Document, Doing, Login, PROCESSES, Process,
    Record, State, TOKENS, Wrongs,
};

/// The bounds of a check.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Its name in a report.
    pub name: &'static str,
    /// The issuer's reaction to reuse.
    pub issuer: Kind,
    /// The number of logins, each copied into both agents.
    pub logins: u8,
    /// The number of our processes.
    pub processes: u8,
    /// The agent and profile of each process.
    pub work: [(u8, u8); PROCESSES],
    /// The number of Clawdbots.
    pub clawdbots: u8,
    /// The agent of each Clawdbot.
    pub homes: [u8; CLAWDBOTS],
    /// How often each Clawdbot loads, saves without a lock, and refreshes.
    pub whims: [(u8, u8, u8); CLAWDBOTS],
    /// How many processes are killed, of ours or Clawdbot's, before the last process recovers.
    pub crashes: u8,
    /// How many responses are lost, or requests turned away.
    pub faults: u8,
    /// How often all access tokens expire.
    pub ends: u8,
    /// How often a lock is taken from a stopped process.
    pub thefts: u8,
    /// Whether the second agent has copies of the logins.
    pub has_copies: bool,
    /// Whether the last process saves a new login, in the place of the old one.
    pub logs_in: bool,
    /// Whether ours keep Clawdbot's directory while they ask the issuer.
    pub keeps_directory: bool,
}

impl Scope {
    /// Three of our processes, for one login of which both agents have a copy, without Clawdbots.
    fn ours(name: &'static str, issuer: Kind) -> Self {
        Self {
            name,
            issuer,
            logins: 1,
            processes: 3,
            work: [(0, 0), (0, 0), (1, 0)],
            clawdbots: 0,
            homes: [0, 1],
            whims: [(0, 0, 0); CLAWDBOTS],
            crashes: 0,
            faults: 0,
            ends: 0,
            thefts: 0,
            has_copies: true,
            logs_in: false,
            keeps_directory: true,
        }
    }

    /// Kills and an unreliable network.
    pub fn kills(issuer: Kind, is_full: bool) -> Self {
        let (crashes, ends) = if is_full { (3, 2) } else { (2, 1) };
        Self { crashes, faults: 1, ends, ..Self::ours("kills and lost answers", issuer) }
    }

    /// Two Clawdbots that save old content without the lock.
    pub fn stale_saves(issuer: Kind, is_full: bool) -> Self {
        let whims = if is_full { [(1, 1, 0), (1, 1, 0)] } else { [(1, 1, 0), (0, 0, 0)] };
        Self {
            clawdbots: 2,
            homes: if is_full { [0, 0] } else { [0, 1] },
            whims,
            crashes: 1,
            ends: 1,
            ..Self::ours("kills and stale saves", issuer)
        }
    }

    /// Two Clawdbots, one in each agent, that also refresh, and save old content.
    pub fn clawdbots(issuer: Kind, is_full: bool) -> Self {
        let one = (0, 1, 1);
        Self {
            clawdbots: 2,
            whims: [one, if is_full { one } else { (0, 0, 0) }],
            crashes: 1,
            ends: u8::from(is_full),
            ..Self::ours("kills and Clawdbots that refresh", issuer)
        }
    }

    /// A directory lock is taken from a process that was stopped for too long.
    pub fn stopped(issuer: Kind, is_full: bool) -> Self {
        Self {
            clawdbots: 1 + u8::from(is_full),
            whims: [(0, u8::from(is_full), 1), (0, 0, 1)],
            homes: [0, 0],
            crashes: u8::from(is_full),
            thefts: 1,
            ..Self::ours("stopped for too long", issuer)
        }
    }

    /// Two logins, each refreshed by another agent.
    pub fn crosswise(issuer: Kind, is_full: bool) -> Self {
        Self {
            logins: 2,
            work: [(0, 0), (1, 1), (0, 1)],
            crashes: 1 + u8::from(is_full),
            faults: 1,
            ends: u8::from(is_full),
            ..Self::ours("two logins crosswise", issuer)
        }
    }

    /// A Clawdbot refreshes a login that a killed process had stored.
    pub fn moved_on(issuer: Kind, is_full: bool) -> Self {
        let more = u8::from(is_full);
        Self {
            clawdbots: 1,
            whims: [(more, more, 1), (0, 0, 0)],
            crashes: 1,
            ends: 1 + more,
            ..Self::ours("kills, then a Clawdbot", issuer)
        }
    }

    /// Two logins of one agent, and a Clawdbot that refreshes there.
    fn side_by_side(issuer: Kind, is_full: bool) -> Self {
        Self {
            logins: 2,
            processes: 2 + u8::from(is_full),
            work: [(0, 0), (0, 1), (1, 0)],
            clawdbots: 1,
            whims: [(0, u8::from(is_full), 1), (0, 0, 0)],
            crashes: 1,
            ..Self::ours("two logins and a Clawdbot", issuer)
        }
    }

    /// A person logs in anew in one agent.
    fn new_login(issuer: Kind, is_full: bool) -> Self {
        Self {
            work: [(0, 0), (1, 0), (0, 0)],
            logs_in: true,
            crashes: 1 + u8::from(is_full),
            faults: 1,
            ends: 1,
            ..Self::ours("a new login meanwhile", issuer)
        }
    }

    /// The same where nobody else has the old one.
    fn new_login_alone(issuer: Kind, is_full: bool) -> Self {
        Self {
            name: "a new login meanwhile, of one agent",
            work: [(0, 0), (0, 0), (0, 0)],
            has_copies: false,
            ..Self::new_login(issuer, is_full)
        }
    }

    /// The same where ours do not keep the directory while they ask the issuer.
    fn unkept(self, name: &'static str) -> Self {
        Self { name, keeps_directory: false, ..self }
    }

    /// All of them. Without the directory, the narrow bounds are of two kinds of issuers: the others
    /// differ in nothing that the directory has to do with.
    pub fn all(issuer: Kind, is_full: bool) -> Vec<Self> {
        let mut all = vec![
            Self::kills(issuer, is_full),
            Self::stale_saves(issuer, is_full),
            Self::clawdbots(issuer, is_full),
            Self::clawdbots(issuer, is_full).unkept("Clawdbots that refresh, D not kept"),
            Self::moved_on(issuer, is_full),
            Self::stopped(issuer, is_full),
            Self::stopped(issuer, is_full).unkept("stopped for too long, D not kept"),
            Self::side_by_side(issuer, is_full),
            Self::side_by_side(issuer, is_full).unkept("two logins and a Clawdbot, D not kept"),
            Self::new_login(issuer, is_full),
            Self::new_login_alone(issuer, is_full),
            Self::crosswise(issuer, is_full),
        ];
        if is_full || matches!(issuer, Kind::Revokes | Kind::Grace) {
            all.extend([
                Self::kills(issuer, is_full).unkept("kills and lost answers, D not kept"),
                Self::stale_saves(issuer, is_full).unkept("kills and stale saves, D not kept"),
                Self::moved_on(issuer, is_full).unkept("kills, then a Clawdbot, D not kept"),
                Self::crosswise(issuer, is_full).unkept("two logins crosswise, D not kept"),
            ]);
        }
        all
    }

    /// The initial state: each agent has a copy of each login, and all access tokens have expired.
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
            older: None,
            store: None,
            named: (0, 0),
            seen: 0,
            has_sent: false,
            new: None,
            snapshot: None,
        };
        let mut issuer = Issuer::new(self.logins);
        let mut processes = [process(0), process(1), process(2)];
        if self.logs_in {
            processes[2].new = Some(issuer.log_in());
        }
        let clawdbot = |id: usize| Clawdbot {
            agent: self.homes[id],
            doing: Doing::Idle,
            memory: store,
            loads: self.whims[id].0,
            saves: self.whims[id].1,
            refreshes: self.whims[id].2,
        };
        State {
            stores: [store, if self.has_copies { store } else { Document::default() }],
            backups: [Document::default(); AGENTS],
            answers: [[Answer::None; TOKENS]; AGENTS],
            records: [Record::None; 2 * TOKENS],
            token_locks: [0; 2 * TOKENS],
            store_locks: [0; AGENTS],
            directories: [Directory::Free; AGENTS],
            is_endpoint_waiting: false,
            endpoint_lock: 0,
            issuer,
            processes,
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
