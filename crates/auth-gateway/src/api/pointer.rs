//! The place of a value in a request: in a header, or in the body at a JSON pointer. The body is
//! read without building a tree, and only as far as necessary.

use std::borrow::Cow;
use std::fmt;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use memchr::memmem;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A place in a request.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Header(HeaderName),
    Body(Pointer),
}

/// A JSON pointer (RFC 6901), in which `*` stands for every element of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pointer {
    steps: Vec<String>,
    /// The last step as it appears in the body: a body without it is not parsed.
    needle: String,
}

impl Place {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Pointer::parse(text).map(Self::Body);
        }
        text.parse().map(Self::Header).map_err(|_| format!("`{text}` is no header and no pointer"))
    }
}

impl Pointer {
    /// The place of the model in every API except Google's.
    pub(crate) fn model() -> Self {
        Self { steps: vec!["model".to_owned()], needle: "\"model\"".to_owned() }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or_else(|| format!("`{text}` is no pointer"))?;
        let steps: Vec<_> =
            rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        if steps.iter().any(|step| step.is_empty() || step.contains('*') && step != "*") {
            return Err(format!("`{text}`: a step is a name or `*`"));
        }
        let last = steps.iter().rev().find(|step| *step != "*").ok_or("it names nothing")?;
        Ok(Self { needle: format!("\"{last}\""), steps })
    }
}

/// The value of a header, if it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// Calls `found` with the index of a pointer and each string at it. Reading stops when every
/// pointer without a `*` that can occur was found, and at the first error in the JSON.
pub(crate) fn read_body<'a>(
    body: &[u8],
    pointers: impl Iterator<Item = &'a Pointer>,
    found: &mut dyn FnMut(usize, &str),
) {
    let wanted: Vec<Wanted<'a>> = pointers
        .enumerate()
        .filter(|(_, pointer)| memmem::find(body, pointer.needle.as_bytes()).is_some())
        .map(|(number, pointer)| Wanted { number, steps: &pointer.steps })
        .collect();
    if wanted.is_empty() {
        return;
    }
    let has_lists = wanted.iter().any(|it| it.steps.iter().any(|step| step == "*"));
    // A list may always have another element; this bit belongs to no pointer.
    let lists = if has_lists { 1 << 63 } else { 0 };
    let missing = wanted.iter().fold(lists, |missing, it| missing | bit(it.number));
    let mut reading = Reading { missing, found };
    let mut json = serde_json::Deserializer::from_slice(body);
    // Best effort: this returns an error if everything was found, or if the body is not JSON.
    let _ = At { wanted, reading: &mut reading }.deserialize(&mut json);
}

#[derive(Clone, Copy)]
struct Wanted<'a> {
    number: usize,
    steps: &'a [String],
}

struct Reading<'f> {
    /// The pointers without a match so far, as bits.
    missing: u64,
    found: &'f mut dyn FnMut(usize, &str),
}

fn bit(number: usize) -> u64 {
    1 << number.min(62)
}

/// A value that contains wanted parts.
struct At<'a, 'r, 'f> {
    wanted: Vec<Wanted<'a>>,
    reading: &'r mut Reading<'f>,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let below: Vec<_> = self
                .wanted
                .iter()
                .filter(|it| it.steps.first().is_some_and(|step| *step == *name))
                .map(|it| Wanted { number: it.number, steps: &it.steps[1..] })
                .collect();
            if below.is_empty() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value_seed(At { wanted: below, reading: &mut *self.reading })?;
            if self.reading.missing == 0 {
                return Err(M::Error::custom("everything was found"));
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        let below: Vec<_> = self
            .wanted
            .iter()
            .filter(|it| it.steps.first().is_some_and(|step| step == "*"))
            .map(|it| Wanted { number: it.number, steps: &it.steps[1..] })
            .collect();
        if below.is_empty() {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while list
            .next_element_seed(At { wanted: below.clone(), reading: &mut *self.reading })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        for it in self.wanted.iter().filter(|it| it.steps.is_empty()) {
            (self.reading.found)(it.number, text);
            self.reading.missing &= !bit(it.number);
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The name of a member, copied only if it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, pointers: &[&str]) -> Vec<(usize, String)> {
        let pointers: Vec<_> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
        let mut all = Vec::new();
        read_body(body.as_bytes(), pointers.iter(), &mut |number, text| {
            all.push((number, text.to_owned()));
        });
        all
    }

    #[test]
    fn strings_at_pointers_are_found() {
        let body = r#"{"model": "m-1", "input": [{"id": 4}, {"encrypted_content": "x"},
            {"encrypted_content": "y", "content": [{"file_id": "f"}]}],
            "metadata": {"user_id": "u", "model": "no"}, "previous_response_id": null}"#;
        let pointers = [
            "/model",
            "/input/*/encrypted_content",
            "/metadata/user_id",
            "/previous_response_id",
            "/input/*/content/*/file_id",
        ];
        let found = read(body, &pointers);
        let expected = [(0, "m-1"), (1, "x"), (1, "y"), (4, "f"), (2, "u")];
        assert_eq!(found, expected.map(|(number, text)| (number, text.to_owned())));
    }

    #[test]
    fn reading_ends_where_everything_was_found() {
        // What follows is no JSON, and is not looked at.
        assert_eq!(read(r#"{"model": "m", "x": !!!"#, &["/model"]), [(0, "m".to_owned())]);
        assert_eq!(read(r#"{"x": !!!, "model": "m"}"#, &["/model"]), []);
        assert_eq!(read("", &["/model"]), []);
        assert_eq!(read(r#"["model"]"#, &["/model"]), []);
        assert_eq!(
            read(r#"{"mod\u0065l": "m", "a": "model"}"#, &["/model"]),
            [(0, "m".to_owned())]
        );
    }

    #[test]
    fn deep_json_is_no_danger() {
        let deep = format!("{{\"a\": {}, \"model\": \"m\"}}", "[".repeat(100_000));
        assert_eq!(read(&deep, &["/model"]), []);
    }
}
