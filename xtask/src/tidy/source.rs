//! Rust text as tokens, as far as the rules need it: without comments and test code.

/// A piece of code and its line, numbered from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) line: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind<'a> {
    /// A name or a keyword.
    Word(&'a str),
    /// The text between the quotes of a string, as written.
    Text(&'a str),
    /// `::`, or any other single character.
    Mark(&'a str),
}

impl<'a> Token<'a> {
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word(it) | Kind::Mark(it) if it == text)
    }

    pub(super) fn word(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Word(word) => Some(word),
            Kind::Text(_) | Kind::Mark(_) => None,
        }
    }
}

/// The tokens of the product code: items with `#[cfg(test)]` are left out.
pub(super) fn product_tokens(text: &str) -> Vec<Token<'_>> {
    let tokens = tokens(text);
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match attribute_end(&tokens, at) {
            Some(end) if is_for_tests(&tokens[at..end]) => {
                if tokens[at + 1].is("!") {
                    return Vec::new();
                }
                at = item_end(&tokens, end);
            }
            _ => {
                kept.push(tokens[at]);
                at += 1;
            }
        }
    }
    kept
}

/// The product code as text: each line with code, with white space only between words.
pub(super) fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut was_word = false;
    for token in product_tokens(text) {
        if lines.last().is_none_or(|(line, _)| *line != token.line) {
            lines.push((token.line, String::new()));
            was_word = false;
        }
        let Some((_, line)) = lines.last_mut() else { continue };
        match token.kind {
            Kind::Word(word) if was_word => line.extend([" ", word]),
            Kind::Word(word) => line.push_str(word),
            Kind::Text(inside) => line.extend(["\"", inside, "\""]),
            Kind::Mark(mark) => line.push_str(mark),
        }
        was_word = token.word().is_some();
    }
    lines
}

/// The end of the attribute that begins at `at`, if there is one.
fn attribute_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let is = |index: usize, text| tokens.get(index).is_some_and(|token| token.is(text));
    let open = if is(at + 1, "!") { at + 2 } else { at + 1 };
    (is(at, "#") && is(open, "[")).then(|| group_end(tokens, open))
}

/// Whether this is `#[cfg(test)]`, alone or among other conditions.
fn is_for_tests(attribute: &[Token<'_>]) -> bool {
    let mut words = attribute.iter().filter_map(Token::word);
    let names: Vec<&str> = words.by_ref().collect();
    names.first() == Some(&"cfg") && names.contains(&"test") && !names.contains(&"not")
}

/// The position after the bracket that closes the one at `open`.
fn group_end(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark("(" | "[" | "{") => depth += 1,
            Kind::Mark(")" | "]" | "}") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// The position after the item, the field or the arm that begins at `start`, including its other
/// attributes.
fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let mut at = start;
    while let Some(end) = attribute_end(tokens, at) {
        at = end;
    }
    let head =
        tokens[at..].iter().take_while(|token| !matches!(token.kind, Kind::Mark("{" | ";" | "=")));
    let words: Vec<&str> = head.filter_map(Token::word).collect();
    let has = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let is_item = has(&["fn", "mod", "struct", "enum", "union", "impl", "trait", "macro_rules"]);
    let is_statement = !is_item && has(&["use", "static", "const", "type", "let"]);
    while let Some(token) = tokens.get(at) {
        match token.kind {
            Kind::Mark(";") => return at + 1,
            Kind::Mark(",") if !is_item && !is_statement => return at + 1,
            Kind::Mark(")" | "]" | "}") => return at,
            Kind::Mark("{") if !is_statement => return group_end(tokens, at),
            Kind::Mark("(" | "[" | "{") => at = group_end(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// All tokens of a Rust text except comments, lifetimes and character literals.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, kind) = token(rest, first);
        let (taken, left) = rest.split_at(length);
        tokens.extend(kind.map(|kind| Token { kind, line }));
        line += taken.matches('\n').count();
        rest = left;
    }
    tokens
}

/// The length of the next token, and its kind if it is relevant.
fn token(rest: &str, first: char) -> (usize, Option<Kind<'_>>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (comment_length(rest), None);
    }
    if let Some((length, inside)) = string(rest) {
        return (length, Some(Kind::Text(inside)));
    }
    if first == '\'' {
        return (quote_length(rest), None);
    }
    if is_in_name(first) {
        let rest_of_raw = rest.strip_prefix("r#").unwrap_or(rest);
        let length = rest_of_raw.find(|c| !is_in_name(c)).unwrap_or(rest_of_raw.len());
        let word = Kind::Word(&rest_of_raw[..length]);
        return (rest.len() - rest_of_raw.len() + length, Some(word));
    }
    let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
    (length, (!first.is_whitespace()).then_some(Kind::Mark(&rest[..length])))
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A block comment, with those inside it.
fn comment_length(rest: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let Some(next) = rest[at..].find(['/', '*']) else { return rest.len() };
        at += next;
        let pair = rest.get(at..at + 2);
        match pair {
            Some("/*") => depth += 1,
            Some("*/") => depth -= 1,
            _ => {}
        }
        at += if matches!(pair, Some("/*" | "*/")) { 2 } else { 1 };
    }
    at
}

/// The length of the string that begins here, and what it holds.
fn string(rest: &str) -> Option<(usize, &str)> {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).filter(|length| *length <= 2)?;
    let is_raw = rest[..prefix].ends_with('r');
    let hashes = rest[prefix..].find(|c| c != '#')?;
    let start = prefix + hashes + 1;
    if (hashes > 0 && !is_raw) || !rest[start - 1..].starts_with('"') {
        return None;
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    let inside = &rest[start..];
    let length = if is_raw { inside.find(&closing)? } else { unescaped_quote(inside)? };
    Some((start + length + closing.len(), &inside[..length]))
}

fn unescaped_quote(inside: &str) -> Option<usize> {
    let mut is_escaped = false;
    inside.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

/// The length of a character literal, or of the quote of a lifetime.
fn quote_length(rest: &str) -> usize {
    if rest.starts_with("'\\") {
        return rest[3..].find('\'').map_or(rest.len(), |end| end + 4);
    }
    let mut characters = rest.char_indices().skip(2);
    match characters.next() {
        Some((at, '\'')) => at + 1,
        _ => rest[1..].find(|c| !is_in_name(c)).unwrap_or(rest.len() - 1) + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        product_tokens(text).iter().filter_map(Token::word).collect()
    }

    #[test]
    fn comments_strings_and_lifetimes_are_no_words() {
        let text = "// a\n/* b /* c */ d */ fn f<'x>(it: &'x str) -> char { \"e \\\" g\"; '\\''; 'h'; r#\"i\" j\"# }";
        assert_eq!(words(text), ["fn", "f", "it", "str", "char"]);
        let strings = |text| -> Vec<(usize, String)> {
            let texts = tokens(text).into_iter().filter_map(|it| match it.kind {
                Kind::Text(inside) => Some((it.line, inside.to_owned())),
                Kind::Word(_) | Kind::Mark(_) => None,
            });
            texts.collect()
        };
        let found = strings("\"a\nb\"\nb\"c\" r\"d\" br##\"e\"# f\"##");
        let expected = [(1, "a\nb"), (3, "c"), (3, "d"), (3, "e\"# f")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn what_only_tests_see_is_left_out() {
        let text = "#[cfg(test)]\nuse a::{b, c};\n#[cfg(test)]\n#[path = \"x\"]\nmod d;\nuse e;\n\
                    #[cfg(test)]\nmod tests { fn f() { g(); } }\n#[cfg(not(test))]\nfn h() {}\n\
                    struct I { #[cfg(test)] j: K<u8>, l: u8 }";
        assert_eq!(
            words(text),
            ["use", "e", "cfg", "not", "test", "fn", "h", "struct", "I", "l", "u8"]
        );
        assert!(words("#![cfg(test)]\nuse a;").is_empty());
    }
}
