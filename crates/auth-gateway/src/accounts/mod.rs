//! The only interface between the gateway and the accounts: the profiles to try, their credentials,
//! and reports of the results.

pub(crate) mod memory;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use auth_routing::cooldown::judgement::Judgement;
use auth_store::{Kind, ProfileId, ProviderId, Secret, Timestamp};
use sha2::{Digest as _, Sha256};

/// The properties of a request that affect the choice of a profile.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The provider of the request.
    pub provider: &'a ProviderId,
    /// The agent whose profiles may be used; `None` for the default agent.
    pub agent: Option<&'a str>,
    /// The only profile that may be used, if the client is granted just one.
    pub profile: Option<&'a ProfileId>,
    /// The session whose pin applies.
    pub session: Option<&'a str>,
    /// The requested model, if it is known.
    pub model: Option<&'a str>,
}

/// The accounts behind a gateway. `auth-cli` implements it for a store; [`MemoryAccounts`] for
/// values in memory.
///
/// [`MemoryAccounts`]: crate::MemoryAccounts
pub trait Accounts: Send + Sync + 'static {
    /// The profiles that may serve the request, the preferred one first, including those in
    /// cooldown.
    fn plan(&self, question: &Question<'_>) -> Result<Arc<[Candidate]>, AccountsError>;

    /// The live credential of a profile. `refused` is the fingerprint of a credential that the
    /// provider has just refused: exactly that one is refreshed, unless another caller has already
    /// done so.
    fn credential(
        &self,
        question: &Question<'_>,
        profile: &ProfileId,
        refused: Option<&Fingerprint>,
    ) -> impl Future<Output = Result<Live, AccountsError>> + Send;

    /// Reports the result of an attempt with a profile. It must return at once.
    fn report(&self, question: &Question<'_>, profile: &ProfileId, judgement: &Judgement);
}

/// A profile that may serve the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub profile: ProfileId,
    /// The kind of its credential.
    pub kind: Kind,
    /// Its cooldown, if it is in one.
    pub cooldown: Option<Cooldown>,
}

impl Candidate {
    /// Whether it is a user's login rather than a key: some providers allow logins only in their
    /// own applications.
    pub fn is_subscription(&self) -> bool {
        self.kind != Kind::ApiKey
    }
}

/// The cooldown of a profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cooldown {
    /// Its end.
    pub until: Timestamp,
    /// The time of the failure that started it.
    pub since: Timestamp,
}

/// A credential that can be sent now.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its kind, which determines the header.
    pub kind: Kind,
    /// The secret to send.
    pub secret: Secret,
    /// Its account id, if the provider requires it in a header.
    pub account: Option<String>,
    /// When it ends, where that is known.
    pub expires: Option<Timestamp>,
}

impl Live {
    /// Identifies the secret without revealing it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_text(self.secret.expose())
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of `text`.
    pub fn from_text(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl Fingerprint {
    /// The one that is written so in hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// It in lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint")
    }
}

/// There is no plan or no credential. The text is shown to the client and contains no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct AccountsError {
    /// What a client can do about it.
    pub reason: Reason,
    /// What is wrong.
    pub message: String,
}

/// What can be done about an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Nothing by the client: there is no such profile.
    NotThere,
    /// Its user has to log in.
    NeedsLogin,
    /// It may work later.
    TryLater,
}

impl AccountsError {
    /// An error that may be over later.
    pub fn new(message: impl Into<String>) -> Self {
        Self { reason: Reason::TryLater, message: message.into() }
    }
}
