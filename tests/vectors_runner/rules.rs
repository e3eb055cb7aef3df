//! The rules of `rules.json`: our deliberate differences from Clawdbot.

use std::cell::LazyCell;
use std::path::Path;

use serde_json::Value;

use crate::Case;
use crate::reference::{self, Reply};

/// One rule.
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) reason: String,
    functions: Vec<String>,
    when: Predicate,
}

/// The inputs that a rule applies to.
enum Predicate {
    /// `{"changes": difference}`: switching this difference off changes the result.
    Changes(String),
    /// `{"at": pointer, "is": value}`: the pointer has that value. An absent one is `null`.
    Is(String, Value),
    /// `{"at": pointer, "contains": text}`: the pointer has a string with that text.
    Contains(String, String),
    /// `{"not": predicate}`
    Not(Box<Self>),
    /// `{"all": [predicate…]}`
    All(Vec<Self>),
    /// `{"any": [predicate…]}`
    Any(Vec<Self>),
}

/// All rules.
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// Reads the rules file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let problem = |what: &str| format!("{}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| problem(&error.to_string()))?;
        let rules: Vec<Value> =
            serde_json::from_str(&text).map_err(|error| problem(&error.to_string()))?;
        let rules = rules.iter().map(|rule| Rule::read(rule).map_err(|what| problem(&what)));
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// The rules that claim the case.
    pub(crate) fn claiming(&self, case: &Case) -> Vec<&Rule> {
        let ours = LazyCell::new(|| reference::reply(case, &|_| true));
        let mine = self.0.iter().filter(|rule| rule.functions.contains(&case.function));
        mine.filter(|rule| rule.when.holds(case, &|| (*ours).clone())).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }
}

impl Rule {
    fn read(rule: &Value) -> Result<Self, String> {
        let text = |name: &str| {
            rule[name].as_str().map(str::to_owned).ok_or(format!("a rule without `{name}`"))
        };
        let functions = rule["functions"].as_array().into_iter().flatten();
        text("ours")?;
        Ok(Self {
            name: text("name")?,
            reason: text("reason")?,
            functions: functions.filter_map(Value::as_str).map(str::to_owned).collect(),
            when: Predicate::read(&rule["when"])?,
        })
    }
}

impl Predicate {
    fn read(value: &Value) -> Result<Self, String> {
        let many = |name: &str| {
            let list = value[name].as_array()?;
            Some(list.iter().map(Self::read).collect::<Result<Vec<_>, _>>())
        };
        if let Some(difference) = value["changes"].as_str() {
            return Ok(Self::Changes(difference.to_owned()));
        }
        if let Some(list) = many("all") {
            return Ok(Self::All(list?));
        }
        if let Some(list) = many("any") {
            return Ok(Self::Any(list?));
        }
        if let Some(inner) = value.get("not") {
            return Ok(Self::Not(Box::new(Self::read(inner)?)));
        }
        match (value["at"].as_str(), value.get("is"), value["contains"].as_str()) {
            (Some(at), Some(is), _) => Ok(Self::Is(at.to_owned(), is.clone())),
            (Some(at), _, Some(text)) => Ok(Self::Contains(at.to_owned(), text.to_owned())),
            _ => Err(format!("a predicate that is none: {value}")),
        }
    }

    fn holds(&self, case: &Case, ours: &dyn Fn() -> Option<Reply>) -> bool {
        let at = |pointer: &str| case.input.pointer(pointer);
        match self {
            Self::Changes(difference) => {
                ours() != reference::reply(case, &|other| other != difference)
            }
            Self::Is(pointer, wanted) => at(pointer).unwrap_or(&Value::Null) == wanted,
            Self::Contains(pointer, text) => {
                at(pointer).and_then(Value::as_str).is_some_and(|found| found.contains(text))
            }
            Self::Not(inner) => !inner.holds(case, ours),
            Self::All(list) => list.iter().all(|it| it.holds(case, ours)),
            Self::Any(list) => list.iter().any(|it| it.holds(case, ours)),
        }
    }
}
