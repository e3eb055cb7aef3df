//! What holds for every command.

/// The options of every command.
#[derive(Clone, Debug, Default)]
pub struct Global {
    /// The agent whose credentials are meant; `None`: the default agent.
    pub agent: Option<String>,
    /// Data as JSON on stdout, errors too.
    pub json: bool,
    /// What is done is said on stderr.
    pub verbose: bool,
    /// No colours, whatever the terminal can show.
    pub no_color: bool,
}
