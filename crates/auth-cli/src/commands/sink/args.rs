//! `sink …`

use clap::{Args, Subcommand};

/// `sink …`
#[derive(Debug, Subcommand)]
pub enum SinkCommand {
    /// Ask that sink from now on; the token of a client of it comes on standard input
    #[command(after_help = "\
Examples:
  clawdbot sink set https://sink.example:8460 < token.txt
  clawdbot sink set unix:/run/sink.sock < /dev/null

On the sink's machine: clawdbot clients add laptop --provider P --may token,report,status")]
    Set(SetArgs),
    /// Which sink is asked
    Show,
    /// Use the store of this machine again
    Unset,
}

/// `sink set`
#[derive(Args, Debug)]
pub struct SetArgs {
    /// Where it is: https://host:port, or unix:PATH
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// The certificate of the authority that its certificate is from, as PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
}
