//! What a token endpoint asked for: no request before a certain time, whichever token it is for.
//!
//! One small file for each endpoint and client, with its own kernel lock. That lock is a leaf: its
//! holder waits for no other lock. A reader takes none, and a line that is torn never happened. There
//! is no secret in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::fs::flock::FileLock;
use crate::fs::open::read_regular;
use crate::paths;
use crate::refresh_record::token_key::EndpointKey;
use crate::refresh_record::{Records, checksum};
use crate::time::Timestamp;

/// No request goes to the endpoint before `retry_at`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointNote {
    /// The HTTP status that it answered.
    pub status: u16,
    /// When it may be asked again.
    pub retry_at: Timestamp,
}

impl Records {
    /// What the endpoint asked for, if it holds at `now`. A time that is further ahead than any that
    /// is noted comes from a clock that was set back.
    pub fn endpoint_note(&self, endpoint: EndpointKey, now: Timestamp) -> Option<EndpointNote> {
        let note = self.read_note(endpoint)?;
        let ahead = note.retry_at.since(now);
        (!ahead.is_zero() && ahead <= LONGEST_NOTE).then_some(note)
    }

    /// Notes what the endpoint asked for at `now`, at most a minute ahead.
    pub fn note_endpoint(
        &self,
        endpoint: EndpointKey,
        note: EndpointNote,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let retry_at = note.retry_at.min(now.plus(LONGEST_NOTE));
        let text = serde_json::to_string(&EndpointNote { retry_at, ..note }).unwrap_or_default();
        self.write_note(endpoint, &format!("{text} {}\n", checksum(&text)))
    }

    /// Forgets what the endpoint asked for, because it has answered since.
    pub fn clear_endpoint(&self, endpoint: EndpointKey) -> Result<(), StoreError> {
        match self.read_note(endpoint) {
            Some(_) => self.write_note(endpoint, ""),
            None => Ok(()),
        }
    }

    fn read_note(&self, endpoint: EndpointKey) -> Option<EndpointNote> {
        let bytes = read_regular(&self.note_path(endpoint)).ok()?;
        let (json, sum) = std::str::from_utf8(&bytes).ok()?.trim_end().rsplit_once(' ')?;
        (sum == checksum(json)).then(|| serde_json::from_str(json).ok()).flatten()
    }

    fn write_note(&self, endpoint: EndpointKey, text: &str) -> Result<(), StoreError> {
        FileLock::acquire(&self.note_path(endpoint), LEAF)?.replace_content(text)
    }

    fn note_path(&self, endpoint: EndpointKey) -> std::path::PathBuf {
        paths::endpoint_notes(&self.directory).join(endpoint.to_string())
    }
}

/// No endpoint is left alone for longer for what it said about another token.
const LONGEST_NOTE: Duration = Duration::from_mins(1);
/// Its lock is held for one write.
const LEAF: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_note_holds_for_its_endpoint_until_it_has_passed_or_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("refresh"));
        let (one, other) = (EndpointKey::new("e", "one"), EndpointKey::new("e", "other"));
        let after = |seconds| NOW.plus(Duration::from_secs(seconds));
        assert_eq!(records.endpoint_note(one, NOW), None);
        records.clear_endpoint(one).unwrap();
        assert!(!directory.path().join("endpoint").exists(), "there was nothing to clear");

        let note = EndpointNote { status: 429, retry_at: after(30) };
        records.note_endpoint(one, note, NOW).unwrap();
        assert_eq!(records.endpoint_note(one, after(29)), Some(note));
        assert_eq!(records.endpoint_note(other, NOW), None);
        assert_eq!(records.endpoint_note(one, after(30)), None);
        // A clock that was set back.
        assert_eq!(records.endpoint_note(one, NOW.minus(Duration::from_secs(31))), None);

        // Never longer than a minute, and the last one counts.
        let long = EndpointNote { status: 503, retry_at: after(3600) };
        records.note_endpoint(one, long, NOW).unwrap();
        assert_eq!(records.endpoint_note(one, NOW).unwrap().retry_at, after(60));
        records.clear_endpoint(one).unwrap();
        assert_eq!(records.endpoint_note(one, NOW), None);
    }

    #[test]
    fn a_torn_note_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("refresh"));
        let endpoint = EndpointKey::new("e", "c");
        let note = EndpointNote { status: 429, retry_at: NOW.plus(Duration::from_secs(30)) };
        records.note_endpoint(endpoint, note, NOW).unwrap();
        let path = records.note_path(endpoint);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() - 1 {
            crate::write_atomic(&path, &whole[..length]).unwrap();
            assert_eq!(records.endpoint_note(endpoint, NOW), None, "{length}");
        }
        crate::write_atomic(&path, &whole).unwrap();
        assert_eq!(records.endpoint_note(endpoint, NOW), Some(note));
    }
}
