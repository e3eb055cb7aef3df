//! The response file: a token response that is written to the disk before anything else happens to
//! it.
//!
//! A rotated refresh token exists only in the response. So space is reserved before the request is
//! sent, the raw bytes are written there first, and the file stays until the tokens are in the
//! store.

use std::ffi::OsString;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::fs::atomic;
use crate::fs::exists;
use crate::fs::open::read_trusted;
use crate::fs::reserved::ReservedFile;
use crate::paths;
use crate::refresh_record::token_key::TokenKey;
use crate::time::Timestamp;

/// The reserved file for a response that has not arrived yet.
#[derive(Debug)]
pub struct ResponseFile(ReservedFile);

/// A token response that was not merged yet. Its body contains secrets.
#[derive(Clone)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// When it arrived, by our clock. `expires_in` counts from here.
    pub received_at: Timestamp,
    /// The header fields that are needed to read the body. None of them is secret.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for StoredResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, received_at, body, .. } = self;
        write!(formatter, "StoredResponse({status} at {received_at}, {} bytes)", body.len())
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    status: u16,
    received_at: Timestamp,
    length: usize,
    sha256: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
}

impl ResponseFile {
    /// Reserves space for a response at `path`. An existing file is replaced, so it must have been
    /// recovered before.
    pub(crate) fn reserve(path: &Path) -> Result<Self, StoreError> {
        Ok(Self(ReservedFile::create(path, RESERVED)?))
    }

    /// Writes the response, once: one write, then a wait for the disk.
    pub fn store(&mut self, response: &StoredResponse) -> Result<(), StoreError> {
        let header = Header {
            status: response.status,
            received_at: response.received_at,
            length: response.body.len(),
            sha256: hash(&response.body),
            headers: response.headers.clone(),
        };
        let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&response.body);
        self.0.write(&bytes)
    }

    /// Removes the file: its content is in the store, or there will be none.
    pub fn remove(self) -> Result<(), StoreError> {
        self.0.remove()
    }
}

/// The response at `path`, if it is complete. A reserved file that was not written, or only partly,
/// has none.
pub(crate) fn read(path: &Path) -> Result<Option<StoredResponse>, StoreError> {
    let Some(bytes) = read_trusted(path)? else { return Ok(None) };
    let whole = || {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let header: Header = serde_json::from_slice(&bytes[..end]).ok()?;
        let body = bytes.get(end + 1..)?.get(..header.length)?;
        (hash(body) == header.sha256).then(|| StoredResponse {
            status: header.status,
            received_at: header.received_at,
            headers: header.headers,
            body: body.to_vec(),
        })
    };
    Ok(whole())
}

/// The tokens with a response file in `directory`; none if it does not exist.
pub(crate) fn keys(directory: &Path) -> Result<Vec<TokenKey>, StoreError> {
    keys_with(directory, paths::key_of_response_file)
}

/// The same, with the tokens for which only the next store is reserved.
pub(crate) fn keys_of_requests(directory: &Path) -> Result<Vec<TokenKey>, StoreError> {
    keys_with(directory, |name| {
        paths::key_of_response_file(name).or_else(|| paths::key_of_reserved_store(name))
    })
}

/// The tokens with a kept response in `directory`.
pub(crate) fn kept_keys(directory: &Path) -> Result<Vec<TokenKey>, StoreError> {
    keys_with(directory, paths::key_of_kept_response)
}

/// Renames the response file of a token, if it is complete, so that it is kept. An earlier kept
/// response is replaced, because the issuer responded to the same token again.
pub(crate) fn keep(directory: &Path, key: TokenKey) -> Result<(), StoreError> {
    let from = paths::response_file(directory, key);
    if read(&from)?.is_none() {
        return Ok(());
    }
    atomic::set_aside(&from, &paths::kept_response(directory, key))?;
    atomic::sync_directory(directory)
}

fn keys_with(
    directory: &Path,
    key_of: impl Fn(&str) -> Option<&str>,
) -> Result<Vec<TokenKey>, StoreError> {
    let names = exists::names(directory)?.into_iter();
    let key = |name: OsString| key_of(name.to_str()?)?.parse().ok();
    let mut keys: Vec<TokenKey> = names.filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// More than any known token response. A larger response is written if there is space.
const RESERVED: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::write_atomic;

    fn response(received_at: i64, body: &[u8]) -> StoredResponse {
        StoredResponse {
            status: 200,
            received_at: Timestamp(received_at),
            headers: vec![("content-encoding".to_owned(), "gzip".to_owned())],
            body: body.to_vec(),
        }
    }

    #[test]
    fn a_response_is_whole_or_absent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("answer");
        assert!(read(&path).unwrap().is_none());
        let mut file = ResponseFile::reserve(&path).unwrap();
        assert!(read(&path).unwrap().is_none());
        assert!(fs::metadata(&path).unwrap().len() >= 64 << 10, "nothing is reserved");
        file.store(&response(7, b"{\"access_token\":\"a\"}")).unwrap();
        let stored = read(&path).unwrap().unwrap();
        assert_eq!((stored.status, stored.received_at), (200, Timestamp(7)));
        assert_eq!(stored.body, b"{\"access_token\":\"a\"}");
        assert_eq!(stored.headers, response(7, b"").headers);

        let whole = fs::read(&path).unwrap();
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
        for length in 0..end {
            let mut torn = whole.clone();
            torn[length..].fill(0);
            write_atomic(&path, &torn).unwrap();
            assert!(read(&path).unwrap().is_none(), "torn at {length}");
        }
    }

    #[test]
    fn a_response_that_is_in_the_store_is_gone_and_another_may_come() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("answer");
        let mut file = ResponseFile::reserve(&path).unwrap();
        file.store(&response(7, b"one")).unwrap();
        let mut file = ResponseFile::reserve(&path).unwrap();
        assert!(read(&path).unwrap().is_none());
        file.store(&response(8, b"two")).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().body, b"two");
        file.remove().unwrap();
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        assert!(ResponseFile::reserve(&path).is_err());
    }

    /// The header of older files, without the fields of the response.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Before {
        status: u16,
        received_at: Timestamp,
    }

    #[test]
    fn the_response_of_an_older_program_is_read_and_ours_by_an_older_program() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("answer");
        let old = format!(
            "{{\"status\":200,\"receivedAt\":7,\"length\":3,\"sha256\":\"{}\"}}\none\0\0",
            hash(b"one")
        );
        write_atomic(&path, old.as_bytes()).unwrap();
        let read = read(&path).unwrap().unwrap();
        assert_eq!((read.body.as_slice(), read.headers), (b"one".as_slice(), vec![]));

        ResponseFile::reserve(&path).unwrap().store(&response(8, b"two")).unwrap();
        let bytes = fs::read(&path).unwrap();
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
        let before: Before = serde_json::from_slice(line).unwrap();
        assert_eq!((before.status, before.received_at), (200, Timestamp(8)));
    }

    #[test]
    fn what_is_kept_has_a_name_that_no_older_program_knows() {
        let directory = tempfile::tempdir().unwrap();
        let (directory, key) = (directory.path(), TokenKey::new("e", "c", &"r".into()));
        keep(directory, key).unwrap();
        let mut file = ResponseFile::reserve(&paths::response_file(directory, key)).unwrap();
        keep(directory, key).unwrap();
        assert_eq!(kept_keys(directory).unwrap(), [], "there is nothing in it");
        file.store(&response(7, b"one")).unwrap();
        keep(directory, key).unwrap();
        assert_eq!((keys(directory).unwrap(), kept_keys(directory).unwrap()), (vec![], vec![key]));
        assert_eq!(read(&paths::kept_response(directory, key)).unwrap().unwrap().body, b"one");
    }

    #[test]
    fn response_files_are_found_by_their_token() {
        let directory = tempfile::tempdir().unwrap();
        let key = TokenKey::new("e", "c", &"r".into());
        ResponseFile::reserve(&paths::response_file(directory.path(), key)).unwrap();
        assert_eq!(keys(directory.path()).unwrap(), [key]);
        assert_eq!(keys(&directory.path().join("none")).unwrap(), []);
        let file = paths::response_file(directory.path(), key);
        assert!(keys(&file).is_err(), "what cannot be read has no answers");
    }
}
