//! Tokens and keys that a person pastes.

use auth_store::{ProviderId, Secret};

use crate::login::key_value::{Removed, key_value};
use crate::provider::Looks;

/// What a person pasted, made whole.
#[derive(Clone, Debug)]
pub struct Pasted {
    /// The token or key, without any white space.
    pub secret: Secret,
    /// What was taken off it.
    pub removed: Vec<Removed>,
    /// What looks odd about it: a reason to look again, never to refuse it.
    pub warnings: Vec<String>,
}

/// Why what was pasted cannot be a token or a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasteError {
    /// Nothing but white space.
    #[error("nothing was pasted")]
    Empty,
    /// It could not be sent in a header field.
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
    /// Something for a shell to run.
    #[error("it is a command for a shell, not a key")]
    Command,
    /// A key as it is shown to people, not all of it.
    #[error("it is shortened: not all of it is there")]
    Shortened,
    /// What documentation has in the place of a key.
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

/// Reads a token or key of `provider` from `text`: [`key_value`], and a warning where it does not
/// look like what that provider gives out.
pub fn pasted(text: &str, provider: &ProviderId, looks: &Looks) -> Result<Pasted, PasteError> {
    let value = key_value(text)?;
    let text = value.secret.expose();
    let mut warnings = Vec::new();
    if let Some(prefix) = &looks.prefix
        && !text.starts_with(prefix.as_str())
    {
        warnings.push(format!("what `{provider}` gives out usually begins with `{prefix}`"));
    }
    let length = text.len();
    if looks.shortest.is_some_and(|shortest| length < shortest) {
        warnings.push(format!("it is only {length} characters long: was a part of it left out?"));
    }
    if looks.longest.is_some_and(|longest| length > longest) {
        warnings.push(format!("it is {length} characters long: was something pasted twice?"));
    }
    Ok(Pasted { secret: value.secret, removed: value.removed, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &Result<(&str, usize), PasteError>) {
        let looks = Looks {
            prefix: Some("sk-".to_owned()),
            shortest: Some(6),
            longest: Some(12),
            obtain: None,
        };
        let got = pasted(text, &ProviderId::new("acme"), &looks);
        let got = got.as_ref().map(|got| (got.secret.expose(), got.warnings.len()));
        assert_eq!(got.map_err(Clone::clone), *wanted);
    }

    #[test]
    fn a_token_is_read_across_line_wraps() {
        check(" sk-12\r\n  34\t56\n", &Ok(("sk-123456", 0)));
        check("\u{1b}[200~sk-1234\u{1b}[201~\n", &Ok(("sk-1234", 0)));
    }

    #[test]
    fn what_looks_odd_is_accepted_with_a_warning() {
        check("pk-1234", &Ok(("pk-1234", 1)));
        check("sk-1", &Ok(("sk-1", 1)));
        check("sk-1234567890", &Ok(("sk-1234567890", 1)));
        check("x", &Ok(("x", 2)));
    }

    #[test]
    fn what_no_header_field_can_carry_is_refused() {
        check(" \n", &Err(PasteError::Empty));
        check("sk-1\u{1b}[31m", &Err(PasteError::NotPlain(5)));
        check("sk-é", &Err(PasteError::NotPlain(4)));
    }
}
