//! `completion` and `man`: what shells and `man` want to know of the command line. Values are
//! completed by this program itself, from the real state: the scripts ask it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};

use crate::agent::{self, sessions::Sessions};
use crate::cli::{Cli, CompletionArgs, ManArgs};
use crate::config::Config;
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::host::shell_quote::shell_word;
use crate::host::text::printable;
use crate::profiles::view::{self, View};

/// The first argument by which a script asks. Nobody types it.
pub const WORD: &str = "__complete";

/// Prints the completion script of a shell, installs it, or removes it.
pub fn completion(args: &CompletionArgs, context: &Context) -> Result<Report, CliError> {
    let script = script(args.shell);
    if !(args.install || args.undo) {
        return Ok(Report::raw(script));
    }
    let (path, more) = place(args.shell, context)?;
    let shown = context.display(&path);
    let existing = auth_store::read_regular_text(&path).ok();
    if existing.as_ref().is_some_and(|text| !text.contains(WORD)) {
        let message = format!("`{shown}` is not ours; nothing was changed");
        return Err(CliError::new(Exit::Usage, "not_ours", message).path(&path));
    }
    let failed = |error: std::io::Error| {
        CliError::new(Exit::CannotWrite, "cannot_write", format!("`{shown}`: {error}")).path(&path)
    };
    let mut report = Report::default();
    if args.undo {
        if existing.is_some() {
            std::fs::remove_file(&path).map_err(failed)?;
        }
        report.line(format_args!("Removed {shown}."));
        return Ok(report);
    }
    auth_store::create_private_directory(path.parent().unwrap_or(Path::new("/")))?;
    auth_store::write_atomic(&path, script.as_bytes())?;
    report.line(format_args!("Written to {shown}. Start a new shell to use it."));
    if let Some(more) = more {
        report.note(more);
    }
    Ok(report)
}

/// Where a shell looks for scripts, and what else it needs.
fn place(shell: Shell, context: &Context) -> Result<(PathBuf, Option<&'static str>), CliError> {
    let base = |variable: &str, usual: &str| {
        context.chosen(variable).map_or_else(|| context.home.join(usual), PathBuf::from)
    };
    let data = || base("XDG_DATA_HOME", ".local/share");
    Ok(match shell {
        Shell::Bash => (data().join("bash-completion/completions/clawdbot"), None),
        Shell::Zsh => (
            data().join("zsh/site-functions/_clawdbot"),
            Some(
                "note: ~/.zshrc needs, before compinit: fpath=(~/.local/share/zsh/site-functions $fpath)",
            ),
        ),
        Shell::Fish => {
            (base("XDG_CONFIG_HOME", ".config").join("fish/completions/clawdbot.fish"), None)
        }
        other => {
            return Err(CliError::usage(format!("--install does not know the place of {other}"))
                .hint(format!(
                    "print the script, and load it there: clawdbot completion {other}"
                )));
        }
    })
}

fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => BASH.to_owned(),
        Shell::Zsh => ZSH.to_owned(),
        Shell::Fish => FISH.to_owned(),
        Shell::PowerShell => POWERSHELL.to_owned(),
        other => {
            let mut script = Vec::new();
            clap_complete::generate(other, &mut Cli::command(), "clawdbot", &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
    }
}

/// Answers a script: the words that can stand at the end of the line, one a line.
pub fn answer(arguments: &[OsString], context: &Context) -> u8 {
    let text = |at: usize| arguments.get(at).and_then(|it| it.to_str()).unwrap_or_default();
    let shell = text(2);
    let (words, breaks) = if shell == "bash" {
        (words_of(text(3)), text(4))
    } else {
        let words = arguments.iter().skip(4).map(|it| it.to_string_lossy().into_owned());
        (words.collect(), "")
    };
    let last = words.last().cloned().unwrap_or_default();
    // Bash completes from the last of these characters on.
    let is_break = |c: char| (c == ':' || c == '=') && breaks.contains(c);
    let cut = last.rfind(is_break).map_or(0, |at| at + 1);
    let index = words.len().saturating_sub(1);
    let words = words.into_iter().map(OsString::from).collect();
    let mut command = with_values(Cli::command(), &Arc::new(Values::read(context)));
    let found = complete(&mut command, words, index, Some(&context.cwd)).unwrap_or_default();
    for candidate in found {
        let value = candidate.get_value().to_string_lossy().into_owned();
        if printable(&value) != value {
            continue;
        }
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        let line = match shell {
            "bash" => shell_word(value.get(cut..).unwrap_or_default()),
            "zsh" => format!("{}:{help}", value.replace('\\', "\\\\").replace(':', "\\:")),
            _ => format!("{value}\t{help}"),
        };
        // The reader may be gone.
        let _ = context.write(format!("{line}\n").as_bytes());
    }
    Exit::Done as u8
}

/// The words of a command line up to the cursor; the last one may be unfinished, or empty.
fn words_of(line: &str) -> Vec<String> {
    let closed = ["", "'", "\""].iter().find_map(|end| shlex::split(&format!("{line}{end}")));
    let mut words = closed.unwrap_or_default();
    if line.is_empty() || line.ends_with([' ', '\t']) {
        words.push(String::new());
    }
    words
}

/// The names there are.
#[derive(Debug, Default)]
struct Values {
    providers: Vec<String>,
    profiles: Vec<String>,
    agents: Vec<String>,
    sessions: Vec<String>,
    models: Vec<String>,
}

impl Values {
    /// What can be read of them; a state that cannot be read completes nothing.
    fn read(context: &Context) -> Self {
        let Ok(config) = Config::load(context).map(Rc::new) else { return Self::default() };
        let agents = agent::all(&config, context).unwrap_or_default();
        let providers = view::providers(context);
        let mut names: Vec<_> = providers.all().iter().map(|it| it.id.to_string()).collect();
        let models = config.listed_models().flat_map(|(model, alias)| [Some(model), alias]);
        let models = models.flatten().map(str::to_owned).collect();
        let Ok(view) = View::with(Rc::clone(&config), None, context) else {
            return Self { providers: names, agents, models, ..Self::default() };
        };
        names.extend(view.providers().iter().map(ToString::to_string));
        names.sort();
        names.dedup();
        let sessions = Sessions::for_agent(&view.agent, &config, context);
        let sessions = sessions
            .ok()
            .and_then(|it| auth_store::read_regular_text(it.path()).ok())
            .unwrap_or_default();
        let sessions = crate::config::json5::parse(&sessions).unwrap_or_default();
        let sessions = sessions.as_object().into_iter().flatten().map(|(key, _)| key.clone());
        Self {
            providers: names,
            profiles: view.profiles.iter().map(|it| it.id.to_string()).collect(),
            sessions: sessions.collect(),
            agents,
            models,
        }
    }

    fn of_argument(&self, id: &str) -> Option<&Vec<String>> {
        Some(match id {
            "provider" | "probe_provider" | "named" => &self.providers,
            "profile" | "profiles" | "probe_profile" | "profile_id" => &self.profiles,
            "agent" | "id" => &self.agents,
            "key" | "session" => &self.sessions,
            "model" => &self.models,
            _ => return None,
        })
    }
}

/// The command line with the real values of its arguments.
fn with_values(command: Command, values: &Arc<Values>) -> Command {
    let command = command.mut_args(|argument| {
        let id = argument.get_id().to_string();
        if values.of_argument(&id).is_none() {
            return argument;
        }
        let values = Arc::clone(values);
        argument.add(ArgValueCandidates::new(move || {
            let known = values.of_argument(&id).into_iter().flatten();
            known.map(CompletionCandidate::new).collect()
        }))
    });
    command.mut_subcommands(|below| with_values(below, values))
}

/// Prints the manual page of the program, or writes the pages of all commands into a directory.
pub fn man(args: &ManArgs, context: &Context) -> Result<Report, CliError> {
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(CliError::stdout)?;
        return Ok(Report::raw(with_sections(&String::from_utf8_lossy(&page), context)));
    };
    let directory = context.user_path(directory);
    let failed = |error: std::io::Error| {
        let message = format!("{}: {error}", directory.display());
        CliError::new(Exit::CannotWrite, "cannot_write", message).path(&directory)
    };
    auth_store::create_private_directory(&directory)?;
    clap_mangen::generate_to(Cli::command(), &directory).map_err(failed)?;
    for entry in std::fs::read_dir(&directory).map_err(failed)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("clawdbot") && name.ends_with(".1") {
            let page = auth_store::read_regular_text(&entry.path()).map_err(failed)?;
            auth_store::write_atomic(&entry.path(), with_sections(&page, context).as_bytes())?;
        }
    }
    let mut report = Report::default();
    report.line(format_args!("Written to {}.", context.display(&directory)));
    Ok(report)
}

/// The page with what every command has in common. Command lines are not hyphenated.
fn with_sections(page: &str, context: &Context) -> String {
    let mut text = String::new();
    for line in page.lines() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with(".TH") {
            text.push_str(".nh\n");
        }
    }
    let files = files(context);
    let files: Vec<_> = files.iter().map(|(path, what)| (path.as_str(), *what)).collect();
    for (title, items) in
        [("EXIT STATUS", EXITS), ("ENVIRONMENT", VARIABLES), ("FILES", files.as_slice())]
    {
        // Writing to a string cannot fail.
        let _ = writeln!(text, ".SH \"{title}\"");
        for (name, what) in items {
            let _ = writeln!(text, ".TP\n\\fB{}\\fR\n{what}", name.replace('-', "\\-"));
        }
    }
    text
}

/// The files of a user, where they are usually.
fn files(context: &Context) -> Vec<(String, &'static str)> {
    let home = Path::new("~");
    let state = &crate::host::paths::usual_state_dirs(home)[0];
    let config = context.paths().config.file_name().map(|name| state.join(name));
    let agent = auth_store::paths::agent_directory(state, "AGENT");
    let each = [
        (config.unwrap_or_default(), "The config."),
        (auth_store::paths::store(&agent), "The credentials of an agent."),
        (crate::host::paths::providers(state).join("NAME.json"), "A provider that you describe."),
        (auth_store::paths::refresh_records(state), "What became of each refresh token."),
    ];
    each.into_iter().map(|(path, what)| (path.display().to_string(), what)).collect()
}

const EXITS: &[(&str, &str)] = &[
    ("0", "Done."),
    (
        "1",
        "status --check: a provider in use has no usable credential. doctor: something is left to do.",
    ),
    ("2", "status --check: a credential that cannot renew itself expires soon."),
    ("3", "There is no credential for what was asked."),
    ("4", "Log in again; the message has the command."),
    ("5", "It may work later: the issuer could not be asked."),
    ("6", "All profiles are in cooldown."),
    ("7", "A lock could not be had in time; nothing was written."),
    ("8", "The store is damaged, or newer than this program; nothing was written."),
    ("64", "The arguments, a manifest or the config are wrong."),
    ("74", "Something could not be written."),
    ("126, 127", "exec: the program cannot be run, or does not exist."),
    ("130", "Interrupted."),
];
const VARIABLES: &[(&str, &str)] = &[
    ("CLAWDBOT_AGENT", "The agent, if no --agent is given."),
    ("CLAWDBOT_AUTH_PROFILE", "The profile, if none is given."),
    ("CLAWDBOT_STATE_DIR", "The state directory; else ~/.clawdbot."),
    ("CLAWDBOT_CONFIG_PATH", "The config; else clawdbot.json in the state directory."),
    ("CLAWDBOT_LOCK_TIMEOUT", "How many seconds to wait for locks; else 60."),
    ("CLAWDBOT_LOG", "What to log to stderr: info shows each request."),
    ("CLAWDBOT_CA_FILE", "Certificates to trust beside those of the system."),
    ("NO_COLOR, CLICOLOR_FORCE", "No colours; colours even without a terminal."),
    ("TZ", "The zone in which times are shown."),
];
const BASH: &str = r#"# Completion of clawdbot for bash: the program completes its own values.
_clawdbot() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("$1" __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -o default -F _clawdbot clawdbot
"#;

const ZSH: &str = r#"#compdef clawdbot
# Completion of clawdbot for zsh: the program completes its own values.
_clawdbot() {
    local -a found
    found=("${(@f)$("${words[1]}" __complete zsh -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        _describe -V clawdbot found
    else
        _files
    fi
}
if [ "$funcstack[1]" = "_clawdbot" ]; then
    _clawdbot "$@"
else
    compdef _clawdbot clawdbot
fi
"#;

const FISH: &str = r"# Completion of clawdbot for fish: the program completes its own values.
complete -c clawdbot -f -a '(clawdbot __complete fish -- (commandline -opc) (commandline -ct))'
";

const POWERSHELL: &str = r#"# Completion of clawdbot for PowerShell: the program completes its own values.
Register-ArgumentCompleter -Native -CommandName clawdbot -ScriptBlock {
    param($word, $ast, $cursor)
    $words = @($ast.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursor } | ForEach-Object { $_.ToString() })
    if ($word -eq '') { $words += '""' }
    & $words[0] __complete powershell -- @words | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_unfinished_line_are_those_of_the_shell() {
        assert_eq!(words_of("clawdbot use "), ["clawdbot", "use", ""]);
        assert_eq!(words_of("clawdbot use acme:'my wo"), ["clawdbot", "use", "acme:my wo"]);
        assert_eq!(words_of(""), [""]);
    }
}
