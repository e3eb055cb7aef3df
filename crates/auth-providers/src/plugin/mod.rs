//! Providers as separate programs: executables that exchange JSON lines on their standard streams.
//!
//! One process is one operation. The plugin sends `hello`, we send one request (`login`, `refresh`
//! or `revoke`), and the plugin ends with a `result` or an `error`. While it logs in it may ask the
//! user and show addresses, codes and progress. It does so with messages and never touches the
//! terminal. `docs/plugins.md` is the specification.
//!
//! * [`Request`] and [`Event`] are the messages, [`Conversation`] validates a plugin's messages:
//!   both are pure, and the conformance check uses the same code.
//! * [`Executable`] is a program that no other user could have put there; `Process` is the only
//!   access to a running one.
//! * [`WithPlugins`] makes a plugin an [`HttpClient`](crate::HttpClient): the token endpoint of a
//!   plugin's login is `plugin:<id>`, so its refresh uses the same protocol as any other.
//! * [`login()`] asks the user; [`check()`] is the conformance check for plugin authors.

mod client;
mod conformance;
mod credential;
mod login;
mod message;
mod process;
mod protocol;
mod session;

pub use crate::provider::executable::{Environment, Executable, LAUNCH, Unusable};
pub use client::{Ungreeted, WithPlugins, greet};
pub use conformance::{Check, Outcome, Plan, check};
pub use login::{PluginUi, login};
pub use message::{Choice, Failure, FailureKind, Prompt, PromptKind, Reply, Request};
pub use protocol::{
    END_TIMEOUT, HELLO_TIMEOUT, KEPT_STDERR, LARGEST_OUTPUT, LOGIN_TIMEOUT, LONGEST_LINE,
    LONGEST_SILENCE, MOST_MESSAGES, MOST_PROMPTS, REFRESH_TIMEOUT, REVOKE_TIMEOUT, VERSIONS,
};
pub use session::{Conversation, Event, Hello, Operation, Violation};

pub(crate) use credential::{last_event, read_response};
pub(crate) use protocol::SCHEME;
