//! Tokens and keys that a user pastes.

use auth_store::{ProviderId, Secret};

use crate::login::key_value::{PasteError, Removed, key_value};
use crate::provider::Looks;

/// A pasted token or key, cleaned up.
#[derive(Clone, Debug)]
pub struct Pasted {
    /// The token or key, without any white space.
    pub secret: Secret,
    /// What was removed from the pasted text.
    pub removed: Vec<Removed>,
    /// Why it looks unusual: a reason to check it again, never to refuse it.
    pub warnings: Vec<String>,
}

/// Reads a token or key of `provider` from `text` with [`key_value`], and adds a warning if it does
/// not look like the tokens or keys that this provider issues.
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
