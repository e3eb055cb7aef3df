//! Opening the user's browser: an address that cannot be anything but an address, as one
//! argument, to a program that gets no secret of ours. All users of the machine can read arguments, so
//! the address is one of ours, from which the browser of this user is sent on.

use std::fmt;
use std::process::Stdio;
use std::sync::Arc;

use auth_pkce::Courier;
use tokio::runtime::Handle;
use url::Url;

use crate::host::context::{Context, Entropy};
use crate::host::process::environment::Sees;
use crate::host::process::launch::Program;

/// The program that opens an address, prepared from the context; `None` if the user would not see
/// it.
pub(crate) struct Opener {
    program: Program,
    sees: Sees,
    entropy: Arc<Entropy>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Opener").finish_non_exhaustive()
    }
}

impl Opener {
    /// The opener, unless this session has no screen: over SSH, in a container, on Linux without a
    /// display.
    pub(crate) fn from_environment(context: &Context) -> Option<Self> {
        let is_set = |name: &str| context.env(name).is_some_and(|value| !value.is_empty());
        if REMOTE.iter().any(|name| is_set(name)) {
            return None;
        }
        if cfg!(all(unix, not(target_os = "macos"))) && !DISPLAYS.iter().any(|name| is_set(name)) {
            return None;
        }
        // The address is shown in any case.
        let program = Program::named(OPENER.as_ref(), context).ok()?;
        let entropy = Arc::clone(&context.entropy);
        Some(Self { program, sees: Sees::browser(context), entropy })
    }

    /// Opens `address`, for as long as the runtime runs that this is called on. Whether a browser
    /// comes up nobody knows, so the address is shown too.
    pub(crate) fn open(&self, address: &str) {
        let Some(address) = harmless(address) else { return };
        let mut entropy = [0; 32];
        let Ok(runtime) = Handle::try_current() else { return };
        if (self.entropy)(&mut entropy).is_err() {
            return;
        }
        let Ok(courier) = Courier::bind(&address, entropy) else { return };
        let address = courier.address().to_owned();
        runtime.spawn(courier.serve());
        let words: &[_] = if cfg!(windows) { &["url.dll,FileProtocolHandler"] } else { &[] };
        let mut command = self.program.command(&self.sees);
        command.args(words).arg(address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in our terminal must not reach the browser.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        if let Ok(mut child) = command.spawn() {
            std::thread::spawn(move || child.wait());
        }
    }
}

/// The address, if no program can interpret it as anything else: `https`, or `http` on this
/// machine, without characters that a shell or an option parser treats specially.
fn harmless(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_web = url.scheme() == "https" || (url.scheme() == "http" && is_local);
    let has_user = !url.username().is_empty() || url.password().is_some();
    let text = String::from(url);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'`\\<>^|$(){};!".contains(&byte);
    (is_web && !has_user && text.bytes().all(is_plain)).then_some(text)
}

const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else if cfg!(windows) {
    "rundll32.exe"
} else {
    "xdg-open"
};
const REMOTE: [&str; 5] =
    ["SSH_CLIENT", "SSH_TTY", "SSH_CONNECTION", "REMOTE_CONTAINERS", "CODESPACES"];
const DISPLAYS: [&str; 3] = ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_is_opened() {
        for address in [
            "https://a.example/authorize?x=%20y&z=1",
            "http://127.0.0.1:8080/authorize",
            "http://localhost:1/",
        ] {
            assert_eq!(harmless(address).as_deref(), Some(address));
        }
        for address in [
            "http://a.example/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://u@a.example/",
            "https://a.example/$(reboot)",
            "https://a.example/;reboot",
            "https://a.example/?`x`",
            "--help",
            "",
        ] {
            assert_eq!(harmless(address), None, "{address}");
        }
    }
}
