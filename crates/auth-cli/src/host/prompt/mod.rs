//! Prompts: the lines of standard input, Ctrl-C, the echo.

pub(crate) mod suggest;
pub(crate) mod typed;

use std::io::{self, BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use auth_providers::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::process::runtime::not_started;
use crate::host::prompt::typed::{Editor, RawInput, TERMINALS_LIMIT};

/// Lines of standard input, as they arrive.
pub(crate) struct Lines {
    receiver: UnboundedReceiver<String>,
    shows: Arc<AtomicBool>,
    /// The terminal, if it is one; its mode is restored on drop.
    terminal: Option<RawInput>,
}

impl Lines {
    /// The next line; `None` at the end.
    pub(crate) async fn recv(&mut self) -> Option<String> {
        self.receiver.recv().await
    }

    /// Turns the echo on or off.
    pub(crate) fn show(&self, shows: bool) {
        // A terminal that is not in raw mode echoes by itself.
        let is_ours = self.terminal.as_ref().is_some_and(RawInput::is_raw);
        self.shows.store(shows && is_ours, Ordering::SeqCst);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.show(false);
    }
}

/// Starts reading lines. A thread reads them, since only that can wait for a line and for something
/// else at once; the program ends without waiting for it.
pub(crate) fn lines(context: &Context) -> Lines {
    let terminal = context.terminal.stdin.then(RawInput::begin);
    let mut editor = terminal.as_ref().map(|terminal| Editor::new(terminal.keys()));
    let stdin = context.take_stdin();
    let (sender, receiver) = unbounded_channel();
    let shows = Arc::new(AtomicBool::new(false));
    let is_shown = Arc::clone(&shows);
    std::thread::spawn(move || {
        let mut show = |bytes: &[u8]| {
            if is_shown.load(Ordering::SeqCst) {
                RawInput::show(bytes);
            }
        };
        let mut stdin = BufReader::new(stdin);
        loop {
            let line = match &mut editor {
                Some(editor) => typed::next_line(&mut stdin, editor, &mut show)
                    .map(|line| line.map(|(line, _)| line)),
                None => piped_line(&mut stdin),
            };
            let Ok(Some(line)) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let lines = Lines { receiver, shows, terminal };
    lines.show(true);
    lines
}

/// The next line of input that is not a terminal; `None` at the end.
fn piped_line(stdin: &mut impl io::BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = io::Read::take(stdin, LONGEST_LINE).read_until(b'\n', &mut line)?;
    Ok((length > 0).then_some(line))
}

/// All of standard input, up to a limit.
pub(crate) fn everything(context: &Context) -> Result<String, CliError> {
    context
        .read_stdin(LARGEST_INPUT)
        .map_err(|error| CliError::usage(format!("stdin could not be read: {error}")))
}

/// A secret: typed or pasted at the terminal without an echo, up to a blank line, since terminals
/// wrap long ones; without a terminal, all of standard input.
///
/// # Errors
/// Ctrl-C; or the terminal may have truncated it.
pub(crate) fn secret(question: &str, context: &Context) -> Result<String, CliError> {
    if !context.terminal.stdin {
        return everything(context);
    }
    let interrupts = InterruptGuard::install()?;
    let terminal = RawInput::begin();
    if terminal.drop_what_was_cut() {
        context.say("What was pasted before this question is longer than the terminal keeps, and was dropped.");
        context.say("Paste it again.");
    }
    context.say(question);
    context.say("It is not shown. End with an empty line.");
    let editor = Editor::new(terminal.keys());
    let text = read_with(interrupts, context, |stdin| typed::paragraph(stdin, editor))?;
    let longest = text.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
    if !terminal.is_raw() && longest >= TERMINALS_LIMIT {
        return Err(CliError::usage(
            "the terminal may have cut a line that long; nothing was stored",
        )
        .hint("save it to a file, and give that on standard input: < FILE"));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One line of standard input after a question; anything after the line stays unread. Empty at the
/// end of input. Ctrl-C ends it: nothing was stored.
pub(crate) fn line(question: &str, context: &Context) -> Result<String, CliError> {
    let interrupts = InterruptGuard::install()?;
    context.ask(question);
    let line = read_with(interrupts, context, read_line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The result of `read` on standard input, unless Ctrl-C comes first. The rest of the input stays
/// unread.
fn read_with(
    interrupts: InterruptGuard,
    context: &Context,
    read: impl FnOnce(&mut Box<dyn io::Read + Send>) -> io::Result<Vec<u8>> + Send + 'static,
) -> Result<Vec<u8>, CliError> {
    let mut stdin = context.take_stdin();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let bytes = read(&mut stdin);
        // The caller may be gone.
        let _ = sender.send((bytes, stdin));
    });
    let (bytes, stdin) = interrupts.until_interrupted(receiver)?.map_err(|_| interrupted())?;
    context.give_back_stdin(stdin);
    bytes.map_err(|error| CliError::usage(format!("stdin could not be read: {error}")))
}

fn read_line(stdin: &mut impl io::Read) -> io::Result<Vec<u8>> {
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
    Ok(line)
}

/// The user's answer to a question, trimmed.
///
/// # Errors
/// Ctrl-C, or the end of the input: there is no user any more.
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

/// One of these, by arrow keys, by the start of its name, or by its number. On a terminal that
/// cannot move its cursor the list is printed, and a number or a name is typed.
///
/// # Errors
/// Ctrl-C, or the end of the input.
pub(crate) fn choose(
    question: &str,
    items: &[String],
    context: &Context,
) -> Result<usize, CliError> {
    if context.terminal.has_keys {
        return choose_by_keys(question, items);
    }
    for (place, text) in items.iter().enumerate() {
        context.say(format_args!("{:4}  {text}", place + 1));
    }
    loop {
        let text = answer(&format!("{question} Number or name [1]: "), context)?;
        if text.is_empty() {
            return Ok(0);
        }
        match meant(&text, items) {
            Some(at) => return Ok(at),
            None => context.say("Type one of the numbers or names, or Ctrl-C to stop."),
        }
    }
}

/// The item that a number or a name means.
fn meant(text: &str, items: &[String]) -> Option<usize> {
    let text = text.trim().to_lowercase();
    let by_number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let starts = |item: &String| item.to_lowercase().starts_with(&text);
    let by_name = || items.iter().position(starts);
    by_number.filter(|at| *at < items.len()).or_else(by_name)
}

fn choose_by_keys(question: &str, items: &[String]) -> Result<usize, CliError> {
    let numbered: Vec<_> =
        items.iter().enumerate().map(|(at, text)| format!("{:2}  {text}", at + 1)).collect();
    let scorer = |typed: &str, _: &String, _: &str, at: usize| {
        let item = items.get(at).map(|it| it.to_lowercase()).unwrap_or_default();
        let typed = typed.trim().to_lowercase();
        let is_number = typed.parse::<usize>().is_ok_and(|number| number == at + 1);
        match (is_number, item.starts_with(&typed), item.contains(&typed)) {
            (true, ..) => Some(3),
            (_, true, _) => Some(2),
            (.., true) => Some(1),
            _ => None,
        }
    };
    let chosen = inquire::Select::new(question, numbered)
        .with_scorer(&scorer)
        .with_page_size(items.len().min(16))
        .with_help_message("arrow keys, a number or a name; Enter; Ctrl-C stops")
        .with_render_config(inquire::ui::RenderConfig::empty())
        .raw_prompt();
    match chosen {
        Ok(chosen) => Ok(chosen.index),
        Err(
            inquire::InquireError::OperationCanceled | inquire::InquireError::OperationInterrupted,
        ) => Err(interrupted()),
        Err(error) => Err(CliError::usage(format!("the terminal could not be read: {error}"))),
    }
}

/// The user's choice from `count` numbered items; an empty answer is the first.
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

/// The error for Ctrl-C: nothing was stored.
pub(crate) fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted", "interrupted; nothing was stored")
}

/// Catches Ctrl-C from its creation on. It is created before a question is printed and before the
/// echo is turned off, since the user may press Ctrl-C at either point.
pub(crate) struct InterruptGuard {
    runtime: tokio::runtime::Runtime,
    interrupt: Interrupt,
}

#[cfg(unix)]
type Interrupt = tokio::signal::unix::Signal;
#[cfg(windows)]
type Interrupt = tokio::signal::windows::CtrlC;

impl InterruptGuard {
    /// Starts listening.
    pub(crate) fn install() -> Result<Self, CliError> {
        let install = || {
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
        install().map_err(|error| not_started(&error))
    }

    /// The result of `future`, unless Ctrl-C comes first.
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

/// For one line, in bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// For all input, in bytes.
const LARGEST_INPUT: u64 = 1 << 20;
