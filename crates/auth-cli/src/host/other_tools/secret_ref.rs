//! The names by which OpenClaw refers to our profiles: `provider/name`.

use std::fmt::Write as _;

use auth_store::{Profile, ProfileId, ProviderId};

/// The id of a profile in a reference of OpenClaw's; `None`: it would be longer than such an id may
/// be.
///
/// It is the provider and what follows the first colon of the profile's id. What the grammar of such
/// ids has no place for is `#` and two hexadecimal digits for each byte.
pub(crate) fn secret_ref_id(profile: &Profile) -> Option<String> {
    id_of(&profile.provider, &profile.id)
}

fn id_of(provider: &ProviderId, id: &ProfileId) -> Option<String> {
    let mut out = String::new();
    // Such an id begins with a letter or digit.
    if provider.as_str().starts_with(|c: char| c.is_ascii_alphanumeric()) {
        escape(provider.as_str(), &mut out);
    } else {
        let first = provider.as_str().chars().next().map_or(0, char::len_utf8);
        let (first, rest) = provider.as_str().split_at(first);
        out.push('0');
        escape_all(first, &mut out);
        escape(rest, &mut out);
    }
    out.push('/');
    let (first, name) = id.as_str().split_once(':').unwrap_or_default();
    if first == provider.as_str() {
        escape(name, &mut out);
    } else {
        // Under another name than its provider's: all of it, behind what no escape begins with.
        out.push_str("#:");
        escape(id.as_str(), &mut out);
    }
    (out.len() <= LONGEST && !out.ends_with('/')).then_some(out)
}

/// `text` with what has no place escaped.
fn escape(text: &str, out: &mut String) {
    for (place, segment) in text.split('/').enumerate() {
        if place > 0 {
            out.push('/');
        }
        // A segment of dots alone would lead elsewhere.
        if matches!(segment, "." | "..") {
            escape_all(segment, out);
            continue;
        }
        for c in segment.chars() {
            if c.is_ascii_alphanumeric() || "._:-".contains(c) {
                out.push(c);
            } else {
                escape_all(c.encode_utf8(&mut [0; 4]), out);
            }
        }
    }
}

fn escape_all(text: &str, out: &mut String) {
    for byte in text.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(out, "#{byte:02x}");
    }
}

const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(provider: &str, id: &str) -> Option<String> {
        id_of(&ProviderId::new(provider), &ProfileId::new(id))
    }

    #[test]
    fn an_id_is_the_provider_and_the_name() {
        for (provider, id, wanted) in [
            ("openai", "openai:default", "openai/default"),
            ("openai-codex", "openai-codex:me@example.com", "openai-codex/me#40example.com"),
            ("zai", "zai:a_b-c.d:e/f", "zai/a_b-c.d:e/f"),
            ("zai", "zai:..", "zai/#2e#2e"),
            ("zai", "zai:a/../b", "zai/a/#2e#2e/b"),
            ("zai", "zai:50%~+ #é", "zai/50#25#7e#2b#20#23#c3#a9"),
            ("zai", "z.ai:default", "zai/#:z.ai:default"),
            ("acme", "mine", "acme/#:mine"),
        ] {
            assert_eq!(of(provider, id).as_deref(), Some(wanted), "{id}");
        }
        assert_eq!(of("acme", &format!("acme:{}", "x".repeat(300))), None);
        assert_eq!(of("acme", "acme:"), None);
    }

    #[test]
    fn no_two_profiles_have_one_id() {
        let ids = [
            "zai:a#40",
            "zai:a@",
            "zai:a",
            "z.ai:a",
            "a",
            "zai:z.ai:a",
            "zai:#:a",
            "zai:#2e",
            "zai:.",
        ];
        let mut all: Vec<_> = ids.iter().filter_map(|id| of("zai", id)).collect();
        assert_eq!(all.len(), ids.len());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), ids.len());
    }
}
