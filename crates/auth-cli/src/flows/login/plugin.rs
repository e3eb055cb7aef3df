//! `models auth login` for a provider with a plugin: the plugin asks, the user answers.

use std::io::Write;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use auth_providers::Provider;
use auth_providers::plugin::{self, PluginUi, Prompt, PromptKind, Reply};
use auth_providers::token_source::TokenSink;
use auth_store::ProfileId;

use crate::agent::invocation::Invocation;
use crate::flows::login::error::explain;
use crate::flows::login::request::LoginRequest;
use crate::flows::login::saved::report;
use crate::host::error::CliError;
use crate::host::network;
use crate::host::process::browser::Opener;
use crate::host::process::runtime;
use crate::host::prompt::{self, Lines};
use crate::host::report::Report;
use crate::host::shell_quote::option;
use crate::host::text::{line_for_terminal, printable};
use crate::profiles::save::{self, LoginWanted, Owner};

/// Logs in with the plugin of `provider`.
pub(crate) fn run(
    request: &LoginRequest,
    provider: &Provider,
    sink: &TokenSink,
    invocation: &Invocation<'_>,
) -> Result<Report, CliError> {
    let (config, agent, context) = (invocation.config()?, invocation.agent()?, invocation.context);
    if request.start {
        let message = format!("the login of `{}` cannot be done in two steps", provider.id);
        return Err(CliError::usage(message).hint(format!(
            "its plugin asks while it runs: clawdbot models auth login{}",
            option("--provider", &provider.id)
        )));
    }
    save::check_room(sink)?;
    let environment = network::plugin_environment(context);
    let is_terminal = context.terminal.stdin;
    let lines = prompt::lines(context);
    let talk = context.take_stderr();
    let user = PluginUser {
        label: printable(&provider.label),
        opener: if request.no_browser { None } else { Opener::from_environment(context) },
        talk: Mutex::new(talk),
        lines: tokio::sync::Mutex::new(lines),
        is_terminal,
        is_verbose: invocation.output.verbose,
    };
    let wanted = LoginWanted {
        profile: request.profile_id.as_deref().map(ProfileId::from),
        force: request.force,
        owner: Owner::for_agent(agent, &config, context)?,
    };
    let ended = runtime::run(async {
        let logging_in = plugin::login(provider, &environment, &user, &*sink.clock);
        let login = tokio::select! {
            login = logging_in => login.map_err(explain)?,
            // The plugin ends with us; anything it received meanwhile is lost.
            Ok(()) = tokio::signal::ctrl_c() => return Err(prompt::interrupted()),
        };
        let id = save::login(&login, &wanted, provider, agent, sink).await?;
        Ok((id, login))
    });
    let talk = user.talk.into_inner().unwrap_or_else(PoisonError::into_inner);
    context.give_back_stderr(talk);
    let (id, login) = ended??;
    report(&id, &login, agent, provider, request.set_default, invocation)
}

/// The user at standard input and output.
struct PluginUser {
    label: String,
    opener: Option<Opener>,
    talk: Mutex<Box<dyn Write + Send>>,
    lines: tokio::sync::Mutex<Lines>,
    is_terminal: bool,
    is_verbose: bool,
}

impl PluginUser {
    fn say(&self, line: &str) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let _nobody_listens =
            writeln!(talk, "{}", line_for_terminal(line)).and_then(|()| talk.flush());
    }

    fn put(&self, prompt: &Prompt) {
        let default = match (&prompt.default, prompt.kind) {
            (Some(default), PromptKind::Text) => format!(" [{}]", printable(default)),
            _ => String::new(),
        };
        let how = match prompt.kind {
            PromptKind::Secret if self.is_terminal => " (it is not shown)",
            PromptKind::Confirm => " (yes or no)",
            _ => "",
        };
        self.say(&format!("{}: {}{default}{how}", self.label, prompt.text));
        for (index, choice) in prompt.choices.iter().enumerate() {
            let is_default = prompt.default.as_deref() == Some(&choice.value);
            let mark = if is_default { " (the default)" } else { "" };
            self.say(&format!("  {} {}{mark}", index + 1, choice.label));
        }
    }
}

impl PluginUi for PluginUser {
    fn progress(&self, text: &str) {
        if !text.is_empty() {
            self.say(&format!("{}: {text}", self.label));
        }
    }

    fn open(&self, url: &str, text: &str) {
        let text = if text.is_empty() { "open this address in a browser" } else { text };
        self.say(&format!("{}: {text}", self.label));
        self.say("");
        self.say(url);
        self.say("");
        if let Some(opener) = &self.opener {
            opener.open(url);
        }
    }

    fn device_code(&self, url: &str, code: &str, expires_in: Option<u64>) {
        self.open(url, "open this address on any device");
        let until = match expires_in {
            Some(seconds) => format!(", good for {} minutes", seconds.div_ceil(60)),
            None => String::new(),
        };
        self.say(&format!("and enter the code {code}{until}."));
        self.say("Go on only if you began this login yourself.");
    }

    fn ask<'a>(&'a self, prompt: &'a Prompt) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>> {
        Box::pin(async move {
            self.put(prompt);
            let mut lines = self.lines.lock().await;
            lines.show(self.is_terminal && prompt.kind != PromptKind::Secret);
            loop {
                let Some(line) = lines.recv().await else { return Reply::NoUser };
                match reply(prompt, line.trim_end_matches(['\r', '\n'])) {
                    Ok(reply) => return reply,
                    Err(reason) => self.say(reason),
                }
            }
        })
    }

    fn log(&self, line: &str) {
        if self.is_verbose {
            self.say(&format!("plugin: {line}"));
        }
    }
}

/// The reply to `prompt` in `line`, or why it is invalid.
fn reply(prompt: &Prompt, line: &str) -> Result<Reply, &'static str> {
    let typed = line.trim();
    let text = match &prompt.default {
        Some(default) if typed.is_empty() => default.as_str(),
        _ => typed,
    };
    match prompt.kind {
        PromptKind::Text => Ok(Reply::Text(text.into())),
        // Spaces may be part of a secret.
        PromptKind::Secret => Ok(Reply::Text(line.into())),
        PromptKind::Choose => {
            let by_number = text.parse::<usize>().ok().filter(|_| !typed.is_empty());
            let by_number = by_number.and_then(|number| prompt.choices.get(number.checked_sub(1)?));
            let by_name = || {
                let is_meant = |it: &&plugin::Choice| it.value == text || it.label == text;
                prompt.choices.iter().find(is_meant)
            };
            let choice = by_number.or_else(by_name).ok_or("Answer with one of the numbers.")?;
            Ok(Reply::Text(choice.value.as_str().into()))
        }
        PromptKind::Confirm => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "true" => Ok(Reply::Confirmed(true)),
            "n" | "no" | "false" => Ok(Reply::Confirmed(false)),
            _ => Err("Answer with yes or no."),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(kind: PromptKind, default: Option<&str>) -> Prompt {
        let choice = |value: &str, label: &str| plugin::Choice {
            value: value.to_owned(),
            label: label.to_owned(),
        };
        Prompt {
            id: "q".to_owned(),
            kind,
            text: "Which?".to_owned(),
            choices: vec![choice("eu", "Europe"), choice("1", "One")],
            default: default.map(str::to_owned),
        }
    }

    fn said(kind: PromptKind, default: Option<&str>, line: &str) -> String {
        match reply(&prompt(kind, default), line) {
            Ok(Reply::Text(text)) => text.expose().to_owned(),
            Ok(Reply::Confirmed(is_confirmed)) => is_confirmed.to_string(),
            Ok(Reply::NoUser) => "nobody".to_owned(),
            Err(reason) => reason.to_owned(),
        }
    }

    #[test]
    fn an_empty_response_is_the_default() {
        assert_eq!(said(PromptKind::Text, Some("here"), " "), "here");
        assert_eq!(said(PromptKind::Text, None, " there "), "there");
        assert_eq!(said(PromptKind::Choose, Some("1"), ""), "1");
        assert_eq!(said(PromptKind::Confirm, Some("no"), ""), "false");
    }

    #[test]
    fn a_choice_is_made_by_number_value_or_label() {
        for line in ["1", "eu", "Europe"] {
            assert_eq!(said(PromptKind::Choose, None, line), "eu");
        }
        for line in ["", "0", "3", "Asia"] {
            assert!(said(PromptKind::Choose, None, line).starts_with("Answer"), "{line}");
        }
    }

    #[test]
    fn a_secret_keeps_its_spaces_and_a_doubt_is_asked_again() {
        assert_eq!(said(PromptKind::Secret, Some("default"), " a b "), " a b ");
        assert!(said(PromptKind::Confirm, None, "perhaps").starts_with("Answer"));
    }
}
