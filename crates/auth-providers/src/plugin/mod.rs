//! Providers as programs of their own: executables that speak JSON lines on their standard streams.
//!
//! One process is one operation. The plugin says `hello`, we send one request (`login`, `refresh`
//! or `revoke`), and the plugin ends with a `result` or an `error`. While it logs in it may ask the
//! person and show addresses, codes and progress: as messages, so that it never touches the
//! terminal. `docs/plugins.md` is the specification.
//!
//! * [`Request`] and [`Event`] are the messages, [`Conversation`] judges what a plugin says: both are
//!   pure, and the checker judges by the same.
//! * [`Executable`] is a program that nobody else could have put there, `Process` the
//!   door to a running one.
//! * [`WithPlugins`] makes a plugin an [`HttpClient`](crate::HttpClient): the token endpoint of a
//!   plugin's login is `plugin:<id>`, so its refresh goes through the same protocol as any other.
//! * [`login()`] asks the person; [`check()`] plays the other side, for those who write plugins.

mod client;
mod conformance;
mod credential;
mod login;
mod message;
mod process;
mod session;

pub use crate::provider::executable::{Environment, Executable, Unusable};
pub use client::{Ungreeted, WithPlugins, greet};
pub use conformance::{Check, Outcome, Plan, check};
pub use login::{PluginUi, login};
pub use message::{Choice, Failure, FailureKind, Prompt, PromptKind, Reply, Request};
pub use session::{Conversation, Event, Hello, Operation, Violation};

use std::time::Duration;

pub(crate) use credential::{read_answer, read_revocation};

/// The versions of the protocol that are spoken here.
pub const VERSIONS: [u32; 1] = [1];

/// How the token endpoint of a plugin's login begins; the provider's id follows.
pub(crate) const SCHEME: &str = "plugin:";

/// The word with which a launcher is started: it leaves the terminal and becomes the program whose
/// path follows.
pub const LAUNCH: &str = "__plugin";

/// Stands in the place of an HTTP status in the answers of plugins, which have none.
pub(crate) const NO_STATUS: u16 = 0;

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
/// How long a login may take, the person included.
pub const LOGIN_TIMEOUT: Duration = Duration::from_mins(15);
/// How long a plugin that logs in may say nothing, while it does not wait for the person.
pub const LONGEST_SILENCE: Duration = Duration::from_mins(2);
/// How long a plugin may live on after its standard input ended.
pub const END_TIMEOUT: Duration = Duration::from_secs(2);
