//! The options of every command.

use clap::Args;

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// The agent whose credentials are meant; without it, the default agent
    #[arg(long, global = true, value_name = "ID")]
    pub agent: Option<String>,
    /// Data as JSON on stdout, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Say on stderr what is done
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// No colours, whatever the terminal can show
    #[arg(long, global = true)]
    pub no_color: bool,
}
