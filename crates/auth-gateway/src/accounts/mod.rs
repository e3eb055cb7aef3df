//! The one door between the gateway and the accounts: who is next, with what, and how it went.

pub(crate) mod memory;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use auth_routing::cooldown::judgement::Judgement;
use auth_store::{Kind, ProfileId, ProviderId, Secret, Timestamp};
use sha2::{Digest as _, Sha256};

/// What a request is about, as far as it matters to the choice of a profile.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The provider that is asked.
    pub provider: &'a ProviderId,
    /// The agent whose profiles may be used; the default one, where nothing is said.
    pub agent: Option<&'a str>,
    /// The only profile that may be used, if the client is granted just one.
    pub profile: Option<&'a ProfileId>,
    /// The session whose pin counts.
    pub session: Option<&'a str>,
    /// The model that is asked for, if it is known.
    pub model: Option<&'a str>,
}

/// The accounts behind a gateway. `auth-cli` has it over a store; [`MemoryAccounts`] over values.
///
/// [`MemoryAccounts`]: crate::MemoryAccounts
pub trait Accounts: Send + Sync + 'static {
    /// The profiles that may serve, the preferred one first; those in cooldown too.
    fn plan(&self, question: &Question<'_>) -> Result<Arc<[Candidate]>, AccountsError>;

    /// The live credential of a profile. `refused` is the fingerprint of one that the provider
    /// has just refused: exactly that one is refreshed, unless somebody else has done it already.
    fn credential(
        &self,
        question: &Question<'_>,
        profile: &ProfileId,
        refused: Option<&Fingerprint>,
    ) -> impl Future<Output = Result<Live, AccountsError>> + Send;

    /// How an attempt with a profile went. It must return at once.
    fn report(&self, question: &Question<'_>, profile: &ProfileId, judgement: &Judgement);
}

/// A profile that may serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub profile: ProfileId,
    /// What kind of credential it has.
    pub kind: Kind,
    /// The cooldown that it is in.
    pub cooldown: Option<Cooldown>,
}

impl Candidate {
    /// Whether it is a login of a user and not a key: some providers allow those in their own
    /// applications only.
    pub fn is_subscription(&self) -> bool {
        self.kind != Kind::ApiKey
    }
}

/// Until when a profile is out of use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cooldown {
    /// Its end.
    pub until: Timestamp,
    /// When the failure was that began it.
    pub since: Timestamp,
}

/// A credential that can be sent now.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its kind, which decides about the header.
    pub kind: Kind,
    /// What is sent.
    pub secret: Secret,
    /// The account it belongs to, where the provider wants to be told.
    pub account: Option<String>,
    /// When it ends, where that is known.
    pub expires: Option<Timestamp>,
}

impl Live {
    /// What names the secret without telling it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_text(self.secret.expose())
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// That of `text`.
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

/// There is no plan or no credential. The text is shown to the client and holds no secret.
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
