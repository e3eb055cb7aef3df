//! The state directory at the start of a command: what is in it is believed, so nobody else may put
//! anything there.

use auth_store::{Root, StateDirectory};

use crate::host::context::Context;
use crate::host::error::CliError;

/// Takes the right to write to the state directory away from others, and says so.
///
/// # Errors
/// It is another user's, or others may write to it and that cannot be changed.
pub(crate) fn check(context: &Context) -> Result<(), CliError> {
    let root = &context.paths().state_dir;
    if let Root::Tightened { from } = StateDirectory::at(root).tighten()? {
        context.say(format_args!(
            "note: other users could put files into `{}` (mode {from:o}); they no longer can. Look for what is not yours: clawdbot doctor",
            context.display(root)
        ));
    }
    Ok(())
}
