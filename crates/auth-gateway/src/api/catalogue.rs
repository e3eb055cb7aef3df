//! The APIs of the built-in providers.

use std::collections::HashMap;

use auth_store::ProviderId;

use crate::api::{Api, ApiData};

/// The built-in APIs, by provider.
pub fn built_in() -> HashMap<ProviderId, Api> {
    let data: HashMap<String, ApiData> = serde_json::from_str(DATA).unwrap_or_default();
    // A test checks that all of them are valid.
    data.iter().filter_map(|(id, data)| Some((ProviderId::new(id), data.build().ok()?))).collect()
}

const DATA: &str = include_str!("../apis.json");

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;

    #[test]
    fn every_entry_is_right() {
        let data: HashMap<String, ApiData> = serde_json::from_str(DATA).unwrap();
        for (id, data) in &data {
            assert!(data.build().is_ok(), "{id}: {:?}", data.build());
        }
        assert_eq!(built_in().len(), data.len());
    }

    #[test]
    fn the_main_path_of_each_may_be_repeated() {
        let all = built_in();
        for (provider, path) in [
            ("anthropic", "/v1/messages"),
            ("openai", "/chat/completions"),
            ("openai-codex", "/responses"),
            ("google", "/v1beta/models/gemini-pro:streamGenerateContent"),
            ("openrouter", "/chat/completions"),
            ("zai", "/chat/completions"),
        ] {
            let api = &all[&ProviderId::new(provider)];
            assert!(api.admits(path) && api.may_repeat(&Method::POST, path), "{provider}");
            assert!(!api.may_repeat(&Method::POST, "/v1/files"), "{provider}");
        }
    }
}
