//! Loopback login for native programs: OAuth 2.0 authorization code with PKCE.
//!
//! A program opens a listener on the loopback interface, opens the issuer's page in the user's
//! browser, and receives a code (RFC 8252, RFC 7636). This crate does that part and nothing else:
//! it knows no provider, keeps no credential, reads neither clock nor environment, and takes its
//! random bytes as an argument. The caller exchanges the code and saves the result.
//!
//! * [`Attempt`] holds verifier, state and nonce, makes the authorization URL and checks responses.
//! * [`Callback`] reads a response, from a request or from [pasted text](PasteRules).
//! * [`Redirect`] and [`Loopback`] are the listener, and [`Browser`] is the page that waits for the
//!   result.
//! * [`Courier`] is the address to start a browser with, where others can read arguments.
//!
//! Guarantees: only the response with this login's state counts, and the state is checked before
//! anything else; everything else is noise, after which the login continues. No value of a request
//! ever gets into a page. No browser shows "signed in" before the caller says so. Secrets do not
//! print themselves.
//!
//! # The whole flow
//!
//! ```
//! use std::time::Duration;
//!
//! use auth_pkce::{ResponseRules, Attempt, AuthorizationRequest, Loopback, Redirect};
//! # use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // 1. Listen, on the ports the issuer has registered; none given means any free port.
//! let redirect = Redirect::new("127.0.0.1", vec![], "/callback")?;
//! let loopback = Loopback::bind(&redirect)?; // An error? Let the user paste the response.
//!
//! // 2. Begin the login, with random bytes of the system.
//! let entropy: [u8; 96] = rand::random();
//! let attempt = Attempt::new(entropy, loopback.redirect_uri().to_owned());
//!
//! // 3. Send the browser away.
//! let url = attempt.authorization_url(&AuthorizationRequest {
//!     authorization_endpoint: "https://login.acme.example/authorize".into(),
//!     client_id: "acme-cli".into(),
//!     scopes: vec!["openid".into(), "offline_access".into()],
//!     extra: vec![],
//!     nonce: true,
//! })?;
//! assert!(url.starts_with("https://login.acme.example/authorize?response_type=code&client_id=acme-cli&"));
//!
//! # let address = loopback.redirect_uri()["http://".len()..].split('/').next().unwrap_or_default().to_owned();
//! # let state = attempt.state().expose().to_owned();
//! # let browser = tokio::spawn(async move {
//! #     let mut stream = tokio::net::TcpStream::connect(&address).await?;
//! #     let request = format!("GET /callback?code=the-code&state={state} HTTP/1.1\r\nHost: {address}\r\n\r\n");
//! #     stream.write_all(request.as_bytes()).await?;
//! #     let mut page = String::new();
//! #     stream.read_to_string(&mut page).await?;
//! #     Ok::<_, std::io::Error>(page)
//! # });
//! // 4. Wait until it comes back, but not for ever.
//! let rules = ResponseRules::default();
//! let waiting = loopback.wait(&attempt, &rules);
//! let arrival = tokio::time::timeout(Duration::from_secs(300), waiting).await??;
//!
//! // 5. Exchange the code for a credential, with `attempt.verifier()` and `attempt.redirect_uri()`,
//! //    and save it.
//! assert_eq!(arrival.code.expose(), "the-code");
//!
//! // 6. Only now tell the browser.
//! arrival.browser.succeed().await;
//! # assert!(browser.await??.contains("You are signed in"));
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! `examples/login.rs` is the same flow as a program.
//!
//! # Limits
//!
//! The listener serves one request per connection, `GET` only, for its own `Host` only: request
//! line at most 8 KiB, headers at most 16 KiB in 64 fields, 5 s for them to arrive, 32 connections;
//! at the cap the oldest one without a complete request is closed. Another program of the same user
//! can always read what this program reads; PKCE makes a stolen code useless, but does not protect
//! a stolen account.

mod attempt;
mod authorize;
mod callback;
mod courier;
mod loopback;
mod pages;
mod paste;
mod peer;
mod pkce;
#[cfg(target_os = "linux")]
mod procfs;
mod redirect;
mod request;
mod secret;
mod server;

pub use attempt::{Attempt, Nonce, State};
pub use authorize::{AuthorizationRequest, AuthorizationUrlError, is_reserved_parameter};
pub use callback::{Callback, CallbackError, Code, MAX_CALLBACK_BYTES, ResponseRules};
pub use courier::Courier;
pub use loopback::{Arrival, BindError, BindFailure, Browser, Loopback, WaitError};
pub use pages::Failure;
pub use paste::PasteRules;
pub use pkce::{Challenge, Verifier};
#[doc(hidden)]
#[cfg(target_os = "linux")]
pub use procfs::listeners_on;
pub use redirect::{Redirect, RedirectError};
#[doc(hidden)]
pub use request::is_wanted;
pub use secret::InvalidPart;
