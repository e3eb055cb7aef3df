//! The words, versions and limits of the protocol.

use std::time::Duration;

/// The versions of the protocol that are spoken here.
pub const VERSIONS: [u32; 1] = [1];

/// How the token endpoint of a plugin's login begins; the provider's id follows.
pub(crate) use crate::http::PLUGIN_SCHEME as SCHEME;

/// The longest line of a plugin, in bytes without its end.
pub const LONGEST_LINE: usize = 64 << 10;
/// The most bytes a plugin may write to standard output.
pub const LARGEST_OUTPUT: usize = 1 << 20;
/// The most messages of one conversation.
pub const MOST_MESSAGES: u32 = 1000;
/// The most questions of one login.
pub const MOST_PROMPTS: u32 = 50;
/// How much of standard error is kept.
pub const KEPT_STDERR: usize = 16 << 10;

/// How long a plugin may take to say `hello`.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a refresh may take, start and `hello` included.
pub const REFRESH_TIMEOUT: Duration = Duration::from_secs(12);
/// How long a revocation may take, start and `hello` included.
pub const REVOKE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a login may take, the user included.
pub const LOGIN_TIMEOUT: Duration = Duration::from_mins(15);
/// How long a plugin that logs in may say nothing, while it does not wait for the user.
pub const LONGEST_SILENCE: Duration = Duration::from_mins(2);
/// How long a plugin may live on after its standard input ended.
pub const END_TIMEOUT: Duration = Duration::from_secs(2);
