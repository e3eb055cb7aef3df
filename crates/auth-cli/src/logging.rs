//! Logs, which nobody sees unless they ask.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::context::Context;

/// Begins to write logs to stderr, if `--verbose` or one of the variables `CLAWDBOT_LOG` and
/// `RUST_LOG` asks for them. Setting it up costs time, so nothing happens otherwise.
pub(crate) fn start(verbose: bool, context: &Context) {
    let asked = context.env("CLAWDBOT_LOG").or_else(|| context.env("RUST_LOG"));
    let filter = match (asked, verbose) {
        (Some(filter), _) => filter,
        (None, true) => "info",
        (None, false) => return,
    };
    let filter = EnvFilter::builder().parse_lossy(filter);
    // In tests somebody else may have been first.
    let _was_first = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .try_init();
}
