//! One of our processes, step by step, as `auth_providers::refresh` does it.

mod decide;
mod lineage;
mod send;
mod settle;

use super::issuer::Reply;
use super::state::{
    AGENTS, Answer, At, Directory, Document, End, PROFILES, Process, Record, State, Task, Token,
    Wrongs,
};
use super::{Refresh, index};
use crate::mistakes::Mistake;
use lineage::find_at;
use settle::note_overwritten;

/// How often a process starts again before it gives up.
const ATTEMPTS: u8 = 6;

impl Refresh {
    /// Whether the process can perform a step now.
    pub(super) fn is_enabled(&self, state: &State, id: u8) -> bool {
        let process = &state.processes[index(id)];
        let target = index(process.store.unwrap_or(process.agent));
        let is_free = |directory: Directory| {
            matches!(directory, Directory::Free | Directory::OfOurDead | Directory::OfDeadClawdbot)
        };
        match process.at {
            At::LockToken => {
                let key = process.before.map_or(0, |login| login.refresh);
                self.makes(Mistake::RecordWithoutItsLock)
                    || state.token_locks[self.slot(process.agent, key)] == 0
            }
            At::LockEnd(token) | At::Await(token) => {
                state.token_locks[self.slot(process.agent, token)] == 0
            }
            At::LockStore(_) => state.store_locks[target] == 0,
            At::LockDirectory(_) => is_free(state.directories[target]),
            At::Rename(task, ..) => {
                let directory = state.directories[target];
                directory == Directory::Ours(id) || is_free(directory) || task == Task::Send
            }
            At::Ended(_) => false,
            _ => true,
        }
    }

    /// Performs the next step of a process that [is enabled](Self::is_enabled).
    pub(super) fn step(&self, state: &mut State, id: u8) {
        let process = state.processes[index(id)].clone();
        let Process { agent, profile, .. } = process;
        let key = process.key();
        let target = process.store.unwrap_or(agent);
        match process.at {
            At::Look => self.look(state, id),
            At::LockToken => {
                let key = process.before.map_or(0, |login| login.refresh);
                if !self.makes(Mistake::RecordWithoutItsLock) {
                    state.token_locks[self.slot(agent, key)] = id + 1;
                }
                state.processes[index(id)].lock = Some(key);
                go(state, id, At::Decide);
            }
            At::Decide => self.decide(state, id),
            At::Note(successor) => {
                let of = process.store.map_or(agent, |_| process.named.0);
                state.records[self.slot(agent, key)] = Record::Consumed(successor, of);
                let adopted = state.login(agent, profile).map(|login| login.access);
                self.adopted(state, id, adopted);
            }
            At::Find(end, named, position) => {
                let place = [named, agent, 1 - agent][index(position)];
                if let Some(login) = find_at(state, place, end) {
                    lock_store(state, id, agent, Task::Heal(login));
                } else if position < 2 {
                    go(state, id, At::Find(end, named, position + 1));
                } else {
                    self.release_token(state, id);
                    go(state, id, At::LockEnd(end));
                }
            }
            At::LockEnd(end) => {
                state.token_locks[self.slot(agent, end)] = id + 1;
                state.processes[index(id)].lock = Some(end);
                go(state, id, At::DecideEnd);
            }
            At::DecideEnd => match self.record(state, agent, key) {
                Record::Intent(of, profile) => {
                    state.processes[index(id)].named = (of, profile);
                    lock_store(state, id, of, Task::Resolve);
                }
                Record::Consumed(..) => self.again(state, id),
                Record::Rejected => self.end(state, id, End::Rejected),
                Record::None | Record::Waiting => self.again_if_found(state, id, key),
            },
            At::LockStore(task) => {
                state.store_locks[index(target)] = id + 1;
                go(state, id, At::LockDirectory(task));
            }
            At::LockDirectory(task) => {
                state.directories[index(target)] = Directory::Ours(id);
                state.processes[index(id)].seen = 0;
                note_seen(state, agent);
                let next = match task {
                    Task::Send => At::Reread,
                    Task::Resolve => At::Resolve,
                    Task::Heal(_) => At::Read(task, Reply::Refused),
                    Task::Give(reply) => At::Read(task, reply),
                };
                go(state, id, next);
            }
            At::Reread => self.reread(state, id),
            At::Await(_) => self.again(state, id),
            At::Intend => {
                let slot = self.slot(agent, key);
                if matches!(state.records[slot], Record::Consumed(..)) {
                    state.wrongs.add(Wrongs::SENT_USED_UP);
                }
                state.records[slot] = Record::Intent(agent, profile);
                state.processes[index(id)].named = (agent, profile);
                go(state, id, At::Transmit(0));
            }
            At::Transmit(replays) => self.transmit(state, id, replays),
            At::Store(reply) => {
                state.answers[index(agent)][self.file(key)] = Answer::Whole(reply);
                state.processes[index(id)].has_sent = true;
                go(
                    state,
                    id,
                    match reply {
                        Reply::Tokens { .. } => At::Read(Task::Send, reply),
                        Reply::Refused => At::Settle(reply, None),
                    },
                );
            }
            At::Resolve => self.resolve(state, id),
            At::Read(task, reply) => self.read(state, id, task, reply),
            At::Rename(task, reply, before, after, touched, successor) => {
                let directory = state.directories[index(target)];
                if directory != Directory::Ours(id) && !matches!(directory, Directory::Clawdbot(_))
                {
                    state.directories[index(target)] = Directory::Ours(id);
                    go(state, id, At::Read(task, reply));
                } else if state.stores[index(target)] != before {
                    go(state, id, At::Read(task, reply));
                } else {
                    let replaced = state.stores[index(target)];
                    state.stores[index(target)] = after;
                    note_overwritten(state, replaced, after);
                    go(state, id, At::Backup(task, reply, after, touched, successor));
                }
            }
            At::Backup(task, reply, committed, touched, successor) => {
                let committed = if self.makes(Mistake::BackupFromReread) {
                    state.stores[index(target)]
                } else {
                    committed
                };
                let backup = &mut state.backups[index(target)];
                if *backup == Document::default() {
                    *backup = committed;
                }
                for profile in (0..PROFILES).filter(|it| touched & (1 << it) != 0) {
                    backup[profile] = committed[profile];
                }
                self.written(state, id, task, reply, successor);
            }
            At::Settle(reply, successor) => {
                let record = match (reply, successor) {
                    (Reply::Refused, _) => Record::Rejected,
                    (_, Some(next)) if next != key => Record::Consumed(next, process.named.0),
                    _ => Record::None,
                };
                state.records[self.slot(agent, key)] = record;
                go(state, id, At::Unfile(reply));
            }
            At::Unfile(reply) => {
                state.answers[index(target)][self.file(key)] = Answer::None;
                if !self.makes(Mistake::PropagationUnderStoreLock) {
                    release_store(state, id);
                }
                match reply {
                    Reply::Tokens { .. } if process.older.is_none() => {
                        go(state, id, At::Give(reply));
                    }
                    _ => self.again(state, id),
                }
            }
            At::Give(reply) => {
                let other = 1 - agent;
                let held = state.stores[index(other)].iter().flatten();
                if held.into_iter().any(|login| login.refresh == key) {
                    lock_store(state, id, other, Task::Give(reply));
                } else {
                    self.again(state, id);
                }
            }
            At::Ended(_) => {}
        }
    }

    fn look(&self, state: &mut State, id: u8) {
        let process = &state.processes[index(id)];
        let Some(login) = state.login(process.agent, process.profile) else {
            return self.end(state, id, End::NeedsLogin);
        };
        if state.issuer.is_valid(login) {
            self.end(state, id, End::Valid(login.access));
        } else if process.has_sent {
            self.end(state, id, End::Unavailable);
        } else if process.attempts >= ATTEMPTS {
            self.end(state, id, End::Unsettled);
        } else {
            state.processes[index(id)].before = Some(login);
            go(state, id, At::LockToken);
        }
    }

    /// The process is killed: the kernel drops its locks, the directory stays.
    pub(super) fn kill(&self, state: &mut State, id: u8) {
        if let At::Store(reply) = state.processes[index(id)].at {
            self.note_lost_answer(state, reply);
        }
        for directory in &mut state.directories {
            if *directory == Directory::Ours(id) {
                *directory = Directory::OfOurDead;
            }
        }
        self.end(state, id, End::Killed);
    }

    /// Releases everything, and starts again.
    fn again(&self, state: &mut State, id: u8) {
        self.end(state, id, End::Unsettled);
        let process = &mut state.processes[index(id)];
        process.attempts += 1;
        process.at = At::Look;
    }

    fn again_if_found(&self, state: &mut State, id: u8, end: Token) {
        let is_found = (0..AGENTS).any(|agent| find_at(state, agent as u8, end).is_some());
        if is_found {
            self.again(state, id);
        } else {
            self.end(state, id, End::NeedsLogin);
        }
    }

    /// Releases everything, and ends.
    fn end(&self, state: &mut State, id: u8, end: End) {
        release_store(state, id);
        self.release_token(state, id);
        let process = &mut state.processes[index(id)];
        process.before = None;
        process.named = (0, 0);
        process.seen = 0;
        process.at = At::Ended(end);
        if !matches!(end, End::Unsettled) {
            process.attempts = 0;
            process.has_sent = false;
        }
    }

    fn release_token(&self, state: &mut State, id: u8) {
        let process = &mut state.processes[index(id)];
        for key in [process.lock.take(), process.older.take()].into_iter().flatten() {
            let lock = &mut state.token_locks[self.slot(process.agent, key)];
            if *lock == id + 1 {
                *lock = 0;
            }
        }
    }
}

impl Process {
    /// The token that the process works on.
    fn key(&self) -> Token {
        self.older.or(self.lock).unwrap_or(0)
    }
}

fn go(state: &mut State, id: u8, at: At) {
    state.processes[index(id)].at = at;
}

fn lock_store(state: &mut State, id: u8, of: u8, task: Task) {
    state.processes[index(id)].store = Some(of);
    go(state, id, At::LockStore(task));
}

fn release_store(state: &mut State, id: u8) {
    for agent in 0..AGENTS {
        if state.store_locks[agent] == id + 1 {
            state.store_locks[agent] = 0;
        }
        if state.directories[agent] == Directory::Ours(id) {
            state.directories[agent] = Directory::Free;
        }
    }
    state.processes[index(id)].store = None;
}

/// Records the content of an agent's store for those of our processes that hold its directory.
pub(super) fn note_seen(state: &mut State, agent: u8) {
    let store = state.stores[index(agent)];
    for (id, process) in (0_u8..).zip(&mut state.processes) {
        let is_there =
            process.agent == agent && state.directories[index(agent)] == Directory::Ours(id);
        if let Some(login) = store[index(process.profile)].filter(|_| is_there) {
            process.seen |= 1 << login.refresh;
        }
    }
}
