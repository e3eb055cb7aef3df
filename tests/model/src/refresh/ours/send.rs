//! Sending a token: what arrives at the issuer, and which responses are lost.

use super::super::issuer::{Kind, Reply, Status, Who};
use super::super::state::{
    Answer, At, Directory, End, Process, Record, State, Task, Token, Wrongs,
};
use super::super::{Refresh, index};
use super::{go, lock_store};
use crate::mistakes::Mistake;

/// How often a token is sent again after a lost response. The code does it twice; in the model the
/// second time would not differ from the first.
const REPLAYS: u8 = 1;

impl Refresh {
    /// Whether nothing has happened that keeps the token from being sent: the directory that was
    /// kept is ours still; or no Clawdbot has it, and the store holds the token still.
    pub(in crate::refresh) fn may_send(&self, state: &State, id: u8) -> bool {
        let Process { agent, profile, .. } = state.processes[index(id)];
        if self.scope.keeps_directory {
            return state.has_directory(id, agent);
        }
        let is_free =
            matches!(state.directories[index(agent)], Directory::Free | Directory::Ours(_));
        let held = state.login(agent, profile).map(|login| login.refresh);
        self.makes(Mistake::NoLookBeforeSending)
            || is_free && held == state.processes[index(id)].lock
    }

    pub(super) fn transmit(&self, state: &mut State, id: u8, replays: u8) {
        let Process { agent, .. } = state.processes[index(id)];
        let key = state.processes[index(id)].lock.unwrap_or(0);
        if !self.may_send(state, id) {
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

    /// The token arrives at the issuer. This checks whether sending it was correct.
    pub(super) fn spend(&self, state: &mut State, id: u8, key: Token) -> Reply {
        let Process { agent, profile, .. } = state.processes[index(id)];
        if !self.scope.keeps_directory
            && state.login(agent, profile).is_some_and(|login| login.refresh == key)
        {
            state.processes[index(id)].seen |= 1 << key;
        }
        let process = &state.processes[index(id)];
        if matches!(self.record(state, process.agent, key), Record::Consumed(..)) {
            state.wrongs.add(Wrongs::SENT_USED_UP);
        }
        match state.issuer.status(key) {
            Status::Used(Who::Ours, next) if !state.is_in_window(next) => {
                state.wrongs.add(Wrongs::SENT_TWICE);
            }
            // It was in the store while this one had the directory, or right before it was sent: no
            // look could have told.
            Status::Used(Who::Clawdbot, _) if process.seen & (1 << key) != 0 => {
                state.by_clawdbot |= 1 << state.issuer.lineage[index(key)];
            }
            Status::Used(Who::Clawdbot, _) => state.wrongs.add(Wrongs::SENT_TWICE),
            _ => {}
        }
        state.issuer.spend(key, Who::Ours, self.scope.issuer)
    }

    /// The answer goes to its file, whose space was reserved. Without that the disk is full.
    pub(super) fn store_answer(&self, state: &mut State, id: u8, reply: Reply) {
        let Process { agent, .. } = state.processes[index(id)];
        let key = state.processes[index(id)].lock.unwrap_or(0);
        let file = &mut state.answers[index(agent)][self.file(key)];
        if *file == Answer::None {
            return self.end(state, id, End::Unavailable);
        }
        *file = Answer::Whole(reply);
        state.processes[index(id)].has_sent = true;
        lock_store(state, id, agent, Task::Merge(reply));
    }

    /// The request arrives, and the response is lost.
    pub(in crate::refresh) fn lose(&self, state: &mut State, id: u8, replays: u8) {
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

    /// The issuer has said that it cannot answer now, and the lock of that note is had.
    pub(super) fn note_endpoint(&self, state: &mut State, id: u8) {
        let process = &state.processes[index(id)];
        let (agent, key) = (process.agent, process.lock.unwrap_or(0));
        state.is_endpoint_waiting = true;
        state.answers[index(agent)][self.file(key)] = Answer::None;
        state.records[self.slot(agent, key)] = Record::Waiting;
        self.end(state, id, End::Unavailable);
    }

    pub(super) fn note_lost_answer(&self, state: &mut State, reply: Reply) {
        if let Reply::Tokens { refresh, .. } = reply
            && self.scope.issuer != Kind::Fixed
        {
            state.in_window |= 1 << refresh;
        }
    }
}
