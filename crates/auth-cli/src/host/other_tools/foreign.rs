//! What is found in a file of another tool.

use std::path::{Path, PathBuf};

use auth_store::{
    Credential, Document, Entry, ProfileId, ProviderId, Timestamp, Usage, unverified_claims,
};
use serde::Serialize;
use serde_json::{Map, Value};

/// A credential in a file that is not ours.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    /// Whose file it is, for people.
    pub(crate) tool: &'static str,
    /// The file.
    pub(crate) path: PathBuf,
    /// The provider it is for.
    pub(crate) provider: ProviderId,
    /// The credential itself.
    pub(crate) credential: Credential,
    /// The profile it is there, if the file knows profiles.
    pub(crate) id: Option<String>,
    /// The e-mail address, where the file or the token says it.
    pub(crate) email: Option<String>,
    /// Further members of the profile.
    pub(crate) fields: Map<String, Value>,
    /// The profile as it is written there, if the file knows profiles.
    pub(crate) entry: Option<Entry>,
    /// How it did there: its cooldowns hold here too.
    pub(crate) usage: Usage,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// What can be imported.
    pub(crate) found: Vec<Foreign>,
    /// What cannot.
    pub(crate) left_out: Vec<LeftOut>,
}

/// An entry of a file that is not imported.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct LeftOut {
    /// Its name there.
    pub(crate) entry: String,
    /// Why. No word of its content but the name of a type is in it.
    pub(crate) reason: String,
}

impl Contents {
    pub(super) fn leave_out(&mut self, entry: &str, reason: &str) {
        self.left_out.push(LeftOut { entry: entry.to_owned(), reason: reason.to_owned() });
    }

    /// Adds the profile `id` of `document`, if there is a secret in it; `raw` is what the file says.
    pub(super) fn add(
        &mut self,
        document: &Document,
        id: &ProfileId,
        tool: &'static str,
        path: &Path,
        raw: &Value,
    ) {
        let Some((profile, credential)) = document.profile(id).zip(document.credential(id)) else {
            return self.leave_out(id.as_str(), "it cannot be read");
        };
        if !profile.has_secret {
            let is_elsewhere = raw.get("keyRef").or_else(|| raw.get("tokenRef")).is_some();
            return self.leave_out(
                id.as_str(),
                if is_elsewhere {
                    "its secret is kept elsewhere, in a way that is not known here"
                } else {
                    "there is no secret in it"
                },
            );
        }
        self.found.push(Foreign {
            tool,
            path: path.to_owned(),
            provider: profile.provider,
            credential,
            id: Some(id.as_str().to_owned()),
            email: profile.email,
            fields: Map::new(),
            entry: document.entry(id),
            usage: Usage::default(),
        });
    }
}

/// The end of a token that says it itself (RFC 7519 §4.1.4).
pub(super) fn expiry_of(token: &str) -> Option<Timestamp> {
    let seconds = unverified_claims(token)?["exp"].as_i64()?;
    seconds.checked_mul(1_000).map(Timestamp)
}
