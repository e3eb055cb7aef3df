//! All checks: each protocol as it is, and with each mistake.

use crate::directory::{self, Directory};
use crate::mistakes::Mistake;
use crate::refresh::{self, Kind, Refresh, Scope};
use crate::report::{Outcome, check};

/// A check, and its name.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is explored.
    pub name: String,
    /// The mistake it makes, if any.
    pub mistake: Option<Mistake>,
    /// The bounds.
    model: Bounds,
}

#[derive(Clone, Debug)]
enum Bounds {
    Refresh(Scope),
    Directory(Directory),
}

impl Check {
    fn of_refresh(scope: Scope, mistake: Option<Mistake>) -> Self {
        let name = format!("refresh, an issuer {}: {}", scope.issuer, scope.name);
        Self { name, mistake, model: Bounds::Refresh(scope) }
    }

    fn of_directory(is_full: bool, mistake: Option<Mistake>) -> Self {
        let directory = Directory::new(is_full, mistake);
        let name = format!(
            "directory lock: {} takers, {} killed, {} stopped",
            directory.takers, directory.crashes, directory.stops
        );
        Self { name, mistake, model: Bounds::Directory(directory) }
    }

    /// Runs the check.
    pub fn run(self) -> Outcome {
        match self.model {
            Bounds::Refresh(scope) => check(Refresh::new(scope, self.mistake), refresh::tell),
            Bounds::Directory(directory) => check(directory, directory::tell),
        }
    }
}

/// The checks of the protocols as they are.
pub fn of_the_protocols(is_full: bool) -> Vec<Check> {
    let of_refresh = Kind::ALL.into_iter().flat_map(|issuer| {
        Scope::all(issuer, is_full).into_iter().map(|scope| Check::of_refresh(scope, None))
    });
    of_refresh.chain([Check::of_directory(is_full, None)]).collect()
}

/// The mistakes, each with its checks, of which one must fail.
pub fn of_the_mistakes() -> Vec<(Mistake, Vec<Check>)> {
    let of_refresh = Mistake::OF_REFRESH.into_iter().map(|mistake| {
        let scopes = [Kind::Refuses, Kind::Revokes].into_iter().flat_map(|issuer| {
            [false, true].into_iter().flat_map(move |is_full| Scope::all(issuer, is_full))
        });
        (mistake, scopes.map(|scope| Check::of_refresh(scope, Some(mistake))).collect())
    });
    let of_directory = Mistake::OF_DIRECTORY
        .into_iter()
        .map(|mistake| (mistake, vec![Check::of_directory(false, Some(mistake))]));
    of_refresh.chain(of_directory).collect()
}
