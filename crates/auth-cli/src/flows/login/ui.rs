//! The user interface of a login, on standard input and output.

use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth_pkce::CallbackError;
use auth_providers::{Begun, DevicePrompt, LoginUi};
use tokio::sync::Notify;

use crate::flows::login::qr;
use crate::host::context::Context;
use crate::host::error::CliError;
use crate::host::process::browser::Opener;
use crate::host::prompt::{self, Lines};
use crate::host::style;
use crate::host::text::{line_for_terminal, printable};

/// The user at standard input and output.
pub(crate) struct TerminalUser {
    label: String,
    opener: Option<Opener>,
    talk: Mutex<Box<dyn Write + Send>>,
    lines: tokio::sync::Mutex<Option<Lines>>,
    is_exchanging: AtomicBool,
    has_asked: Notify,
    /// The terminal's columns, if messages go to a terminal.
    width: Option<usize>,
    has_blocks: bool,
    has_colour: bool,
    /// The expiry of a code, in ticks, and the total number of ticks; set while we wait for it.
    waiting: Mutex<Option<Waiting>>,
}

/// The animated line that shows what we wait for.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticks: u32,
    lifetime: Duration,
}

impl TerminalUser {
    /// Takes over standard error; [`give_back`](Self::give_back) returns it. The user's input is
    /// read if `may_paste`.
    pub(crate) fn new(label: &str, may_paste: bool, no_browser: bool, context: &Context) -> Self {
        let lines = may_paste.then(|| prompt::lines(context));
        Self {
            label: printable(label),
            opener: if no_browser { None } else { Opener::from_environment(context) },
            talk: Mutex::new(context.take_stderr()),
            lines: tokio::sync::Mutex::new(lines),
            is_exchanging: AtomicBool::new(false),
            has_asked: Notify::new(),
            width: context.terminal.width.filter(|_| context.terminal.stderr),
            has_blocks: style::has_blocks(context),
            has_colour: context.env("NO_COLOR").is_none_or(str::is_empty),
            waiting: Mutex::new(None),
        }
    }

    pub(crate) fn give_back(self, context: &Context) {
        let talk = self.talk.into_inner().unwrap_or_else(PoisonError::into_inner);
        context.give_back_stderr(talk);
    }

    fn say(&self, line: &str) {
        let clear = if self.is_waiting() { CLEAR } else { "" };
        self.write(&format!("{clear}{}\n", line_for_terminal(line)));
    }

    fn write(&self, text: &str) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let _nobody_listens = write!(talk, "{text}").and_then(|()| talk.flush());
    }

    /// Draws a QR code of an address, if there is a terminal for it. Its light modules stay light
    /// in any color scheme.
    fn draw(&self, address: &str) {
        let width = self.width.filter(|_| self.has_blocks);
        let Some(lines) = width.and_then(|width| qr::lines(address, width)) else { return };
        for line in lines {
            self.write(&if self.has_colour {
                format!("\u{1b}[97;40m{line}\u{1b}[0m\n")
            } else {
                format!("{line}\n")
            });
        }
        self.say("");
    }

    fn is_waiting(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Advances the animated line.
    fn spin(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = waiting.as_mut() else { return };
        state.ticks = state.ticks.saturating_add(1);
        let left = state.lifetime.saturating_sub(TICK * state.ticks).as_secs();
        let frames: &[char] =
            if self.has_blocks { &['◐', '◓', '◑', '◒'] } else { &['|', '/', '-', '\\'] };
        let frame = frames.iter().cycle().nth(state.ticks as usize % frames.len());
        let frame = frame.copied().unwrap_or(' ');
        let (minutes, seconds) = (left / 60, left % 60);
        self.write(&format!(
            "{CLEAR}{frame} Waiting until you enter the code ({minutes}:{seconds:02} left; Ctrl-C stops)"
        ));
    }

    /// Removes the animated line.
    fn stop_waiting(&self) {
        let was = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if was.is_some() {
            self.write(CLEAR);
        }
    }

    /// The result of `login`, unless Ctrl-C comes first. While a code is being exchanged, or a poll
    /// is in progress, Ctrl-C waits: tokens that the provider issues then must be saved.
    pub(crate) async fn until_interrupted<T>(
        &self,
        login: impl Future<Output = T>,
    ) -> Result<T, CliError> {
        let outcome = self.raced(Box::pin(login)).await;
        self.stop_waiting();
        outcome
    }

    async fn raced<T>(&self, mut login: impl Future<Output = T> + Unpin) -> Result<T, CliError> {
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        let mut wants_out = false;
        loop {
            tokio::select! {
                biased;
                outcome = &mut login => return Ok(outcome),
                () = self.has_asked.notified(), if wants_out => return Err(prompt::interrupted()),
                signal = &mut interrupt => match signal {
                    Ok(()) if !self.is_exchanging.load(Ordering::SeqCst) => {
                        return Err(prompt::interrupted());
                    }
                    Ok(()) => {
                        wants_out = true;
                        self.say("Waiting for the provider's response, so that nothing is lost.");
                        interrupt.set(tokio::signal::ctrl_c());
                    }
                    // Signals cannot be handled here; they end the program by themselves.
                    Err(_) => return Ok(login.await),
                },
                () = tokio::time::sleep(TICK), if self.width.is_some() => self.spin(),
            }
        }
    }
}

/// The interval of the animation.
const TICK: Duration = Duration::from_millis(200);
/// Returns to the start of the line and clears it (ECMA-48 §8.3.41).
const CLEAR: &str = "\r\u{1b}[K";

/// Shows a device code: the code and the address each on a line of its own.
fn device_prompt(label: &str, prompt: &DevicePrompt<'_>, say: &dyn Fn(&str)) {
    say(&format!("To log in to {label}, open this address in a browser, on any device:"));
    say("");
    say(&printable(prompt.verification_uri));
    say("");
    say("and enter this code there:");
    say("");
    say(prompt.user_code);
    say("");
    if let Some(complete) = prompt.verification_uri_complete {
        say("Or open this one, and make sure that it shows the same code:");
        say("");
        say(&printable(complete));
        say("");
    }
    let minutes = prompt.lifetime.as_secs().div_ceil(60);
    say(&format!(
        "The code is good for {minutes} minutes. Enter it only if it was you who began this login."
    ));
}

impl LoginUi for TerminalUser {
    fn begin(&self, begun: &Begun<'_>) {
        if self.opener.is_none() {
            self.draw(begun.url);
        }
        self.say(&format!("Log in to {} in a browser:", self.label));
        self.say("");
        self.say(begun.url);
        self.say("");
        if let Some(error) = begun.unbound {
            self.say(&format!("Only the paste can end this login: {error}."));
        }
        let port = begun.redirect_uri.rsplit(':').next().and_then(|rest| rest.split('/').next());
        let port = port.unwrap_or_default();
        self.say(&format!(
            "Browser on another machine? There: ssh -L {port}:127.0.0.1:{port} THIS-HOST"
        ));
        if self.width.is_some() {
            self.say("Waiting for the browser; Ctrl-C stops.");
        }
        self.say(&format!(
            "Or paste the address the browser ends on ({}…) here, and nowhere else:",
            begun.redirect_uri
        ));
        if let Some(opener) = &self.opener {
            opener.open(begun.url);
        }
    }

    fn pasted(&self) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>> {
        Box::pin(async {
            let mut lines = self.lines.lock().await;
            loop {
                let line = lines.as_mut()?.recv().await?;
                if !line.trim().is_empty() {
                    return Some(line);
                }
            }
        })
    }

    fn refused(&self, error: &CallbackError) {
        self.is_exchanging.store(false, Ordering::SeqCst);
        self.say(&format!("That did not work: {error}. Still waiting for the login."));
    }

    fn exchanging(&self) {
        self.is_exchanging.store(true, Ordering::SeqCst);
        self.say("Received. Finishing login…");
    }

    fn show_code(&self, prompt: &DevicePrompt<'_>) {
        self.draw(prompt.verification_uri_complete.unwrap_or(prompt.verification_uri));
        device_prompt(&self.label, prompt, &|line| self.say(line));
        if let (Some(opener), Some(address)) = (&self.opener, prompt.openable) {
            opener.open(address);
        }
        if self.width.is_some() {
            let waiting = Waiting { ticks: 0, lifetime: prompt.lifetime };
            *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
        }
    }

    fn polling(&self, is_asking: bool) {
        self.is_exchanging.store(is_asking, Ordering::SeqCst);
        if !is_asking {
            self.has_asked.notify_waiters();
        }
    }
}
