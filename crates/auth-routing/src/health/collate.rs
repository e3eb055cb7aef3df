//! Sorts names as JavaScript's `localeCompare` does.

use std::cmp::Ordering;

/// Compares two names by the root collation of Unicode (UTS #10), as far as names of providers and
/// profiles need it: white space, punctuation, symbols, digits, letters; then accents; then lower
/// case before upper case. Other scripts follow in code point order. Names that differ only in
/// control characters are equal.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let primary = |text: &str| text.chars().filter_map(weight).map(|it| it.0).collect::<Vec<_>>();
    let accents = |text: &str| text.chars().filter_map(weight).map(|it| it.1).collect::<Vec<_>>();
    let case = |text: &str| text.chars().filter_map(weight).map(|it| it.2).collect::<Vec<_>>();
    primary(a)
        .cmp(&primary(b))
        .then_with(|| accents(a).cmp(&accents(b)))
        .then_with(|| case(a).cmp(&case(b)))
}

/// The weight of a character: its letter, its accent, and whether it is upper case. `None`: ignored.
fn weight(c: char) -> Option<(u32, u32, bool)> {
    if let Some(place) = BEFORE_LETTERS.chars().position(|known| known == c) {
        return Some((u32::try_from(place).unwrap_or(u32::MAX), 0, false));
    }
    if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}') {
        return None;
    }
    let lower = c.to_lowercase().next().unwrap_or(c);
    let (base, accent) = match plain(lower) {
        Some(base) => (base, lower as u32),
        None => (lower, 0),
    };
    let after = u32::try_from(BEFORE_LETTERS.len()).unwrap_or(u32::MAX);
    Some((after.saturating_add(base as u32), accent, lower != c))
}

/// The letter without its accent, for Latin-1.
fn plain(c: char) -> Option<char> {
    Some(match c {
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' => 'o',
        'ù'..='ü' => 'u',
        'ý' | 'ÿ' => 'y',
        _ => return None,
    })
}

/// The characters that sort before the letters, in their order.
const BEFORE_LETTERS: &str =
    "\t\n\u{b}\u{c}\r\u{85}\u{2028}\u{2029} _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_javascript_sorts_them() {
        let sorted = [
            " z", "a", "A", "a b", "a-b", "a:b", "a.b", "a1", "ab", "José", "work", "Work", "ключ",
            "日本",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn case_and_accents_matter_only_among_equals() {
        assert_eq!(compare("B", "a"), Ordering::Greater);
        assert_eq!(compare("jose", "josé"), Ordering::Less);
        assert_eq!(compare("josé", "josf"), Ordering::Less);
    }
}
