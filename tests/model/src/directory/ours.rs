//! One of our processes, step by step, as `clawdbot_lock` and `StoreLock::update` do it.

use super::state::{At, Doing, Identity, Maker, PROCESSES, Place, State, Wrongs};
use super::{CLAWDBOTS, Directory};
use crate::mistakes::Mistake;

impl Directory {
    /// Whether the process can perform a step now.
    pub(super) fn can(&self, state: &State, id: usize) -> bool {
        match state.processes[id].at {
            // While somebody else has the directory nobody of ours has the kernel lock.
            At::LockStore => state.store_lock == 0 && self.may_take(state),
            At::Return => state.store_lock == 0,
            At::Done | At::Killed => false,
            _ => true,
        }
    }

    /// Performs the next step of a process that can.
    pub(super) fn step(&self, state: &mut State, id: u8) {
        let index = usize::from(id);
        let held = state.processes[index].held;
        let is_ours = |place: Option<Place>| {
            held.is_some() && self.is_same(place.map(|place| place.identity), held)
        };
        let next = match state.processes[index].at {
            At::LockStore => {
                state.store_lock = id + 1;
                // The value that the mistake relies on.
                state.processes[index].seen = state.store;
                At::Try
            }
            At::Try => match state.path {
                None => At::Make(None),
                Some(place) if is_kept(state, index, place.identity) => {
                    state.processes[index].held = Some(place.identity);
                    self.taken(id)
                }
                Some(place) if self.is_same(Some(place.identity), state.memory) => At::Adopt,
                Some(place) if !place.is_fresh => {
                    if self.makes(Mistake::TakeoverByRmdir) {
                        At::Rmdir
                    } else {
                        At::Make(Some(place.identity))
                    }
                }
                Some(_) => {
                    state.store_lock = 0;
                    At::LockStore
                }
            },
            At::Adopt => self.adopt(state, index),
            At::GiveBack => {
                std::mem::swap(&mut state.path, &mut state.private);
                note_given_back(state);
                At::Discard
            }
            At::Make(judged) => {
                if let Some(left_over) = state.private.take() {
                    note_removed(state, left_over);
                }
                let made = state.make(Maker::Ours(id));
                state.private = Some(made);
                state.processes[index].held = Some(made.identity);
                At::Remember(judged)
            }
            At::Remember(judged) => {
                state.memory = held;
                judged.map_or(At::Place, At::Exchange)
            }
            At::Place if state.path.is_none() => {
                state.path = state.private.take();
                self.taken(id)
            }
            At::Exchange(judged) if state.path.is_some() => {
                if let Some(Place { maker: Maker::Clawdbot(theirs), is_fresh: true, .. }) =
                    state.path
                {
                    state.clawdbots[usize::from(theirs)].is_displaced = true;
                }
                std::mem::swap(&mut state.path, &mut state.private);
                At::Verify(judged)
            }
            At::Place | At::Exchange(_) => At::Discard,
            At::Verify(judged) => {
                let came_out = state.private;
                let is_judged = came_out.is_some_and(|place| {
                    !place.is_fresh && self.is_same(Some(place.identity), Some(judged))
                });
                if is_judged {
                    state.private = None;
                    At::Settle
                } else if is_ours(state.path) {
                    At::SwapBack
                } else {
                    state.processes[index].held = None;
                    At::Try
                }
            }
            // If our directory is gone meanwhile, this exchanges nothing, or another's directory:
            // the code checks and exchanges in two calls, which is equivalent to checking a moment
            // later.
            At::SwapBack => {
                if is_ours(state.path) {
                    std::mem::swap(&mut state.path, &mut state.private);
                    note_given_back(state);
                    At::Discard
                } else {
                    state.processes[index].held = None;
                    At::Try
                }
            }
            At::Discard => {
                if let Some(place) = state.private.take() {
                    note_removed(state, place);
                }
                state.processes[index].held = None;
                At::Try
            }
            At::Rmdir => {
                if let Some(place) = state.path.take() {
                    note_removed(state, place);
                }
                At::Try
            }
            At::Settle if is_ours(state.path) => self.taken(id),
            At::Settle => {
                state.processes[index].held = None;
                At::Try
            }
            At::Leave => {
                state.processes[index].keeps = true;
                state.store_lock = 0;
                At::Return
            }
            At::Return => {
                state.store_lock = id + 1;
                state.processes[index].keeps = false;
                if is_ours(state.path) {
                    At::Read
                } else {
                    state.processes[index].held = None;
                    At::Try
                }
            }
            At::Read => {
                if !self.makes(Mistake::NoRereadAfterDirectory) {
                    state.processes[index].seen = state.store;
                }
                At::Write
            }
            At::Write => self.write(state, index, is_ours(state.path)),
            At::Release => {
                let stays = held.is_some_and(|held| is_kept(state, index, held))
                    && !self.makes(Mistake::SharedDirectoryRemoved);
                let removes =
                    is_ours(state.path) && !stays || self.makes(Mistake::ReleaseWithoutOwnerCheck);
                if let Some(place) = state.path.take_if(|_| removes) {
                    note_removed(state, place);
                }
                At::Forget
            }
            At::Forget => {
                // What another of ours keeps is remembered: should it die, the next one knows it.
                if !is_ours(state.path) {
                    state.memory = None;
                }
                state.processes[index].held = None;
                state.store_lock = 0;
                At::Done
            }
            over @ (At::Done | At::Killed) => over,
        };
        state.processes[index].at = next;
    }

    /// The directory at the path is the remembered one: one of our processes crashed with it.
    fn adopt(&self, state: &mut State, index: usize) -> At {
        let Some(place) = state.path.filter(|it| self.is_same(Some(it.identity), state.memory))
        else {
            return At::Try;
        };
        if !self.makes(Mistake::AdoptInTheMiddleOfATakeover)
            && let Some(came_out) = state.private
        {
            if came_out.is_fresh {
                return At::GiveBack;
            }
            state.private = None;
        }
        if let Maker::Clawdbot(_) = place.maker
            && Self::is_held(state, place)
        {
            state.wrongs.0 |= Wrongs::ADOPTED;
        }
        state.processes[index].held = Some(place.identity);
        self.taken(index as u8)
    }

    /// What follows when the directory is had; the first ones ask an issuer, once.
    fn taken(&self, id: u8) -> At {
        if usize::from(id) < self.keepers { At::Leave } else { At::Read }
    }

    /// Whether the directory could be had by one who has the kernel lock.
    pub(super) fn may_take(&self, state: &State) -> bool {
        state
            .path
            .is_none_or(|place| !place.is_fresh || self.is_same(Some(place.identity), state.memory))
    }

    fn write(&self, state: &mut State, index: usize, is_ours: bool) -> At {
        let (seen, update) = (state.processes[index].seen, 1 << index);
        let trusts = self.makes(Mistake::NoRereadAfterDirectory);
        if !is_ours {
            // Takes the lock again from the start.
            state.memory = None;
            state.processes[index].held = None;
            return At::Try;
        }
        if state.store != seen && !trusts {
            return At::Read;
        }
        let is_intruded = |it: usize| {
            let clawdbot = state.clawdbots[it];
            clawdbot.is_displaced && matches!(clawdbot.doing, Doing::Read | Doing::Save)
        };
        if (0..CLAWDBOTS).any(is_intruded) {
            state.wrongs.0 |= Wrongs::INTRUDED;
        }
        if state.store & !(seen | update) != 0 {
            state.wrongs.0 |= Wrongs::DROPPED;
        }
        state.store = seen | update;
        At::Release
    }

    /// Whether two directories are considered the same.
    fn is_same(&self, one: Option<Identity>, other: Option<Identity>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) if self.makes(Mistake::IdentityByInodeNumber) => {
                one.inode == other.inode
            }
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
    }
}

/// Whether another of ours, alive, keeps this directory.
fn is_kept(state: &State, except: usize, identity: Identity) -> bool {
    let mut others = (0..PROCESSES).filter(|id| *id != except).map(|id| state.processes[id]);
    others.any(|process| process.keeps && process.held == Some(identity))
}

/// Judges the removal of a directory by one of our processes.
fn note_removed(state: &mut State, place: Place) {
    if is_kept(state, PROCESSES, place.identity) {
        state.wrongs.0 |= Wrongs::REMOVED;
    }
    if let Maker::Clawdbot(_) = place.maker
        && place.is_fresh
        && Directory::is_held(state, place)
    {
        state.wrongs.0 |= Wrongs::REMOVED;
    }
}

/// A directory that is back at the path was never gone, for a Clawdbot that did not check
/// meanwhile.
fn note_given_back(state: &mut State) {
    if let Some(Place { maker: Maker::Clawdbot(id), .. }) = state.path {
        state.clawdbots[usize::from(id)].is_displaced = false;
    }
}
