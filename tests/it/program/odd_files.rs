//! Something other than a file at a file's path: a named pipe, a directory, a socket, a device. No
//! command blocks on it, nothing is read from it, and the error says what it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::issuer::Issuer;
use e2e::sandbox::{Finished, Sandbox, write};

const PASTE: [&str; 5] = ["models", "auth", "paste-api-key", "--provider", "other"];
const TOKEN: [&str; 5] = ["models", "auth", "token", "--profile", "demo:alice"];

/// A home in which every possible file exists and is in use.
struct House {
    sandbox: Sandbox,
    _issuer: Issuer,
    record: PathBuf,
    reply: PathBuf,
}

impl House {
    fn new() -> Self {
        let (sandbox, issuer) = (Sandbox::new(), Issuer::start());
        let tokens = sandbox.seed_expired(&issuer, "demo", &["alice"]);
        sandbox.write_config("{ auth: { order: { demo: ['demo:alice'] } } } // theirs\n");
        let record =
            sandbox.record_path(&issuer.token_endpoint(), e2e::issuer::CLIENT, &tokens[0].refresh);
        let key = record.file_name().unwrap().to_str().unwrap();
        let reply = sandbox.agent_dir("main").join(format!(".auth-refresh.{key}.answer"));
        Self { sandbox, _issuer: issuer, record, reply }
    }

    /// Every path, and whether its file is needed for a token: then that fails, with the reason.
    fn places(&self) -> Vec<(PathBuf, bool)> {
        let (state, agent) = (self.sandbox.state(), self.sandbox.agent_dir("main"));
        vec![
            (agent.join("auth-profiles.json"), true),
            (agent.join(".auth-profiles.flock"), true),
            (agent.join("auth-profiles.json.lock"), true),
            (agent.join(".auth-share.json"), true),
            (state.join("clawdbot.json"), true),
            (self.record.clone(), true),
            (self.reply.clone(), false),
            (agent.join(".auth-profiles.json.bak"), false),
            (agent.join(".auth-models.json"), false),
            (agent.join("auth.json"), false),
            (state.join("credentials/oauth.json"), false),
            (state.join("agents/main/sessions/sessions.json"), false),
            (state.join("agents/main/sessions/sessions.json.lock"), false),
            (state.join("providers/more.json"), false),
            (state.join("logins/0123456789abcdef.json"), false),
            (state.join(".config-cache"), false),
            (self.sandbox.home().join(".codex/auth.json"), false),
        ]
    }

    /// Runs the commands that read and write all of them.
    fn everything(&self) -> Vec<Finished> {
        let session = "agent:main:main";
        let commands: [&[&str]; 8] = [
            &["models", "auth", "list"],
            &["models", "status"],
            &["models", "auth", "login", "--finish", "http://127.0.0.1:1/?code=a&state=b"],
            &["models", "auth", "import", "--from", "codex"],
            &["sessions", "model", session, "/model demo/m@demo:alice"],
            &["models", "auth", "report", "demo:alice", "--failed", "rate_limit", "--model", "m"],
            &["models", "auth", "order", "set", "--provider", "demo", "demo:alice"],
            &["doctor"],
        ];
        let mut runs: Vec<_> = commands.iter().map(|args| self.sandbox.run(args)).collect();
        runs.push(self.sandbox.run_with_input(&PASTE, "key-0123456789abcdef"));
        runs
    }
}

/// Moves the file away, and creates a named pipe in its place.
fn put_a_pipe(path: &Path) {
    clear(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let made = Command::new("mkfifo").args(["-m", "600"]).arg(path).status().unwrap();
    assert!(made.success());
}

fn clear(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// A run that blocks on a pipe is killed by the sandbox, which fails the test.
#[test]
fn whatever_lies_in_the_place_of_a_file_nobody_waits_for_it() {
    let places = House::new().places().len();
    for number in 0..places {
        let house = House::new();
        let (place, is_needed) = house.places().swap_remove(number);
        put_a_pipe(&place);
        let token = house.sandbox.run(&TOKEN);
        if is_needed {
            assert!(matches!(token.code, Some(7 | 8 | 64 | 74)), "{}: {token:#?}", place.display());
            let name = place.file_name().unwrap().to_str().unwrap();
            assert!(token.stderr.contains(name), "{token:#?}");
            let says = ["named pipe", "must be a directory"];
            assert!(says.iter().any(|it| token.stderr.contains(it)), "{token:#?}");
            assert!(token.stderr.contains("hint: "), "{token:#?}");
        } else {
            token.expect_code(0);
        }
        for run in house.everything() {
            assert!(!run.stderr.contains("panicked"), "{}: {run:#?}", place.display());
        }
        // The control: without it, the same command works.
        clear(&place);
        if place.ends_with("auth-profiles.json") {
            continue;
        }
        house.sandbox.run(&TOKEN).expect_code(0);
    }
}

#[test]
fn the_store_can_be_nothing_but_a_regular_file() {
    let house = House::new();
    let (store, aside) = (house.sandbox.store_path("main"), house.sandbox.home().join("aside"));
    fs::rename(&store, &aside).unwrap();
    let said = |kind: &str| {
        for run in [house.sandbox.run(&TOKEN), house.sandbox.run_with_input(&PASTE, "k-0123456789")]
        {
            run.expect_code(74);
            assert!(run.stderr.contains(&format!("it is {kind}, not a regular file")), "{run:#?}");
            assert!(run.stderr.contains("hint: look at it: ls -ld "), "{run:#?}");
        }
        let doctor = house.sandbox.run(&["doctor", "--json"]);
        assert!(doctor.stdout.contains("\"odd_file\""), "{doctor:#?}");
    };
    put_a_pipe(&store);
    said("a named pipe");
    clear(&store);
    fs::create_dir(&store).unwrap();
    write(&store.join("not ours"), b"x");
    said("a directory");
    assert!(store.join("not ours").exists());
    clear(&store);
    let listener = UnixListener::bind(&store).unwrap();
    said("a socket");
    drop(listener);
    clear(&store);
    symlink("/dev/zero", &store).unwrap();
    said("a device");
    clear(&store);
    // The control.
    fs::rename(&aside, &store).unwrap();
    house.sandbox.run(&TOKEN).expect_code(0);
}
