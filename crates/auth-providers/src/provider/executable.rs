//! Checks which program may be started as a plugin, and builds its environment.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use auth_store::{ProviderId, UnsafeProgram, check_program, check_up_to_the_root};

use crate::provider::{Flow, Origin, Provider};

/// A program that may be started as the plugin of a provider: an absolute path to a file that no
/// other user could have put there or changed.
#[derive(Clone, Debug)]
pub struct Executable {
    /// The provider's id.
    pub id: ProviderId,
    /// The file, with symbolic links resolved.
    pub path: PathBuf,
}

/// Why a program is not started. What the user does next depends on the variant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// There is no such file: put it there, or correct `command`.
    #[error("the plugin `{}` is not there: {reason}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        reason: String,
    },
    /// The file is not executable: make it executable.
    #[error("the plugin `{}` is not executable", path.display())]
    NotExecutable {
        /// The path.
        path: PathBuf,
    },
    /// Another user could have put it there: correct owner and mode.
    #[error("the plugin is not started, since `{}` {reason}", path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The environment of a plugin: no secret of ours, and nothing that depends on the working
/// directory.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(OsString, OsString)>,
    pub(crate) launcher: Option<PathBuf>,
}

impl Executable {
    /// The plugin of `provider`; `None` if it has none. Whether it may be started is checked now.
    pub fn from_provider(provider: &Provider) -> Option<Result<Self, Unusable>> {
        let command = provider.plugin()?;
        let manifest = match &provider.origin {
            // A user who can change the manifest chooses the program.
            Origin::Manifest(path) => check_up_to_the_root(path).map_err(Unusable::from),
            Origin::BuiltIn | Origin::Plugin(_) => Ok(()),
        };
        Some(manifest.and_then(|()| Self::at(&provider.id, command)))
    }

    /// The plugin of the provider `id` at `path`, if it may be started.
    pub fn at(id: &ProviderId, path: &Path) -> Result<Self, Unusable> {
        let file = check_program(path)?;
        Ok(Self { id: id.clone(), path: file })
    }

    /// The plugin as a process to be: started through the launcher, if there is one, with
    /// `environment` and nothing else.
    pub(crate) fn command(&self, environment: &Environment) -> std::process::Command {
        let mut command = if let Some(launcher) = &environment.launcher {
            let mut command = std::process::Command::new(launcher);
            command.arg(LAUNCH).arg(&self.path);
            command
        } else {
            let mut command = std::process::Command::new(&self.path);
            // The launcher makes a session, and with it a group, of its own.
            #[cfg(unix)]
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            command
        };
        command.env_clear().envs(environment.variables());
        if let Some(directory) = self.path.parent() {
            command.current_dir(directory);
        }
        command
    }

    /// The provider id in the file name of a plugin.
    pub fn id_in(name: &OsStr) -> Option<ProviderId> {
        let name = name.to_str()?;
        let name = if cfg!(windows) { name.strip_suffix(".exe")? } else { name };
        let id = name.strip_prefix(PREFIX)?;
        // An id that differs from its canonical form would be another provider.
        Some(ProviderId::new(id)).filter(|canonical| !id.is_empty() && canonical.as_str() == id)
    }

    /// The file of the plugin `id` in the directory `bin`.
    pub(crate) fn file_in(bin: &Path, id: &ProviderId) -> PathBuf {
        bin.join(format!("{PREFIX}{}{}", id.as_str(), std::env::consts::EXE_SUFFIX))
    }
}

impl Provider {
    /// The plugin of this provider, if it has a login by plugin.
    pub fn plugin(&self) -> Option<&Path> {
        self.command.as_deref().filter(|_| self.flows.contains(&Flow::Plugin))
    }
}

impl Environment {
    /// The variables from `all` that a plugin gets: the paths of programs, home directory and
    /// temporary files, the language, the proxies and the certificates.
    pub fn scrubbed(all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let variables = all.into_iter().filter_map(|(name, value)| {
            let text = name.to_str()?;
            if text == "PATH" {
                return Some((name, absolute(&value)?));
            }
            let is_kept = KEPT.contains(&text) || text.starts_with("LC_");
            is_kept.then_some((name, value))
        });
        Self { variables: variables.collect(), launcher: None }
    }

    /// This environment, with plugins started through `program __plugin PATH`, which first leaves
    /// the terminal's session and then becomes the plugin.
    #[must_use]
    pub fn launched_by(self, program: Option<PathBuf>) -> Self {
        Self { launcher: program.filter(|_| cfg!(unix)), ..self }
    }

    /// The variables.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

/// `PATH` without entries that depend on the working directory.
fn absolute(path: &OsStr) -> Option<OsString> {
    std::env::join_paths(std::env::split_paths(path).filter(|entry| entry.is_absolute())).ok()
}

impl From<UnsafeProgram> for Unusable {
    fn from(reason: UnsafeProgram) -> Self {
        match reason {
            UnsafeProgram::Missing { path, reason } => Self::Missing { path, reason },
            UnsafeProgram::NotExecutable { path } => Self::NotExecutable { path },
            UnsafeProgram::Open { path, reason } => Self::Unsafe { path, reason },
        }
    }
}

/// The word with which a launcher is started: it leaves the terminal and becomes the program whose
/// path follows.
pub const LAUNCH: &str = "__plugin";

const PREFIX: &str = "clawdbot-provider-";

const KEPT: [&str; 29] = [
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "CLAWDBOT_CA_FILE",
    // Windows can start hardly any program without these.
    "APPDATA",
    "LOCALAPPDATA",
    "PATHEXT",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "SystemRoot",
    "TEMP",
    "TMP",
    "USERPROFILE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_no_secret_and_no_way_to_the_working_directory() {
        let all = [
            ("PATH", "/usr/bin:.:bin:/bin:"),
            ("HOME", "/home/a"),
            ("ACME_API_KEY", "secret"),
            ("LC_ALL", "C"),
            ("LD_PRELOAD", "/x.so"),
            ("CLAWDBOT_STATE_DIR", "/s"),
            ("TERM", "xterm"),
        ];
        let all = all.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let scrubbed = Environment::scrubbed(all);
        let kept: Vec<_> = scrubbed
            .variables()
            .map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap()))
            .collect();
        assert_eq!(kept, [("PATH", "/usr/bin:/bin"), ("HOME", "/home/a"), ("LC_ALL", "C")]);
    }

    #[cfg(unix)]
    #[test]
    fn only_a_program_that_nobody_else_can_change_is_started() {
        use std::fs;
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let path = bin.join("clawdbot-provider-acme");
        let id = ProviderId::new("acme");
        let mode = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let judge = |path: &Path| Executable::at(&id, path);
        assert!(matches!(judge(&path), Err(Unusable::Missing { .. })));
        fs::copy("/bin/sh", &path).unwrap();

        mode(&bin, 0o755);
        mode(&path, 0o755);
        assert_eq!(judge(&path).unwrap().path, fs::canonicalize(&path).unwrap());
        mode(&path, 0o644);
        assert!(matches!(judge(&path), Err(Unusable::NotExecutable { .. })));
        assert!(matches!(judge(&bin), Err(Unusable::NotExecutable { .. })));
        for (file, directory) in [(0o757, 0o755), (0o755, 0o757), (0o755, 0o777)] {
            mode(&path, file);
            mode(&bin, directory);
            assert!(matches!(judge(&path), Err(Unusable::Unsafe { .. })), "{file:o} {directory:o}");
        }

        // A symbolic link is as safe as the directories on both of its ends.
        mode(&path, 0o755);
        mode(&bin, 0o755);
        let elsewhere = home.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        mode(&elsewhere, 0o755);
        let link = elsewhere.join("clawdbot-provider-acme");
        symlink(&path, &link).unwrap();
        assert!(judge(&link).is_ok());
        mode(&elsewhere, 0o777);
        assert!(matches!(judge(&link), Err(Unusable::Unsafe { .. })));
    }

    #[test]
    fn a_file_is_named_for_its_provider() {
        let id = |name: &str| Executable::id_in(OsStr::new(name)).map(|id| id.to_string());
        let suffix = std::env::consts::EXE_SUFFIX;
        assert_eq!(id(&format!("clawdbot-provider-acme{suffix}")).as_deref(), Some("acme"));
        for name in ["clawdbot-provider-", "clawdbot-provider-Acme", "acme", "clawdbot-acme"] {
            assert_eq!(id(&format!("{name}{suffix}")), None, "{name}");
        }
    }
}
