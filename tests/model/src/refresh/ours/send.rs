//! Sending a token: what arrives at the issuer, and which responses are lost.

use super::super::issuer::{Kind, Reply, Status, Who};
use super::super::state::{Answer, At, Directory, End, Process, Record, State, Token, Wrongs};
use super::super::{Refresh, index};
use super::go;

/// How often a token is sent again after a lost response. The code does it twice; in the model the
/// second time would not differ from the first.
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

    /// The token arrives at the issuer. This checks whether sending it was correct.
    pub(super) fn spend(&self, state: &mut State, id: u8, key: Token) -> Reply {
        let process = &state.processes[index(id)];
        if matches!(self.record(state, process.agent, key), Record::Consumed(..)) {
            state.wrongs.add(Wrongs::SENT_USED_UP);
        }
        match state.issuer.status(key) {
            Status::Used(Who::Ours, next) if !state.is_in_window(next) => {
                state.wrongs.add(Wrongs::SENT_TWICE);
            }
            // The token was in the store while this process had the lock: no check could have
            // detected the use.
            Status::Used(Who::Clawdbot, _) if process.seen & (1 << key) != 0 => {
                state.by_clawdbot |= 1 << state.issuer.lineage[index(key)];
            }
            Status::Used(Who::Clawdbot, _) => state.wrongs.add(Wrongs::SENT_TWICE),
            _ => {}
        }
        state.issuer.spend(key, Who::Ours, self.scope.issuer)
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

    /// The issuer responds that it is temporarily unavailable.
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
