//! `models auth exec` and `models auth env`: tokens as variables.

use serde_json::Value;

use crate::agent::invocation::Invocation;
use crate::commands::token::exec_args::EnvArgs;
use crate::commands::token::exec_args::ExecArgs;
use crate::commands::token::exec_args::Shell;
use crate::commands::token::exec_args::WantedArgs;
use crate::commands::token::output::pretty;
use crate::host::error::{CliError, Exit};
use crate::host::process::launch;
use crate::host::remedy::Remedy;
use crate::host::report::Report;
use crate::host::shell_quote::{shell_word, word};
use crate::profiles::obtain::{TokenRequest, obtain};
use crate::profiles::route::RouteRequest;
use crate::profiles::runtime_cache;
use crate::profiles::token_output::TokenOutput;
use crate::profiles::view;

/// Becomes the program, with the tokens in its environment.
pub fn exec(args: &ExecArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let variables = variables(&args.wanted, invocation)?;
    // Nothing comes after the other program.
    runtime_cache::follow_changes(invocation);
    invocation.context.flush()?;
    let mut command = launch::program(&args.command[0]);
    command.args(&args.command[1..]);
    command.envs(variables.iter().map(|(name, output)| (name, output.token.expose())));
    let error = launch::become_it(&mut command);
    let program = args.command[0].to_string_lossy();
    // As shells end when they cannot run a program.
    let exit = if error.kind() == std::io::ErrorKind::NotFound {
        Exit::NotFound
    } else {
        Exit::NotExecutable
    };
    let find = format!("command -v {}", word(&program));
    Err(CliError::new(exit, "exec", format!("could not run `{program}`: {error}"))
        .remedy(Remedy::new("nothing was run; look for it", find)))
}

/// Prints the lines that set the variables.
pub fn env(args: &EnvArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let shell = if invocation.output.json { Shell::Json } else { args.shell };
    let variables = variables(&args.wanted, invocation)?;
    if shell == Shell::Json {
        let value = |output: &TokenOutput| Value::from(output.token.expose());
        let members = variables.iter().map(|(name, output)| (name.clone(), value(output)));
        return Ok(Report::raw(pretty(&Value::Object(members.collect()))));
    }
    let mut report = Report::default();
    if shell == Shell::GithubActions {
        for (_, output) in &variables {
            // The runner reads this line, hides it, and everything like it from then on.
            report.note(format_args!("::add-mask::{}", output.token.expose().replace('%', "%25")));
        }
    }
    for (name, output) in &variables {
        report.lines(&line(shell, name, output.token.expose()));
    }
    Ok(report)
}

/// Each variable with its token.
fn variables(
    wanted: &WantedArgs,
    invocation: &Invocation<'_>,
) -> Result<Vec<(String, TokenOutput)>, CliError> {
    let with = |provider: Option<&String>, profile: Option<&String>| RouteRequest {
        provider: provider.cloned(),
        profile: profile.cloned(),
        session: wanted.session.clone(),
        ..RouteRequest::default()
    };
    let mut asked: Vec<_> = wanted.provider.iter().map(|name| with(Some(name), None)).collect();
    asked.extend(wanted.profile.iter().map(|id| with(None, Some(id))));
    if asked.is_empty() {
        asked.push(with(None, None));
    }
    let providers = view::providers(invocation.context);
    let mut variables: Vec<(String, TokenOutput)> = Vec::new();
    for route in asked {
        let request = TokenRequest { route, ..TokenRequest::default() };
        let output = obtain(&request, invocation)?;
        if !output.is_one_line() {
            return Err(output.not_one_line());
        }
        let name = wanted.name.clone().unwrap_or_else(|| output.variable(&providers));
        if let Some((_, other)) = variables.iter().find(|(taken, _)| *taken == name) {
            return Err(CliError::usage(format!(
                "`{}` and `{}` would both be in the variable {name}",
                other.source, output.source
            ))
            .hint("run it once for each, with --name"));
        }
        variables.push((name, output));
    }
    Ok(variables)
}

/// The line that sets a variable (JSON is printed whole, not here). The value is one line of text.
fn line(shell: Shell, name: &str, value: &str) -> String {
    match shell {
        Shell::Sh => format!("export {name}={}", shell_word(value)),
        Shell::Fish => {
            format!("set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
        }
        Shell::Powershell => {
            // Typographic quotes end a string there, too; each stands for itself when doubled.
            let doubled = |c: char| match c {
                '\'' | '\u{2018}'..='\u{201b}' => format!("{c}{c}"),
                _ => c.to_string(),
            };
            format!("$env:{name} = '{}'", value.chars().map(doubled).collect::<String>())
        }
        Shell::Dotenv if value.contains('\'') => {
            let escaped = value.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
            format!("{name}=\"{escaped}\"")
        }
        Shell::Dotenv | Shell::Json => format!("{name}='{value}'"),
        // One line of text cannot end it: it holds no line break.
        Shell::GithubActions => format!("{name}<<CLAWDBOT_END\n{value}\nCLAWDBOT_END"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARD: &str = "a'b\"c$d\\e`f g";

    /// What a shell makes of the line.
    #[cfg(unix)]
    fn echoed(program: &str, script: &str) -> String {
        let output = std::process::Command::new(program).args(["-c", script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[cfg(unix)]
    #[test]
    fn sh_reads_back_what_was_written() {
        for value in [HARD, "plain", "-n", "'", "$(exit 1)"] {
            let script = format!("{}\nprintf %s \"$X\"", line(Shell::Sh, "X", value));
            assert_eq!(echoed("sh", &script), value);
            let script = format!("{}\nprintf %s \"$X\"", line(Shell::Dotenv, "X", value));
            if !value.contains('`') {
                assert_eq!(echoed("sh", &script), value);
            }
        }
    }

    #[test]
    fn each_shell_gets_its_own_quotes() {
        assert_eq!(line(Shell::Fish, "X", r"a'b\c"), r"set -gx X 'a\'b\\c'");
        assert_eq!(line(Shell::Powershell, "X", "a'b\u{2019}"), "$env:X = 'a''b\u{2019}\u{2019}'");
        assert_eq!(line(Shell::Dotenv, "X", "a b$c"), "X='a b$c'");
        assert_eq!(line(Shell::GithubActions, "X", "v"), "X<<CLAWDBOT_END\nv\nCLAWDBOT_END");
    }
}
