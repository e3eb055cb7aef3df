//! Many refreshes at once: an issuer that is slow delays only its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use auth_providers::refresh::{self, Force, Wanted};
use auth_providers::token_source::TokenSink;
use auth_store::{Credential, EndpointKey, EndpointNote, Profile, Secret};

use crate::agent::Agent;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::profiles::key_reference;
use crate::profiles::refresh_child::{self, Failure, Launch};

/// One profile that is to be refreshed if it is due.
pub(crate) struct Job {
    /// The agent that sees it.
    pub(crate) agent: Agent,
    /// The agent in whose store it is.
    pub(crate) holder: Agent,
    pub(crate) wanted: Wanted,
    /// The access token that it had.
    pub(crate) before: Option<Secret>,
    pub(crate) sink: Arc<TokenSink>,
    pub(crate) way: Option<Way>,
}

/// Where a refresh of it goes.
pub(crate) struct Way {
    endpoint: EndpointKey,
    launch: Launch,
}

impl Way {
    /// `None`: nothing of it can be refreshed, or not in a child.
    pub(crate) fn for_profile(
        profile: &Profile,
        stored: Option<&Credential>,
        sink: &TokenSink,
        context: &Context,
    ) -> Option<Self> {
        let Some(Credential::OAuth(login)) = stored else { return None };
        let provider = sink.provider_of(profile)?;
        let endpoint = refresh::endpoint_of(provider, login)?;
        Some(Self { endpoint, launch: Launch::for_provider(provider, context)? })
    }
}

/// A job that was done.
pub(crate) struct Done {
    pub(crate) agent: Agent,
    pub(crate) wanted: Wanted,
    pub(crate) before: Option<Secret>,
    pub(crate) ended: Result<Credential, CliError>,
}

/// Does all of them, those of one endpoint one after another, and returns them in their order.
pub(crate) fn run(jobs: Vec<Job>, context: &Context) -> Vec<Done> {
    let mut groups: BTreeMap<Option<EndpointKey>, Vec<usize>> = BTreeMap::new();
    for (number, job) in jobs.iter().enumerate() {
        groups.entry(job.way.as_ref().map(|way| way.endpoint)).or_default().push(number);
    }
    // What cannot be refreshed goes nowhere, and needs no thread.
    groups.remove(&None);
    let workers = groups.len().min(WORKERS);
    let groups = Mutex::new(groups.into_values());
    let ended = Mutex::new(BTreeMap::new());
    let work = || {
        let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(group) = next() {
            let group = group.into_iter().filter_map(|it| jobs.get(it).map(|job| (it, job)));
            let done = in_turn(group);
            ended.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // Where the system has no thread for it, the others do it.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut done = Vec::new();
    for (number, job) in jobs.into_iter().enumerate() {
        let ended = match ended.remove(&number) {
            Some(ended) => ended
                .map_err(|it| it.explained(&job.wanted, &job.holder, &job.sink, context))
                .and_then(|it| key_reference::fetched(it, &job.wanted.profile, context)),
            None => refresh_child::credential(&job.wanted, &job.holder, &job.sink, context),
        };
        let Job { agent, wanted, before, .. } = job;
        done.push(Done { agent, wanted, before, ended });
    }
    done
}

type Ended = (usize, Result<Credential, Failure>);

/// Those of one endpoint. Once that asks to be left alone, it is not asked again in this run, however
/// soon it may be.
fn in_turn<'a>(jobs: impl Iterator<Item = (usize, &'a Job)>) -> Vec<Ended> {
    let mut note: Option<EndpointNote> = None;
    let mut ended = Vec::new();
    for (number, job) in jobs {
        let Some(way) = &job.way else { continue };
        let is_forced = job.wanted.force != Force::No;
        let outcome = match note.filter(|_| !is_forced && is_due(job)) {
            Some(note) => Err(Failure::Here(refresh::not_asked(&job.wanted.profile, note))),
            None => refresh_child::refreshed(&job.wanted, &job.holder, &job.sink, &way.launch),
        };
        if outcome.is_err() && note.is_none() {
            note = job.sink.records.endpoint_note(way.endpoint, job.sink.clock.now());
        }
        ended.push((number, outcome));
    }
    ended
}

/// Whether it cannot be used without a refresh.
fn is_due(job: &Job) -> bool {
    let stored = job.sink.store.read().ok().and_then(|it| it.credential(&job.wanted.profile));
    stored.is_none_or(|stored| !stored.is_valid(job.sink.clock.now()))
}

/// More would only wait for each other.
const WORKERS: usize = 8;
