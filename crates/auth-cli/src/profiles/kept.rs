//! Kept responses that could not be read: their profiles, and the command that shows them.

use std::path::PathBuf;

use auth_providers::Providers;
use auth_providers::refresh::key_of;
use auth_store::{Credential, Document, ProfileId, Records, State, Store};
use serde_json::{Value, json};

use crate::host::shell_quote::command;

/// The response that is kept for a profile.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The profile.
    pub(crate) profile: ProfileId,
    /// Its file; `None` if it is on another disk, or gone.
    pub(crate) path: Option<PathBuf>,
    /// Why it could not be merged.
    pub(crate) reason: String,
    /// The command that describes it, and merges it if it can be read by now.
    pub(crate) command: String,
}

impl Kept {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "profileId": self.profile,
            "path": self.path.as_ref().map(|path| path.display().to_string()),
            "reason": self.reason,
            "command": self.command,
        })
    }
}

/// The responses that are kept for the profiles of `document`; `of_agent` names its agent in a
/// command.
pub(crate) fn kept(
    document: &Document,
    of_agent: &str,
    providers: &Providers,
    records: &Records,
) -> Vec<Kept> {
    let kept = document.profiles().filter_map(|profile| {
        let Some(Credential::OAuth(login)) = document.credential(&profile.id) else { return None };
        let key = key_of(providers.find(&profile.provider)?, &login)?;
        let record = records.peek(key).ok()??;
        if record.state != State::Unmerged {
            return None;
        }
        let files = Store::at(&record.store).kept_responses().unwrap_or_default();
        let options = format!("{of_agent} --retry-merge");
        Some(Kept {
            path: files.into_iter().find(|(of, _)| *of == key).map(|(_, path)| path),
            reason: record.code.unwrap_or_default(),
            command: command("models auth refresh", &[&profile.id], &options),
            profile: profile.id,
        })
    });
    kept.collect()
}
