//! What a program that we start finds in its environment: what is on a list, and nothing else.

use std::ffi::OsString;

use auth_providers::plugin::Environment;

use crate::host::context::Context;

/// The environment of one program, by whom it is for.
#[derive(Debug)]
pub(crate) struct Sees(Vec<(OsString, OsString)>);

impl Sees {
    /// What every program gets: where programs (relative entries of PATH left out), the home and
    /// temporary files are, the language, the proxies and the certificates.
    fn base(context: &Context) -> Self {
        let all = context.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        let base = Environment::scrubbed(all);
        Self(base.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The base, and the variables that `may_see` accepts by name.
    fn with(context: &Context, may_see: impl Fn(&str) -> bool) -> Self {
        let mut seen = Self::base(context).0;
        for (name, value) in &context.env {
            let is_known = seen.iter().any(|(known, _)| known == name);
            if !is_known && name != "PATH" && name.to_str().is_some_and(&may_see) {
                seen.push((name.clone(), value.clone()));
            }
        }
        Self(seen)
    }

    /// Our own child that refreshes: also what tells it where everything is, and what the
    /// provider's entry or the config `needs`.
    pub(crate) fn worker(context: &Context, needs: &[String]) -> Self {
        Self::with(context, |name| {
            OURS.iter().any(|start| name.starts_with(start))
                || needs.iter().any(|needed| needed == name)
        })
    }

    /// What opens an address: also where the screen is.
    pub(crate) fn browser(context: &Context) -> Self {
        Self::with(context, is_of_desktop)
    }

    /// `git config`: also where its files are.
    pub(crate) fn git(context: &Context) -> Self {
        Self::with(context, |name| GIT.contains(&name))
    }

    /// OpenClaw's command: also where its files are, and that it stays off the network. Not the
    /// secrets of its Gateway.
    pub(crate) fn openclaw(context: &Context) -> Self {
        Self::with(context, |name| {
            let is_secret = ["TOKEN", "PASSWORD", "KEY"].iter().any(|word| name.contains(word));
            name.starts_with("OPENCLAW_") && !is_secret
                || ["CI", "NO_COLOR", "DO_NOT_TRACK", "npm_config_offline"].contains(&name)
        })
    }

    /// A program that prints a key: also its own login, where it is a known password manager, and
    /// the variables that its command names as `$NAME` or `${NAME}`.
    pub(crate) fn reference(context: &Context, command: &[String]) -> Self {
        let is_named = |name: &str| {
            let (bare, braced) = (format!("${name}"), format!("${{{name}}}"));
            command.iter().any(|word| word.contains(&braced) || names_it(word, &bare))
        };
        Self::with(context, |name| {
            is_of_desktop(name)
                || AGENTS.contains(&name)
                || MANAGERS.iter().any(|start| name.starts_with(start))
                || is_named(name)
        })
    }

    /// The variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// Whether `$NAME` stands in the word, and not as the beginning of a longer name.
fn names_it(word: &str, bare: &str) -> bool {
    word.match_indices(bare).any(|(at, _)| {
        let next = word[at + bare.len()..].chars().next();
        !next.is_some_and(|c| c == '_' || c.is_ascii_alphanumeric())
    })
}

fn is_of_desktop(name: &str) -> bool {
    DESKTOP.contains(&name) || DESKTOPS.iter().any(|start| name.starts_with(start))
}

/// Of our own variables none holds a secret.
const OURS: [&str; 6] =
    ["CLAWDBOT_", "MOLTBOT_", "OPENCLAW_", "PI_CODING_AGENT_", "RUST_LOG", "RUST_BACKTRACE"];

const DESKTOP: [&str; 9] = [
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
    "DESKTOP_SESSION",
    "DESKTOP_STARTUP_ID",
    "BROWSER",
    "WSLENV",
    "TERM",
];
const DESKTOPS: [&str; 7] = ["XDG_", "KDE_", "GNOME_", "WSL_", "MOZ_", "GTK_", "QT_"];

const GIT: [&str; 3] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// Where the agents are that hold keys.
const AGENTS: [&str; 6] =
    ["SSH_AUTH_SOCK", "SSH_TTY", "GNUPGHOME", "KUBECONFIG", "SHELL", "DOCKER_CONFIG"];

/// By which the names of variables of password managers and secret stores begin.
const MANAGERS: [&str; 29] = [
    "OP_",
    "BW_",
    "BWS_",
    "BITWARDENCLI_",
    "VAULT_",
    "BAO_",
    "AWS_",
    "GOOGLE_",
    "CLOUDSDK_",
    "AZURE_",
    "GPG_",
    "PASSWORD_STORE_",
    "GOPASS_",
    "DOPPLER_",
    "INFISICAL_",
    "AKEYLESS_",
    "SOPS_",
    "AGE_",
    "LPASS_",
    "KEEPER_",
    "KSM_",
    "CONJUR_",
    "CHAMBER_",
    "DASHLANE_",
    "PROTON_",
    "PASS_",
    "RBW_",
    "CREDSTASH_",
    "SECRETHUB_",
];

#[cfg(test)]
mod tests {
    use super::*;
    use auth_store::Timestamp;
    use std::path::Path;

    fn names(sees: &Sees) -> Vec<&str> {
        let mut names: Vec<_> = sees.variables().map(|(name, _)| name.to_str().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_program_sees_what_is_on_its_list_and_nothing_else() {
        let mut context = Context::sealed(Path::new("/home/a"), Timestamp(0));
        for name in [
            "HOME",
            "PATH",
            "PGPASS",
            "PGPASSWORD",
            "DATABASE_URL",
            "GH_TOKEN",
            "LD_PRELOAD",
            "DISPLAY",
            "GIT_CONFIG_GLOBAL",
            "GIT_SSH_COMMAND",
            "VAULT_TOKEN",
            "CLAWDBOT_STATE_DIR",
            "ACME_CLIENT_SECRET",
            "MINE",
            "MINE_TOO",
        ] {
            context.env.insert(name.into(), "/x:.::y".into());
        }
        let needs = ["ACME_CLIENT_SECRET".to_owned()];
        let worker = Sees::worker(&context, &needs);
        assert_eq!(names(&worker), ["ACME_CLIENT_SECRET", "CLAWDBOT_STATE_DIR", "HOME", "PATH"]);
        assert_eq!(names(&Sees::worker(&context, &[])), ["CLAWDBOT_STATE_DIR", "HOME", "PATH"]);
        assert_eq!(names(&Sees::browser(&context)), ["DISPLAY", "HOME", "PATH"]);
        assert_eq!(names(&Sees::git(&context)), ["GIT_CONFIG_GLOBAL", "HOME", "PATH"]);
        let command = ["/bin/sh", "-c", "echo $MINE ${GH_TOKEN}"].map(str::to_owned);
        let reference = Sees::reference(&context, &command);
        assert_eq!(
            names(&reference),
            ["DISPLAY", "GH_TOKEN", "HOME", "MINE", "PATH", "VAULT_TOKEN"]
        );
        let path = worker.variables().find(|(name, _)| *name == "PATH").unwrap().1;
        assert_eq!(path, "/x", "what depends on the working directory is left out");
    }
}
