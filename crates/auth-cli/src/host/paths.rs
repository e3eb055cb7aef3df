//! All paths: a pure function of the environment, the home directory, the working directory, and of
//! which files exist. The rules are those of Clawdbot and Moltbot, so that all three find the same
//! files.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use auth_store::{paths, trim};

/// The inputs of the path rules.
pub struct Inputs<'a> {
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The home directory.
    pub home: &'a Path,
    /// The working directory.
    pub cwd: &'a Path,
    /// Whether there is anything at a path.
    pub exists: &'a dyn Fn(&Path) -> bool,
}

/// The paths that do not depend on the config file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paths {
    /// The state directory: it contains everything else, unless a variable says otherwise.
    pub state_dir: PathBuf,
    /// The directory of the legacy login file.
    pub oauth_dir: PathBuf,
    /// The directory of the default agent.
    pub agent_dir: PathBuf,
    /// Whether a variable chose [`agent_dir`](Self::agent_dir), which then overrides the config's
    /// default agent.
    pub agent_dir_is_chosen: bool,
    /// The config file: the one that exists, else the one to create.
    pub config: PathBuf,
    /// Whether it was looked for and does not exist.
    pub config_is_absent: bool,
    /// The config file to create, regardless of existing ones.
    pub canonical_config: PathBuf,
}

impl Paths {
    /// Resolves all paths.
    pub fn resolve(inputs: &Inputs<'_>) -> Self {
        let state_dir = state_dir(inputs);
        let canonical_config = canonical_config(inputs, &state_dir);
        let chosen_agent_dir = chosen_agent_dir(inputs);
        let found = found_config(inputs, &state_dir);
        Self {
            config_is_absent: found.is_none() && explicit_config(inputs).is_none(),
            config: found.unwrap_or_else(|| canonical_config.clone()),
            oauth_dir: path(inputs, OAUTH_DIR_VARIABLE)
                .unwrap_or_else(|| state_dir.join("credentials")),
            agent_dir_is_chosen: chosen_agent_dir.is_some(),
            agent_dir: chosen_agent_dir
                .unwrap_or_else(|| paths::agent_directory(&state_dir, MAIN_AGENT)),
            canonical_config,
            state_dir,
        }
    }

    /// The legacy login file, imported on first use and left in place.
    pub fn oauth_file(&self) -> PathBuf {
        paths::legacy_logins(&self.oauth_dir)
    }
}

/// The agent that always exists.
pub const MAIN_AGENT: &str = "main";

/// The folder of the sessions of the agent `id`.
pub fn sessions(state_dir: &Path, id: &str) -> PathBuf {
    paths::agent_home(state_dir, id).join("sessions")
}

/// The sessions file of the agent `id`, unless the config names another.
pub fn sessions_file(state_dir: &Path, id: &str) -> PathBuf {
    sessions(state_dir, id).join("sessions.json")
}

/// The folder of provider manifests.
pub fn providers(state_dir: &Path) -> PathBuf {
    state_dir.join("providers")
}

/// The hashes of credentials that git said were refused.
pub fn refused(state_dir: &Path) -> PathBuf {
    state_dir.join("refused")
}

/// Programs of ours that others start.
pub fn helpers(state_dir: &Path) -> PathBuf {
    state_dir.join("helpers")
}

/// Our own settings.
pub fn settings(state_dir: &Path) -> PathBuf {
    state_dir.join("sink.json")
}

/// The folder with copies of deleted agents.
pub fn deleted(state_dir: &Path) -> PathBuf {
    state_dir.join("deleted")
}

/// The state directories in a home directory that this program and its relatives may use.
pub fn usual_state_dirs(home: &Path) -> [PathBuf; 3] {
    [".clawdbot", ".moltbot", ".openclaw"].map(|name| home.join(name))
}

/// The state directory: `MOLTBOT_STATE_DIR`, else `CLAWDBOT_STATE_DIR`, else `~/.clawdbot`; or
/// `~/.moltbot` if only that exists.
pub fn state_dir(inputs: &Inputs<'_>) -> PathBuf {
    if let Some(chosen) = chosen_state_dir(inputs) {
        return chosen;
    }
    let [clawdbot, moltbot] = home_state_dirs(inputs);
    if !(inputs.exists)(&clawdbot) && (inputs.exists)(&moltbot) { moltbot } else { clawdbot }
}

fn chosen_state_dir(inputs: &Inputs<'_>) -> Option<PathBuf> {
    STATE_DIR_VARIABLES.iter().find_map(|name| path(inputs, name))
}

fn home_state_dirs(inputs: &Inputs<'_>) -> [PathBuf; 2] {
    let [clawdbot, moltbot, _] = usual_state_dirs(inputs.home);
    [clawdbot, moltbot]
}

/// The agent directory that a variable names. The second variable belongs to pi, which keeps its
/// own files there, so it counts only if there is one of our stores.
fn chosen_agent_dir(inputs: &Inputs<'_>) -> Option<PathBuf> {
    let [own, of_pi] = AGENT_DIR_VARIABLES;
    path(inputs, own)
        .or_else(|| path(inputs, of_pi).filter(|dir| (inputs.exists)(&paths::store(dir))))
}

fn explicit_config(inputs: &Inputs<'_>) -> Option<PathBuf> {
    CONFIG_VARIABLES.iter().find_map(|name| path(inputs, name))
}

fn canonical_config(inputs: &Inputs<'_>, state_dir: &Path) -> PathBuf {
    explicit_config(inputs).unwrap_or_else(|| state_dir.join(CONFIG_NAMES[0]))
}

/// The existing config file, unless a variable names one or there is none.
fn found_config(inputs: &Inputs<'_>, state_dir: &Path) -> Option<PathBuf> {
    if explicit_config(inputs).is_some() {
        return None;
    }
    let mut here = CONFIG_NAMES.iter().map(|name| state_dir.join(name));
    here.find(|path| (inputs.exists)(path)).or_else(|| {
        let is_chosen = chosen_state_dir(inputs).is_some();
        if is_chosen { None } else { existing_candidate(inputs) }
    })
}

/// The first existing config file of all candidates, else the one to create.
pub fn config_candidate(inputs: &Inputs<'_>) -> PathBuf {
    let canonical = canonical_config(inputs, &state_dir(inputs));
    if explicit_config(inputs).is_some() {
        return canonical;
    }
    existing_candidate(inputs).unwrap_or(canonical)
}

fn existing_candidate(inputs: &Inputs<'_>) -> Option<PathBuf> {
    let [clawdbot, moltbot] = home_state_dirs(inputs);
    let chosen = STATE_DIR_VARIABLES.iter().filter_map(|name| path(inputs, name));
    let dirs = chosen.chain([moltbot, clawdbot]);
    let mut files = dirs.flat_map(|dir| CONFIG_NAMES.map(|name| dir.join(name)));
    files.find(|path| (inputs.exists)(path))
}

/// The path in a variable, unless it is blank.
fn path(inputs: &Inputs<'_>, variable: &str) -> Option<PathBuf> {
    let value = (inputs.env)(variable)?;
    let path = resolve_user_path(&value, inputs.home, inputs.cwd);
    (!path.as_os_str().is_empty()).then_some(path)
}

/// The absolute path for the user's input `text`: surrounding white space is removed, `~` is the
/// home directory, everything else is relative to `cwd`; `.` and `..` are resolved in the text
/// alone. Blank text stays empty.
pub fn resolve_user_path(text: &OsStr, home: &Path, cwd: &Path) -> PathBuf {
    let text = text.to_str().map_or(text, |text| OsStr::new(trim(text)));
    if text.is_empty() {
        return PathBuf::new();
    }
    if let Ok(rest) = Path::new(text).strip_prefix("~") {
        return normalise(&home.join(rest));
    }
    if let Some(rest) = text.to_str().and_then(|text| text.strip_prefix("~\\")) {
        let mut path = home.as_os_str().to_owned();
        path.push("\\");
        path.push(rest);
        return normalise(Path::new(&path));
    }
    normalise(&cwd.join(text))
}

/// What a shell would have replaced in the path `text`: a variable, or the home of another user.
/// Taken as it is, the path would lead to a place that nobody means.
pub fn unresolved(text: &str) -> Option<&str> {
    let text = trim(text);
    let begins_name = |c: char| c.is_alphabetic() || "_{(".contains(c);
    let dollar = text.match_indices('$').find(|(at, _)| text[at + 1..].starts_with(begins_name));
    if let Some((at, _)) = dollar {
        let rest = &text[at..];
        let is_part = |c: char| c.is_alphanumeric() || "${(_)}".contains(c);
        return Some(rest.split(|c| !is_part(c)).next().unwrap_or(rest));
    }
    let first = text.split(['/', '\\']).next().unwrap_or_default();
    (first.len() > 1 && first.starts_with('~')).then_some(first)
}

/// Why the paths are not those that somebody means: a variable was not replaced in one of them, or
/// one begins at a home or working directory that there is not. With what to do.
pub fn problem(inputs: &Inputs<'_>, paths: &Paths) -> Option<(String, String)> {
    for name in variables() {
        let Some(value) = (inputs.env)(name) else { continue };
        let value = value.to_string_lossy();
        if let Some(part) = unresolved(&value) {
            let message = format!("`{part}` in the variable {name} (`{value}`) was not replaced");
            let hint =
                format!("give the whole path, or let a shell do it: export {name}=\"$HOME/…\"");
            return Some((message, hint));
        }
        let is_relative = path(inputs, name).is_some_and(|path| !path.is_absolute());
        if is_relative && !trim(&value).starts_with('~') {
            let message = format!(
                "the variable {name} (`{value}`) begins at the working directory, which is not there"
            );
            return Some((message, "give the whole path".to_owned()));
        }
    }
    let all = [&paths.state_dir, &paths.oauth_dir, &paths.agent_dir, &paths.config];
    if all.iter().all(|path| path.is_absolute()) {
        return None;
    }
    let home = inputs.home.display();
    let message = if inputs.home.as_os_str().is_empty() {
        "there is no home directory: HOME is not set, and the system knows none for this user"
            .to_owned()
    } else {
        format!("HOME is `{home}`, which is no whole path")
    };
    Some((
        message,
        "set HOME, or CLAWDBOT_STATE_DIR to the directory of the credentials".to_owned(),
    ))
}

/// `path` with all links followed, as far as it exists: what two names have in common.
pub fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut start = path;
    loop {
        if let Ok(found) = start.canonicalize() {
            return rest.into_iter().rev().fold(found, |path, name| path.join(name));
        }
        match (start.parent(), start.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                start = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// `path` without `.`, double separators, and `..` where a parent exists.
pub(crate) fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // A `..` at the start of a relative path stays, because its base is unknown.
            Component::ParentDir
                if matches!(out.components().next_back(), None | Some(Component::ParentDir)) =>
            {
                out.push("..");
            }
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// `path` for display: `~` for the home directory.
pub fn display(path: &Path, home: &Path) -> String {
    match path.strip_prefix(home) {
        Ok(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Ok(rest) if !home.as_os_str().is_empty() => format!("~/{}", rest.display()),
        _ => path.display().to_string(),
    }
}

/// All environment variables that determine paths.
pub(crate) fn variables() -> impl Iterator<Item = &'static str> {
    [STATE_DIR_VARIABLES, CONFIG_VARIABLES, AGENT_DIR_VARIABLES]
        .into_iter()
        .flatten()
        .chain([OAUTH_DIR_VARIABLE])
}

const STATE_DIR_VARIABLES: [&str; 2] = ["MOLTBOT_STATE_DIR", "CLAWDBOT_STATE_DIR"];
const CONFIG_VARIABLES: [&str; 2] = ["MOLTBOT_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH"];
const AGENT_DIR_VARIABLES: [&str; 2] = ["CLAWDBOT_AGENT_DIR", "PI_CODING_AGENT_DIR"];
const OAUTH_DIR_VARIABLE: &str = "CLAWDBOT_OAUTH_DIR";

/// The later name first: that is the one to create.
const CONFIG_NAMES: [&str; 2] = ["moltbot.json", "clawdbot.json"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        env: &[(&str, &str)],
        existing: &[&str],
        expected: impl FnOnce(&Paths) -> &Path,
        want: &str,
    ) {
        let env: std::collections::HashMap<_, _> = env.iter().copied().collect();
        let paths = Paths::resolve(&Inputs {
            env: &|name| env.get(name).map(OsString::from),
            home: Path::new("/home/p"),
            cwd: Path::new("/work"),
            exists: &|path| existing.iter().any(|known| path == Path::new(known)),
        });
        assert_eq!(expected(&paths), Path::new(want));
    }

    #[test]
    fn the_later_state_directory_is_used_only_if_it_is_alone() {
        let (old, new) = ("/home/p/.clawdbot", "/home/p/.moltbot");
        check(&[], &[], |paths| &paths.state_dir, old);
        check(&[], &[new], |paths| &paths.state_dir, new);
        check(&[], &[old, new], |paths| &paths.state_dir, old);
    }

    #[test]
    fn the_later_name_of_the_state_variable_wins_and_blank_is_unset() {
        let both = [("CLAWDBOT_STATE_DIR", "~/a"), ("MOLTBOT_STATE_DIR", "../b/./c//")];
        check(&both, &[], |paths| &paths.state_dir, "/b/c");
        let blank = [("CLAWDBOT_STATE_DIR", " ~/a "), ("MOLTBOT_STATE_DIR", " \t")];
        check(&blank, &[], |paths| &paths.state_dir, "/home/p/a");
    }

    #[test]
    fn a_chosen_state_directory_never_falls_back_to_a_config_at_home() {
        let home = ["/home/p/.clawdbot/clawdbot.json"];
        check(&[], &home, |paths| &paths.config, home[0]);
        check(&[("CLAWDBOT_STATE_DIR", "/s")], &home, |paths| &paths.config, "/s/moltbot.json");
        let chosen = [home[0], "/s/clawdbot.json"];
        check(&[("CLAWDBOT_STATE_DIR", "/s")], &chosen, |paths| &paths.config, "/s/clawdbot.json");
    }

    #[test]
    fn the_variable_of_pi_counts_only_where_a_store_of_ours_is() {
        let usual = "/home/p/.clawdbot/agents/main/agent";
        let of_pi = [("PI_CODING_AGENT_DIR", "/pi")];
        check(&of_pi, &["/pi", "/pi/auth.json"], |paths| &paths.agent_dir, usual);
        check(&of_pi, &["/pi/auth-profiles.json"], |paths| &paths.agent_dir, "/pi");
        let both = [("PI_CODING_AGENT_DIR", "/pi"), ("CLAWDBOT_AGENT_DIR", "/ours")];
        check(&both, &["/pi/auth-profiles.json"], |paths| &paths.agent_dir, "/ours");
    }

    #[test]
    fn what_a_shell_would_have_replaced_is_found() {
        for (text, part) in [
            ("$HOME/x", "$HOME"),
            ("/a/${XDG_STATE_HOME}/x", "${XDG_STATE_HOME}"),
            ("${X:-/y}", "${X"),
            ("$(pwd)/x", "$(pwd)"),
            (" ~bob/x", "~bob"),
            ("~bob", "~bob"),
        ] {
            assert_eq!(unresolved(text), Some(part), "{text}");
        }
        for text in ["/a", "~", "~/x", "a/~b", "", "/a$/b", "/a$5", "$", "/cost$"] {
            assert_eq!(unresolved(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_that_nobody_means_is_a_problem() {
        let problem_of = |env: &[(&str, &str)], home: &str, cwd: &str| {
            let env: std::collections::HashMap<_, _> = env.iter().copied().collect();
            let inputs = Inputs {
                env: &|name| env.get(name).map(OsString::from),
                home: Path::new(home),
                cwd: Path::new(cwd),
                exists: &|_| false,
            };
            problem(&inputs, &Paths::resolve(&inputs)).map(|(message, _)| message)
        };
        let state = |value| [("CLAWDBOT_STATE_DIR", value)];
        assert_eq!(problem_of(&[], "/home/p", ""), None);
        assert_eq!(problem_of(&state("/s"), "", ""), None);
        assert_eq!(problem_of(&state("s"), "", "/work"), None);
        for (env, home, cwd, wanted) in [
            (&[][..], "", "/work", "there is no home directory"),
            (&[], "home", "/work", "HOME is `home`"),
            (&state("~/s"), "", "/work", "there is no home directory"),
            (&state("s"), "/home/p", "", "CLAWDBOT_STATE_DIR (`s`) begins at the working"),
            (&state("$HOME/s"), "/home/p", "/work", "`$HOME` in the variable CLAWDBOT_STATE_DIR"),
            (&[("CLAWDBOT_AGENT_DIR", "${A}/s")], "/home/p", "/work", "`${A}` in the variable"),
            (&[("CLAWDBOT_OAUTH_DIR", "x")], "/home/p", "", "CLAWDBOT_OAUTH_DIR (`x`)"),
        ] {
            let message = problem_of(env, home, cwd).unwrap_or_default();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn a_tilde_is_home_only_as_a_whole_component() {
        let resolve = |text: &str| {
            resolve_user_path(OsStr::new(text), Path::new("/home/p"), Path::new("/work"))
        };
        assert_eq!(resolve("~"), Path::new("/home/p"));
        assert_eq!(resolve("~/../q"), Path::new("/home/q"));
        assert_eq!(resolve("~user/z"), Path::new("/work/~user/z"));
        assert_eq!(resolve("  "), Path::new(""));
    }
}
