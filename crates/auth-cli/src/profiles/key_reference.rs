//! Fetches keys that are kept elsewhere: in the environment, in a file, in another program.
//!
//! Nothing is cached here: a key is fetched each time it is used, and a place without a usable key
//! is an error of that profile.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use auth_providers::{KeyValue, PasteError, Removed, key_value};
use auth_store::{Credential, KeyReference, ProfileId, Secret, UnsafeProgram, VariableName};

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::environment::Sees;
use crate::host::process::launch::{self, Limits, Program};

/// `credential`, with its key fetched if it is kept elsewhere.
///
/// # Errors
/// Exit code 3: the place has no key. The message names the place and never its content.
pub fn fetched(
    credential: Credential,
    profile: &ProfileId,
    context: &Context,
) -> Result<Credential, CliError> {
    let Credential::Reference(reference) = &credential else { return Ok(credential) };
    let key = fetch(reference, context);
    key.map(Credential::ApiKey).map_err(|reason| {
        let message = format!("the key of `{profile}` ({reference}) is not there: {reason}");
        CliError::new(Exit::NoCredential, "reference", message)
            .hint("put it there, or store another: clawdbot models auth paste-api-key")
            .profile(profile)
    })
}

/// The key at the place `reference`, or why there is none.
pub fn fetch(reference: &KeyReference, context: &Context) -> Result<Secret, String> {
    look(reference, context).map(|found| found.secret)
}

/// The key, and what was removed from it: a place may contain pasted text, too.
pub(crate) fn look(reference: &KeyReference, context: &Context) -> Result<KeyValue, String> {
    let text = match reference {
        KeyReference::Env { id } => return in_variable(id, context.env(id)),
        KeyReference::File { path } => read(path).map_err(|error| error.to_string())?,
        KeyReference::Exec { command } => output(command, context)?,
    };
    key_in(&text)
}

/// The key in the variable `id`, which has this value.
pub(crate) fn in_variable(id: &str, value: Option<&str>) -> Result<KeyValue, String> {
    VariableName::parse(id).map_err(|reason| reason.to_string())?;
    key_in(value.ok_or("the variable is not set")?)
}

fn key_in(text: &str) -> Result<KeyValue, String> {
    let line = text.lines().map(auth_store::trim).find(|line| !line.is_empty());
    let line = line.ok_or("it is empty")?;
    match key_value(line) {
        Ok(found) if !found.removed.contains(&Removed::Inside) => Ok(found),
        Ok(_) | Err(PasteError::NotPlain(_)) => {
            Err("it has a character that no key has".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A command that a user named. The path of its program is resolved once, so that a later `PATH`
/// cannot substitute another one.
///
/// # Errors
/// What is wrong with the name.
pub fn command(text: &str, context: &Context) -> Result<KeyReference, String> {
    let mut command = words(text)?;
    let program = command.first().ok_or("it is empty")?;
    let found = if program.contains(std::path::MAIN_SEPARATOR) {
        Program::at(&context.user_path(program))
    } else {
        Program::named(program.as_ref(), context)
    };
    let found = found.map_err(|reason| match reason {
        UnsafeProgram::Missing { .. } => format!("there is no program `{program}`"),
        other => other.to_string(),
    })?;
    let path = found.path().to_str().ok_or("its path is not text")?;
    path.clone_into(&mut command[0]);
    Ok(KeyReference::Exec { command })
}

/// The words of a command, as a shell splits them. All other shell syntax is literal.
fn words(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| "a quote or an escape in it is not closed".to_owned())
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = auth_store::read_at_most(path, LARGEST)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What `command` prints.
fn output(command: &[String], context: &Context) -> Result<String, String> {
    let [program, arguments @ ..] = command else { return Err("it is empty".to_owned()) };
    if !Path::new(program).is_absolute() {
        return Err(format!("`{program}` is not an absolute path"));
    }
    let program = Program::at(Path::new(program)).map_err(|reason| reason.to_string())?;
    let mut started = program.command(&Sees::reference(context, command));
    started.args(arguments).stderr(Stdio::null());
    let (bytes, status) = launch::output(started, Limits { lifetime: TIMEOUT, output: LARGEST })?;
    if !status.success() {
        return Err(format!("it ended with {status}; try it by hand"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The absolute path of a file that a user named.
pub(crate) fn file(text: &str, context: &Context) -> KeyReference {
    let path: PathBuf = context.user_path(text);
    KeyReference::File { path }
}

/// The time limit for another program.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For a file, or the output of a program, in bytes.
const LARGEST: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(command: &[&str]) -> KeyReference {
        KeyReference::Exec { command: command.iter().map(|word| (*word).to_owned()).collect() }
    }

    fn context(key: &str) -> Context {
        let mut context = Context::sealed(Path::new("/"), auth_store::Timestamp(0));
        context.env.insert("KEY".into(), key.into());
        context
    }

    fn key(reference: &KeyReference) -> Result<String, String> {
        fetch(reference, &context(" from-env \n")).map(|key| key.expose().to_owned())
    }

    #[test]
    fn a_variable_is_trimmed_and_must_be_set() {
        let of = |id: &str| key(&KeyReference::Env { id: id.to_owned() });
        assert_eq!(of("KEY").unwrap(), "from-env");
        assert_eq!(of("OTHER").unwrap_err(), "the variable is not set");
    }

    #[test]
    fn a_place_may_hold_what_somebody_pasted_and_nothing_else_than_a_key() {
        let of = |value: &str| {
            let found = fetch(&KeyReference::Env { id: "KEY".to_owned() }, &context(value));
            found.map(|key| key.expose().to_owned())
        };
        for value in ["Bearer k-1", "'k-1'", "\u{feff}k-1\u{200b}\n", "\n \"k-1\",\n"] {
            assert_eq!(of(value).unwrap(), "k-1", "{value:?}");
        }
        for value in ["${OTHER}", "export K=k-1", "curl -H k-1", "k-1...9", "k 1"] {
            let refused = of(value).unwrap_err();
            assert!(!refused.contains("k-1"), "{value}: {refused}");
        }
    }

    #[test]
    fn of_a_file_the_first_line_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let of = |content: &str| {
            auth_store::write_atomic(&path, content.as_bytes()).unwrap();
            key(&KeyReference::File { path: path.clone() })
        };
        assert_eq!(of("\nkey-1\r\nuser: me\n").unwrap(), "key-1");
        assert_eq!(of(" \n").unwrap_err(), "it is empty");
        assert!(of("two words").unwrap_err().contains("no key has"));
        assert!(key(&KeyReference::File { path: directory.path().to_owned() }).is_err());
        assert!(key(&KeyReference::File { path: path.join("gone") }).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn of_a_program_the_first_line_counts_if_it_succeeds() {
        assert_eq!(key(&exec(&["/bin/sh", "-c", "echo key-2; echo more"])).unwrap(), "key-2");
        let failed = key(&exec(&["/bin/sh", "-c", "echo key-2; exit 3"])).unwrap_err();
        assert!(failed.contains('3') && !failed.contains("key-2"), "{failed}");
        assert!(key(&exec(&["/bin/sh", "-c", "cat"])).unwrap_err().contains("empty"));
        assert!(key(&exec(&["/nowhere/program"])).is_err());
        assert!(key(&exec(&["sh", "-c", "echo key"])).unwrap_err().contains("absolute"));
        assert!(key(&exec(&[])).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_program_sees_the_variables_that_its_command_names() {
        let told = ["/bin/sh", "-c", "echo \"${KEY}\""];
        assert_eq!(key(&exec(&told)).unwrap(), "from-env");
        let others = ["/bin/sh", "-c", "env | grep from-env"];
        assert!(key(&exec(&others)).is_err());
    }

    #[test]
    fn words_are_held_together_by_quotes_and_nothing_else_is_special() {
        let check =
            |text: &str, wanted: &[&str]| assert_eq!(words(text).unwrap(), wanted, "{text}");
        check("op read  op://a/b", &["op", "read", "op://a/b"]);
        check(r#"sh -c 'echo "$KEY" | cut -c1'"#, &["sh", "-c", r#"echo "$KEY" | cut -c1"#]);
        check(r#"a "b \"c" d\ e '' $HOME;ls"#, &["a", "b \"c", "d e", "", "$HOME;ls"]);
        check("", &[]);
        assert!(words("a 'b").is_err());
    }

    #[test]
    fn a_programs_arguments_are_not_shown() {
        let shown = exec(&["/bin/op", "--token", "CANARY"]).to_string();
        assert_eq!(shown, "command: /bin/op");
        assert!(!format!("{:?}", exec(&["/bin/op", "CANARY"])).contains("CANARY"));
    }
}
