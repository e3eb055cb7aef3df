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
        match process.at {
            At::LockToken => {
                let key = process.before.map_or(0, |login| login.refresh);
                self.goes_without_its_lock(process)
                    || state.token_locks[self.slot(process.agent, key)] == 0
            }
            At::LockEnd(token) => state.token_locks[self.slot(process.agent, token)] == 0,
            At::Await(token) => {
                let answer = state.answers[index(process.agent)][index(token)];
                let record = self.record(state, process.agent, token);
                let is_there = matches!(answer, Answer::Whole(_))
                    && matches!(record, Record::Intent(of, _) if of == process.agent);
                !is_there || state.token_locks[self.slot(process.agent, token)] == 0
            }
            At::LockEndpoint => state.endpoint_lock == 0,
            // Who has an answer to save goes on without the directory, should that stay taken.
            At::LockStore(task) => {
                let is_merging = matches!(task, Task::Merge(_));
                let is_kept = self.makes(Mistake::StoreLockedDuringRequest) && is_merging;
                (state.store_locks[target] == 0 || is_kept && state.store_locks[target] == id + 1)
                    && (self.may_take(state, id, target) || is_merging)
            }
            At::Rename(task, ..) => {
                self.may_take(state, id, target) || matches!(task, Task::Merge(_))
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
                if !self.goes_without_its_lock(&process) {
                    state.token_locks[self.slot(agent, key)] = id + 1;
                }
                state.processes[index(id)].lock = Some(key);
                go(state, id, At::Decide);
            }
            At::Decide => {
                if self.makes(Mistake::EndpointBeforeToken) {
                    state.endpoint_lock = 0;
                }
                self.decide(state, id);
            }
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
                self.take_store(state, id, target);
                go(state, id, At::LockDirectory(task));
            }
            At::LockDirectory(task) => {
                if self.may_take(state, id, index(target)) {
                    Self::take_directory(state, id, task);
                } else if let Task::Merge(reply) = task {
                    go(state, id, merging(task, reply));
                } else {
                    // Nobody of ours waits for the store meanwhile.
                    state.store_locks[index(target)] = 0;
                    go(state, id, At::LockStore(task));
                }
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
                if self.makes(Mistake::MergeWithoutReread) {
                    state.processes[index(id)].snapshot = Some(state.stores[index(agent)]);
                }
                self.leave_store(state, id, agent);
                go(state, id, At::Transmit(0));
            }
            At::Transmit(replays) => self.transmit(state, id, replays),
            At::LockEndpoint => {
                state.endpoint_lock = id + 1;
                go(state, id, process.lock.map_or(At::LockToken, |_| At::NoteEndpoint));
            }
            At::NoteEndpoint => self.note_endpoint(state, id),
            At::Store(reply) => self.store_answer(state, id, reply),
            At::Resolve => self.resolve(state, id),
            At::Read(task, reply) => self.read(state, id, task, reply),
            At::Rename(task, reply, before, after, touched, successor) => {
                let replaced = state.stores[index(target)];
                if !state.has_directory(id, target) && self.may_take(state, id, index(target)) {
                    join(state, id, target);
                    go(state, id, At::Read(task, reply));
                } else if replaced != before && process.snapshot.is_none() {
                    go(state, id, At::Read(task, reply));
                } else {
                    state.stores[index(target)] = after;
                    note_overwritten(state, replaced, after, touched);
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
            At::SettleHome(successor) => {
                let record = if successor == key {
                    Record::None
                } else {
                    Record::Consumed(successor, target)
                };
                state.records[self.slot(agent, key)] = record;
                state.answers[index(process.named.0)][self.file(key)] = Answer::None;
                self.again(state, id);
            }
            At::Unfile(reply) => {
                state.answers[index(target)][self.file(key)] = Answer::None;
                if !self.makes(Mistake::PropagationUnderStoreLock) {
                    self.release_store(state, id);
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
            At::Hand => {
                let other = 1 - agent;
                let held = state.stores[index(other)].iter().flatten();
                if held.into_iter().any(|it| self.leads_to(state, agent, it.refresh, key)) {
                    lock_store(state, id, other, Task::Hand);
                } else {
                    self.replace(state, id);
                }
            }
            At::Ended(_) => {}
        }
    }

    fn goes_without_its_lock(&self, process: &Process) -> bool {
        self.makes(Mistake::RecordWithoutItsLock)
            || self.makes(Mistake::ReplacedWithoutItsLock) && process.new.is_some()
    }

    /// Goes on to put the new login in the place of the old one.
    pub(super) fn replace(&self, state: &mut State, id: u8) {
        self.release_store(state, id);
        let Process { agent, new, .. } = state.processes[index(id)];
        match new {
            Some(new) => lock_store(state, id, agent, Task::Replace(new)),
            None => self.again(state, id),
        }
    }

    fn look(&self, state: &mut State, id: u8) {
        let process = &state.processes[index(id)];
        let Some(login) = state.login(process.agent, process.profile) else {
            return self.end(state, id, End::NeedsLogin);
        };
        if process.new.is_none() && state.issuer.is_valid(login) {
            self.end(state, id, End::Valid(login.access));
        } else if process.has_sent {
            self.end(state, id, End::Unavailable);
        } else if process.attempts >= ATTEMPTS {
            self.end(state, id, End::Unsettled);
        } else {
            state.processes[index(id)].before = Some(login);
            let first = self.makes(Mistake::EndpointBeforeToken) && !self.is_recovery;
            go(state, id, if first { At::LockEndpoint } else { At::LockToken });
        }
    }

    /// The process is killed: the kernel drops its locks, the directory stays.
    pub(super) fn kill(&self, state: &mut State, id: u8) {
        if let At::Store(reply) = state.processes[index(id)].at {
            self.note_lost_answer(state, reply);
        }
        for directory in &mut state.directories {
            if let Directory::Ours(all) = directory {
                *all &= !(1 << id);
            }
        }
        self.end(state, id, End::Killed);
    }

    /// Whether a process that has the store's lock could have the directory too.
    pub(super) fn may_take(&self, state: &State, id: u8, target: usize) -> bool {
        match state.directories[target] {
            Directory::Clawdbot(_) => false,
            Directory::Ours(all) => {
                all & !(1 << id) == 0 || !self.makes(Mistake::DirectoryNotShared)
            }
            Directory::Free | Directory::OfDeadClawdbot => true,
        }
    }

    /// Locks the store, and clears away what dead ones left.
    fn take_store(&self, state: &mut State, id: u8, target: u8) {
        state.store_locks[index(target)] = id + 1;
        if self.makes(Mistake::ReserveCleared) {
            for answer in &mut state.answers[index(target)] {
                if *answer == Answer::Reserved {
                    *answer = Answer::None;
                }
            }
        }
    }

    /// Takes the directory, and goes on to what the store was locked for.
    fn take_directory(state: &mut State, id: u8, task: Task) {
        let Process { agent, store, .. } = state.processes[index(id)];
        join(state, id, store.unwrap_or(agent));
        state.processes[index(id)].seen = 0;
        note_seen(state, agent);
        let next = match task {
            Task::Send => At::Reread,
            Task::Resolve => At::Resolve,
            Task::Heal(_) | Task::Hand | Task::Replace(_) => At::Read(task, Reply::Refused),
            Task::Merge(reply) => merging(task, reply),
            Task::Give(reply) | Task::Home(reply) => At::Read(task, reply),
        };
        go(state, id, next);
    }

    /// Takes the store, and the directory from a Clawdbot that was stopped for too long.
    pub(super) fn take_over(&self, state: &mut State, id: u8, task: Task) {
        let Process { agent, store, .. } = state.processes[index(id)];
        let target = store.unwrap_or(agent);
        self.take_store(state, id, target);
        state.directories[index(target)] = Directory::Free;
        Self::take_directory(state, id, task);
    }

    /// Lets go of the store while the issuer is asked, and of the directory if that is not kept.
    fn leave_store(&self, state: &mut State, id: u8, agent: u8) {
        if self.makes(Mistake::StoreLockedDuringRequest) {
            return;
        }
        state.store_locks[index(agent)] = 0;
        state.processes[index(id)].store = None;
        if !self.scope.keeps_directory {
            self.leave_directory(state, id, agent);
            state.processes[index(id)].seen = 0;
        }
    }

    /// Leaves the directory, and removes it if nobody else of ours has it.
    fn leave_directory(&self, state: &mut State, id: u8, agent: u8) {
        if state.has_directory(id, agent)
            && let Directory::Ours(all) = &mut state.directories[index(agent)]
        {
            *all &= !(1 << id);
            if *all == 0 || self.makes(Mistake::SharedDirectoryRemoved) {
                state.directories[index(agent)] = Directory::Free;
            }
        }
    }

    /// Releases every store and directory.
    fn release_store(&self, state: &mut State, id: u8) {
        for agent in 0..AGENTS as u8 {
            if state.store_locks[index(agent)] == id + 1 {
                state.store_locks[index(agent)] = 0;
            }
            self.leave_directory(state, id, agent);
        }
        state.processes[index(id)].store = None;
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
        self.release_store(state, id);
        self.release_token(state, id);
        if state.endpoint_lock == id + 1 {
            state.endpoint_lock = 0;
        }
        let process = &mut state.processes[index(id)];
        process.before = None;
        process.named = (0, 0);
        process.seen = 0;
        process.snapshot = None;
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

/// The directory is this one's, too: it was free, of the dead, or ours already.
fn join(state: &mut State, id: u8, target: u8) {
    let directory = &mut state.directories[index(target)];
    let others = if let Directory::Ours(all) = *directory { all } else { 0 };
    *directory = Directory::Ours(others | 1 << id);
}

/// The first step of saving what came.
fn merging(task: Task, reply: Reply) -> At {
    match reply {
        Reply::Tokens { .. } => At::Read(task, reply),
        Reply::Refused => At::Settle(reply, None),
    }
}

/// Records the content of an agent's store for those of our processes that hold its directory.
pub(super) fn note_seen(state: &mut State, agent: u8) {
    let store = state.stores[index(agent)];
    for (id, process) in (0_u8..).zip(&mut state.processes) {
        let is_there = process.agent == agent
            && matches!(state.directories[index(agent)], Directory::Ours(all) if all & (1 << id) != 0);
        if let Some(login) = store[index(process.profile)].filter(|_| is_there) {
            process.seen |= 1 << login.refresh;
        }
    }
}
