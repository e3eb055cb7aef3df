//! Makes foreign text safe for a terminal.

use auth_store::{Secret, is_hostile};

/// `text` on one line, without control and direction characters, at most 300 characters long.
pub(crate) fn clean(text: &str) -> String {
    let harmless = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    let harmless = harmless.filter(|c| !is_hostile(*c));
    let mut out: String = harmless.take(LONGEST + 1).collect();
    if out.chars().count() > LONGEST {
        out = out.chars().take(LONGEST - 1).collect();
        out.push('…');
    }
    out.trim().to_owned()
}

/// `text` with every occurrence of `secret` replaced, and of every longer part of it: issuers
/// truncate what they repeat, and so do we.
pub(crate) fn without(text: &str, secret: &Secret) -> String {
    let secret = secret.expose();
    if auth_store::trim(secret).is_empty() {
        return text.to_owned();
    }
    let shortest = secret.chars().count().min(TELLING);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8());
        let part = ends.take_while(|end| secret.contains(&rest[..*end])).enumerate().last();
        match part {
            Some((last, end)) if last + 1 >= shortest => {
                out.push_str("REDACTED");
                rest = &rest[end..];
            }
            _ => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

const LONGEST: usize = 300;
/// This many characters of a secret in a row are not a coincidence.
const TELLING: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_line_breaks_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{9b}d\u{202e}e\0"), "a[31mb  cde");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(clean(&"x".repeat(300)).chars().count(), 300);
        let cut = clean(&"é".repeat(301));
        assert_eq!(cut.chars().count(), 300);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn a_secret_is_replaced_and_a_blank_one_replaces_nothing() {
        assert_eq!(without("bad token abc", &Secret::new("abc")), "bad token REDACTED");
        assert_eq!(without("bad token", &Secret::new("")), "bad token");
    }

    #[test]
    fn a_part_of_a_secret_is_replaced_too_if_it_tells_anything() {
        let secret = Secret::new("CANARY-0123456789");
        assert_eq!(
            without("CANARY-01234… and 456789 ended", &secret),
            "REDACTED… and 456789 ended"
        );
        let long = format!("{} {}", "x".repeat(285), secret.expose());
        assert!(!without(&clean(&long), &secret).contains("CANARY"));
    }
}
