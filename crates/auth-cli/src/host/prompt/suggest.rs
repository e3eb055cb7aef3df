//! The nearest of the names that exist, for a name that does not.

use crate::host::text::one_line;

/// The one of `known` that was most likely meant by `word`, if any is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.trim().to_lowercase();
    if wanted.is_empty() {
        return None;
    }
    let judged = known.into_iter().filter_map(|name| {
        let lower = name.to_lowercase();
        let distance = strsim::damerau_levenshtein(&wanted, &lower);
        let is_near = distance <= (wanted.chars().count() / 3).max(1);
        // `work` for `openai-codex:work`, `openai` for `openai-codex`.
        let is_part = wanted.chars().count() >= 3
            && (lower.starts_with(&wanted)
                || lower.rsplit(':').next().is_some_and(|end| end == wanted));
        (is_near || is_part).then_some((!is_near, distance, name))
    });
    judged.min().map(|(_, _, name)| name)
}

/// `did you mean …?`, with a space after it; nothing if no name is near.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, known).map(|name| format!("did you mean `{}`?", one_line(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let known = ["openai", "openai-codex", "anthropic", "acme:work", "acme:home"];
        let check =
            |word: &str, want: Option<&str>| assert_eq!(nearest(word, known), want, "{word}");
        check("openia", Some("openai"));
        check("OpenAI-Codx", Some("openai-codex"));
        check("antropic", Some("anthropic"));
        check("work", Some("acme:work"));
        check("acme:hom", Some("acme:home"));
        check("openai-", Some("openai"));
        check("groq", None);
        check("", None);
    }
}
