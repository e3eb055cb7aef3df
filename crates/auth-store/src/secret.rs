//! A string that does not print itself.

use std::fmt;

use zeroize::Zeroize;

/// The secret text of a credential. It has no `Display`, its `Debug` hides it, and its memory is wiped
/// on drop.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    pub(crate) const BLANK: &'static Self = &Self(String::new());

    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Each call marks a place where the secret is no longer hidden.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is empty or white space. Such a secret counts as missing.
    pub fn is_blank(&self) -> bool {
        crate::id::trim(&self.0).is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("REDACTED")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The duration of a comparison depends on the lengths only.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.bytes().zip(other.0.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "REDACTED");
    }

    #[test]
    fn equality_is_that_of_the_text() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("ab"));
    }
}
