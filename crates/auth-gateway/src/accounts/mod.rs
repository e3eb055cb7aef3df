//! The one door between the gateway and the accounts: who is next, with what, and how it went.

pub(crate) mod memory;

use std::fmt;
use std::future::Future;

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
    fn plan(&self, question: &Question<'_>) -> Result<Vec<Candidate>, AccountsError>;

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

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint")
    }
}

/// There is no plan or no credential. The text is shown to the client and holds no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct AccountsError {
    /// What is wrong.
    pub message: String,
}

impl AccountsError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
