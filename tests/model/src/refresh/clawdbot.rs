//! A Clawdbot: it locks the directory, refreshes and saves; it also saves old content without the
//! lock.

use super::issuer::{Reply, Status, Who};
use super::state::{At, Directory, Doing, Login, PROFILES, State, Task, Token, Wrongs};
use super::{Action, Refresh, index};

impl Refresh {
    /// The actions that the Clawdbot may start now. The steps of a started action are not included.
    pub(super) fn whims(state: &State, id: u8, actions: &mut Vec<Action>) {
        let clawdbot = &state.clawdbots[index(id)];
        if clawdbot.doing != Doing::Idle {
            return;
        }
        let store = state.stores[index(clawdbot.agent)];
        if clawdbot.loads > 0 && clawdbot.memory != store {
            actions.push(Action::Load(id));
        }
        if clawdbot.saves > 0 && clawdbot.memory != store {
            actions.push(Action::SaveUnlocked(id));
        }
        if clawdbot.refreshes > 0 {
            match state.directories[index(clawdbot.agent)] {
                // The directory of a crashed process becomes stale in time.
                Directory::Free | Directory::Ours(0) | Directory::OfDeadClawdbot => {
                    actions.push(Action::Lock(id));
                }
                // So does that of a process that was stopped for too long.
                Directory::Ours(_) | Directory::Clawdbot(_) if state.thefts > 0 => {
                    actions.push(Action::Lock(id));
                }
                _ => {}
            }
        }
    }

    /// Takes the directory from any holder.
    pub(super) fn lock(state: &mut State, id: u8) {
        let clawdbot = &mut state.clawdbots[index(id)];
        clawdbot.refreshes -= 1;
        clawdbot.doing = Doing::Locked;
        let directory = &mut state.directories[index(clawdbot.agent)];
        if matches!(directory, Directory::Ours(1..) | Directory::Clawdbot(_)) {
            state.thefts -= 1;
        }
        *directory = Directory::Clawdbot(id);
    }

    /// Whether the Clawdbot has started an action.
    pub(super) fn is_busy(state: &State, id: u8) -> bool {
        matches!(
            state.clawdbots[index(id)].doing,
            Doing::Locked | Doing::Answered(_) | Doing::Saved
        )
    }

    /// The next step of its action.
    pub(super) fn proceed(&self, state: &mut State, id: u8) {
        let agent = index(state.clawdbots[index(id)].agent);
        state.clawdbots[index(id)].doing = match state.clawdbots[index(id)].doing {
            Doing::Locked => {
                state.clawdbots[index(id)].memory = state.stores[agent];
                match Self::due(state, id) {
                    Some((_, login)) => {
                        self.note_left_open(state, id, login.refresh);
                        if let Status::Used(..) | Status::Dead = state.issuer.status(login.refresh)
                        {
                            state.note_clawdbot(login.refresh);
                        }
                        let kind = self.scope.issuer;
                        Doing::Answered(state.issuer.spend(login.refresh, Who::Clawdbot, kind))
                    }
                    None => Doing::Saved,
                }
            }
            Doing::Answered(reply) => {
                if let Reply::Tokens { refresh, access } = reply
                    && let Some((profile, login)) = Self::due(state, id)
                {
                    let renewed = Login { refresh, access, obtained: login.obtained };
                    state.clawdbots[index(id)].memory[profile] = Some(renewed);
                    state.stores[agent] = state.clawdbots[index(id)].memory;
                }
                Doing::Saved
            }
            Doing::Saved => {
                // It releases the lock without checking the owner.
                state.directories[agent] = Directory::Free;
                Doing::Idle
            }
            other => other,
        };
    }

    /// Judges whether it may send this token: not while one of ours keeps the directory because
    /// it has sent the same one. Where directories are taken from the living, nobody can tell.
    fn note_left_open(&self, state: &mut State, id: u8, token: Token) {
        let agent = state.clawdbots[index(id)].agent;
        let is_out = |at: At| {
            let is_merging = matches!(
                at,
                At::LockStore(Task::Merge(_))
                    | At::LockDirectory(Task::Merge(_))
                    | At::Read(Task::Merge(_), _)
                    | At::Rename(Task::Merge(_), ..)
            );
            is_merging || matches!(at, At::Transmit(1..) | At::Store(_))
        };
        let is_left_open = state.processes.iter().any(|it| {
            it.agent == agent && it.lock == Some(token) && it.older.is_none() && is_out(it.at)
        });
        if is_left_open && self.scope.keeps_directory && state.thefts == self.scope.thefts {
            state.wrongs.add(Wrongs::LEFT_OPEN);
        }
    }

    /// The first profile in its memory that is due for a refresh.
    fn due(state: &State, id: u8) -> Option<(usize, Login)> {
        let memory = &state.clawdbots[index(id)].memory;
        let due = |login: &Login| !state.issuer.is_valid(*login);
        (0..PROFILES).find_map(|profile| Some((profile, memory[profile].filter(due)?)))
    }

    /// It is killed.
    pub(super) fn kill_clawdbot(state: &mut State, id: u8) {
        let clawdbot = &mut state.clawdbots[index(id)];
        if let Doing::Answered(Reply::Tokens { refresh, .. }) = clawdbot.doing {
            let lineage = state.issuer.lineage[index(refresh)];
            state.by_clawdbot |= 1 << lineage;
        }
        let clawdbot = &mut state.clawdbots[index(id)];
        let directory = &mut state.directories[index(clawdbot.agent)];
        if *directory == Directory::Clawdbot(id) {
            *directory = Directory::OfDeadClawdbot;
        }
        clawdbot.doing = Doing::Killed;
        (clawdbot.loads, clawdbot.saves, clawdbot.refreshes) = (0, 0, 0);
    }
}
