//! The quota windows of each profile, from its last response.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use auth_routing::cooldown::limits::{self, Window};
use auth_store::{ProfileId, ProviderId, Timestamp};
use hyper::HeaderMap;

use crate::api::Limits;

/// The quota windows by profile.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<HashMap<(ProviderId, ProfileId), Seen>>);

/// The windows of a profile, and when they were seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The windows.
    pub windows: Vec<Window>,
    /// When they were seen.
    pub at: Timestamp,
}

impl Windows {
    /// Stores the windows in a response. A response without windows changes nothing.
    pub(crate) fn keep(&self, provider: &ProviderId, profile: &ProfileId, seen: Seen) {
        if !seen.windows.is_empty() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert((provider.clone(), profile.clone()), seen);
        }
    }

    /// The last windows of a profile.
    pub(crate) fn for_profile(&self, provider: &ProviderId, profile: &ProfileId) -> Option<Seen> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(provider.clone(), profile.clone())).cloned()
    }
}

/// The windows in a response's headers.
pub(crate) fn read(headers: &HeaderMap, whose: Limits, now: Timestamp) -> Vec<Window> {
    let Some(prefix) = whose.prefix() else { return Vec::new() };
    let told: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(prefix))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    if told.is_empty() { Vec::new() } else { limits::windows(&told, now) }
}
