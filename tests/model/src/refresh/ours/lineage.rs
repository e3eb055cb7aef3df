//! Records, and rotation chains.

use super::super::state::{Login, Record, State, TOKENS, Token};
use super::super::{Refresh, index};
use crate::mistakes::Mistake;

impl Refresh {
    /// `rotation_chain::relation`.
    pub(super) fn is_successor(
        &self,
        state: &State,
        agent: u8,
        before: Login,
        current: Login,
    ) -> bool {
        self.makes(Mistake::ChainThatCloses)
            || current.access > before.access
                && !self.leads_to(state, agent, current.refresh, before.refresh)
    }

    /// `copies::newer_copy`.
    pub(super) fn is_stale_copy(state: &State, agent: u8, profile: u8, current: Login) -> bool {
        let Some(other) = state.login(1 - agent, profile) else { return false };
        let is_own = || {
            // A login's record says for whom it was made; there is one, in the first agent.
            agent == 0 && state.is_of_new_login(current)
                || state.records.iter().any(
                |record| matches!(record, Record::Consumed(next, of) if *next == current.refresh && *of == agent),
            )
        };
        other.refresh != current.refresh
            && state.issuer.account(other.refresh) == state.issuer.account(current.refresh)
            && other.access > current.access
            && !(other.obtained != current.obtained && is_own())
    }

    /// `rotation_chain::chain`: its end, and the agent that the last record names; or all tokens of
    /// a cycle.
    pub(super) fn chain(&self, state: &State, agent: u8, from: Token) -> Result<(Token, u8), u16> {
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

    /// `rotation_chain::leads_to`.
    pub(super) fn leads_to(&self, state: &State, agent: u8, from: Token, to: Token) -> bool {
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

    pub(super) fn is_used_up(&self, state: &State, agent: u8, token: Token) -> bool {
        matches!(self.record(state, agent, token), Record::Consumed(..))
    }

    pub(super) fn record(&self, state: &State, agent: u8, token: Token) -> Record {
        state.records[self.slot(agent, token)]
    }

    /// The index of the record and the lock of a token.
    pub(in crate::refresh) fn slot(&self, agent: u8, token: Token) -> usize {
        let of = if self.makes(Mistake::RecordsPerAgent) { index(agent) } else { 0 };
        of * TOKENS + index(token)
    }

    /// The index of a token's response file.
    pub(super) fn file(&self, token: Token) -> usize {
        if self.makes(Mistake::OneAnswerFilePerAgent) { 0 } else { index(token) }
    }
}

/// The login with this token in an agent's store or its backup.
pub(super) fn find_at(state: &State, agent: u8, token: Token) -> Option<Login> {
    let documents = [state.stores[index(agent)], state.backups[index(agent)]];
    documents.into_iter().flatten().flatten().find(|login| login.refresh == token)
}
