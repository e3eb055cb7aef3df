//! What `doctor` found, and what it can do about it.

use std::path::{Path, PathBuf};

use auth_store::Store;
use serde_json::{Value, json};

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// It does not work.
    Error,
    /// It works, and may stop to, or is open to others.
    Warning,
    /// Good to know.
    Note,
}

/// One thing that was found.
#[derive(Debug)]
pub struct Finding {
    /// The kind of thing, for programs: a word that does not change.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, and where. Never a secret.
    pub what: String,
    /// What it costs.
    pub cost: String,
    /// The command that fixes it.
    pub command: Option<String>,
    /// The file it is about.
    pub path: Option<PathBuf>,
    /// The profile it is about.
    pub profile: Option<String>,
    /// What `--fix` does about it.
    pub fix: Option<Fix>,
}

/// What can be done without a user: nothing is lost by any of it.
#[derive(Debug)]
pub enum Fix {
    /// Take the rights of others away.
    Mode(PathBuf, u32),
    /// Remove a leftover of ours that nobody can need.
    Remove(PathBuf),
    /// Lock the store and read it: that recovers it from its backup, takes a dead lock over and
    /// removes what dead processes of ours left.
    Recover(Store),
}

impl Finding {
    pub(super) fn new(code: &'static str, severity: Severity, what: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            what: what.into(),
            cost: String::new(),
            command: None,
            path: None,
            profile: None,
            fix: None,
        }
    }

    pub(super) fn costs(self, cost: impl Into<String>) -> Self {
        Self { cost: cost.into(), ..self }
    }

    pub(super) fn command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    pub(super) fn at(self, path: &Path) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    pub(super) fn about(self, profile: &(impl ToString + ?Sized)) -> Self {
        Self { profile: Some(profile.to_string()), ..self }
    }

    pub(super) fn fix(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }

    /// `{code, severity, what, cost, command?, path?, profileId?, fixable, fixed}`.
    pub fn to_json(&self, fixed: bool) -> Value {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let mut value = json!({
            "code": self.code,
            "severity": severity,
            "what": self.what,
            "cost": self.cost,
            "fixable": self.fix.is_some(),
            "fixed": fixed,
        });
        if let Some(command) = &self.command {
            value["command"] = command.as_str().into();
        }
        if let Some(path) = &self.path {
            value["path"] = path.display().to_string().into();
        }
        if let Some(profile) = &self.profile {
            value["profileId"] = profile.as_str().into();
        }
        value
    }
}

impl Fix {
    /// Does it; in a few words what was done.
    ///
    /// # Errors
    /// Why it could not be done, for people.
    pub fn apply(&self) -> Result<&'static str, String> {
        match self {
            Self::Mode(path, mode) => {
                set_mode(path, *mode).map_err(|error| error.to_string())?;
                Ok("others have no rights there any more")
            }
            Self::Remove(path) => {
                std::fs::remove_file(path).map_err(|error| error.to_string())?;
                Ok("removed")
            }
            Self::Recover(store) => {
                let lock = store.lock_for_refresh().map_err(|error| error.to_string())?;
                lock.read().map_err(|error| error.to_string())?;
                Ok("the store was locked, read and settled")
            }
        }
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    // Not through a link: whoever made it chooses what it leads to.
    if path.is_symlink() {
        return Err(std::io::Error::other("it is a symbolic link"));
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> std::io::Result<()> {
    Ok(())
}
