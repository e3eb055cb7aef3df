//! The provider's message about a failure, cleaned for the store and for display.

use auth_store::is_hostile;

/// `429 insufficient_quota: You exceeded …`: one line of at most 240 characters, without control
/// characters and without text that looks like a secret.
pub(crate) fn redact(status: Option<u16>, code: Option<&str>, message: &str) -> String {
    let mut parts = Vec::new();
    if let Some(status) = status {
        parts.push(status.to_string());
    }
    // A code is a single word.
    let is_word = |it: &&str| it.len() <= 64 && it.chars().all(|c| c.is_ascii_graphic());
    if let Some(code) = code.filter(is_word) {
        parts.push(code.to_owned());
    }
    let (head, message) = (without_secrets(&parts.join(" ")), without_secrets(message));
    let text = match (head.is_empty(), message.is_empty()) {
        (false, false) => format!("{head}: {message}"),
        _ => head + &message,
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// `text` as one line, its words separated by single spaces, with `…` for each word that may be a
/// secret. Some providers quote keys in their messages, masked or not.
fn without_secrets(text: &str) -> String {
    let plain: String =
        text.chars().take(FAR_MORE_THAN_KEPT).map(|c| if is_plain(c) { c } else { ' ' }).collect();
    let mut words: Vec<&str> = Vec::new();
    for word in plain.split_whitespace() {
        let follows_scheme = words.last().is_some_and(|before| {
            ["bearer", "basic"].iter().any(|scheme| before.eq_ignore_ascii_case(scheme))
        });
        words.push(if follows_scheme || is_secret_like(word) { "…" } else { word });
    }
    words.join(" ")
}

fn is_plain(c: char) -> bool {
    // An invisible character could hide the start of a key.
    !is_hostile(c) && !matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}')
}

/// Whether a word starts like a key, or has a part that is too long and too mixed for a word or for
/// the name of a model.
fn is_secret_like(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '*' || c == '…';
    let start = word.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(0);
    let bare = &word[start..];
    if PREFIXES.iter().any(|prefix| {
        let rest = bare.get(..prefix.len()).filter(|it| it.eq_ignore_ascii_case(prefix));
        rest.is_some() && bare.len() > prefix.len() + 3
    }) {
        return true;
    }
    let mut parts = word.split(|c| !is_part(c));
    parts.any(|part| {
        let has = |is: fn(&char) -> bool| part.chars().any(|c| is(&c));
        part.contains('*') && part.len() > 3
            || part.len() >= 16 && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
            || part.len() >= 40
    })
}

const LONGEST: usize = 240;
const FAR_MORE_THAN_KEPT: usize = 4_096;
const PREFIXES: [&str; 14] = [
    "sk-",
    "sk_",
    "pk-",
    "rk-",
    "key-",
    "xai-",
    "gsk_",
    "ghp_",
    "gho_",
    "ghu_",
    "github_pat_",
    "AIza",
    "ya29.",
    "eyJ",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stay_and_what_may_be_a_secret_goes() {
        let check = |text: &str, want: &str| assert_eq!(without_secrets(text), want);
        check(
            "Incorrect API key provided: sk-proj-abc***xyz. See https://x.y/account/api-keys.",
            "Incorrect API key provided: … See https://x.y/account/api-keys.",
        );
        check(
            "the model `claude-opus-4-5-20251101` is busy",
            "the model `claude-opus-4-5-20251101` is busy",
        );
        check("Authorization: Bearer abc def", "Authorization: Bearer … def");
        check("key=AKIAIOSFODNN7EXAMPLE1!", "…");
        check("a\u{1b}[31m\nb\u{202e}c", "a [31m b c");
        check("token \"eyJhbGciOi.x\"", "token …");
    }

    #[test]
    fn a_reason_is_short() {
        let long = "word ".repeat(1_000);
        let text = redact(Some(500), Some("not a code\n"), &long);
        assert!(text.chars().count() == 240 && text.starts_with("500: word"), "{text}");
        assert_eq!(redact(None, None, ""), "");
        assert_eq!(redact(Some(401), None, ""), "401");
    }

    proptest! {
        #[test]
        fn a_reason_never_has_what_could_change_a_terminal(text in any::<String>(), code in any::<String>()) {
            let raw = redact(Some(400), Some(&code), &text);
            prop_assert!(!raw.chars().any(char::is_control));
        }

        #[test]
        fn a_key_never_stays(key in "(sk-|xai-|ghp_)[A-Za-z0-9]{12,60}", quote in "[\"'`(]?") {
            let text = without_secrets(&format!("bad key {quote}{key}{quote}, really"));
            prop_assert!(!text.contains(&key[4..]), "{}", text);
        }
    }
}
