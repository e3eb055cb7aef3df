//! What a person types, and how they are asked: the lines of standard input, Ctrl-C, the echo.

use std::io::{self, BufRead as _, BufReader};

use auth_providers::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime::not_started;

/// Lines of standard input, as they come. A thread reads them, since nothing else can wait for a
/// line and for something else at once; the program ends without waiting for it.
pub(crate) fn lines(context: &Context) -> UnboundedReceiver<String> {
    let stdin = context.take_stdin();
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let mut stdin = BufReader::new(stdin);
        loop {
            let mut line = Vec::new();
            let limit = io::Read::take(&mut stdin, LONGEST_LINE).read_until(b'\n', &mut line);
            if !limit.is_ok_and(|length| length > 0) {
                return;
            }
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// All of standard input, to a limit.
pub(crate) fn everything(context: &Context) -> Result<String, CliError> {
    context
        .read_stdin(LARGEST_INPUT)
        .map_err(|error| CliError::usage(format!("the standard input could not be read: {error}")))
}

/// A secret: typed or pasted at the terminal without an echo, up to a blank line, since terminals
/// wrap long ones; without a terminal, all of standard input.
pub(crate) fn secret(question: &str, context: &Context) -> Result<String, CliError> {
    if !context.terminal.stdin {
        return everything(context);
    }
    let attention = Attention::pay()?;
    let _hidden = echo::Hidden::new();
    context.say(question);
    context.say("It is not shown. End with an empty line.");
    let mut lines = lines(context);
    attention.until_interrupted(async {
        let mut text = String::new();
        loop {
            match lines.recv().await {
                Some(line) if !line.trim().is_empty() => text.push_str(&line),
                // An empty line before the paste is a slip.
                Some(_) if text.is_empty() => {}
                _ => return text,
            }
        }
    })
}

/// One line of standard input after a question, and nothing behind it; empty at its end. Ctrl-C
/// ends it: nothing was stored.
pub(crate) fn line(question: &str, context: &Context) -> Result<String, CliError> {
    let attention = Attention::pay()?;
    context.ask(question);
    let mut stdin = context.take_stdin();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let line = read_line(&mut stdin);
        // Whoever asked may be gone.
        let _ = sender.send((line, stdin));
    });
    let (line, stdin) = attention.until_interrupted(receiver)?.map_err(|_| interrupted())?;
    context.give_back_stdin(stdin);
    line.map_err(|error| CliError::usage(format!("the standard input could not be read: {error}")))
}

fn read_line(stdin: &mut impl io::Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < 1024 && byte != *b"\n" {
        match stdin.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The answer to a question, without white space around it.
///
/// # Errors
/// Ctrl-C, or the end of the input: there is nobody any more.
pub(crate) fn answer(question: &str, context: &Context) -> Result<String, CliError> {
    let line = line(question, context)?;
    if line.is_empty() {
        return Err(CliError::new(
            Exit::Interrupted,
            "interrupted",
            "the input ended; nothing was stored",
        ));
    }
    Ok(line.trim().to_owned())
}

/// One of `count` numbered things; an empty answer is the first.
pub(crate) fn number(count: usize, context: &Context) -> Result<usize, CliError> {
    loop {
        let text = answer(&format!("Which one? 1 to {count} [1]: "), context)?;
        if text.is_empty() {
            return Ok(0);
        }
        match text.parse::<usize>() {
            Ok(number) if (1..=count).contains(&number) => return Ok(number - 1),
            _ => context.say(format_args!("Type a number from 1 to {count}, or Ctrl-C to stop.")),
        }
    }
}

/// Yes or no; an empty answer is yes.
pub(crate) fn yes(question: &str, context: &Context) -> Result<bool, CliError> {
    loop {
        let text = answer(&format!("{question} [Y/n]: "), context)?;
        match text.to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => context.say("Type y or n, or Ctrl-C to stop."),
        }
    }
}

/// While the result lives, the terminal does not show what is typed.
pub(crate) fn hidden() -> echo::Hidden {
    echo::Hidden::new()
}

/// Ctrl-C: nothing was stored.
pub(crate) fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted", "interrupted; nothing was stored")
}

/// Hears Ctrl-C from the moment it is made: before a question is printed, and before what is typed
/// is hidden, since whoever sees the one or suffers from the other may press it.
pub(crate) struct Attention {
    runtime: tokio::runtime::Runtime,
    interrupt: Interrupt,
}

#[cfg(unix)]
type Interrupt = tokio::signal::unix::Signal;
#[cfg(windows)]
type Interrupt = tokio::signal::windows::CtrlC;

impl Attention {
    /// Begins to listen.
    pub(crate) fn pay() -> Result<Self, CliError> {
        let pay = || {
            let runtime = runtime()?;
            let entered = runtime.enter();
            #[cfg(unix)]
            let interrupt =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
            #[cfg(windows)]
            let interrupt = tokio::signal::windows::ctrl_c()?;
            drop(entered);
            Ok(Self { runtime, interrupt })
        };
        pay().map_err(|error| not_started(&error))
    }

    /// The outcome of `future`, unless Ctrl-C comes first.
    pub(crate) fn until_interrupted<T>(
        mut self,
        future: impl Future<Output = T>,
    ) -> Result<T, CliError> {
        self.runtime.block_on(async {
            tokio::select! {
                outcome = future => Ok(outcome),
                _ = self.interrupt.recv() => Err(interrupted()),
            }
        })
    }
}

/// Of one line.
const LONGEST_LINE: u64 = 64 << 10;
/// Of all input.
const LARGEST_INPUT: u64 = 1 << 20;

#[cfg(unix)]
mod echo {
    use rustix::stdio::stdin;
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// While it lives, the terminal does not show what is typed.
    pub(crate) struct Hidden(Option<Termios>);

    impl Hidden {
        pub(crate) fn new() -> Self {
            let before = tcgetattr(stdin()).ok();
            if let Some(before) = &before {
                let mut hidden = before.clone();
                hidden.local_modes.remove(LocalModes::ECHO);
                // A terminal that cannot do it shows it: no reason to fail.
                let _ = tcsetattr(stdin(), OptionalActions::Now, &hidden);
            }
            Self(before)
        }
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            if let Some(before) = &self.0 {
                let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            }
        }
    }
}

#[cfg(not(unix))]
mod echo {
    /// Nothing is hidden here.
    pub(crate) struct Hidden;

    impl Hidden {
        pub(crate) fn new() -> Self {
            Self
        }
    }
}
