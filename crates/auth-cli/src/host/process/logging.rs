//! Logs, which nobody sees unless they ask.

use std::io;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::host::context::Context;

/// Begins to write logs to stderr, if `--verbose` or one of the variables `CLAWDBOT_LOG` and
/// `RUST_LOG` asks for them. Setting it up costs time, so nothing happens otherwise.
pub(crate) fn start(verbose: bool, context: &Context) {
    if verbose {
        context.verbose.set(true);
    }
    let filter = match (asked(context), verbose) {
        (Some(filter), _) => filter,
        (None, true) => VERBOSE,
        (None, false) => return,
    };
    // What cannot be understood is as good as nothing asked.
    let filter: Targets = filter.parse().unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = lines.with_ansi(context.terminal.stderr);
    // In tests somebody else may have been first.
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
