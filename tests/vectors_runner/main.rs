//! Runs the recorded conformance cases through the public functions of the crates.
//!
//! ```text
//! vectors [DIR]      DIR: a folder with *.jsonl; default: the project's own tests/vectors
//! ```
//!
//! Each case is one line, `{"name", "fn", "input", "expected"}`; the README beside the cases
//! describes the fields. A case passes if our result equals the recorded one. For each deliberate
//! difference, a rule of `rules.json` claims the case by a predicate on its input, and gives the
//! required result; if a rule claims a case for which we return the recorded result anyway, the
//! rule is wrong, and the case fails. A function that is not built fails.
//!
//! Reading order: this file, [`rules`], [`compare`], then a file per area.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

mod callback;
mod compare;
mod directive;
mod health;
mod label;
mod migrate;
mod places;
mod reference;
mod repair;
mod resolve;
mod routing;
mod rules;
mod store;
mod usage;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use rules::Rules;

/// One recorded case.
pub(crate) struct Case {
    /// `<area>/<kind>/<number>`.
    pub(crate) name: String,
    /// The function under test.
    pub(crate) function: String,
    /// Clawdbot's input.
    pub(crate) input: Value,
    /// Clawdbot's result.
    pub(crate) expected: Value,
}

fn main() -> ExitCode {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let folder = std::env::args_os().nth(1).map_or_else(|| own.clone(), PathBuf::from);
    match run(&folder, &own.join("rules.json")) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("vectors: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every case of the folder and prints the results; returns the number of failures.
fn run(folder: &Path, rules: &Path) -> Result<usize, String> {
    let rules = Rules::read(rules)?;
    let cases = read_cases(folder)?;
    let mut areas: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut claims: BTreeMap<&str, usize> = BTreeMap::new();
    for (case, verdict) in cases.iter().zip(judge_all(&cases, &rules)) {
        let area = case.name.split('/').next().unwrap_or_default();
        areas.entry(area).or_default()[usize::from(verdict.outcome.is_err())] += 1;
        for name in verdict.claimed_by {
            *claims.entry(name).or_default() += 1;
        }
        if let Err(failure) = verdict.outcome {
            println!("FAILED {}: {}", case.name, failure.why);
            println!("  given  {}", clip(&case.input.to_string()));
            println!("  wanted {}", clip(&failure.wanted.to_string()));
            println!("  got    {}", clip(&failure.got));
        }
    }

    for (area, [passed, failed]) in &areas {
        println!("{area:<16} {passed:>6} passed {failed:>6} failed");
    }
    for rule in rules.iter() {
        let count = claims.get(&*rule.name).unwrap_or(&0);
        println!("rule {:<24} claims {count:>5}  {}", rule.name, rule.reason);
    }
    let [passed, failed] =
        areas.values().fold([0, 0], |sum, area| [sum[0] + area[0], sum[1] + area[1]]);
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

/// The verdict on a case.
struct Verdict<'a> {
    claimed_by: Vec<&'a str>,
    outcome: Result<(), Failure>,
}

struct Failure {
    why: String,
    wanted: Value,
    got: String,
}

/// The verdicts on all cases, in order. Several run at once, because many of them wait for the
/// disk.
fn judge_all<'a>(cases: &[Case], rules: &'a Rules) -> Vec<Verdict<'a>> {
    const AT_ONCE: usize = 8;
    let share = cases.len().div_ceil(AT_ONCE).max(1);
    let judge_share = |share: &[Case]| {
        let verdicts = share.iter().map(|case| {
            // A case that panics fails; the others continue.
            std::panic::catch_unwind(AssertUnwindSafe(|| {
                let claimed_by: Vec<_> =
                    rules.claiming(case).iter().map(|rule| rule.name.as_str()).collect();
                Verdict { outcome: judge(case, &claimed_by), claimed_by }
            }))
            .unwrap_or_else(|_| crashed(case))
        });
        verdicts.collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let shares = cases.chunks(share);
        let workers: Vec<_> = shares.map(|it| (it, scope.spawn(move || judge_share(it)))).collect();
        let verdicts = workers.into_iter().map(|(share, worker)| {
            worker.join().unwrap_or_else(|_| share.iter().map(crashed).collect())
        });
        verdicts.flatten().collect()
    })
}

fn crashed<'a>(case: &Case) -> Verdict<'a> {
    let why = "it crashed".to_owned();
    let failure = Failure { why, wanted: case.expected.clone(), got: String::new() };
    Verdict { claimed_by: Vec::new(), outcome: Err(failure) }
}

fn judge(case: &Case, claimed_by: &[&str]) -> Result<(), Failure> {
    let recorded = match case.function.as_str() {
        "usage" => usage::normalised(&case.expected),
        "coerce" | "migrate" => store::normalised(&case.expected),
        "resolve" => resolve::normalised(&case.expected),
        "callback" => callback::normalised(&case.expected),
        "order" => routing::normalised(&case.expected),
        _ => case.expected.clone(),
    };
    let same = |wanted: &Value, got: &Value, what: &str| match compare::difference(wanted, got) {
        None => Ok(()),
        Some(place) => {
            let why = format!("{what}, at {place}");
            Err(Failure { why, wanted: wanted.clone(), got: got.to_string() })
        }
    };
    let got = match reply(case) {
        Ok(got) => got,
        Err(problem) => {
            let why = "there is no answer".to_owned();
            return Err(Failure { why, wanted: recorded, got: problem });
        }
    };
    if claimed_by.is_empty() {
        return same(&recorded, &got, "it differs from the recorded answer");
    }

    let names = claimed_by.join(", ");
    if compare::difference(&recorded, &got).is_none() {
        let why = format!("it is the recorded answer, though claimed by {names}");
        return Err(Failure { why, wanted: Value::Null, got: got.to_string() });
    }
    let reference = |all: bool| reference::reply(case, &|_| all).and_then(Result::ok);
    let (original, ours) =
        (reference(false).unwrap_or_default(), reference(true).unwrap_or_default());
    same(&recorded, &original, &format!("{names} does not explain the recorded answer"))?;
    same(&ours, &got, &format!("it is not what {names} wants"))
}

/// Our result.
fn reply(case: &Case) -> Result<Value, String> {
    let input = &case.input;
    match case.function.as_str() {
        "order" => routing::order(input),
        "cooldown_ms" => Ok(routing::cooldown_ms(input)),
        "cooldown_check" => routing::cooldown_check(input),
        "session" => routing::session(input),
        "usage" => usage::run(input),
        "coerce" => store::coerce(input),
        "migrate" => migrate::run(input),
        "provider_id" => Ok(routing::provider_id(input)),
        "paths" => Ok(places::paths(input)),
        "directive" => Ok(directive::directive(input)),
        "profile_override" => directive::profile_override(input),
        "model_ref" => Ok(directive::model_ref(input)),
        "repair" => repair::repair(input),
        "health" => health::health(input),
        "remaining" => Ok(health::remaining(input)),
        "auth_label" => label::label(input),
        "callback" => callback::run(case),
        "resolve" => resolve::run(input),
        other => Err(format!("nothing answers `{other}` yet")),
    }
}

fn read_cases(folder: &Path) -> Result<Vec<Case>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("no *.jsonl in {}", folder.display()));
    }
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{}:{}", file.display(), number + 1);
            let mut case: Value = serde_json::from_str(&without_halves(line))
                .map_err(|error| format!("{}: {error}", place()))?;
            let text = |name: &str| {
                case[name].as_str().map(str::to_owned).ok_or(format!("{}: no `{name}`", place()))
            };
            let (name, function) = (text("name")?, text("fn")?);
            let (input, expected) = (case["input"].take(), case["expected"].take());
            cases.push(Case { name, function, input, expected });
        }
    }
    Ok(cases)
}

/// A line in which U+FFFD stands for the escapes of half a surrogate pair, of which JavaScript makes
/// strings and Rust does not: in what is given and in what is expected.
fn without_halves(line: &str) -> String {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // The backslash, and the character that it is about.
            _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// Enough of a value to see what is wrong, on one line.
fn clip(text: &str) -> String {
    const LONGEST: usize = 1_500;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LONGEST);
    format!("{}… ({} bytes more)", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is said of a case: who claims it, and whether it passes.
    fn said(function: &str, input: Value, expected: Value) -> (Vec<String>, bool) {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/rules.json");
        let rules = Rules::read(&own).unwrap();
        let (name, function) = ("made/up/0001".to_owned(), function.to_owned());
        let case = Case { name, function, input, expected };
        let claimed: Vec<_> = rules.claiming(&case).iter().map(|rule| rule.name.clone()).collect();
        let names: Vec<_> = claimed.iter().map(String::as_str).collect();
        let passes = judge(&case, &names).is_ok();
        (claimed, passes)
    }

    const NOW: i64 = 1_769_644_800_000;

    /// A failure of a profile with the stats `before`, of which the original makes `after`.
    fn failure(reason: &str, before: &Value, after: &Value) -> (Vec<String>, bool) {
        let profiles = json!({"a:b": {"type": "api_key", "provider": "a", "key": "k"}});
        let store = |stats: &Value| json!({"version": 1, "profiles": profiles, "usageStats": {"a:b": stats}});
        let step = json!({"op": "failure", "profileId": "a:b", "reason": reason, "now": NOW});
        let input = json!({"agent": "main", "main": store(before), "steps": [step]});
        let report = json!({"memory": {"usageStats": {"a:b": after}, "lastGood": null}});
        said("usage", input, json!({"steps": [report], "files": {"main": store(after)}}))
    }

    fn counted(errors: i64, counts: &Value) -> Value {
        json!({"errorCount": errors, "failureCounts": counts, "lastFailureAt": NOW,
            "cooldownUntil": NOW + 60_000})
    }

    #[test]
    fn a_line_with_half_a_surrogate_pair_is_read() {
        for (line, wanted) in [
            (r#"{"a":"x\ud83d"}"#, "x\u{fffd}"),
            (r#"{"a":"\ude00\ud83d\ud83d\ude00"}"#, "\u{fffd}\u{fffd}\u{1f600}"),
            (r#"{"a":"\\ud83d\u0041"}"#, "\\ud83dA"),
            (r#"{"a":"\ud83d\n\""}"#, "\u{fffd}\n\""),
        ] {
            let read: Value = serde_json::from_str(&without_halves(line)).unwrap();
            assert_eq!(read["a"], wanted, "{line}");
        }
    }

    #[test]
    fn a_reason_and_a_count_that_we_do_not_know_are_claimed_and_explained() {
        let after = counted(1, &json!({"weather": 1}));
        let (claimed, passes) = failure("weather", &json!({}), &after);
        assert!(passes && claimed == ["reason"], "{passes} {claimed:?}");
        let before = json!({"errorCount": -3, "failureCounts": {"timeout": -2}});
        let (claimed, passes) = failure("timeout", &before, &counted(-2, &json!({"timeout": -1})));
        assert!(passes && claimed == ["count"], "{passes} {claimed:?}");
        // The control: what is as usual is claimed by no rule.
        let after = counted(1, &json!({"timeout": 1}));
        assert_eq!(failure("timeout", &json!({}), &after), (Vec::new(), true));
    }

    #[test]
    fn a_secret_that_is_no_text_and_a_fraction_of_a_time_are_claimed_and_explained() {
        let store = json!({"version": 1, "profiles": {
            "a:b": {"type": "api_key", "provider": "a", "key": 5},
            "a:c": {"type": "api_key", "provider": "a", "key": "k"}}});
        let input = json!({"now": NOW, "provider": "a", "store": store});
        let (claimed, passes) = said("order", input, json!({"throws": "TypeError"}));
        assert!(passes && claimed == ["crash"], "{passes} {claimed:?}");

        let stats = json!({"cooldownUntil": 1_769_644_900_000.5});
        let store = json!({"version": 1, "profiles": {}, "usageStats": {"a:b": stats}});
        let input = json!({"now": NOW, "profileId": "a:b", "store": store});
        let expected = json!({"inCooldown": true, "unusableUntil": 1_769_644_900_000.5});
        let (claimed, passes) = said("cooldown_check", input, expected);
        assert!(passes && claimed == ["time"], "{passes} {claimed:?}");
    }

    #[test]
    fn a_rule_claims_nothing_that_differs_for_another_reason() {
        let after = counted(1, &json!({"weather": 1}));
        assert!(failure("weather", &json!({}), &after).1);
        for (name, value) in [("errorCount", json!(2)), ("cooldownUntil", json!(NOW + 60_001))] {
            let mut other = after.clone();
            other[name] = value;
            let (claimed, passes) = failure("weather", &json!({}), &other);
            assert!(!passes && claimed == ["reason"], "{name}: {claimed:?}");
        }
        // A recorded answer that is ours, though a rule claims the case.
        let ours = counted(1, &json!({"unknown": 1}));
        assert!(!failure("weather", &json!({}), &ours).1);
    }
}
