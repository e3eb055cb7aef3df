//! The effect of a response on a store: reading it, merging into it, and the steps after writing
//! it.

use super::super::issuer::{Reply, Status, Who};
use super::super::state::{At, Document, End, Login, PROFILES, State, Task, Token, Wrongs};
use super::super::{Refresh, index};
use super::{go, lock_store};
use crate::mistakes::Mistake;

impl Refresh {
    pub(super) fn read(&self, state: &mut State, id: u8, task: Task, reply: Reply) {
        let process = &state.processes[index(id)];
        let (agent, key) = (process.agent, process.key());
        let before = match (task, process.snapshot) {
            (Task::Merge(_), Some(snapshot)) => snapshot,
            _ => state.stores[index(process.store.unwrap_or(agent))],
        };
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
            (Task::Home(_), Reply::Tokens { refresh, access }) => {
                let is_past = self.is_used_up(state, agent, refresh);
                for profile in (0..PROFILES).filter(|_| !is_past) {
                    if before[profile].is_some_and(|it| self.is_behind(state, agent, it, key)) {
                        after[profile] = Some(Login { refresh, access, obtained: access });
                        touched |= 1 << profile;
                    }
                }
                if touched == 0 {
                    return self.end(state, id, End::Unmerged);
                }
            }
            (Task::Hand, _) => {
                for profile in 0..PROFILES {
                    let is_behind = |it: Login| self.leads_to(state, agent, it.refresh, key);
                    if before[profile].is_some_and(is_behind) {
                        after[profile] = process.before;
                        touched |= 1 << profile;
                    }
                }
            }
            (Task::Replace(new), _) => {
                let there = &mut after[index(process.profile)];
                let mut others = state.stores[index(1 - agent)].iter().flatten();
                let is_awaited = others.any(|it| self.leads_to(state, agent, it.refresh, key))
                    && !self.makes(Mistake::HandedOverTooEarly);
                if is_awaited || there.is_none_or(|there| there.refresh != key) {
                    return self.again(state, id);
                }
                *there = Some(new);
                touched = 1 << process.profile;
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
                    return self.find_home(state, id, reply);
                }
            }
            _ => {}
        }
        // Tokens that are already there are written again, because the backup may not have them.
        if touched == 0 {
            self.written(state, id, task, reply, successor);
        } else {
            go(state, id, At::Rename(task, reply, before, after, touched, successor));
        }
    }

    /// `copies::find_home`: what came fits nothing in its store any more; another agent may still
    /// hold the token that was sent.
    fn find_home(&self, state: &mut State, id: u8, reply: Reply) {
        self.release_store(state, id);
        let process = &state.processes[index(id)];
        let (agent, key, other) = (process.agent, process.key(), 1 - process.named.0);
        let mut held = state.stores[index(other)].iter().flatten();
        if held.any(|login| self.is_behind(state, agent, *login, key)) {
            lock_store(state, id, other, Task::Home(reply));
        } else {
            self.end(state, id, End::Unmerged);
        }
    }

    /// Whether a login has the token that was sent, or one before it.
    fn is_behind(&self, state: &State, agent: u8, login: Login, sent: Token) -> bool {
        login.refresh == sent || self.leads_to(state, agent, login.refresh, sent)
    }

    /// `apply::merge`: the token that replaced `sent`, and the profiles to write.
    pub(super) fn merge(
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
            if !is_wanted && state.issuer.account(held) != state.issuer.account(sent) {
                continue;
            }
            let is_one_before = sent_login
                .is_some_and(|sent| login.obtained == sent.obtained && login.access < sent.access);
            let is_replaced = held == sent
                || is_wanted && (self.leads_to(state, agent, held, sent) || knows && is_one_before);
            if !(is_replaced || is_wanted && has_rotated) {
                continue;
            }
            let is_made_of = |earlier: Login| {
                login.obtained == earlier.obtained && login.access > earlier.access
            };
            let is_moved_on =
                is_made_of(renewed) || held != sent && sent_login.is_some_and(is_made_of);
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

    /// The store has the content that the task wants.
    pub(super) fn written(
        &self,
        state: &mut State,
        id: u8,
        task: Task,
        reply: Reply,
        successor: Option<Token>,
    ) {
        match task {
            Task::Heal(login) => self.adopted(state, id, Some(login.access)),
            Task::Send | Task::Merge(_) | Task::Resolve => {
                go(state, id, At::Settle(reply, successor));
            }
            Task::Give(_) => self.again(state, id),
            Task::Home(Reply::Tokens { refresh, .. }) => go(state, id, At::SettleHome(refresh)),
            Task::Home(Reply::Refused) => self.end(state, id, End::Unmerged),
            Task::Hand => self.replace(state, id),
            Task::Replace(new) => self.end(state, id, End::Valid(new.access)),
        }
    }

    /// Our store has another process's token: start again with it.
    pub(super) fn adopted(&self, state: &mut State, id: u8, access: Option<u8>) {
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
}

/// Judges the content that was just overwritten. An issuer with a grace period may leave a login
/// with several live tokens; then replacing one of them with another loses nothing.
pub(super) fn note_overwritten(
    state: &mut State,
    replaced: Document,
    after: Document,
    touched: u8,
) {
    for (profile, (login, now)) in replaced.into_iter().zip(after).enumerate() {
        if touched & (1 << profile) == 0 && login != now {
            state.wrongs.add(Wrongs::REVERTED);
        }
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
