//! The findings of `doctor`, and their fixes.

use std::path::{Path, PathBuf};

use auth_store::Store;
use serde_json::{Value, json};

/// How serious a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// It does not work.
    Error,
    /// It works, but may fail later, or is accessible to others.
    Warning,
    /// For information.
    Note,
}

/// One finding.
#[derive(Debug)]
pub struct Finding {
    /// The kind of finding, for programs: a word that does not change.
    pub code: &'static str,
    /// How serious it is.
    pub severity: Severity,
    /// What was found, and where. Never a secret.
    pub what: String,
    /// The consequence.
    pub cost: String,
    /// The command that fixes it.
    pub command: Option<String>,
    /// The file concerned.
    pub path: Option<PathBuf>,
    /// The profile concerned.
    pub profile: Option<String>,
    /// What `--fix` does about it.
    pub fix: Option<Fix>,
}

/// A fix that needs no user and loses nothing.
#[derive(Debug)]
pub enum Fix {
    /// Remove the permissions of other users.
    Mode(PathBuf, u32),
    /// Remove one of our stale files.
    Remove(PathBuf),
    /// Lock the store and read it: that recovers it from its backup, takes over a stale lock and
    /// removes the stale files of our crashed processes.
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
    /// Applies the fix; returns a short description of what was done.
    ///
    /// # Errors
    /// Why it failed, for the user.
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
    // Not through a link: whoever created it chooses the target.
    if path.is_symlink() {
        return Err(std::io::Error::other("it is a symbolic link"));
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> std::io::Result<()> {
    Ok(())
}
