//! Sending a token: what arrives at the issuer, and what does not come back.

use super::super::issuer::{Kind, Reply, Status, Who};
use super::super::state::{Answer, At, Directory, End, Process, Record, State, Token, Wrongs};
use super::super::{Refresh, index};
use super::go;

/// How often a token is sent again when no answer came. The code does it twice; the second time
/// differs from the first in nothing that the model knows.
const REPLAYS: u8 = 1;

impl Refresh {
    pub(super) fn transmit(&self, state: &mut State, id: u8, replays: u8) {
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
    pub(super) fn spend(&self, state: &mut State, id: u8, key: Token) -> Reply {
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

    /// The issuer says that it cannot answer now.
    pub(in crate::refresh) fn turn_away(&self, state: &mut State, id: u8) {
        let process = &state.processes[index(id)];
        let (agent, key) = (process.agent, process.lock.unwrap_or(0));
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
