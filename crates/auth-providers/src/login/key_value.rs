//! Checks whether a text can be a key or a token. Text that people often copy along with a key is
//! removed; anything that cannot be a key is refused, with the reason.

use std::fmt;

use auth_store::Secret;
use serde_json::Value;

/// A key or token ready to be sent, and what was removed from the input.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// Visible ASCII only.
    pub secret: Secret,
    /// What was removed, each kind once.
    pub removed: Vec<Removed>,
}

/// Why the pasted text cannot be a token or a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasteError {
    /// Only white space.
    #[error("nothing was pasted")]
    Empty,
    /// It has characters that cannot be sent in a header field.
    #[error("it has a character that no token has, at position {0}")]
    NotPlain(usize),
    /// Longer than 64 KiB.
    #[error("it is longer than 64 KiB")]
    TooLong,
    /// A quote on one side only.
    #[error("a quote in it is not closed")]
    Quote,
    /// `$NAME`, `${NAME}` and the like; with the name, if it is clear.
    #[error("it names a variable instead of giving its value")]
    Variable(Option<String>),
    /// `export NAME=…` and the like; with the name, if it is clear.
    #[error("it is a line that sets a variable, not a key")]
    Assignment(Option<String>),
    /// A shell command.
    #[error("it is a command for a shell, not a key")]
    Command,
    /// An abbreviated key, as shown in a web interface.
    #[error("it is shortened: not all of it is there")]
    Shortened,
    /// A placeholder from documentation.
    #[error("it is a placeholder for a key")]
    Placeholder,
    /// An address or a path.
    #[error("it is an address or a path, not a key")]
    Address,
    /// JSON, or a private key.
    #[error("it is a part of a file, not a key")]
    File,
    /// A sentence.
    #[error("it is several words")]
    Words,
    /// A user name with a password.
    #[error("it is a user name with a password (`Basic`), not a key")]
    Basic,
}

/// Something that is not part of the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removed {
    /// Zero-width characters and byte order marks.
    Invisible,
    /// Spaces before or after it.
    Around,
    /// Quotes on both sides.
    Quotes,
    /// The name of a header field, such as `Authorization:`.
    HeaderName,
    /// The scheme of a header field.
    Bearer,
    /// Line breaks in the middle, from a terminal that wrapped a long token.
    LineBreaks,
    /// Spaces in the middle of a line.
    Inside,
}

impl fmt::Display for Removed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Invisible => "invisible characters",
            Self::Around => "spaces around it",
            Self::Quotes => "quotes around it",
            Self::HeaderName => "the name of a header field",
            Self::Bearer => "the word `Bearer`",
            Self::LineBreaks => "line breaks inside it",
            Self::Inside => "spaces inside it",
        })
    }
}

/// The key or token in `text`. Every way to store or fetch one uses this function.
///
/// # Errors
/// The text cannot be a key. The error repeats nothing of the text except the name of a variable.
pub fn key_value(text: &str) -> Result<KeyValue, PasteError> {
    if text.len() > LONGEST {
        return Err(PasteError::TooLong);
    }
    let mut removed = Vec::new();
    let visible = without_invisible(text, &mut removed);
    let bare = bare(&visible, &mut removed)?;
    match mistake(bare) {
        Some(error) => Err(error),
        None => joined(bare, removed),
    }
}

/// `text` without invisible characters, and without the markers that terminals put around a paste.
fn without_invisible(text: &str, removed: &mut Vec<Removed>) -> String {
    let text = text.replace("\u{1b}[200~", "").replace("\u{1b}[201~", "");
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    if visible.len() != text.len() {
        removed.push(Removed::Invisible);
    }
    visible
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
    )
}

/// `text` without surrounding spaces, quotes and the start of a header field, in any order.
fn bare<'a>(text: &'a str, removed: &mut Vec<Removed>) -> Result<&'a str, PasteError> {
    let mut rest = text;
    loop {
        let before = rest;
        let trimmed = rest.trim();
        // Every line ends with a line break, so removing one is not reported.
        if trimmed.len() != rest.trim_matches(['\r', '\n']).len() {
            note(Removed::Around, removed);
        }
        rest = trimmed;
        if let Some(inner) = unquoted(rest)? {
            note(Removed::Quotes, removed);
            rest = inner;
        }
        let mut is_authorization = false;
        if let Some((name, value)) = header(rest) {
            note(Removed::HeaderName, removed);
            is_authorization = name.ends_with("authorization");
            rest = value;
        }
        if rest.eq_ignore_ascii_case("bearer") {
            return Err(PasteError::Empty);
        }
        if after_word(rest, "basic").is_some() {
            return Err(PasteError::Basic);
        }
        let token = after_word(rest, "token").filter(|_| is_authorization);
        if let Some(value) = after_word(rest, "bearer").or(token) {
            note(Removed::Bearer, removed);
            rest = value;
        }
        if rest == before {
            return Ok(rest);
        }
    }
}

fn note(what: Removed, removed: &mut Vec<Removed>) {
    if !removed.contains(&what) {
        removed.push(what);
    }
}

/// The text between quotes. In a file, a comma or semicolon may follow.
fn unquoted(text: &str) -> Result<Option<&str>, PasteError> {
    let end = text.trim_end_matches([',', ';']);
    let closing = |(open, close): (char, char)| {
        let inner = end.strip_prefix(open)?.strip_suffix(close)?;
        // In a shell, these run a command.
        let is_command = open == '`' && inner.contains(char::is_whitespace);
        (!is_command && !inner.contains([open, close])).then_some(inner)
    };
    if let Some(inner) = QUOTES.into_iter().find_map(closing) {
        return Ok(Some(inner));
    }
    let is_quote = |c: char| QUOTES.iter().any(|(open, close)| c == *open || c == *close);
    let quotes = text.chars().filter(|c| is_quote(*c)).count();
    if quotes == 1 && (text.starts_with(is_quote) || text.ends_with(is_quote)) {
        return Err(PasteError::Quote);
    }
    Ok(None)
}

/// The name and the value of a header field that carries a key.
fn header(text: &str) -> Option<(String, &str)> {
    let (name, value) = text.split_once(':')?;
    let name = name.trim_matches(['"', '\'', ' ']).to_ascii_lowercase();
    HEADERS.contains(&name.as_str()).then(|| (name, value.trim_matches(['"', '\'', ' '])))
}

/// The text after `word` and a space or a colon, if `text` starts with them. Case is ignored.
fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    let is_between = |c: char| c.is_whitespace() || c == ':';
    let is_word = start.eq_ignore_ascii_case(word) && rest.starts_with(is_between);
    is_word.then(|| rest.trim_start_matches(is_between))
}

/// Why a text cannot be a key, if it is recognized as something else.
fn mistake(text: &str) -> Option<PasteError> {
    if text.is_empty() {
        return Some(PasteError::Empty);
    }
    if let Some(name) = assigned(text) {
        return Some(PasteError::Assignment(printable_name(name)));
    }
    if let Some(name) = variable(text) {
        return Some(PasteError::Variable(printable_name(name)));
    }
    if is_command(text) {
        return Some(PasteError::Command);
    }
    if text.contains("...") || text.contains("***") || text.contains(['…', '•', '●']) {
        return Some(PasteError::Shortened);
    }
    if is_placeholder(text) {
        return Some(PasteError::Placeholder);
    }
    if is_address(text) {
        return Some(PasteError::Address);
    }
    if is_part_of_a_file(text) {
        return Some(PasteError::File);
    }
    is_prose(text).then_some(PasteError::Words)
}

/// The variable that a text refers to, instead of its value; empty if the name is not clear.
fn variable(text: &str) -> Option<&str> {
    let between = |start: &str, end: &str| text.strip_prefix(start)?.strip_suffix(end);
    let name = between("${", "}")
        .or_else(|| between("{{", "}}"))
        .or_else(|| between("{env:", "}"))
        .or_else(|| between("%", "%").filter(|name| is_name(name)))
        .or_else(|| text.strip_prefix("$env:"))
        .or_else(|| text.strip_prefix("process.env."))
        .or_else(|| text.strip_prefix("os.environ/"))
        .or_else(|| text.strip_prefix('$').filter(|name| is_name(name)))?;
    let name = name.trim().trim_start_matches("env:").trim_start_matches("env.");
    Some(if is_name(name) { name } else { "" })
}

/// The variable that a text assigns: a line of a shell script or of an `.env` file. A text that
/// ends in `=` is the end of a key.
fn assigned(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix("$ ").unwrap_or(text).trim_start();
    let mut is_said = false;
    for word in ["export ", "set ", "setx ", "declare ", "const ", "let ", "env "] {
        if let Some(after) = rest.strip_prefix(word) {
            (rest, is_said) = (after.trim_start(), true);
        }
    }
    let rest = rest.strip_prefix("-x ").unwrap_or(rest);
    let (rest, is_powershell) = match rest.strip_prefix("$env:") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, value) = rest.split_at(end);
    let after = value.trim_start();
    let (is_set, value) = match after.strip_prefix('=') {
        Some(value) => (true, value),
        // `setx NAME VALUE`
        None => (is_said && after.len() < value.len(), after),
    };
    let is_variable = name.contains('_') && !name.contains(|c: char| c.is_ascii_lowercase());
    let is_clear = is_said || is_powershell || is_variable;
    let has_value = !value.trim_matches(['=', ' ']).is_empty();
    (is_clear && is_set && has_value && is_name(name)).then_some(name)
}

/// Whether the text is a shell command.
fn is_command(text: &str) -> bool {
    let substituted = text.starts_with("$(") && text.ends_with(')');
    let quoted = text.starts_with('`') && text.ends_with('`') && text.len() > 1;
    if substituted || quoted || text.starts_with('!') {
        return true;
    }
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return false };
    let more: Vec<_> = words.collect();
    let is_option = |word: &str| {
        let name = word.strip_prefix("--").unwrap_or_default();
        let name = name.split('=').next().unwrap_or_default();
        let is_long = name.len() > 1 && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        is_long || matches!(word, "-H" | "-d" | "-X" | "-u" | "-c" | "|" | "&&" | "||" | ">" | "<")
    };
    !more.is_empty()
        && (COMMANDS.contains(&first)
            || matches!(first, "$" | "#" | "%" | ">")
            || more.iter().any(|word| is_option(word)))
}

/// Whether the text is a placeholder from documentation.
fn is_placeholder(text: &str) -> bool {
    if text.starts_with('<') && text.ends_with('>') {
        return true;
    }
    let lowered = text.to_ascii_lowercase();
    let words: Vec<_> = lowered.split(['-', '_', ' ']).collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    has(&["your"])
        && has(&["key", "token", "apikey", "secret"])
        && words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase()) && word.len() < 12)
}

/// Whether the text is an address, or the path of a file.
fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let has_scheme = scheme.is_some_and(|scheme| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
    });
    has_scheme || ["~/", "./", "../", ".\\"].iter().any(|start| text.starts_with(start))
}

/// Whether the text is JSON, a certificate or a private key. A Google credential is output as JSON
/// with a `token`, so that is allowed.
fn is_part_of_a_file(text: &str) -> bool {
    if text.starts_with("-----BEGIN") || text.contains("\": \"") {
        return true;
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => !members.contains_key("token"),
        Ok(Value::Array(_)) => true,
        _ => false,
    }
}

/// Whether the text is a sentence, with or without a key in it.
fn is_prose(text: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_plain = |word: &&&str| word.len() <= 12 && word.chars().all(char::is_alphabetic);
        words.len() > 2 && words.iter().filter(is_plain).count() > 1
    })
}

/// The text without white space, if every character of it can be sent in a header field.
fn joined(text: &str, mut removed: Vec<Removed>) -> Result<KeyValue, PasteError> {
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if joined.len() != text.len() {
        let has_break = text.contains(['\n', '\r']);
        removed.push(if has_break { Removed::LineBreaks } else { Removed::Inside });
    }
    match joined.chars().position(|c| !c.is_ascii_graphic()) {
        Some(position) => Err(PasteError::NotPlain(position + 1)),
        None => Ok(KeyValue { secret: joined.into(), removed }),
    }
}

/// Whether `text` can be the name of a variable.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The name, if it can be shown safely: a name in lower case might be the secret itself.
fn printable_name(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_usual = name.len() < 64 && name.contains('_') && name.chars().all(is_plain);
    is_usual.then(|| name.to_owned())
}

const LONGEST: usize = 64 << 10;

const QUOTES: [(char, char); 8] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('‘', '’'),
    ('„', '“'),
    ('«', '»'),
    ('”', '”'),
];

/// Header fields that carry a key.
const HEADERS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "xi-api-key",
    "private-token",
    "x-auth-token",
];

/// Programs that people run to get or to use a key.
const COMMANDS: [&str; 28] = [
    "export", "set", "setx", "unset", "env", "printenv", "echo", "printf", "cat", "curl", "wget",
    "http", "xh", "sudo", "source", "eval", "bash", "sh", "pass", "op", "gopass", "security",
    "gcloud", "aws", "vault", "clawdbot", "claude", "openclaw",
];

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-aB3_x.Y=";

    #[track_caller]
    fn kept(text: &str, removed: &[Removed]) {
        let got = key_value(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!((got.secret.expose(), &got.removed[..]), (KEY, removed), "{text:?}");
    }

    #[test]
    fn what_is_copied_along_with_a_key_is_taken_off_and_named() {
        use Removed::{Around, Bearer, HeaderName, Inside, Invisible, LineBreaks, Quotes};

        kept(KEY, &[]);
        kept(&format!("{KEY}\r\n"), &[]);
        kept(&format!("\u{1b}[200~{KEY}\u{1b}[201~\n"), &[]);
        for text in [" KEY", "\tKEY\n", "KEY \n", "\u{a0}KEY", "KEY\u{2003}"] {
            kept(&text.replace("KEY", KEY), &[Around]);
        }
        for text in
            ["\u{feff}KEY", "KEY\u{200b}", "sk-\u{2060}aB3_x.Y=", "KEY\u{ad}", "KEY\u{200e}"]
        {
            kept(&text.replace("KEY", KEY), &[Invisible]);
        }
        for text in ["\"KEY\"", "'KEY'", "`KEY`", "“KEY”", "‘KEY’", "«KEY»", "\"KEY\",", "'KEY';"]
        {
            kept(&text.replace("KEY", KEY), &[Quotes]);
        }
        for text in ["Bearer KEY", "bearer KEY", "BEARER\tKEY", "Bearer: KEY", "Bearer\u{a0}KEY"] {
            kept(&text.replace("KEY", KEY), &[Bearer]);
        }
        kept(&format!("Authorization: Bearer {KEY}"), &[HeaderName, Bearer]);
        kept(&format!("authorization: token {KEY}"), &[HeaderName, Bearer]);
        kept(&format!("x-api-key: {KEY}"), &[HeaderName]);
        kept(&format!("\"Bearer {KEY}\""), &[Quotes, Bearer]);
        kept(&format!(" 'Authorization: Bearer {KEY}' \n"), &[Around, Quotes, HeaderName, Bearer]);
        kept(&format!("Bearer \"{KEY}\""), &[Bearer, Quotes]);
        kept("sk-aB\r\n  3_x.Y=\n", &[LineBreaks]);
        kept("sk-aB 3_x.Y=", &[Inside]);
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_by_its_kind() {
        let named = |name: &str| Some(name.to_owned());
        let cases: [(&[&str], PasteError); 11] = [
            (&["", " \n", "\u{feff}", "\"\"", "Bearer ", "Bearer"], PasteError::Empty),
            (
                &[
                    "$ACME_API_KEY",
                    "${ACME_API_KEY}",
                    "\"${ACME_API_KEY}\"",
                    "$env:ACME_API_KEY",
                    "%ACME_API_KEY%",
                    "{env:ACME_API_KEY}",
                    "{{ env.ACME_API_KEY }}",
                    "os.environ/ACME_API_KEY",
                    "Bearer $ACME_API_KEY",
                ],
                PasteError::Variable(named("ACME_API_KEY")),
            ),
            (&["$secret", "${secret}", "${A:-b}"], PasteError::Variable(None)),
            (
                &[
                    "export ACME_API_KEY=sk-1234",
                    "export ACME_API_KEY='sk-1234'",
                    "$ export ACME_API_KEY=sk-1234",
                    "ACME_API_KEY=sk-1234",
                    "set ACME_API_KEY=sk-1234",
                    "setx ACME_API_KEY sk-1234",
                    "set -x ACME_API_KEY sk-1234",
                    "$env:ACME_API_KEY = \"sk-1234\"",
                    "export ACME_API_KEY=sk-1234 && acme",
                ],
                PasteError::Assignment(named("ACME_API_KEY")),
            ),
            (
                &[
                    "curl https://api.acme.example -H 'Authorization: Bearer sk-1234'",
                    "$ pass show acme",
                    "$(pass show acme)",
                    "`pass show acme`",
                    "!pass show acme",
                    "acme login --token sk-1234",
                    "cat key.txt | clip",
                ],
                PasteError::Command,
            ),
            (&["sk-0123...89ab", "sk-0123…89ab", "sk-****", "••••••••"], PasteError::Shortened),
            (&["<your key>", "YOUR_API_KEY", "your-api-key-here"], PasteError::Placeholder),
            (
                &["https://acme.example/keys", "op://work/acme/key", "~/keys/acme", "../acme.key"],
                PasteError::Address,
            ),
            (
                &[
                    "{\"key\": \"sk-1234\"}",
                    "\"apiKey\": \"sk-1234\",",
                    "[]",
                    "-----BEGIN KEY-----",
                ],
                PasteError::File,
            ),
            (&["my key is sk-1234", "please log in first"], PasteError::Words),
            (&["Basic dXNlcjpwYXNz", "Authorization: Basic dXNlcjpwYXNz"], PasteError::Basic),
        ];
        for (texts, wanted) in cases {
            for text in texts {
                assert_eq!(key_value(text).err(), Some(wanted.clone()), "{text:?}");
            }
        }
        assert_eq!(key_value("\"sk-1234").err(), Some(PasteError::Quote));
        assert_eq!(key_value("sk-12\u{1b}[31m").err(), Some(PasteError::NotPlain(6)));
        assert_eq!(key_value(&"x".repeat(LONGEST + 1)).err(), Some(PasteError::TooLong));
    }

    #[test]
    fn a_key_of_an_odd_look_is_a_key() {
        for key in [
            "EMPTY",
            "dummy",
            "sk-1234",
            "user:pass$word",
            "$2b$10$abcdef/ghi",
            "AKIAIOSFODNN7/bPxRf==",
            "/abs+olute/base64==",
            "abc=def",
            "a&b|c;d>e",
            "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.",
            "{\"token\":\"t\",\"projectId\":\"p\"}",
            "-leading-dash--x",
            "Bearerish-token",
            "my-secret-key",
            "basic",
            "tokens",
        ] {
            let got = key_value(key).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_eq!((got.secret.expose(), got.removed.len()), (key, 0));
        }
    }

    #[test]
    fn a_long_token_is_the_same_however_a_terminal_wraps_it() {
        let token: String =
            (0..10_000_u32).filter_map(|n| char::from_u32(u32::from(b'!') + n * 7 % 90)).collect();
        let token = format!("sk-{}", token.replace(['.', '*', '"', '\'', '`', '$', '!'], "x"));
        for width in [20, 63, 80, 137] {
            let lines: Vec<_> = token.as_bytes().chunks(width).map(<[u8]>::to_vec).collect();
            for between in [&b"\n"[..], b"\r\n  ", b" "] {
                let text = String::from_utf8(lines.join(between)).unwrap();
                let got = key_value(&text).unwrap_or_else(|error| panic!("{width}: {error}"));
                assert_eq!(got.secret.expose(), token, "{width}");
            }
        }
    }

    #[test]
    fn an_error_has_no_word_of_the_paste_in_it() {
        for text in
            ["$s3cret", "export x=s3cret", "curl -H s3cret", "s3cret...x", "the key s3cret is"]
        {
            let error = key_value(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{text}");
        }
    }
}
