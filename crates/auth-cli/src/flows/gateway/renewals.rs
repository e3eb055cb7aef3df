//! Credentials that are not ready: renewed, or fetched from where they are kept. Each is one thread
//! that goes on if the requests that wait for it are given up, and another one is never delayed.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use auth_gateway::{AccountsError, Fingerprint, Live};
use auth_providers::refresh::{Force, Wanted};
use auth_store::ProfileId;
use tokio::sync::watch;

use crate::agent::Agent;
use crate::config::Config;
use crate::flows::gateway::accounts::told;
use crate::flows::gateway::snapshot::live;
use crate::host::context::{Context, Surroundings};
use crate::host::error::CliError;
use crate::profiles::view::no_profile;
use crate::profiles::{refresh_child, sink};

/// What is being renewed.
pub(crate) struct Renewals {
    surroundings: Surroundings,
    under_way: Arc<Mutex<HashMap<What, Answer>>>,
}

/// A profile of an agent's directory, and the token that must not come back.
type What = (PathBuf, ProfileId, Option<[u8; 32]>);
type Answer = watch::Receiver<Option<Result<Live, AccountsError>>>;

impl Renewals {
    pub(crate) fn new(surroundings: Surroundings) -> Self {
        Self { surroundings, under_way: Arc::default() }
    }

    /// Waits for the credential of a profile.
    pub(crate) async fn wait_for(
        &self,
        holder: &Agent,
        profile: &ProfileId,
        refused: Option<&Fingerprint>,
    ) -> Result<Live, AccountsError> {
        let mut answer = self.begin(holder, profile, refused);
        let ended = || AccountsError::new(format!("the credential of `{profile}` did not come"));
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err(ended())),
            Err(_) => Err(ended()),
        }
    }

    /// Begins to get it, unless that is under way.
    pub(crate) fn begin(
        &self,
        holder: &Agent,
        profile: &ProfileId,
        refused: Option<&Fingerprint>,
    ) -> Answer {
        let what = (holder.directory.clone(), profile.clone(), refused.map(|it| it.0));
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose other end is gone has crashed.
        if let Some(answer) = under_way.get(&what).filter(|it| it.has_changed().is_ok()) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        under_way.insert(what.clone(), answer.clone());
        let (all, surroundings, holder) =
            (Arc::clone(&self.under_way), self.surroundings.clone(), holder.clone());
        let work = move || {
            let context = surroundings.context();
            let got = renewed(&what, &holder, &context);
            context.say_recoveries();
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&what);
            // All who asked may be gone.
            let _ = tell.send(Some(got.map_err(|error| told(&error))));
        };
        // Without a thread, the other end of the channel is gone.
        let _ = std::thread::Builder::new().name("renewal".to_owned()).spawn(work);
        answer
    }
}

fn renewed(what: &What, holder: &Agent, context: &Context) -> Result<Live, CliError> {
    let (_, profile, refused) = what;
    let config = Config::load(context)?;
    let sink = sink::for_agent(holder, &config, context)?;
    let wanted = Wanted {
        force: if refused.is_some() { Force::Refresh } else { Force::No },
        only_if: refused.map(|hash| Fingerprint(hash).to_hex()),
        ..Wanted::now(profile.clone())
    };
    let credential = refresh_child::credential(&wanted, holder, &sink, context)?;
    let document = sink.store.read()?;
    let account = document.profile(profile).and_then(|profile| profile.account_id);
    live(&credential, account.as_ref()).ok_or_else(|| no_profile(profile, &document, holder))
}

impl fmt::Debug for Renewals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Renewals").finish_non_exhaustive()
    }
}
