//! A credential-injecting proxy with failover: the core of `clawdbot serve`.
//!
//! Tools send their requests here with a token of their own, and never see a credential. The
//! gateway replaces the token with the live credential of the profile that is next, streams the
//! response back, and switches to another profile if the first has certainly not carried the
//! request out.
//!
//! * [`Accounts`] is the only interface to the profiles: a plan, a credential, a report.
//!   [`MemoryAccounts`] implements it in memory.
//! * [`ApiData`] describes a provider's API; only its base is required.
//! * [`Gateway`] serves requests, [`Server`] gives it listeners: a port for clients with a token, a
//!   socket for programs of this user, sockets for individual clients.
//! * [`Clients`] are the programs with access, each with its grant.
//!
//! It does not translate between API dialects, does not cache responses, and changes nothing in a
//! request except the credential and hop-by-hop headers.
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
//! The caller is authenticated (`entry`, `gateway`), the body is kept if it may have to be sent
//! again (`keep`), the model and the conversation are read from headers and body (`facts`), routing
//! and the conversation determine the profiles (`order`), the request is sent and its response
//! judged (`proxy`, `peek`, `reaction`), and the response is streamed to the client (`relay`).
//!
//! `examples/embed.rs` is a gateway inside another program.

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
