//! Reads the model, the conversation, and the account-bound ids from a request.

use hyper::HeaderMap;

use crate::api::Api;
use crate::api::pointer::{Place, Pointer, header, read_body};

/// The facts of a request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct RequestFacts {
    pub(crate) model: Option<String>,
    /// The id of the conversation.
    pub(crate) session: Option<String>,
    /// Ids and ciphertexts that only the account that created them knows.
    pub(crate) bound: Vec<String>,
}

/// Reads a request: headers first, and the body only for the remaining facts.
pub(crate) fn read(
    api: &Api,
    path: &str,
    headers: &HeaderMap,
    body: Option<&[u8]>,
    model: &Pointer,
) -> RequestFacts {
    let mut facts = RequestFacts { model: model_in_path(path), ..RequestFacts::default() };
    for place in &api.bound {
        if let Place::Header(name) = place {
            facts.bound.extend(header(headers, name).map(id_key));
        }
    }
    let named = api.session.iter().find_map(|place| match place {
        Place::Header(name) => header(headers, name),
        Place::Body(_) => None,
    });
    facts.session = named.map(str::to_owned);
    let Some(body) = body.filter(|body| !body.is_empty()) else { return facts };

    let sessions = if facts.session.is_none() { api.session.as_slice() } else { &[] };
    let (sessions, bound) = (in_body(sessions), in_body(&api.bound));
    let mut sessions_there: Vec<Option<String>> = vec![None; sessions.clone().count()];
    let wanted = std::iter::once(model).chain(sessions).chain(bound);
    let (mut models, mut ids) = (None, Vec::new());
    read_body(body, wanted, &mut |number, text| {
        if text.is_empty() {
            return;
        }
        match number.checked_sub(1) {
            None => models = Some(text.to_owned()),
            Some(number) => match sessions_there.get_mut(number) {
                Some(name) => *name = Some(text.to_owned()),
                None if ids.len() < MOST_IDS => ids.push(id_key(text)),
                None => {}
            },
        }
    });
    facts.model = models.or(facts.model);
    facts.session = facts.session.or_else(|| sessions_there.into_iter().flatten().next());
    facts.bound.append(&mut ids);
    facts
}

fn in_body(places: &[Place]) -> impl Iterator<Item = &Pointer> + Clone {
    places.iter().filter_map(|place| match place {
        Place::Body(pointer) => Some(pointer),
        Place::Header(_) => None,
    })
}

/// The key for an id or a ciphertext: its prefix, which is unique in both.
pub(crate) fn id_key(text: &str) -> String {
    let end = (0..=text.len().min(ID_BYTES)).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
}

/// Google's `/v1beta/models/gemini-pro:generateContent`.
fn model_in_path(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("/models/")?;
    let (model, _) = rest.split_once(':')?;
    (!model.is_empty() && !model.contains('/')).then(|| model.to_owned())
}

/// How many bytes of an id are kept.
pub(crate) const ID_BYTES: usize = 96;
/// How many ciphertexts of a conversation are examined.
const MOST_IDS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiData;

    fn facts(path: &str, headers: &[(&'static str, &str)], body: &str) -> RequestFacts {
        let data = serde_json::json!({"base": "https://a.example"});
        let api = serde_json::from_value::<ApiData>(data).unwrap().build().unwrap();
        let headers = headers.iter().map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), value.parse().unwrap())
        });
        let model = Pointer::parse("/model").unwrap();
        read(&api, path, &headers.collect(), Some(body.as_bytes()), &model)
    }

    #[test]
    fn a_conversation_is_named_by_the_first_place_that_has_a_name() {
        let body = r#"{"model": "m", "prompt_cache_key": "body"}"#;
        let named = facts("/responses", &[("x-session-id", "b"), ("session-id", "a")], body);
        assert_eq!(named.session.as_deref(), Some("a"));
        assert_eq!(named.model.as_deref(), Some("m"));
        assert_eq!(facts("/responses", &[], body).session.as_deref(), Some("body"));
        assert_eq!(facts("/responses", &[], "{}").session, None);
    }

    #[test]
    fn ids_of_an_account_are_found_in_headers_and_bodies() {
        let body = r#"{"previous_response_id": "resp_1", "conversation": {"id": "conv_1"},
            "input": [{"encrypted_content": "gAAAA"}, {"content": [{"file_id": "file-1"}]}]}"#;
        let found = facts("/responses", &[("x-codex-turn-state", "state")], body);
        let mut bound = found.bound;
        bound.sort();
        assert_eq!(bound, ["conv_1", "file-1", "gAAAA", "resp_1", "state"]);
        assert!(facts("/responses", &[], r#"{"previous_response_id": null}"#).bound.is_empty());
    }

    #[test]
    fn googles_model_stands_in_the_path() {
        let model = |path| facts(path, &[], "{}").model;
        let path = "/v1beta/models/gemini-pro:streamGenerateContent";
        assert_eq!(model(path).as_deref(), Some("gemini-pro"));
        assert_eq!(model("/v1beta/models/"), None);
    }

    #[test]
    fn a_long_ciphertext_is_known_by_its_beginning() {
        let long = "é".repeat(1000);
        assert!(long.starts_with(&id_key(&long)) && id_key(&long).len() == 96);
    }
}
