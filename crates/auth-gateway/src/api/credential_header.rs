//! The header for a credential, and the other headers that it requires.

use auth_store::Secret;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, InvalidHeaderValue};

/// `x-api-key: {}`: a header, and the text around the secret in it.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    name: HeaderName,
    before: String,
    after: String,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(name, value)| {
            let (before, after) = value.trim().split_once("{}")?;
            Some((name, before, after))
        });
        let (name, before, after) =
            parts.ok_or_else(|| format!("`{text}` is not `name: … {{}} …`"))?;
        let name = name.trim().parse().map_err(|_| format!("`{name}` is no header"))?;
        Ok(Self { name, before: before.to_owned(), after: after.to_owned() })
    }

    pub(crate) fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The value for this secret, which no log shows.
    pub(crate) fn fill(&self, secret: &Secret) -> Result<HeaderValue, InvalidHeaderValue> {
        let secret = auth_store::trim(secret.expose());
        let mut text = String::with_capacity(self.before.len() + secret.len() + self.after.len());
        text.push_str(&self.before);
        text.push_str(secret);
        text.push_str(&self.after);
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Appends `value` to a header that is a list, unless it is already there.
pub(crate) fn merge(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let lists = headers.get_all(name).iter().filter_map(|list| list.to_str().ok());
    let mut words: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    words.retain(|word| !word.is_empty());
    let own = value.to_str().unwrap_or_default();
    if words.contains(&own) {
        return;
    }
    words.push(own);
    if let Ok(list) = HeaderValue::from_str(&words.join(",")) {
        headers.insert(name.clone(), list);
    }
}
