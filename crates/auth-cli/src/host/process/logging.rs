//! Logs, which are off by default.

use std::io;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::host::context::Context;

/// Starts logging to stderr, if `--verbose` or one of the variables `CLAWDBOT_LOG` and `RUST_LOG`
/// asks for it. Otherwise nothing happens, because the setup costs time.
pub(crate) fn start(verbose: bool, context: &Context) {
    if verbose {
        context.verbose.set(true);
    }
    let filter = match (asked(context), verbose) {
        (Some(filter), _) => filter,
        (None, true) => VERBOSE,
        (None, false) => return,
    };
    // An invalid filter counts as none.
    let filter: Targets = filter.parse().unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = lines.with_ansi(context.terminal.stderr);
    // In tests, another test may have installed a logger.
    let _was_first = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

fn asked(context: &Context) -> Option<&str> {
    context.env("CLAWDBOT_LOG").or_else(|| context.env("RUST_LOG"))
}

/// Whether logs are written.
pub(crate) fn is_on(context: &Context) -> bool {
    context.verbose.get() || asked(context).is_some()
}

/// The variable by which a child of ours writes logs, too.
pub(crate) fn for_child(context: &Context) -> Option<(&'static str, &'static str)> {
    (context.verbose.get() && asked(context).is_none()).then_some(("CLAWDBOT_LOG", VERBOSE))
}

/// What `--verbose` shows.
const VERBOSE: &str = "info";
