//! The person at our standard streams, while they log in.

use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use auth_pkce::CallbackError;
use auth_providers::{Begun, DevicePrompt, LoginUi};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::browser::Opener;
use crate::context::Context;
use crate::error::CliError;
use crate::person;
use crate::text::{line_for_terminal, printable};

/// The person at our standard streams.
pub(crate) struct Person {
    label: String,
    opener: Option<Opener>,
    talk: Mutex<Box<dyn Write + Send>>,
    lines: tokio::sync::Mutex<Option<UnboundedReceiver<String>>>,
    is_exchanging: AtomicBool,
    has_asked: Notify,
}

impl Person {
    /// Takes over what is said to them; [`give_back`](Self::give_back) returns it. What they type
    /// is read where `may_paste`.
    pub(crate) fn new(
        label: &str,
        may_paste: bool,
        no_browser: bool,
        context: &mut Context,
    ) -> Self {
        let lines = may_paste.then(|| person::lines(context));
        Self {
            label: printable(label),
            opener: if no_browser { None } else { Opener::of(context) },
            talk: Mutex::new(std::mem::replace(&mut context.stderr, Box::new(std::io::sink()))),
            lines: tokio::sync::Mutex::new(lines),
            is_exchanging: AtomicBool::new(false),
            has_asked: Notify::new(),
        }
    }

    pub(crate) fn give_back(self, context: &mut Context) {
        context.stderr = self.talk.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    fn say(&self, line: &str) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let _nobody_listens =
            writeln!(talk, "{}", line_for_terminal(line)).and_then(|()| talk.flush());
    }

    /// The outcome of `login`, unless Ctrl-C comes first. While a code is being exchanged, or the
    /// provider is asked about one, that waits: what the provider gives out then must be saved.
    pub(crate) async fn until_interrupted<T>(
        &self,
        login: impl Future<Output = T>,
    ) -> Result<T, CliError> {
        let mut login = std::pin::pin!(login);
        let mut wants_out = false;
        loop {
            tokio::select! {
                biased;
                outcome = &mut login => return Ok(outcome),
                () = self.has_asked.notified(), if wants_out => return Err(person::interrupted()),
                signal = tokio::signal::ctrl_c() => match signal {
                    Ok(()) if !self.is_exchanging.load(Ordering::SeqCst) => {
                        return Err(person::interrupted());
                    }
                    Ok(()) => {
                        wants_out = true;
                        self.say("Waiting for the provider's answer, so that nothing is lost.");
                    }
                    // Signals cannot be heard here; they end the program by themselves.
                    Err(_) => return Ok(login.await),
                },
            }
        }
    }
}

/// Shows a code that is entered on another device: alone on its line, as is the address.
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

impl LoginUi for Person {
    fn begin(&self, begun: &Begun<'_>) {
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
        self.say(&format!("That is not it: {error}. The login goes on."));
    }

    fn exchanging(&self) {
        self.is_exchanging.store(true, Ordering::SeqCst);
        self.say("The answer is there.");
    }

    fn show_code(&self, prompt: &DevicePrompt<'_>) {
        device_prompt(&self.label, prompt, &|line| self.say(line));
        if let (Some(opener), Some(address)) = (&self.opener, prompt.openable) {
            opener.open(address);
        }
    }

    fn polling(&self, is_asking: bool) {
        self.is_exchanging.store(is_asking, Ordering::SeqCst);
        if !is_asking {
            self.has_asked.notify_waiters();
        }
    }
}
