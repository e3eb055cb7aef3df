//! The refresh protocol: three of our processes in two agents, two Clawdbots, one issuer.
//!
//! Our steps are those of `auth_providers::refresh`; the README of this crate lists the function of
//! each step. A step is one access to shared state: a file, a lock, the issuer. Between any two
//! steps any other process may act, and any process may be killed.

mod check;
mod clawdbot;
mod issuer;
mod ours;
mod scopes;
pub mod state;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};

use crate::mistakes::Mistake;
use state::{At, Directory, Record, State};

pub use issuer::{Issuer, Kind, Reply, Status, Who};
pub use scopes::Scope;
pub use state::Wrongs;

/// The model: a scope, and a mistake, if any.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The participants, and the bounds.
    pub scope: Scope,
    /// The mistake, if any.
    pub mistake: Option<Mistake>,
    /// Whether one process recovers alone, later.
    is_recovery: bool,
    /// The files and records from which recovery was tried already.
    tried: Arc<Mutex<HashSet<u64>>>,
}

/// One action.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// One of our processes performs its next step.
    Step(u8),
    /// Its request arrives, and the response is lost.
    LoseAnswer(u8),
    /// Its request is turned away.
    TurnAway(u8),
    /// It is killed.
    Kill(u8),
    /// It takes the directory of a Clawdbot that was stopped for too long.
    TakeOver(u8),
    /// A Clawdbot loads its store.
    Load(u8),
    /// It saves the content that it loaded.
    SaveUnlocked(u8),
    /// It takes the directory.
    Lock(u8),
    /// It continues its refresh.
    Proceed(u8),
    /// It is killed.
    KillClawdbot(u8),
    /// All access tokens expire.
    EndAccess,
    /// A record is removed, which only a mistake does.
    RemoveRecord(u8),
}

impl Refresh {
    /// The model of a scope.
    pub fn new(scope: Scope, mistake: Option<Mistake>) -> Self {
        Self { scope, mistake, is_recovery: false, tried: Arc::default() }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

/// Describes an action.
pub fn tell(state: &State, action: &Action) -> String {
    match action {
        Action::Step(id) => format!("{id} {:?}", state.processes[index(*id)].at),
        other => format!("{other:?}"),
    }
}

impl Model for Refresh {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.scope.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrongs != Wrongs::default() {
            return;
        }
        for id in 0..self.scope.processes {
            let process = &state.processes[index(id)];
            if self.is_enabled(state, id) {
                actions.push(Action::Step(id));
            }
            let target = index(process.store.unwrap_or(process.agent));
            match process.at {
                At::Transmit(_) if state.faults > 0 && self.may_send(state, id) => {
                    actions.extend([Action::LoseAnswer(id), Action::TurnAway(id)]);
                }
                At::LockStore(_)
                    if state.thefts > 0
                        && state.store_locks[target] == 0
                        && matches!(state.directories[target], Directory::Clawdbot(_)) =>
                {
                    actions.push(Action::TakeOver(id));
                }
                _ => {}
            }
            // Killing a process without a lock leaves nothing unfinished.
            if state.crashes > 0 && (process.lock.is_some() || process.store.is_some()) {
                actions.push(Action::Kill(id));
            }
        }
        for id in 0..self.scope.clawdbots {
            Self::whims(state, id, actions);
            if Self::is_busy(state, id) {
                actions.push(Action::Proceed(id));
                if state.crashes > 0 {
                    actions.push(Action::KillClawdbot(id));
                }
            }
        }
        if state.ends > 0 && state.issuer.valid_from < state.issuer.next_access {
            actions.push(Action::EndAccess);
        }
        self.removable(state).for_each(|token| actions.push(Action::RemoveRecord(token)));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(id) => self.step(&mut state, id),
            Action::LoseAnswer(id) => {
                state.faults -= 1;
                let At::Transmit(replays) = last.processes[index(id)].at else { return None };
                self.lose(&mut state, id, replays);
            }
            Action::TurnAway(id) => {
                state.faults -= 1;
                state.processes[index(id)].at = At::LockEndpoint;
            }
            Action::Kill(id) => {
                state.crashes -= 1;
                self.kill(&mut state, id);
            }
            Action::TakeOver(id) => {
                state.thefts -= 1;
                let At::LockStore(task) = last.processes[index(id)].at else { return None };
                self.take_over(&mut state, id, task);
            }
            Action::Load(id) => {
                let clawdbot = &mut state.clawdbots[index(id)];
                clawdbot.loads -= 1;
                clawdbot.memory = state.stores[index(clawdbot.agent)];
            }
            Action::SaveUnlocked(id) => {
                let clawdbot = &mut state.clawdbots[index(id)];
                clawdbot.saves -= 1;
                let agent = clawdbot.agent;
                state.stores[index(agent)] = clawdbot.memory;
                ours::note_seen(&mut state, agent);
            }
            Action::Lock(id) => Self::lock(&mut state, id),
            Action::Proceed(id) => self.proceed(&mut state, id),
            Action::KillClawdbot(id) => {
                state.crashes -= 1;
                Self::kill_clawdbot(&mut state, id);
            }
            Action::EndAccess => {
                state.ends -= 1;
                state.issuer.expire();
            }
            Action::RemoveRecord(token) => {
                state.records[index(token)] = Record::None;
                state.removals -= 1;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        check::properties()
    }
}

/// A small number as an index.
fn index(id: u8) -> usize {
    usize::from(id)
}
