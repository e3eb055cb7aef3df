//! The properties that must hold in every state.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use stateright::Property;

use super::issuer::{Kind, NEW, Reply, Status, Who};
use super::state::{
    Answer, At, Directory, Doing, End, Login, Record, State, TOKENS, Token, Wrongs,
};
use super::{Refresh, index};
use crate::mistakes::Mistake;

/// The properties, by their names in reports.
pub(super) fn properties() -> Vec<Property<Refresh>> {
    vec![
        Property::always("no token whose record says consumed is sent", |_, state: &State| {
            !state.wrongs.has(Wrongs::SENT_USED_UP)
        }),
        Property::always("a token is sent once", |_, state: &State| {
            !state.wrongs.has(Wrongs::SENT_TWICE)
        }),
        Property::always("nobody's living token is written over", |_, state: &State| {
            !state.wrongs.has(Wrongs::OVERWROTE)
        }),
        Property::always("what is returned is valid", |_, state: &State| {
            !state.wrongs.has(Wrongs::RETURNED_ENDED)
        }),
        Property::always(
            "no profile is written over by one who is not about it",
            |_, state: &State| !state.wrongs.has(Wrongs::REVERTED),
        ),
        Property::always("an endpoint that wants to be left alone is", |_, state: &State| {
            !state.wrongs.has(Wrongs::ASKED_TOO_SOON)
        }),
        Property::always(
            "a kept directory keeps its token from every Clawdbot",
            |_, state: &State| !state.wrongs.has(Wrongs::LEFT_OPEN),
        ),
        Property::always(
            "nobody waits for a store because of a request",
            |model: &Refresh, state: &State| {
                (0..model.scope.processes).all(|id| !model.waits_for_a_request(state, id, 0))
            },
        ),
        Property::always("nothing is lost outside the window", |model: &Refresh, state: &State| {
            (0..model.scope.logins)
                .all(|login| !state.is_lost(login) || model.is_excused(state, login))
        }),
        Property::always("nothing deadlocks", |model: &Refresh, state: &State| {
            !model.is_stuck(state)
        }),
        Property::always("every answer is merged", |model: &Refresh, state: &State| {
            let is_unmerged = |at: At| at == At::Ended(End::Unmerged);
            // With grace, two may have got tokens for the same one.
            state.by_clawdbot != 0 && model.scope.issuer == Kind::Grace
                || !state.processes.iter().any(|it| is_unmerged(it.at))
        }),
        Property::always("every run recovers", |model: &Refresh, state: &State| {
            model.recovers(state)
        }),
        Property::sometimes("somebody gets a new token", |_, state: &State| {
            state.processes.iter().any(|process| matches!(process.at, At::Ended(End::Valid(_))))
        }),
    ]
}

impl State {
    /// Whether a token is on the disk, or in the memory of a process that is about to write it.
    pub(super) fn is_held(&self, token: Token) -> bool {
        let is_it =
            |reply: &Reply| matches!(reply, Reply::Tokens { refresh, .. } if *refresh == token);
        let documents = self.stores.iter().chain(&self.backups);
        documents.flatten().flatten().any(|login| login.refresh == token)
            || self
                .answers
                .iter()
                .flatten()
                .any(|answer| matches!(answer, Answer::Whole(reply) if is_it(reply)))
            || self
                .processes
                .iter()
                .any(|process| matches!(&process.at, At::Store(reply) if is_it(reply)))
            || self
                .clawdbots
                .iter()
                .any(|clawdbot| matches!(&clawdbot.doing, Doing::Answered(reply) if is_it(reply)))
    }

    /// Whether nobody has a living token of this account any more.
    pub(super) fn is_lost(&self, login: u8) -> bool {
        !self
            .tokens_of(login)
            .any(|token| self.issuer.status(token) == Status::Live && self.is_held(token))
    }

    /// Whether a login is of one that a person made anew.
    pub(super) fn is_of_new_login(&self, login: Login) -> bool {
        self.issuer.lineage[index(login.refresh)] == NEW
    }

    fn tokens_of(&self, login: u8) -> impl Iterator<Item = Token> {
        (0..self.issuer.count).filter(move |token| self.issuer.account(*token) == login)
    }

    /// Notes that a Clawdbot used this token in a way that cannot be repaired.
    pub(super) fn note_clawdbot(&mut self, token: Token) {
        self.by_clawdbot |= 1 << self.issuer.lineage[index(token)];
    }
}

impl Refresh {
    /// Whether the loss of a login is unavoidable: its response was lost before it could be
    /// written, or a Clawdbot caused it.
    fn is_excused(&self, state: &State, login: u8) -> bool {
        // These issuers return another response for the old token, whoever used it.
        if matches!(self.scope.issuer, Kind::Grace | Kind::Fixed) && self.is_recovery {
            return state.by_clawdbot & (1 << login) != 0;
        }
        state.by_clawdbot & (1 << login) != 0
            || self.scope.issuer == Kind::Grace
            || state.tokens_of(login).any(|token| {
                state.is_in_window(token)
                    || state.issuer.issued_to[index(token)] == Who::Clawdbot
                        && state.issuer.status(token) == Status::Live
                        && !state.is_held(token)
            })
    }

    /// Whether a process has not ended although no process can perform a step.
    fn is_stuck(&self, state: &State) -> bool {
        let processes = &state.processes[..index(self.scope.processes)];
        processes.iter().any(|process| !matches!(process.at, At::Ended(_)))
            && !(0..self.scope.processes).any(|id| self.is_enabled(state, id))
            && !(0..self.scope.clawdbots).any(|id| Self::is_busy(state, id))
    }

    /// Whether the process waits, for anything but its own token, until somebody of ours has its
    /// answer from the issuer.
    fn waits_for_a_request(&self, state: &State, id: u8, depth: u8) -> bool {
        let process = &state.processes[index(id)];
        let target = index(process.store.unwrap_or(process.agent));
        let asks = |other: u8| {
            matches!(state.processes[index(other)].at, At::Transmit(_))
                || depth < self.scope.processes
                    && !self.is_enabled(state, other)
                    && self.waits_for_a_request(state, other, depth + 1)
        };
        let holder_asks = |lock: u8| lock != 0 && lock != id + 1 && asks(lock - 1);
        match process.at {
            At::LockStore(_) => {
                let is_kept_out = |all: u8| {
                    !self.may_take(state, id, target)
                        && (0..self.scope.processes)
                            .any(|it| it != id && all & (1 << it) != 0 && asks(it))
                };
                holder_asks(state.store_locks[target])
                    || matches!(state.directories[target], Directory::Ours(all) if is_kept_out(all))
            }
            At::Await(token) if !self.is_enabled(state, id) => {
                holder_asks(state.token_locks[self.slot(process.agent, token)])
            }
            At::LockEndpoint => holder_asks(state.endpoint_lock),
            _ => false,
        }
    }

    /// Whether, if all processes crashed now and all access tokens expired, the next call for each
    /// agent, alone and undisturbed, would get a token; in both orders.
    fn recovers(&self, state: &State) -> bool {
        if state.wrongs != Wrongs::default() {
            return true;
        }
        let durable = (&state.stores, &state.backups, &state.answers, &state.records);
        let judged = (&state.issuer, state.in_window, state.by_clawdbot);
        let doing: Vec<_> =
            state.processes.iter().map(|it| matches!(it.at, At::Store(_))).collect();
        let theirs: Vec<_> =
            state.clawdbots.iter().map(|it| matches!(it.doing, Doing::Answered(_))).collect();
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let fingerprint = hasher.hash_one((durable, judged, doing, theirs));
        let is_new = self.tried.lock().is_ok_and(|mut tried| tried.insert(fingerprint));
        !is_new || self.recover(state, &[0, 1]) && self.recover(state, &[1, 0])
    }

    fn recover(&self, state: &State, agents: &[u8]) -> bool {
        let later = Self { is_recovery: true, ..self.clone() };
        let mut state = state.clone();
        for id in 0..self.scope.processes {
            if !matches!(state.processes[index(id)].at, At::Ended(_)) {
                later.kill(&mut state, id);
            }
        }
        for id in 0..self.scope.clawdbots {
            Self::kill_clawdbot(&mut state, id);
        }
        state.issuer.expire();
        for agent in agents {
            for profile in 0..self.scope.logins {
                let process = &mut state.processes[0];
                (process.agent, process.profile) = (*agent, profile);
                (process.at, process.attempts, process.has_sent) = (At::Look, 0, false);
                process.new = None;
                let mut steps = 0;
                while !matches!(state.processes[0].at, At::Ended(_)) {
                    if !later.is_enabled(&state, 0) || steps > LONGEST {
                        return false;
                    }
                    later.step(&mut state, 0);
                    steps += 1;
                }
                let end = state.processes[0].at;
                if state.wrongs != Wrongs::default() {
                    return false;
                }
                let is_fine = matches!(end, At::Ended(End::Valid(_)))
                    || state.login(*agent, profile).is_none()
                    || later.is_excused(&state, profile)
                    || Self::is_left_behind(&state, *agent, profile);
                if !is_fine {
                    return false;
                }
            }
        }
        true
    }

    /// Whether an agent holds a token that a Clawdbot used up, or one of whose successors it used
    /// up, without any record of it; or has a copy that differs from one that a Clawdbot refreshed.
    fn is_left_behind(state: &State, agent: u8, profile: u8) -> bool {
        let Some(login) = state.login(agent, profile) else { return false };
        let mut token = login.refresh;
        let is_stale = state.processes[0].at == At::Ended(End::Stale);
        if is_stale && state.login(1 - agent, profile).is_some_and(|it| state.is_of_new_login(it)) {
            return true;
        }
        let is_theirs = |token: Token| state.issuer.issued_to[index(token)] == Who::Clawdbot;
        if is_stale && state.tokens_of(profile).any(is_theirs) {
            return true;
        }
        while let Status::Used(who, next) = state.issuer.status(token) {
            if who == Who::Clawdbot {
                return true;
            }
            token = next;
        }
        false
    }

    /// The records that a mistake removes.
    pub(super) fn removable<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Token> + 'a {
        let is_named_on_disk = |token: Token| {
            let documents = state.stores.iter().chain(&state.backups);
            documents.flatten().flatten().any(|login| login.refresh == token)
                || state.answers.iter().any(|it| it[index(token)] != Answer::None)
        };
        let is_named_in_records = move |token: Token| {
            state.records.iter().any(|it| matches!(it, Record::Consumed(next, _) if *next == token))
        };
        let removes = move |token: &Token| match self.mistake {
            Some(Mistake::RemovalOfANamedRecord) => true,
            Some(Mistake::RemovalOfAnUnnamedRecord) => {
                !is_named_on_disk(*token) && !is_named_in_records(*token)
            }
            _ => false,
        };
        let is_past = |token: &Token| {
            matches!(state.records[index(*token)], Record::Consumed(..))
                && state.token_locks[index(*token)] == 0
                && state.removals > 0
        };
        (0..TOKENS as Token).filter(is_past).filter(removes)
    }
}

/// More steps than any recovery takes.
const LONGEST: u32 = 500;
