//! The setting for a Clawdbot on the same store.

/// Whether Clawdbot's lock is held while a refresh token is sent, so that a Clawdbot on the same
/// store does not send the same token.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Coexist {
    /// Where another program had the lock or wrote the store within a week.
    #[default]
    Auto,
    /// At every request.
    Always,
    /// At no request. Every write of the store still takes the lock.
    Never,
}
