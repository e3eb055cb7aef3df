//! The APIs of the providers of the catalogue, which is in `auth-providers`.

use std::collections::HashMap;

use auth_providers::Providers;
use auth_store::ProviderId;

use crate::api::{Api, ApiData};

/// The APIs of the catalogue, by provider.
pub fn built_in() -> HashMap<ProviderId, Api> {
    // A test checks that all of them are valid.
    data().into_iter().filter_map(|(id, data)| Some((id, data.ok()?.build().ok()?))).collect()
}

/// What the catalogue says of each API.
fn data() -> Vec<(ProviderId, serde_json::Result<ApiData>)> {
    let providers = Providers::load(None, &|_| None);
    let described = providers.all().iter().filter_map(|it| Some((it.id.clone(), it.api.clone()?)));
    described.map(|(id, api)| (id, serde_json::from_value(api))).collect()
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;

    #[test]
    fn every_entry_is_right() {
        let all = data();
        for (id, data) in &all {
            let data = data.as_ref().unwrap_or_else(|error| panic!("{id}: {error}"));
            assert!(data.build().is_ok(), "{id}: {:?}", data.build());
        }
        assert!(all.len() >= 20);
        assert_eq!(built_in().len(), all.len());
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
