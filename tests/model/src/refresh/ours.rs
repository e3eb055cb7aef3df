//! A process of ours, step by step, as `auth_providers::refresh` does it.

use super::issuer::{Reply, Status, Who};
use super::state::{
    AGENTS, Answer, At, Directory, Document, End, Login, PROFILES, Process, Record, State, TOKENS,
    Task, Token, Wrongs,
};
use super::{Refresh, index};
use crate::mistakes::Mistake;

/// How often a process starts again before it gives up.
const ATTEMPTS: u8 = 6;

/// How often a token is sent again when no answer came. The code does it twice; the second time
/// differs from the first in nothing that the model knows.
const REPLAYS: u8 = 1;

impl Refresh {
    /// Whether the process could go on now.
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

    /// Does the next step of a process that [is enabled](Self::is_enabled).
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

    fn decide(&self, state: &mut State, id: u8) {
        let Process { agent, profile, .. } = state.processes[index(id)];
        let (Some(current), Some(before)) =
            (state.login(agent, profile), state.processes[index(id)].before)
        else {
            return self.again(state, id);
        };
        let key = before.refresh;
        let record = self.record(state, agent, key);
        if current.refresh != key {
            if record == Record::None && self.is_successor(state, agent, before, current) {
                return go(state, id, At::Note(current.refresh));
            }
            return self.again(state, id);
        }
        if state.issuer.is_valid(current) {
            return self.again(state, id);
        }
        match record {
            Record::None if Self::is_stale_copy(state, agent, profile, current) => {
                self.end(state, id, End::Stale);
            }
            Record::Waiting if !self.is_recovery => self.end(state, id, End::Unavailable),
            Record::None | Record::Waiting => lock_store(state, id, agent, Task::Send),
            Record::Rejected => self.end(state, id, End::Rejected),
            Record::Consumed(..) => match self.chain(state, agent, key) {
                Ok((end, named)) => go(state, id, At::Find(end, named, 0)),
                // What was received last is the best there is.
                Err(all) => {
                    let documents = state.stores.iter().chain(&state.backups).flatten().flatten();
                    let own = documents.filter(|login| all & (1 << login.refresh) != 0);
                    match own.copied().max_by_key(|login| login.access) {
                        Some(newest) if newest.access > current.access => {
                            lock_store(state, id, agent, Task::Heal(newest));
                        }
                        _ => self.end(state, id, End::NeedsLogin),
                    }
                }
            },
            Record::Intent(of, profile) => {
                state.processes[index(id)].named = (of, profile);
                lock_store(state, id, of, Task::Resolve);
            }
        }
    }

    fn reread(&self, state: &mut State, id: u8) {
        let Process { agent, profile, .. } = state.processes[index(id)];
        let before = state.processes[index(id)].before;
        let current = if self.makes(Mistake::NoRereadAfterDirectory) {
            before
        } else {
            state.login(agent, profile)
        };
        let (Some(before), Some(current)) = (before, current) else {
            return self.again(state, id);
        };
        if current.refresh != before.refresh {
            if self.is_successor(state, agent, before, current) {
                state.processes[index(id)].named = (agent, profile);
                return go(state, id, At::Note(current.refresh));
            }
            return self.again(state, id);
        }
        if state.issuer.is_valid(current) {
            return self.again(state, id);
        }
        if !self.makes(Mistake::OneAnswerFilePerAgent) {
            for token in 0..TOKENS {
                let record = state.records[self.slot(agent, token as Token)];
                if matches!(record, Record::Consumed(..) | Record::Rejected | Record::Waiting) {
                    state.answers[index(agent)][token] = Answer::None;
                }
            }
        }
        if let Some((older, profile, reply)) = self.left_behind(state, agent, current.refresh) {
            if state.token_locks[self.slot(agent, older)] != 0 {
                self.again(state, id);
                return go(state, id, At::Await(older));
            }
            state.token_locks[self.slot(agent, older)] = id + 1;
            state.processes[index(id)].older = Some(older);
            state.processes[index(id)].named = (agent, profile);
            return go(
                state,
                id,
                match reply {
                    Reply::Tokens { .. } => At::Read(Task::Resolve, reply),
                    Reply::Refused => At::Settle(reply, None),
                },
            );
        }
        state.answers[index(agent)][self.file(current.refresh)] = Answer::Reserved;
        go(state, id, At::Intend);
    }

    /// `left_behind::finish_left_behind`: the answer of another token beside a store that we have
    /// locked, whose process died before it could record what came of it.
    fn left_behind(&self, state: &State, agent: u8, except: Token) -> Option<(Token, u8, Reply)> {
        let skips = [Mistake::AnswersLeftBehind, Mistake::OneAnswerFilePerAgent];
        if skips.into_iter().any(|mistake| self.makes(mistake)) {
            return None;
        }
        (0..TOKENS as Token).filter(|token| *token != except).find_map(|token| {
            let Answer::Whole(reply) = state.answers[index(agent)][index(token)] else {
                return None;
            };
            let Record::Intent(of, profile) = self.record(state, agent, token) else {
                return None;
            };
            let is_mergeable = match reply {
                Reply::Refused => true,
                Reply::Tokens { refresh, access } => {
                    let renewed = Login { refresh, access, obtained: access };
                    let mut document = state.stores[index(agent)];
                    let sent = (token, None);
                    self.merge(state, agent, sent, profile, renewed, &mut document).0.is_some()
                }
            };
            (of == agent && is_mergeable).then_some((token, profile, reply))
        })
    }

    fn transmit(&self, state: &mut State, id: u8, replays: u8) {
        let Process { agent, .. } = state.processes[index(id)];
        let key = state.processes[index(id)].lock.unwrap_or(0);
        if state.directories[index(agent)] != Directory::Ours(id) {
            state.answers[index(agent)][self.file(key)] = Answer::None;
            if replays == 0 {
                state.records[self.slot(agent, key)] = Record::None;
                return self.again(state, id);
            }
            return self.end(state, id, End::Unavailable);
        }
        let reply = self.spend(state, id, key);
        go(state, id, At::Store(reply));
    }

    /// The token arrives at the issuer. Whether that was right is judged here.
    fn spend(&self, state: &mut State, id: u8, key: Token) -> Reply {
        let process = &state.processes[index(id)];
        if matches!(self.record(state, process.agent, key), Record::Consumed(..)) {
            state.wrongs.add(Wrongs::SENT_USED_UP);
        }
        match state.issuer.status(key) {
            Status::Used(Who::Ours, next) if !state.is_in_window(next) => {
                state.wrongs.add(Wrongs::SENT_TWICE);
            }
            // It was in the store while this one had the lock: no look could have told.
            Status::Used(Who::Clawdbot, _) if process.seen & (1 << key) != 0 => {
                state.by_clawdbot |= 1 << state.issuer.lineage[index(key)];
            }
            Status::Used(Who::Clawdbot, _) => state.wrongs.add(Wrongs::SENT_TWICE),
            _ => {}
        }
        state.issuer.spend(key, Who::Ours, self.scope.issuer)
    }

    /// The request arrives, and no answer comes.
    pub(super) fn lose(&self, state: &mut State, id: u8, replays: u8) {
        let process = &state.processes[index(id)];
        let (agent, key) = (process.agent, process.lock.unwrap_or(0));
        let reply = self.spend(state, id, key);
        self.note_lost_answer(state, reply);
        if replays < REPLAYS {
            go(state, id, At::Transmit(replays + 1));
        } else {
            state.answers[index(agent)][self.file(key)] = Answer::None;
            self.end(state, id, End::Unavailable);
        }
    }

    /// The issuer says that it cannot answer now.
    pub(super) fn turn_away(&self, state: &mut State, id: u8) {
        let process = &state.processes[index(id)];
        let (agent, key) = (process.agent, process.lock.unwrap_or(0));
        state.answers[index(agent)][self.file(key)] = Answer::None;
        state.records[self.slot(agent, key)] = Record::Waiting;
        self.end(state, id, End::Unavailable);
    }

    fn note_lost_answer(&self, state: &mut State, reply: Reply) {
        if let Reply::Tokens { refresh, .. } = reply
            && self.scope.issuer != super::Kind::Fixed
        {
            state.in_window |= 1 << refresh;
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

    fn resolve(&self, state: &mut State, id: u8) {
        let Process { agent, named: (of, profile), .. } = state.processes[index(id)];
        let process = &state.processes[index(id)];
        let (key, before) = (process.lock.unwrap_or(0), process.before);
        let file = self.file(key);
        if let Answer::Whole(reply) = state.answers[index(of)][file] {
            return go(
                state,
                id,
                match reply {
                    Reply::Tokens { .. } => At::Read(Task::Resolve, reply),
                    Reply::Refused => At::Settle(reply, None),
                },
            );
        }
        state.answers[index(of)][file] = Answer::None;
        if let (Some(there), Some(before)) = (state.login(of, profile), before)
            && there.refresh != key
            && there.access > before.access
            && !self.leads_to(state, agent, there.refresh, key)
        {
            return go(state, id, At::Note(there.refresh));
        }
        release_store(state, id);
        if before.is_some_and(|before| before.refresh == key) {
            lock_store(state, id, agent, Task::Send);
        } else {
            self.again_if_found(state, id, key);
        }
    }

    fn read(&self, state: &mut State, id: u8, task: Task, reply: Reply) {
        let process = &state.processes[index(id)];
        let (agent, key) = (process.agent, process.key());
        let before = state.stores[index(process.store.unwrap_or(agent))];
        let mut after = before;
        let mut touched = 0;
        let mut successor = None;
        match (task, reply) {
            (Task::Heal(login), _) => {
                let there = &mut after[index(process.profile)];
                let is_past = self.is_used_up(state, agent, login.refresh)
                    && !self.makes(Mistake::UsedUpTokenWritten);
                if there.is_some_and(|there| there.refresh == key) && !is_past {
                    *there = Some(login);
                    touched = 1 << process.profile;
                }
            }
            (Task::Give(_), Reply::Tokens { refresh, access }) => {
                let is_past = self.is_used_up(state, agent, refresh)
                    && !self.makes(Mistake::UsedUpTokenWritten);
                for profile in (0..PROFILES).filter(|_| !is_past) {
                    if before[profile].is_some_and(|login| login.refresh == key) {
                        after[profile] = Some(Login { refresh, access, obtained: access });
                        touched |= 1 << profile;
                    }
                }
            }
            (_, Reply::Tokens { refresh, access }) => {
                let renewed = Login { refresh, access, obtained: access };
                let wanted = process.named.1;
                let sent = (key, process.before.filter(|before| before.refresh == key));
                (successor, touched) = self.merge(state, agent, sent, wanted, renewed, &mut after);
                if successor.is_none() {
                    return self.end(state, id, End::Unmerged);
                }
            }
            _ => {}
        }
        // What is there already is written again: the backup may not have it.
        if touched == 0 {
            self.written(state, id, task, reply, successor);
        } else {
            go(state, id, At::Rename(task, reply, before, after, touched, successor));
        }
    }

    /// `settle::merge`: the token that took the place of `sent`, and the profiles written.
    fn merge(
        &self,
        state: &State,
        agent: u8,
        (sent, sent_login): (Token, Option<Login>),
        wanted: u8,
        renewed: Login,
        document: &mut Document,
    ) -> (Option<Token>, u8) {
        let has_rotated = renewed.refresh != sent;
        let knows = !self.makes(Mistake::ClawdbotsTokensUnknown);
        let (mut successor, mut touched) = (None, 0);
        for (profile, entry) in document.iter_mut().enumerate() {
            let Some(login) = *entry else { continue };
            let is_wanted = profile == index(wanted);
            let held = login.refresh;
            if !is_wanted && state.issuer.lineage[index(held)] != state.issuer.lineage[index(sent)]
            {
                continue;
            }
            let is_one_before = sent_login
                .is_some_and(|sent| login.obtained == sent.obtained && login.access < sent.access);
            let is_replaced = held == sent
                || is_wanted && (self.leads_to(state, agent, held, sent) || knows && is_one_before);
            if !(is_replaced || is_wanted && has_rotated) {
                continue;
            }
            let is_moved_on = login.obtained == renewed.obtained && login.access > renewed.access;
            if is_wanted && knows && is_moved_on {
                successor = Some(held);
                continue;
            }
            let is_past = held != sent && self.leads_to(state, agent, renewed.refresh, held);
            if !(is_replaced || is_past || renewed.refresh == held) {
                continue;
            }
            if is_wanted || successor.is_none() {
                successor = Some(renewed.refresh);
            }
            let is_there = renewed.refresh == held && self.makes(Mistake::NoBackupOfWhatIsThere);
            if !is_past && !is_there {
                *entry = Some(renewed);
                touched |= 1 << profile;
            }
        }
        (successor, touched)
    }

    /// The store is as the task wants it.
    fn written(
        &self,
        state: &mut State,
        id: u8,
        task: Task,
        reply: Reply,
        successor: Option<Token>,
    ) {
        match task {
            Task::Heal(login) => self.adopted(state, id, Some(login.access)),
            Task::Send | Task::Resolve => go(state, id, At::Settle(reply, successor)),
            Task::Give(_) => self.again(state, id),
        }
    }

    /// Somebody else's token is in our store: start again with it.
    fn adopted(&self, state: &mut State, id: u8, access: Option<u8>) {
        match access {
            Some(access) if self.makes(Mistake::StopAtExpiredAdoption) => {
                if access < state.issuer.valid_from {
                    state.wrongs.add(Wrongs::RETURNED_ENDED);
                }
                self.end(state, id, End::Valid(access));
            }
            _ => self.again(state, id),
        }
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

    /// `lineage::relation`.
    fn is_successor(&self, state: &State, agent: u8, before: Login, current: Login) -> bool {
        self.makes(Mistake::ChainThatCloses)
            || current.access > before.access
                && !self.leads_to(state, agent, current.refresh, before.refresh)
    }

    /// `copies::newer_copy`.
    fn is_stale_copy(state: &State, agent: u8, profile: u8, current: Login) -> bool {
        let Some(other) = state.login(1 - agent, profile) else { return false };
        let is_own = || {
            state.records.iter().any(
                |record| matches!(record, Record::Consumed(next, of) if *next == current.refresh && *of == agent),
            )
        };
        other.refresh != current.refresh
            && state.issuer.lineage[index(other.refresh)]
                == state.issuer.lineage[index(current.refresh)]
            && other.access > current.access
            && !(other.obtained != current.obtained && is_own())
    }

    /// `lineage::chain`: its end, and the agent that the last record names; or all of a chain
    /// that closes.
    fn chain(&self, state: &State, agent: u8, from: Token) -> Result<(Token, u8), u16> {
        let mut seen = 1_u16 << from;
        let mut end = (from, agent);
        while let Record::Consumed(next, of) = self.record(state, agent, end.0) {
            if seen & (1 << next) != 0 {
                return Err(seen);
            }
            seen |= 1 << next;
            end = (next, of);
        }
        Ok(end)
    }

    /// `lineage::leads_to`.
    fn leads_to(&self, state: &State, agent: u8, from: Token, to: Token) -> bool {
        let mut seen = 1_u16 << from;
        let mut key = from;
        while let Record::Consumed(next, _) = self.record(state, agent, key) {
            if seen & (1 << next) != 0 {
                return false;
            }
            if next == to {
                return true;
            }
            seen |= 1 << next;
            key = next;
        }
        false
    }

    fn is_used_up(&self, state: &State, agent: u8, token: Token) -> bool {
        matches!(self.record(state, agent, token), Record::Consumed(..))
    }

    fn record(&self, state: &State, agent: u8, token: Token) -> Record {
        state.records[self.slot(agent, token)]
    }

    /// Where the record and the lock of a token are.
    fn slot(&self, agent: u8, token: Token) -> usize {
        let of = if self.makes(Mistake::RecordsPerAgent) { index(agent) } else { 0 };
        of * TOKENS + index(token)
    }

    /// Which of the answer files is a token's.
    fn file(&self, token: Token) -> usize {
        if self.makes(Mistake::OneAnswerFilePerAgent) { 0 } else { index(token) }
    }
}

impl Process {
    /// The token that the process is about.
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

/// The login with this token in an agent's store or its backup.
fn find_at(state: &State, agent: u8, token: Token) -> Option<Login> {
    let documents = [state.stores[index(agent)], state.backups[index(agent)]];
    documents.into_iter().flatten().flatten().find(|login| login.refresh == token)
}

/// Notes what an agent's store holds for those of ours who have its directory.
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

/// Judges what was just written over. An issuer that gives grace may leave a login with several
/// living tokens; then one of them in the place of another takes nothing away.
fn note_overwritten(state: &mut State, replaced: Document, after: Document) {
    for (login, now) in replaced.into_iter().zip(after) {
        let Some(Login { refresh: token, .. }) = login else { continue };
        let issuer = &state.issuer;
        let is_living = |token: Token| issuer.status(token) == Status::Live;
        let is_of_same = |it: Token| issuer.lineage[index(it)] == issuer.lineage[index(token)];
        let is_theirs = issuer.issued_to[index(token)] == Who::Clawdbot;
        let has_another = now.is_some_and(|it| is_living(it.refresh) && is_of_same(it.refresh));
        if is_theirs && is_living(token) && !has_another && !state.is_held(token) {
            state.wrongs.add(Wrongs::OVERWROTE);
        }
    }
}
