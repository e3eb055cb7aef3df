//! The words, versions and limits of the protocol.

use std::time::Duration;

/// The protocol versions supported here.
pub const VERSIONS: [u32; 1] = [1];

/// The prefix of the token endpoint in a plugin's login; the provider's id follows.
pub(crate) use crate::http::PLUGIN_SCHEME as SCHEME;

/// The longest line of a plugin, in bytes without the line end.
pub const LONGEST_LINE: usize = 64 << 10;
/// The most bytes a plugin may write to standard output.
pub const LARGEST_OUTPUT: usize = 1 << 20;
/// The limit for messages in one conversation.
pub const MOST_MESSAGES: u32 = 1000;
/// The limit for questions in one login.
pub const MOST_PROMPTS: u32 = 50;
/// How many bytes of standard error are kept.
pub const KEPT_STDERR: usize = 16 << 10;

/// Time limit for the `hello` of a plugin.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for a refresh, including start and `hello`.
pub const REFRESH_TIMEOUT: Duration = Duration::from_secs(12);
/// Time limit for a revocation, including start and `hello`.
pub const REVOKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Time limit for a login, including the user's actions.
pub const LOGIN_TIMEOUT: Duration = Duration::from_mins(15);
/// How long a plugin may be silent during a login, except while it waits for the user.
pub const LONGEST_SILENCE: Duration = Duration::from_mins(2);
/// How long a plugin may continue after the end of its standard input.
pub const END_TIMEOUT: Duration = Duration::from_secs(2);
