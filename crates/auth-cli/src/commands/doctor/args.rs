//! `doctor`.

use clap::Args;

/// `doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot doctor
  clawdbot doctor --fix
  clawdbot doctor --offline --json

Exit code 0 if nothing is wrong (notes do not count), 1 if something is left to do.")]
pub struct DoctorArgs {
    /// Fix what is safe to fix
    #[arg(long)]
    pub fix: bool,
    /// Do not ask the issuers
    #[arg(long)]
    pub offline: bool,
}
