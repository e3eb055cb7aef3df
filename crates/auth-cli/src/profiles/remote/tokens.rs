//! The tokens that a sink on another machine gave, until shortly before their end.

use std::time::Duration;

use auth_store::{Kind, ProfileId, ProviderId, Timestamp, paths, read_regular};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::host::context::Context;
use crate::profiles::route::TokenRequest;
use crate::profiles::token_output::TokenOutput;

/// A token that was given, and for what.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Given {
    pub(super) asked: String,
    pub(super) at: Timestamp,
    pub(super) told: Value,
}

/// The token that was given for a plain request, if it is good for a while. Nothing is asked.
pub(crate) fn cached(request: &TokenRequest, context: &Context) -> Option<TokenOutput> {
    let asked = asked(request);
    let known = given(context).into_iter().find(|given| given.asked == asked)?;
    known.is_good(context.now(), MARGIN).then(|| known.output())?
}

impl Given {
    pub(super) fn is_good(&self, now: Timestamp, margin: Duration) -> bool {
        match self.told["expires"].as_i64().map(Timestamp) {
            Some(end) => now.plus(margin) < end,
            // It may be taken away there at any time.
            None => now < self.at.plus(WITHOUT_END),
        }
    }

    pub(super) fn output(&self) -> Option<TokenOutput> {
        let text = |name: &str| self.told[name].as_str();
        let profile = ProfileId::new(text("profileId")?);
        Some(TokenOutput {
            provider: ProviderId::new(text("provider")?),
            source: format!("profile: {profile}"),
            profile: Some(profile),
            agent: text("agentId").unwrap_or("main").to_owned(),
            kind: match text("mode")? {
                "oauth" => Kind::OAuth,
                "token" => Kind::Token,
                _ => Kind::ApiKey,
            },
            token: text("token")?.into(),
            expires: self.told["expires"].as_i64().map(Timestamp),
            model: None,
            fallback_for: None,
        })
    }
}

/// What is asked for, as the sink reads it.
pub(super) fn asked(request: &TokenRequest) -> String {
    let route = &request.route;
    let (model_provider, model) = match route.model.as_deref().map(|it| it.split_once('/')) {
        Some(Some((provider, model))) => (Some(provider), Some(model)),
        Some(None) => (None, route.model.as_deref()),
        None => (None, None),
    };
    let mut query = Serializer::new(String::new());
    for (name, value) in [
        ("provider", route.provider.as_deref().or(model_provider)),
        ("profile", route.profile.as_deref()),
        ("model", model),
        ("session", route.session.as_deref()),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

/// The tokens that were given. What cannot be read is as good as nothing: it can be asked for.
pub(super) fn given(context: &Context) -> Vec<Given> {
    let bytes = read_regular(&paths::remote_tokens(&context.paths().state_dir));
    let given = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    given.unwrap_or_default()
}

pub(super) fn keep(fresh: Given, context: &Context) {
    let now = context.now();
    let mut kept = given(context);
    kept.retain(|given| given.asked != fresh.asked && given.is_good(now, Duration::ZERO));
    kept.push(fresh);
    write(&kept, context);
}

pub(super) fn write(given: &[Given], context: &Context) {
    let path = paths::remote_tokens(&context.paths().state_dir);
    // Without it the next one asks again.
    let _ = auth_store::write_atomic_unsynced(&path, json!(given).to_string().as_bytes());
}

/// A token is asked for anew so long before its end.
pub(super) const MARGIN: Duration = Duration::from_mins(1);
/// A key without an end is asked for anew after this.
const WITHOUT_END: Duration = Duration::from_mins(5);
