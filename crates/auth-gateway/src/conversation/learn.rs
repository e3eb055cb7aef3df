//! Finds ids and ciphertexts in responses: only the account that created them knows them.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::conversation::facts::{ID_BYTES, id_key};

/// Finds the members of responses that later requests may name, across chunk boundaries.
#[derive(Debug)]
pub(crate) struct Learner {
    /// The last value of each of [`MEMBERS`], which an event stream often repeats.
    last: [String; 2],
    /// The end of the previous parts, in which a member may begin.
    tail: Vec<u8>,
}

impl Learner {
    pub(crate) fn new() -> Self {
        Self { last: Default::default(), tail: Vec::new() }
    }

    /// Examines the next part of a response, and passes each value to `found`.
    pub(crate) fn look(&mut self, part: &[u8], found: &mut dyn FnMut(String)) {
        let seam = self.tail.len();
        self.tail.extend_from_slice(&part[..part.len().min(WINDOW)]);
        let tail = std::mem::take(&mut self.tail);
        for (member, last) in MEMBERS.iter().zip(&mut self.last) {
            // Only members that begin before the boundary span it.
            if seam > 0 {
                find(member, &tail, seam, last, found);
            }
            find(member, part, part.len(), last, found);
        }
        // Several small parts form one tail.
        self.tail = tail;
        if part.len() >= WINDOW {
            self.tail.clear();
            self.tail.extend_from_slice(&part[part.len() - WINDOW..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(WINDOW));
        }
    }
}

/// Finds the values of a member that begin before `end`.
fn find(
    member: &Finder<'_>,
    text: &[u8],
    end: usize,
    last: &mut String,
    found: &mut dyn FnMut(String),
) {
    for at in member.find_iter(text) {
        if at >= end {
            return;
        }
        let Some(value) = string_after(&text[at + member.needle().len()..]) else { continue };
        if value != *last {
            value.clone_into(last);
            found(value);
        }
    }
}

/// The start of the string value of a member, if enough of it has arrived.
fn string_after(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let text = text.strip_prefix(b"\"")?;
    let end = match memchr::memchr2(b'"', b'\\', &text[..text.len().min(ID_BYTES)]) {
        Some(end) if text[end] == b'"' && end > 0 => end,
        None if text.len() >= ID_BYTES => ID_BYTES,
        _ => return None,
    };
    std::str::from_utf8(&text[..end]).ok().map(id_key)
}

/// The members whose values are remembered.
static MEMBERS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new("\"id\""), Finder::new("\"encrypted_content\"")]);
/// The longest text from a member's name to a sufficient part of its value.
const WINDOW: usize = ID_BYTES + 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(parts: &[&[u8]]) -> Vec<String> {
        let (mut learner, mut all) = (Learner::new(), Vec::new());
        for part in parts {
            learner.look(part, &mut |id| {
                if !all.contains(&id) {
                    all.push(id);
                }
            });
        }
        all
    }

    #[test]
    fn ids_are_found_however_the_response_is_cut() {
        let ciphertext = "g".repeat(300);
        let reply = format!(
            "data: {{\"type\":\"response.created\",\"response\":{{\"id\": \"resp_1\"}}}}\n\n\
             data: {{\"item\":{{\"id\":\"rs_1\",\"encrypted_content\":\"{ciphertext}\"}}}}\n\n"
        );
        let bytes = reply.as_bytes();
        let mut expected = vec!["resp_1".to_owned(), "rs_1".to_owned(), "g".repeat(96)];
        expected.sort();
        for size in 1..bytes.len() {
            let parts: Vec<_> = bytes.chunks(size).collect();
            let mut found = learned(&parts);
            found.sort();
            assert_eq!(found, expected, "in parts of {size}");
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        assert!(learned(&[br#"{"id":4,"x":"id","ids":"a","id":"","id":"a\"b"}"#]).is_empty());
    }
}
