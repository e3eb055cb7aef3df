//! Stubs of the stages that need our tracer, for systems and processors without it.

use crate::Settings;
use crate::report::Report;

fn not_here(what: &str) -> Report {
    let mut report = Report::default();
    report.not_run(what, "the tracer knows Linux with glibc on x86_64 only");
    report
}

/// The kill matrix.
pub(crate) mod kill {
    pub(crate) fn run(_: &super::Settings) -> super::Report {
        super::not_here("the kill matrix")
    }
}

/// The signal matrix.
pub(crate) mod signals {
    pub(crate) fn run(_: &super::Settings) -> super::Report {
        super::not_here("the signal matrix")
    }
}

/// The error matrix.
pub(crate) mod errors {
    pub(crate) fn run(_: &super::Settings) -> super::Report {
        super::not_here("the error matrix")
    }
}

/// The import of legacy files.
pub(crate) mod import {
    pub(crate) fn run(_: &super::Settings) -> super::Report {
        super::not_here("the import")
    }
}

/// Disk full.
pub(crate) mod full {
    pub(crate) fn run(_: &super::Settings) -> super::Report {
        super::not_here("disk full")
    }
}

/// Power cuts.
pub(crate) mod cut {
    pub(crate) fn run(_: &super::Settings) -> super::Report {
        super::not_here("power cuts")
    }
}

/// The process with its own mounts, which only the two stages above start.
pub(crate) mod apart {
    /// The first argument of that process.
    pub(crate) const WORD: &str = "__apart";

    pub(crate) fn inner(_: &[String]) -> std::process::ExitCode {
        std::process::ExitCode::from(64)
    }
}
