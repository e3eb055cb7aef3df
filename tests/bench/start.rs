//! The hot path: printing a fresh token on the command line, compared with an empty program and
//! with popular tools.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::sandbox::{Sandbox, binary};
use serde_json::{Value, json};

use crate::measure::{Calls, Case, instructions, interleaved, own_memory, peak_memory};
use crate::report::{Report, ms, ratio, table};
use crate::world::{self, at_home, token};

/// The homes and programs of the hot path.
pub(crate) struct Bench {
    scratch: tempfile::TempDir,
    plain: Sandbox,
    configured: Sandbox,
    empty: PathBuf,
    /// The empty program, which also writes a line.
    line: PathBuf,
    /// Our binary without shared libraries, if there is one.
    standalone: Option<(String, PathBuf)>,
}

impl Bench {
    pub(crate) fn new(standalone: Option<(String, PathBuf)>) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let configured = world::home(3);
        configured.write_config(&world::config());
        let empty = world::program("empty", "fn main() {}", scratch.path(), &[]);
        let line = "fn main() { println!(\"a line\"); }";
        let line = world::program("line", line, scratch.path(), &[]);
        let bench = Self { scratch, plain: world::home(3), configured, empty, line, standalone };
        bench.settle();
        bench
    }

    /// Waits until the config is old enough for its cache to be written.
    fn settle(&self) {
        let cache = self.configured.state().join(".config-cache");
        while !cache.exists() {
            assert!(token(&self.configured).output().expect("the binary").status.success());
        }
    }

    fn empty(&self) -> Command {
        at_home(&self.plain, &self.empty, &[])
    }

    /// System calls, instructions and memory beyond those of the empty program.
    pub(crate) fn counts(&self, report: &mut Report, accept: bool) {
        let scratch = self.scratch.path();
        let empty = Calls::from_strace(&self.empty(), scratch);
        let mut rows =
            vec![vec!["an empty Rust program".into(), empty.total.to_string(), String::new()]];
        let empty_instructions = instructions(&self.empty());
        rows[0][2] = empty_instructions.to_string();
        let mut over = json!({});
        for (name, home, most) in
            [("no config", &self.plain, 14), ("20 kB of config", &self.configured, 22)]
        {
            let calls = Calls::from_strace(&token(home), scratch);
            let more = calls.total.saturating_sub(empty.total);
            let what = format!(
                "a fresh token, {name}: {more} system calls over the empty program, at most {most}"
            );
            report.check(&what, more <= most);
            report.check(&format!("{name}: one write"), calls.count(&["write", "pwrite"]) == 1);
            let none =
                calls.count(&["clone", "fork", "vfork", "socket", "flock", "fcntl(", "execve"]);
            report.check(&format!("{name}: no thread, process, socket or lock"), none == 1);
            let counted = instructions(&token(home));
            over[name] = counted.saturating_sub(empty_instructions).into();
            let name = format!("`models auth token`, {name}");
            rows.push(vec![name, calls.total.to_string(), counted.to_string()]);
        }
        compare_with_baseline(&over, report, accept);
        let size = binary().metadata().expect("the binary").len();
        report.check(&format!("the binary has {size} bytes, at most 6,500,000"), size <= 6_500_000);
        let (peak, of_empty) = (peak_memory(&token(&self.plain)), peak_memory(&self.empty()));
        let own = own_memory(&mut token(&self.plain));
        let of_line = own_memory(&mut at_home(&self.plain, &self.line, &[]));
        let what = format!(
            "memory of its own: {own} KiB, {of_line} KiB of an empty Rust program that writes a line; at most 400 more"
        );
        report.check(&what, own <= of_line + 400);
        let text = table(&["", "system calls", "instructions"], &rows);
        let text = format!(
            "{text}\nMemory of its own (`Anonymous` while it writes): {own} KiB, an empty Rust program that writes a line {of_line} KiB. Peak resident size with the pages of all mapped files, which are shared: {peak} KiB, the empty program {of_empty} KiB. The binary: {size} bytes.\n"
        );
        report.section("What a fresh token costs", &text);
    }

    /// The time beyond that of the empty program: the shortest of many runs in turn.
    pub(crate) fn times(&self, rounds: usize, peers: bool, report: &mut Report) {
        let mut cases = vec![
            Case::new("an empty Rust program", || self.empty()),
            Case::new("clawdbot models auth token", || token(&self.plain)),
            Case::new("clawdbot, 20 kB of config", || token(&self.configured)),
        ];
        if let Some((name, program)) = &self.standalone {
            let ours = || at_home(&self.plain, program, &world::TOKEN);
            cases.push(Case::new(&format!("clawdbot, {name}"), ours));
        }
        cases.push(Case::new("cat FILE", || {
            let mut cat = at_home(&self.plain, Path::new("cat"), &[]);
            cat.arg(self.plain.store_path("main"));
            cat
        }));
        if peers {
            for (name, command) in self.peers(report) {
                cases.push(Case::new(&name, command));
            }
        }
        interleaved(&mut cases, rounds);
        // The minimum of more runs is more accurate; on a quiet machine the first runs are enough.
        for _ in 0..3 {
            let least: Vec<_> = cases[..3].iter().map(|case| case.times.minimum()).collect();
            if least[1..].iter().all(|it| ratio(it.saturating_sub(least[0]), least[0]) < 0.4) {
                break;
            }
            interleaved(&mut cases[..3], rounds);
        }
        let ours = cases[1].times.clone();
        let rows = cases.iter().map(|case| {
            let times = &case.times;
            vec![
                case.name.clone(),
                times.count().to_string(),
                ms(times.minimum()),
                ms(times.median()),
                ms(times.p99()),
                format!("{:.2}", ratio(times.minimum(), ours.minimum())),
                format!("{:.2}", ratio(times.median(), ours.median())),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let head = [
            "command",
            "runs",
            "minimum ms",
            "median ms",
            "p99 ms",
            "× our minimum",
            "× our median",
        ];
        report.section("A token on standard output", &table(&head, &rows));
        report.bars = cases.iter().map(|it| (it.name.clone(), it.times.median())).collect();

        let empty = cases[0].times.minimum();
        // The instruction counts above are unaffected by load and detect small regressions.
        let budgets = [(&cases[1], "0.15", 0.5), (&cases[2], "0.25", 0.6)];
        let mut told = String::new();
        for (case, budget, at_most) in budgets {
            let over = case.times.minimum().saturating_sub(empty);
            let ratio = ratio(over, empty);
            told += &format!(
                "`{}`: {} ms over the empty program, by the minima; the budget is {budget} ms.\n",
                case.name,
                ms(over)
            );
            let what = format!(
                "{}: {ratio:.2} of the empty program's time over it, at most {at_most}",
                case.name
            );
            report.check(&what, ratio <= at_most);
        }
        let find =
            |name: &str| cases.iter().find(|it| it.name.starts_with(name)).map(|it| &it.times);
        for (name, times) in [("gh auth token", 25.0), ("node -e 0", 40.0)] {
            if let Some(peer) = find(name) {
                let ratio = ratio(peer.median(), ours.median());
                report.check(
                    &format!("{name}: {ratio:.1} × our median, at least {times}"),
                    ratio >= times,
                );
            }
        }
    }

    /// The comparable commands that are installed here, each prepared to print a token.
    fn peers(&self, report: &mut Report) -> Vec<(String, Box<dyn Fn() -> Command + '_>)> {
        let home = self.plain.home();
        e2e::sandbox::write(&home.join(".git-credentials"), b"https://person:token@example.com\n");
        let hosts = "github.com:\n    user: person\n    oauth_token: gho_0123456789\n    git_protocol: https\n";
        e2e::sandbox::write(&home.join(".config/gh/hosts.yml"), hosts.as_bytes());
        let later = "2999-01-01T00:00:00Z";
        e2e::sandbox::write(
            &home.join(".aws/credentials"),
            format!("[default]\naws_access_key_id = AKIA0\naws_secret_access_key = s\naws_session_token = t\naws_expiration = {later}\n").as_bytes(),
        );
        let codex = json!({ "OPENAI_API_KEY": "sk-0123456789" }).to_string();
        e2e::sandbox::write(&home.join(".codex/auth.json"), codex.as_bytes());
        let asked = home.join("asked");
        e2e::sandbox::write(&asked, b"protocol=https\nhost=example.com\n\n");
        let all: [(&str, &str, &[&str]); 5] = [
            (
                "git credential (store)",
                "git",
                &["-c", "credential.helper=store", "credential", "fill"],
            ),
            ("gh auth token", "gh", &["auth", "token"]),
            ("node -e 0", "node", &["-e", "0"]),
            (
                "codex login status",
                "tests/peers/codex/node_modules/.bin/codex",
                &["login", "status"],
            ),
            // The package's version: older ones, which may come first on the PATH, lack this
            // subcommand.
            (
                "aws configure export-credentials",
                "/usr/bin/aws",
                &["configure", "export-credentials"],
            ),
        ];
        let mut found: Vec<(String, Box<dyn Fn() -> Command + '_>)> = Vec::new();
        for (name, program, arguments) in all {
            let asked = asked.clone();
            let program = std::path::absolute(program)
                .ok()
                .filter(|path| path.exists())
                .unwrap_or_else(|| program.into());
            let command = move || {
                let mut command = at_home(&self.plain, &program, arguments);
                // `git credential` reads its request from standard input.
                if let Some(asked) = Some(&asked).filter(|_| name.starts_with("git")) {
                    command.stdin(File::open(asked).expect("the question"));
                }
                command
            };
            let reply = command().output();
            match reply {
                Ok(it) if it.status.success() => found.push((name.to_owned(), Box::new(command))),
                Ok(it) => report.not_run(name, &format!("it ends with {}", it.status)),
                Err(error) => report.not_run(name, &format!("not installed ({error})")),
            }
        }
        found
    }
}

/// The instructions beyond the empty program's, compared with the baseline for the same compiler
/// and C library. The counts hardly vary with the load on the machine.
fn compare_with_baseline(over: &Value, report: &mut Report, accept: bool) {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok();
        let text = output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let system = format!(
        "{}, {}, {}",
        std::env::consts::ARCH,
        said("rustc", "--version"),
        said("getconf", "GNU_LIBC_VERSION")
    );
    if accept {
        let baseline = json!({ "system": system, "instructions over an empty program": over });
        let text = serde_json::to_string_pretty(&baseline).expect("JSON") + "\n";
        e2e::sandbox::write(Path::new(BASELINE), text.as_bytes());
    }
    let text = std::fs::read_to_string(BASELINE).expect("the baseline");
    let baseline: Value = serde_json::from_str(&text).expect("the baseline is JSON");
    if baseline["system"] != system.as_str() {
        let reason = format!(
            "the baseline is of {}, this is {system}; --accept makes one",
            baseline["system"]
        );
        report.not_run("instructions against the baseline", &reason);
        return;
    }
    for (name, known) in
        baseline["instructions over an empty program"].as_object().into_iter().flatten()
    {
        let (now, known) = (over[name].as_u64().unwrap_or(u64::MAX), known.as_u64().unwrap_or(0));
        let what =
            format!("{name}: {now} instructions over the empty program, accepted {known} and 5 %");
        report.check(&what, now <= known + known / 20);
    }
}

const BASELINE: &str = "tests/bench/baseline.json";
