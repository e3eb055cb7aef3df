//! Clawdbot's directory lock: three of our processes, two of Clawdbot's.
//!
//! Clawdbot uses npm's proper-lockfile: it removes a directory that it judged stale without
//! checking again, and at the end removes whatever is at the path. Our steps are those of
//! `auth_store`'s `clawdbot_lock`; the README of this crate lists the function of each step.

mod ours;
pub mod state;

use stateright::{Model, Property};

use crate::mistakes::Mistake;
use state::{
    At, CLAWDBOTS, Clawdbot, Doing, Identity, Maker, PROCESSES, Place, Process, State, Wrongs,
};

/// The model: its bounds, and a mistake, if any.
#[derive(Clone, Copy, Debug)]
pub struct Directory {
    /// How many of our processes take the lock.
    pub takers: usize,
    /// How many of these keep it for a while without the kernel lock.
    pub keepers: usize,
    /// How many processes are killed, of ours or Clawdbot's.
    pub crashes: u8,
    /// How many processes are stopped for so long that their directory is stale.
    pub stops: u8,
    /// The mistake, if any.
    pub mistake: Option<Mistake>,
}

/// One action.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// One of our processes performs its next step.
    Step(u8),
    /// One of our processes is killed.
    Kill(u8),
    /// A Clawdbot performs its next step.
    Proceed(u8),
    /// A Clawdbot has polled for too long, and saves without the lock.
    SaveUnlocked(u8),
    /// A Clawdbot is killed.
    KillClawdbot(u8),
    /// The directory at the path was not touched for 32 s: its maker crashed, or was stopped.
    Age,
}

/// Describes an action.
pub fn tell(state: &State, action: &Action) -> String {
    match action {
        Action::Step(id) => format!("{id} {:?}", state.processes[usize::from(*id)].at),
        Action::Proceed(id) => {
            format!("Clawdbot {id} {:?}", state.clawdbots[usize::from(*id)].doing)
        }
        other => format!("{other:?}"),
    }
}

impl Directory {
    /// Three processes of ours, or two if that is enough.
    pub fn new(is_full: bool, mistake: Option<Mistake>) -> Self {
        let more = u8::from(is_full);
        let more_takers = usize::from(more);
        Self {
            takers: 2 + more_takers,
            keepers: 1 + more_takers,
            crashes: 1 + more,
            stops: 1,
            mistake,
        }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn clawdbot_can(state: &State, id: usize) -> bool {
        match state.clawdbots[id].doing {
            Doing::Poll => state.path.is_none_or(|place| !place.is_fresh),
            Doing::Done | Doing::Killed => false,
            _ => true,
        }
    }

    fn proceed(state: &mut State, id: u8) {
        let update = 1 << (PROCESSES + usize::from(id));
        let doing = state.clawdbots[usize::from(id)].doing;
        let next = match doing {
            Doing::Poll if state.path.is_some() => Doing::Steal,
            Doing::Poll | Doing::Mkdir if state.path.is_none() => {
                state.path = Some(state.make(Maker::Clawdbot(id)));
                Doing::Read
            }
            Doing::Mkdir => Doing::Poll,
            Doing::Steal => {
                Self::rmdir(state, id);
                Doing::Mkdir
            }
            Doing::Read => {
                state.clawdbots[usize::from(id)].seen = state.store;
                Doing::Save
            }
            Doing::Save => {
                state.store = state.clawdbots[usize::from(id)].seen | update;
                Doing::Unlock
            }
            Doing::Unlock => {
                Self::rmdir(state, id);
                Doing::Done
            }
            other => other,
        };
        state.clawdbots[usize::from(id)].doing = next;
    }

    /// A Clawdbot removes whatever is at the path.
    fn rmdir(state: &mut State, by: u8) {
        let removed = state.path.take().map(|place| place.maker);
        for (id, clawdbot) in (0..).zip(&mut state.clawdbots) {
            let is_its_own = removed == Some(Maker::Clawdbot(id));
            let stands_for_it = clawdbot.is_displaced && removed.is_some();
            if id != by && (is_its_own || stands_for_it) {
                clawdbot.is_ousted = true;
                clawdbot.is_displaced = false;
            }
        }
    }

    /// Whether the maker of a directory is alive, and believes that the directory is its own.
    fn is_held(state: &State, place: Place) -> bool {
        match place.maker {
            Maker::Ours(_) => {
                state.processes.iter().any(|process| process.held == Some(place.identity))
            }
            Maker::Clawdbot(id) => {
                let clawdbot = state.clawdbots[usize::from(id)];
                let doing = clawdbot.doing;
                !clawdbot.is_ousted && matches!(doing, Doing::Read | Doing::Save | Doing::Unlock)
            }
        }
    }
}

impl State {
    /// Renumbers the birth times: which of two directories is older is irrelevant.
    fn renumber(&mut self) {
        let mut births = Vec::new();
        self.each_identity(&mut |identity| births.push(identity.born));
        births.sort_unstable();
        births.dedup();
        let place = |born: u8| births.iter().position(|it| *it == born).unwrap_or(0);
        self.each_identity(&mut |identity| identity.born = place(identity.born) as u8);
        self.now = births.len() as u8;
    }

    fn each_identity(&mut self, visit: &mut dyn FnMut(&mut Identity)) {
        for place in [&mut self.path, &mut self.private].into_iter().flatten() {
            visit(&mut place.identity);
        }
        self.memory.iter_mut().for_each(&mut *visit);
        for process in &mut self.processes {
            process.held.iter_mut().for_each(&mut *visit);
            match &mut process.at {
                At::Make(Some(judged))
                | At::Remember(Some(judged))
                | At::Exchange(judged)
                | At::Verify(judged) => visit(judged),
                _ => {}
            }
        }
    }

    /// Creates a directory as the file system does: with the lowest free inode number. The number
    /// of a removed directory is not free while a process has it open.
    fn make(&mut self, maker: Maker) -> Place {
        let is_used = |inode: &u8| {
            let places = [self.path, self.private];
            places.iter().flatten().any(|place| place.identity.inode == *inode)
                || self
                    .processes
                    .iter()
                    .any(|process| process.held.is_some_and(|identity| identity.inode == *inode))
        };
        let inode = (0..u8::MAX).find(|inode| !is_used(inode)).unwrap_or(u8::MAX);
        let born = self.now;
        self.now += 1;
        Place { identity: Identity { inode, born }, is_fresh: true, maker }
    }
}

impl Model for Directory {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let clawdbot =
            Clawdbot { doing: Doing::Poll, seen: 0, is_displaced: false, is_ousted: false };
        vec![State {
            path: None,
            private: None,
            memory: None,
            store_lock: 0,
            now: 0,
            store: 0,
            processes: std::array::from_fn(|id| {
                let at = if id < self.takers { At::LockStore } else { At::Done };
                Process { at, held: None, keeps: false, seen: 0 }
            }),
            clawdbots: [clawdbot; CLAWDBOTS],
            crashes: self.crashes,
            stops: self.stops,
            wrongs: Wrongs::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrongs != Wrongs::default() {
            return;
        }
        for id in 0..self.takers {
            if self.can(state, id) {
                actions.push(Action::Step(id as u8));
            }
            let process = state.processes[id];
            let is_in = !matches!(process.at, At::LockStore | At::Done | At::Killed);
            if state.crashes > 0 && is_in {
                actions.push(Action::Kill(id as u8));
            }
        }
        for id in 0..CLAWDBOTS {
            if Self::clawdbot_can(state, id) {
                actions.push(Action::Proceed(id as u8));
            }
            let doing = state.clawdbots[id].doing;
            if doing == Doing::Poll {
                actions.push(Action::SaveUnlocked(id as u8));
            }
            if state.crashes > 0 && !matches!(doing, Doing::Poll | Doing::Done | Doing::Killed) {
                actions.push(Action::KillClawdbot(id as u8));
            }
        }
        if state.path.is_some_and(|place| {
            place.is_fresh && (state.stops > 0 || !Self::is_held(state, place))
        }) {
            actions.push(Action::Age);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(id) => self.step(&mut state, id),
            Action::Kill(id) => {
                state.crashes -= 1;
                if state.store_lock == id + 1 {
                    state.store_lock = 0;
                }
                state.processes[usize::from(id)] =
                    Process { at: At::Killed, held: None, keeps: false, seen: 0 };
            }
            Action::Proceed(id) => Self::proceed(&mut state, id),
            Action::SaveUnlocked(id) => {
                let clawdbot = &mut state.clawdbots[usize::from(id)];
                state.store = clawdbot.seen | 1 << (PROCESSES + usize::from(id));
                clawdbot.doing = Doing::Done;
            }
            Action::KillClawdbot(id) => {
                state.crashes -= 1;
                state.clawdbots[usize::from(id)].doing = Doing::Killed;
            }
            Action::Age => {
                let place = state.path.as_mut()?;
                place.is_fresh = false;
                if Self::is_held(last, *place) {
                    state.stops -= 1;
                }
            }
        }
        state.renumber();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = Property::always;
        vec![
            always("nobody's living lock is removed", |_, state: &State| {
                !state.wrongs.has(Wrongs::REMOVED)
            }),
            always("nobody's living lock is taken for ours", |_, state: &State| {
                !state.wrongs.has(Wrongs::ADOPTED)
            }),
            always("nothing is written under a lock that was taken from the living", |_, state| {
                !state.wrongs.has(Wrongs::INTRUDED)
            }),
            always("no update is written over by ours", |_, state: &State| {
                !state.wrongs.has(Wrongs::DROPPED)
            }),
            always("a dead one of ours delays nobody", |model: &Self, state: &State| {
                let is_of_our_dead = |place: Place| {
                    matches!(place.maker, Maker::Ours(id)
                        if state.processes[usize::from(id)].at == At::Killed)
                };
                !state.path.is_some_and(is_of_our_dead)
                    || state.store_lock != 0
                    || model.may_take(state)
            }),
            always("nothing deadlocks", |model: &Self, state: &State| {
                let is_over = |it: &Process| matches!(it.at, At::Done | At::Killed);
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                state.processes.iter().all(is_over)
                    || state.wrongs != Wrongs::default()
                    || actions.iter().any(|action| {
                        matches!(action, Action::Step(_) | Action::Proceed(_) | Action::Age)
                    })
            }),
            Property::sometimes("everybody has written", |model: &Self, state: &State| {
                state.store.count_ones() as usize == model.takers + CLAWDBOTS
            }),
        ]
    }
}
