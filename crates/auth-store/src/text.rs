//! Foreign text, which could change a terminal.

use std::borrow::Cow;

/// Whether `c` could change the display of a terminal: control characters (C0, C1, DEL), characters
/// that change the direction of text, and the line ends of Unicode. Characters that are only
/// invisible occur in names, and are not hostile.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `text` with U+FFFD in place of every [hostile](is_hostile) character, including line breaks.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_hostile) {
        text.chars().map(|c| if is_hostile(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_change_a_terminal_is_replaced_and_nothing_else() {
        assert!(matches!(printable("Zoë's key: 日本 é→ü 👍"), Cow::Borrowed(_)));
        let hostile = "a\u{1b}[2Jb\rc\nd\te\u{9b}f\u{7f}g\u{202e}h\u{2066}i\u{200f}j\u{2028}k";
        let clean = printable(hostile);
        assert_eq!(clean.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count(), 10);
        assert!(!clean.chars().any(is_hostile));
    }

    #[test]
    fn an_id_prints_without_what_could_change_a_terminal_and_stays_as_it_is() {
        let id = crate::ProfileId::new("acme:\u{1b}]0;x\u{7}\nname");
        assert_eq!(id.to_string(), "acme:\u{fffd}]0;x\u{fffd}\u{fffd}name");
        assert_eq!(id.as_str(), "acme:\u{1b}]0;x\u{7}\nname");
        assert_eq!(crate::ProviderId::new("a\rb").to_string(), "a\u{fffd}b");
    }
}
