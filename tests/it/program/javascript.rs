//! Compares with Node on the same files: any text that `JSON.parse` accepts is read with the same
//! result, and after an edit of ours Node sees that edit and nothing else.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use auth_store::{Credential, Document, ProfileId, Usage};
use serde_json::{Map, Value, json};

/// Generated texts: mostly stores, with everything that JSON allows.
struct Texts(u64);

impl Texts {
    /// A number below `end` (splitmix64).
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn one_of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }

    fn space(&mut self) -> &'static str {
        self.one_of(&["", "", "", " ", "\n  ", "\r\n\t", "\t "])
    }

    fn plain(&mut self) -> &'static str {
        self.one_of(&[
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.0",
            "1.50",
            "12",
            "1e3",
            "-2.5e-3",
            "1e999",
            "-1E400",
            "9007199254740993",
            "123456789012345678901234567890",
            "0.1",
            "3",
            "\"\"",
            "\"k\"",
            "\"acme\"",
            "\"api_key\"",
            "\" a\\n\"",
            "\"\\u0061\"",
            "\"\\ud83d\"",
            "\"x\\uDE00y\"",
            "\"\\ud83d\\ude00\"",
            "\"😀\"",
            "\"\\\\\\\"\\/\\b\\f\\t\"",
            "\"acme:a\"",
            "\"\u{2028}\"",
            "\"\u{7f}\"",
            "[]",
            "{}",
        ])
    }

    fn value(&mut self, depth: usize) -> String {
        if depth == 0 || self.below(3) > 0 {
            return self.plain().to_owned();
        }
        if self.below(2) == 0 {
            return self.object(depth, &NAMES, |texts, _| texts.value(depth - 1));
        }
        let mut text = "[".to_owned();
        for at in 0..self.below(4) {
            let comma = if at > 0 { "," } else { "" };
            let (before, value, after) = (self.space(), self.value(depth - 1), self.space());
            let _ = write!(text, "{comma}{before}{value}{after}");
        }
        text + "]"
    }

    fn object(
        &mut self,
        most: usize,
        names: &[&'static str],
        mut value: impl FnMut(&mut Self, &str) -> String,
    ) -> String {
        let mut text = "{".to_owned();
        for at in 0..self.below(most + 2) {
            let comma = if at > 0 { "," } else { "" };
            let name = self.one_of(names);
            let (before, colon, after) = (self.space(), self.space(), self.space());
            let _ = write!(text, "{comma}{before}\"{name}\"{colon}:{after}{}", value(self, name));
            text += self.space();
        }
        text + self.space() + "}"
    }

    fn entry(&mut self) -> String {
        if self.below(4) == 0 {
            return self.value(3);
        }
        self.object(6, &NAMES, |texts, name| match name {
            "type" | "typ\\u0065" if texts.below(4) > 0 => "\"api_key\"".to_owned(),
            "provider" if texts.below(4) > 0 => "\"acme\"".to_owned(),
            _ => texts.value(2),
        })
    }

    fn file(&mut self) -> String {
        let (before, after) = (self.space(), self.space());
        let text = if self.below(20) == 0 {
            self.value(3)
        } else {
            self.object(6, &SECTIONS, |texts, name| {
                if name == "foreign" || texts.below(12) == 0 {
                    return texts.value(4);
                }
                texts.object(5, &IDS, |texts, _| match name {
                    "profiles" | "usageStats" => texts.entry(),
                    _ => texts.value(3),
                })
            })
        };
        // Sometimes it is truncated, or one character is replaced.
        let text = format!("{before}{text}{after}");
        if self.below(12) > 0 {
            return text;
        }
        let at = text.floor_char_boundary(self.below(text.len() + 1));
        let other = self.one_of(&["", "{", "}", ",", "\"", "\\", "0", "x", "\u{1}"]);
        format!("{}{other}{}", &text[..at], text[at..].chars().skip(1).collect::<String>())
    }
}

const SECTIONS: [&str; 6] =
    ["profiles", "profiles", "order", "usageStats", "usage\\u0053tats", "foreign"];
const IDS: [&str; 7] = ["acme:a", "acme:\\u0061", "acme:b", "x\\ud83d", "x\\ud83e", "7", "10"];
const NAMES: [&str; 9] =
    ["type", "typ\\u0065", "provider", "provider", "key", "key", "errorCount", "x", "\\udead"];

/// Our reading of a text, and edits of it.
fn job(text: &str) -> Value {
    let document = match Document::parse(text.as_bytes()) {
        Ok(document) => document,
        Err(error) => {
            let kind = if error.is_json { "other" } else { "damaged" };
            return json!({ "text": text, "kind": kind });
        }
    };
    assert_eq!(document.to_bytes(), text.as_bytes(), "reading changes nothing");
    let profiles = document.profiles().map(|profile| {
        let key = document.credential(&profile.id).unwrap().bearer().expose().to_owned();
        (profile.id, key)
    });
    let ids = ["7", "10", "acme:a", "acme:b", r"x\ud83d", r"x\ud83e"].map(ProfileId::from);
    let errors = |id: &ProfileId| Some((id.clone(), document.usage(id).error_count?));
    let mut seen = json!({
        "profiles": profiles.collect::<Vec<_>>(),
        "errors": ids.iter().filter_map(errors).collect::<Vec<_>>(),
        "orders": document.orders(),
    });
    seen["errors"].as_array_mut().unwrap().sort_by_key(|it| it[0].as_str().map(str::to_owned));
    let edits = ids.iter().flat_map(|id| {
        let usage = Usage { error_count: Some(7), ..document.usage(id) };
        let after = |edit: &dyn Fn(&mut Document)| {
            let mut changed = document.clone();
            edit(&mut changed);
            changed
                .check_writable(Path::new("store"))
                .is_ok()
                .then(|| String::from_utf8(changed.to_bytes()).unwrap())
        };
        let reported = after(&|it| it.set_usage(id, &usage));
        let reported = reported.map(|after| json!({ "id": id, "errors": 7, "after": after }));
        let key = Credential::ApiKey("new".into());
        let put = after(&|it| it.put(id, "acme", &key, &Map::new()));
        let put = put.map(|after| json!({ "id": id, "key": "new", "after": after }));
        [reported, put].into_iter().flatten()
    });
    let edits: Vec<_> = edits.collect();
    json!({ "text": text, "kind": "store", "seen": seen, "edits": edits })
}

/// Node's verdict on each job.
fn judged(jobs: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/json/check.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts: `cargo xtask setup` installs it");
    let (mut stdin, stdout) = (node.stdin.take().unwrap(), node.stdout.take().unwrap());
    let said = std::thread::scope(|scope| {
        scope.spawn(move || jobs.iter().for_each(|job| writeln!(stdin, "{job}").unwrap()));
        let lines = BufReader::new(stdout).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    });
    assert!(node.wait().unwrap().success());
    said
}

#[test]
fn node_sees_what_we_see_and_our_edits_and_nothing_else() {
    let mut texts = Texts(15);
    let jobs: Vec<_> = (0..1_500).map(|_| job(&texts.file())).collect();
    let verdicts = judged(&jobs);
    assert_eq!(verdicts.len(), jobs.len());
    for (job, verdict) in jobs.iter().zip(&verdicts) {
        assert_eq!(verdict, &json!({}), "{job:#}");
    }
    // There were enough of each kind.
    for kind in ["store", "other", "damaged"] {
        let count = jobs.iter().filter(|job| job["kind"] == kind).count();
        assert!(count > 40, "{count} of {kind}");
    }
    let edits = jobs.iter().filter_map(|job| job["edits"].as_array()).map(Vec::len).sum::<usize>();
    assert!(edits > 4_000, "{edits} edits");

    // The control: a view and an edit that differ from Node's are detected.
    let text = r#"{"profiles":{"a":{"type":"api_key","provider":"p","key":"k"}},"usageStats":{"b":{"x":1}}}"#;
    let right = job(text);
    let mut view = right.clone();
    view["seen"]["profiles"][0][1] = "other".into();
    let mut edit = right.clone();
    let after = edit["edits"][0]["after"].as_str().unwrap().replace(r#"{"x":1}"#, "{}");
    edit["edits"][0]["after"] = after.into();
    let said = judged(&[right, view, edit]);
    assert_eq!(
        (&said[0], &said[1]["wrong"], &said[2]["wrong"]),
        (&json!({}), &json!("view"), &json!("edit"))
    );
}
