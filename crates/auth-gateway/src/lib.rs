//! A credential-injecting proxy with failover: the core of `clawdbot serve`.
//!
//! Tools send their requests here with a token of their own, and never see a credential. The
//! gateway puts the live credential of the profile that is next in its place, streams the response
//! back, and goes to another profile where the first has certainly not carried the request out.
//!
//! * [`Accounts`] is the one door to the profiles: a plan, a credential, a report.
//!   [`MemoryAccounts`] has them in memory.
//! * [`ApiData`] describes a provider's API; only its base has to be written.
//! * [`Gateway`] answers requests, [`Server`] gives it doors: a port for clients with a token, a
//!   socket for programs of this user, sockets for single clients.
//! * [`Clients`] are the programs that may come in, each with its grant.
//!
//! It translates between no dialects, caches no answers, and changes nothing in a request but the
//! credential and what is between two programs only.
//!
//! ```
//! use auth_gateway::ApiData;
//!
//! let data: ApiData = serde_json::from_str(r#"{
//!     "base": "https://api.acme.example/v1",
//!     "headers": {"api_key": "x-api-key: {}"}
//! }"#)?;
//! let api = data.build()?;
//! assert_eq!(api.origin(), "https://api.acme.example");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The path of a request
//!
//! The door knows who sent it (`entry`, `gateway`), the body is kept if it may have to be sent
//! again (`keep`), what it is about is read from headers and body (`facts`), the routing says
//! where it may go and the conversation bends that (`order`), it is sent and its response judged
//! (`proxy`, `peek`, `reaction`), and the response is passed on as it comes (`relay`).
//!
//! `examples/embed.rs` is a gateway in another program.

mod accounts;
mod api;
mod client;
mod conversation;
mod door;
mod gateway;
mod http;
mod limits;
mod metrics;
mod own;
mod proxy;
mod reaction;
mod remote;
mod upstream;
mod windows;

pub use rustls;

pub use accounts::memory::MemoryAccounts;
pub use accounts::{
    Accounts, AccountsError, Candidate, Cooldown, Fingerprint, Live, Question, Reason,
};
pub use api::catalogue::built_in;
pub use api::shape::Shape;
pub use api::{Api, ApiData, UsageEndpoint, WrongApi};
pub use auth_routing::cooldown::judgement::overload_end;
pub use client::clients_file::{Clients, ClientsError};
pub use client::{Client, ClientToken, Right, TokenHash};
pub use door::listeners::DoorError;
pub use door::server::{Phase, Server};
pub use gateway::{Gateway, Settings};
pub use http::entry::Hosts;
pub use limits::Limits;
pub use remote::{Place, Remote, Told, trusting};
pub use windows::Seen;
