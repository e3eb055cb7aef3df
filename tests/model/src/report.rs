//! Runs a check, and reports the result.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model};

/// The result of a check.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The number of distinct states, or of those seen until a property failed.
    pub states: usize,
    /// The length of the longest of the shortest paths to a state.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Whether all states were explored.
    pub is_complete: bool,
    /// The property that failed, and how.
    pub failure: Option<Failure>,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its name.
    pub property: &'static str,
    /// The actions that lead there.
    pub actions: Vec<String>,
    /// The final state.
    pub state: String,
}

/// Explores every state of `model`, breadth first, until a property fails. `tell` describes an
/// action in a state.
pub fn check<M>(model: M, tell: fn(&M::State, &M::Action) -> String) -> Outcome
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + fmt::Debug + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: fmt::Debug + Send + Sync + Clone + PartialEq,
{
    let start = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let failed = checker
        .discoveries()
        .into_iter()
        .find(|(name, _)| checker.discovery_classification(name).to_string() == "counterexample");
    let failure = failed.map(|(property, path)| {
        let state = format!("{:?}", path.last_state());
        let steps = path.into_vec();
        let told = steps.iter().filter_map(|(state, action)| Some((state, action.as_ref()?)));
        let actions = told.map(|(state, action)| tell(state, action)).collect();
        Failure { property, actions, state }
    });
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        time: start.elapsed(),
        is_complete: checker.is_done() && failure.is_none(),
        failure,
    }
}
