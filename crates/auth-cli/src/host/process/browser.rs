//! Opening the person's browser: an address that cannot be anything but an address, as one
//! argument, to a program that gets no secret of ours.

use std::ffi::OsString;
use std::process::Stdio;

use url::Url;

use crate::host::context::Context;
use crate::host::process::launch;

/// What opens an address, prepared from the context; `None` where nobody would see it.
#[derive(Debug)]
pub(crate) struct Opener {
    env: Vec<(OsString, OsString)>,
}

impl Opener {
    /// The opener, unless this is a session without a screen: over SSH, in a container, on a
    /// Linux without a display.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let is_set = |name: &str| context.env(name).is_some_and(|value| !value.is_empty());
        if REMOTE.iter().any(|name| is_set(name)) {
            return None;
        }
        if cfg!(all(unix, not(target_os = "macos"))) && !DISPLAYS.iter().any(|name| is_set(name)) {
            return None;
        }
        Some(Self { env: context.env_without_secrets(&[]) })
    }

    /// Opens `address`. Whether a browser comes up nobody knows, so the address is shown too.
    pub(crate) fn open(&self, address: &str) {
        let Some(address) = harmless(address) else { return };
        let (program, words): (_, &[_]) = if cfg!(target_os = "macos") {
            ("open", &[])
        } else if cfg!(windows) {
            ("rundll32.exe", &["url.dll,FileProtocolHandler"])
        } else {
            ("xdg-open", &[])
        };
        let mut command = launch::program_seeing(program, &self.env);
        command.args(words).arg(address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in our terminal is not for the browser.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        if let Ok(mut child) = command.spawn() {
            std::thread::spawn(move || child.wait());
        }
    }
}

/// The address, if no program could read anything else in it: `https`, or `http` on this machine,
/// nothing that a shell or a flag parser knows.
fn harmless(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_web = url.scheme() == "https" || (url.scheme() == "http" && is_local);
    let has_user = !url.username().is_empty() || url.password().is_some();
    let text = String::from(url);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'`\\<>^|$(){};!".contains(&byte);
    (is_web && !has_user && text.bytes().all(is_plain)).then_some(text)
}

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
