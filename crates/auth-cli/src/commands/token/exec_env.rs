//! `models auth exec` and `models auth env`: tokens as variables.

use auth_store::{UnsafeProgram, VariableName};
use serde_json::Value;

use crate::agent::invocation::Invocation;
use crate::commands::token::exec_args::EnvArgs;
use crate::commands::token::exec_args::ExecArgs;
use crate::commands::token::exec_args::Shell;
use crate::commands::token::exec_args::WantedArgs;
use crate::commands::token::output::pretty;
use crate::host::error::{CliError, Exit};
use crate::host::process::launch::{self, Program};
use crate::host::remedy::Remedy;
use crate::host::report::Report;
use crate::host::shell_quote::{shell_word, word};
use crate::profiles::obtain::{TokenRequest, obtain};
use crate::profiles::route::RouteRequest;
use crate::profiles::runtime_cache;
use crate::profiles::token_output::TokenOutput;
use crate::profiles::view;

/// Replaces this process with the program, with the tokens in its environment.
pub fn exec(args: &ExecArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let variables = variables(&args.wanted, invocation)?;
    // Now, because no code of ours runs after the other program starts.
    runtime_cache::follow_changes(invocation);
    invocation.context.flush()?;
    let program = chosen(args, invocation)?;
    let mut command = program.command_with_everything();
    command.args(&args.command[1..]);
    command.envs(variables.iter().map(|(name, output)| (name.as_str(), output.token.expose())));
    let error = launch::become_it(&mut command);
    let program = args.command[0].to_string_lossy();
    // As shells end when they cannot run a program.
    let exit = if error.kind() == std::io::ErrorKind::NotFound {
        Exit::NotFound
    } else {
        Exit::NotExecutable
    };
    Err(not_run(exit, &program, &error))
}

/// The program of the command line.
pub(super) fn chosen(args: &ExecArgs, invocation: &Invocation<'_>) -> Result<Program, CliError> {
    let text = &args.command[0];
    Program::chosen_by_user(text, invocation.context).map_err(|reason| {
        let name = text.to_string_lossy();
        match reason {
            UnsafeProgram::Missing { .. } => not_run(Exit::NotFound, &name, &reason),
            _ => CliError::new(
                Exit::NotExecutable,
                "exec",
                format!("`{name}` is not started: {reason}"),
            )
            .hint("nothing was run; if you trust the program all the same, name it by its path"),
        }
    })
}

/// As shells end when they cannot run a program.
pub(super) fn not_run(exit: Exit, program: &str, reason: &dyn std::fmt::Display) -> CliError {
    let find = format!("command -v {}", word(program));
    CliError::new(exit, "exec", format!("could not run `{program}`: {reason}"))
        .remedy(Remedy::new("nothing was run; look for it", find))
}

/// Prints the lines that set the variables.
pub fn env(args: &EnvArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let shell = if invocation.output.json { Shell::Json } else { args.shell };
    let variables = variables(&args.wanted, invocation)?;
    if shell == Shell::Json {
        let value = |output: &TokenOutput| Value::from(output.token.expose());
        let members = variables.iter().map(|(name, output)| (name.to_string(), value(output)));
        return Ok(Report::raw(pretty(&Value::Object(members.collect()))));
    }
    let mut report = Report::default();
    if shell == Shell::GithubActions {
        for (_, output) in &variables {
            // The runner reads this line, and masks the token in its log from then on.
            report.note(format_args!("::add-mask::{}", output.token.expose().replace('%', "%25")));
        }
    }
    for (name, output) in &variables {
        let line = line(shell, name, output.token.expose());
        report.lines(&line.ok_or_else(|| unquotable(output))?);
    }
    Ok(report)
}

/// Each variable with its token.
fn variables(
    wanted: &WantedArgs,
    invocation: &Invocation<'_>,
) -> Result<Vec<(VariableName, TokenOutput)>, CliError> {
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
    let mut variables: Vec<(VariableName, TokenOutput)> = Vec::new();
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

/// The line that sets a variable (JSON is printed as a whole, not here). The value is one line of
/// text.
/// `None`: nothing of that form stands for this value in every program that reads the form.
fn line(shell: Shell, name: &VariableName, value: &str) -> Option<String> {
    Some(match shell {
        Shell::Sh => format!("export {name}={}", shell_word(value)),
        Shell::Fish => {
            format!("set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
        }
        Shell::Powershell => {
            // Typographic quotes end a string there, too; each is escaped by doubling it.
            let doubled = |c: char| match c {
                '\'' | '\u{2018}'..='\u{201b}' => format!("{c}{c}"),
                _ => c.to_string(),
            };
            format!("$env:{name} = '{}'", value.chars().map(doubled).collect::<String>())
        }
        // Readers agree on what single quotes hold as it is, and on no escape. Some replace `$NAME`
        // even there.
        Shell::Dotenv if value.contains(['\'', '\\', '$']) => return None,
        Shell::Dotenv | Shell::Json => format!("{name}='{value}'"),
        Shell::GithubActions => {
            let mut end = "CLAWDBOT_END".to_owned();
            while end == value {
                end.push('_');
            }
            format!("{name}<<{end}\n{value}\n{end}")
        }
    })
}

/// A token that an `.env` file cannot hold.
fn unquotable(output: &TokenOutput) -> CliError {
    let message = format!(
        "the token of {} has a character that programs read differently in an `.env` file: `'`, `\\` or `$`",
        output.source
    );
    CliError::usage(message)
        .hint("nothing was printed; use another form: --shell sh, or models auth exec -- PROGRAM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_gets_its_own_quotes() {
        let name = VariableName::parse("X").unwrap();
        let line = |shell, value| line(shell, &name, value);
        let is = |shell, value, expected: &str| {
            assert_eq!(line(shell, value).as_deref(), Some(expected));
        };
        is(Shell::Sh, "a'b", r"export X='a'\''b'");
        is(Shell::Fish, r"a'b\c", r"set -gx X 'a\'b\\c'");
        is(Shell::Powershell, "a'b\u{2019}", "$env:X = 'a''b\u{2019}\u{2019}'");
        is(Shell::Dotenv, "a b`c", "X='a b`c'");
        is(Shell::GithubActions, "v", "X<<CLAWDBOT_END\nv\nCLAWDBOT_END");
        is(Shell::GithubActions, "CLAWDBOT_END", "X<<CLAWDBOT_END_\nCLAWDBOT_END\nCLAWDBOT_END_");
        for value in ["a'b", r"a\b", "a$b"] {
            assert_eq!(line(Shell::Dotenv, value), None);
        }
    }
}
