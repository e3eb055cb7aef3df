//! The body of an error response, normalized across providers.

use serde_json::Value;

/// The facts in the body, normalized across providers.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) is_error: bool,
    /// The error codes as written, the most specific first.
    pub(crate) codes: Vec<String>,
    pub(crate) message: String,
    /// A status code in the body.
    pub(crate) status: Option<u16>,
    pub(crate) is_moderated: bool,
}

impl Facts {
    pub(crate) fn from_body(body: &Value) -> Self {
        let mut facts = Self::default();
        let base = &body["base_resp"];
        for holder in [&body["error"], &body["response"]["error"], base, body, &body["detail"]] {
            match holder {
                Value::String(text) if text.contains(char::is_whitespace) => facts.tell(text),
                Value::String(code) if facts.message.is_empty() => facts.codes.push(code.clone()),
                Value::Object(_) => facts.read(holder),
                _ => {}
            }
        }
        let is_there = |value: &Value| !value.is_null() && *value != Value::Bool(false);
        facts.is_error = is_there(&body["error"])
            || is_there(&body["response"]["error"])
            || base["status_code"].as_i64().is_some_and(|code| code != 0)
            || body["type"] == "error";
        if let Some(code) = base["status_code"].as_i64().filter(|code| *code != 0) {
            facts.codes.insert(0, format!("minimax_{code}"));
        }
        let number = body["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        facts.status = number.filter(|code| (400..600).contains(code));
        let metadata = &body["error"]["metadata"];
        facts.is_moderated =
            metadata["reasons"].is_array() || metadata["flagged_input"].is_string();
        facts
    }

    fn read(&mut self, holder: &Value) {
        let details = holder["details"].as_array().into_iter().flatten();
        let errors = holder["errors"].as_array().into_iter().flatten();
        let reasons = details.chain(errors).map(|detail| &detail["reason"]);
        let own = ["code", "type", "status"].into_iter().map(|name| &holder[name]);
        for code in reasons.chain(own) {
            match code {
                Value::String(code) if !["", "error", "failed"].contains(&code.as_str()) => {
                    self.codes.push(code.clone());
                }
                // Z.AI's codes may be numbers; OpenRouter's and Google's are statuses.
                Value::Number(number) if number.as_u64().is_some_and(|it| it >= 1000) => {
                    self.codes.push(number.to_string());
                }
                _ => {}
            }
        }
        for name in ["message", "status_msg", "error_description", "detail", "msg"] {
            if let Some(text) = holder[name].as_str() {
                self.tell(text);
            }
        }
    }

    fn tell(&mut self, text: &str) {
        if self.message.is_empty() {
            text.clone_into(&mut self.message);
        }
    }
}

/// An error code without the differences in spelling between providers.
pub(crate) fn plain(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    plain.to_ascii_lowercase()
}

pub(crate) fn headers(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => values.first().and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    match value {
        Value::Object(members) => {
            members.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
        }
        Value::Array(pairs) => pairs
            .iter()
            .filter_map(|pair| Some((pair[0].as_str()?.to_owned(), text(&pair[1])?)))
            .collect(),
        _ => Vec::new(),
    }
}
