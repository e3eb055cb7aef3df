//! The decisions of a process about a token: after taking its lock, under the directory lock, and
//! in crash recovery.

use super::super::issuer::Reply;
use super::super::state::{
    Answer, At, End, Login, Process, Record, State, TOKENS, Task, Token, Wrongs,
};
use super::super::{Refresh, index};
use super::{go, lock_store, merging};
use crate::mistakes::Mistake;

impl Refresh {
    pub(super) fn decide(&self, state: &mut State, id: u8) {
        let Process { agent, profile, .. } = state.processes[index(id)];
        let (Some(current), Some(before)) =
            (state.login(agent, profile), state.processes[index(id)].before)
        else {
            return self.again(state, id);
        };
        let key = before.refresh;
        let record = self.record(state, agent, key);
        if state.processes[index(id)].new.is_some() {
            return match record {
                _ if current.refresh != key => self.again(state, id),
                Record::Intent(of, profile) if !self.makes(Mistake::ReplacedWithoutItsLock) => {
                    state.processes[index(id)].named = (of, profile);
                    lock_store(state, id, of, Task::Resolve);
                }
                _ => go(state, id, At::Hand),
            };
        }
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
                // The token received last is the best choice.
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

    pub(super) fn reread(&self, state: &mut State, id: u8) {
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
            return go(state, id, merging(Task::Resolve, reply));
        }
        if state.is_endpoint_waiting && !self.is_recovery {
            if !self.makes(Mistake::EndpointIgnored) {
                return self.end(state, id, End::Unavailable);
            }
            state.wrongs.add(Wrongs::ASKED_TOO_SOON);
        }
        state.answers[index(agent)][self.file(current.refresh)] = Answer::Reserved;
        go(state, id, At::Intend);
    }

    /// `recovery::recover_crashed`: the response of another token beside the locked store, whose
    /// process crashed before it could record the outcome.
    pub(super) fn left_behind(
        &self,
        state: &State,
        agent: u8,
        except: Token,
    ) -> Option<(Token, u8, Reply)> {
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

    pub(super) fn resolve(&self, state: &mut State, id: u8) {
        let Process { agent, named: (of, profile), .. } = state.processes[index(id)];
        let process = &state.processes[index(id)];
        let (key, before) = (process.lock.unwrap_or(0), process.before);
        let file = self.file(key);
        if let Answer::Whole(reply) = state.answers[index(of)][file] {
            return go(state, id, merging(Task::Resolve, reply));
        }
        state.answers[index(of)][file] = Answer::None;
        if let (Some(there), Some(before)) = (state.login(of, profile), before)
            && there.refresh != key
            && there.access > before.access
            && !self.leads_to(state, agent, there.refresh, key)
        {
            return go(state, id, At::Note(there.refresh));
        }
        self.release_store(state, id);
        if state.processes[index(id)].new.is_some() {
            go(state, id, At::Hand);
        } else if before.is_some_and(|before| before.refresh == key) {
            lock_store(state, id, agent, Task::Send);
        } else {
            self.again_if_found(state, id, key);
        }
    }
}
