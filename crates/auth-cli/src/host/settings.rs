//! Our own settings: `sink.json` in the state directory, for its owner only. They never stand in the
//! user's `clawdbot.json`, whose other readers refuse to start on a key that they do not know.

use std::io;
use std::path::{Path, PathBuf};

use auth_store::{read_regular, replace_if_unchanged};
use serde_json::{Map, Value};

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::paths;
use crate::host::shell_quote::word;

/// What is written to the audit log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Audit {
    /// Everything: also the requests for a token that only read the store.
    All,
    /// Everything else.
    #[default]
    Slow,
    /// Nothing.
    Off,
}

/// Whether a Clawdbot may be running on the same files.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Coexist {
    /// Its traces tell.
    #[default]
    Auto,
    /// It may.
    Always,
    /// It does not.
    Never,
}

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    path: PathBuf,
    /// The file as it was read.
    before: Option<Vec<u8>>,
    members: Map<String, Value>,
}

impl Audit {
    /// The value in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Slow => "slow",
            Self::Off => "off",
        }
    }
}

impl Settings {
    /// The settings of the state directory. The file need not exist.
    ///
    /// # Errors
    /// It is there and cannot be read: nothing may be taken for a setting that is not one.
    pub fn load(context: &Context) -> Result<Self, CliError> {
        Self::at(paths::settings(&context.paths().state_dir))
    }

    fn at(path: PathBuf) -> Result<Self, CliError> {
        let bytes = match read_regular(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, before: None, members: Map::new() });
            }
            Err(error) => return Err(damaged(&path, &error)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(members)) => Ok(Self { path, before: Some(bytes), members }),
            Ok(_) => Err(damaged(&path, &"it is not a JSON object")),
            Err(error) => Err(damaged(&path, &error)),
        }
    }

    /// The setting `audit`.
    pub fn audit(&self) -> Audit {
        match self.text("audit") {
            Some("all") => Audit::All,
            Some("off") => Audit::Off,
            _ => Audit::Slow,
        }
    }

    /// The setting `coexist`.
    pub fn coexist(&self) -> Coexist {
        match self.text("coexist") {
            Some("always") => Coexist::Always,
            Some("never") => Coexist::Never,
            _ => Coexist::Auto,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    /// All settings, with the values of those that are not set.
    pub fn all(&self) -> Map<String, Value> {
        let mut all = self.members.clone();
        for key in &KEYS {
            if let Some(usual) = key.usual {
                all.entry(key.name).or_insert_with(|| usual.into());
            }
        }
        all
    }

    /// The value of a key such as `audit` or `gateway.listen`; `None` if it has none.
    ///
    /// # Errors
    /// There is no such setting.
    pub fn get(&self, key: &str) -> Result<Option<Value>, CliError> {
        known(key)?;
        let all = Value::Object(self.all());
        Ok(key.split('.').try_fold(&all, |value, part| value.get(part)).cloned())
    }

    /// Sets a key, or with `None` takes it out again. Whether that changed anything.
    ///
    /// # Errors
    /// There is no such setting, it has no such value, or the file could not be written.
    pub fn change(&mut self, key: &str, value: Option<Value>) -> Result<bool, CliError> {
        let known = known(key)?;
        if let Some(value) = &value
            && !known.values.is_empty()
            && !value.as_str().is_some_and(|text| known.values.contains(&text))
        {
            let values = known.values.join("`, `");
            return Err(CliError::usage(format!("`{key}` cannot be {value}"))
                .hint(format!("it is one of `{values}`")));
        }
        let before = self.members.clone();
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        set(&mut self.members, &parts, last, value);
        if self.members == before {
            return Ok(false);
        }
        self.write()?;
        Ok(true)
    }

    fn write(&self) -> Result<(), CliError> {
        // A map of strings serialises infallibly.
        let mut text = serde_json::to_vec_pretty(&self.members).unwrap_or_default();
        text.push(b'\n');
        auth_store::create_private_directory(self.path.parent().unwrap_or(Path::new(".")))?;
        if replace_if_unchanged(&self.path, self.before.as_deref(), &text)? {
            return Ok(());
        }
        let message = format!("`{}` was changed by another program meanwhile", self.path.display());
        Err(CliError::new(Exit::TryLater, "settings_changed", message)
            .hint("nothing was written; do it again")
            .path(&self.path))
    }
}

fn set(members: &mut Map<String, Value>, parts: &[&str], last: &str, value: Option<Value>) {
    let Some((first, rest)) = parts.split_first() else {
        match value {
            Some(value) => drop(members.insert(last.to_owned(), value)),
            None => drop(members.remove(last)),
        }
        return;
    };
    let inner = members.entry(*first).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        set(inner, rest, last, value);
        if inner.is_empty() {
            members.remove(*first);
        }
    }
}

/// A setting, or a group of them.
struct Key {
    name: &'static str,
    /// What it can be; anything, if there is none.
    values: &'static [&'static str],
    /// What it is where nothing is set.
    usual: Option<&'static str>,
    /// Whether it is a group: `gateway.listen`.
    is_group: bool,
}

fn known(key: &str) -> Result<&'static Key, CliError> {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    let is_whole = rest.is_none_or(|rest| rest.split('.').all(|part| !part.is_empty()));
    let found = KEYS.iter().find(|known| known.name == first);
    found.filter(|known| is_whole && known.is_group == rest.is_some()).ok_or_else(|| {
        let names = KEYS.map(|known| {
            if known.is_group {
                format!("`{}.NAME`", known.name)
            } else {
                format!("`{}`", known.name)
            }
        });
        CliError::usage(format!("there is no setting `{key}`"))
            .hint(format!("there are {}", names.join(", ")))
    })
}

const KEYS: [Key; 4] = [
    Key { name: "audit", values: &["all", "slow", "off"], usual: Some("slow"), is_group: false },
    Key {
        name: "coexist",
        values: &["auto", "always", "never"],
        usual: Some("auto"),
        is_group: false,
    },
    Key { name: "gateway", values: &[], usual: None, is_group: true },
    Key { name: "store", values: &[], usual: None, is_group: true },
];

fn damaged(path: &Path, reason: &dyn ToString) -> CliError {
    let message = format!("`{}` cannot be read: {}", path.display(), reason.to_string());
    CliError::new(Exit::Usage, "settings", message)
        .hint(format!(
            "nothing was changed; correct it in the file: \"${{EDITOR:-vi}}\" {}",
            word(path.display())
        ))
        .path(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(directory: &tempfile::TempDir) -> Settings {
        Settings::at(directory.path().join("state").join("settings")).unwrap()
    }

    #[test]
    fn a_setting_is_kept_and_others_stay_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = at(&directory);
        assert_eq!((settings.audit(), settings.coexist()), (Audit::Slow, Coexist::Auto));
        assert!(settings.change("audit", Some("all".into())).unwrap());
        assert!(at(&directory).change("gateway.limits.requests", Some(3.into())).unwrap());
        assert!(at(&directory).change("coexist", Some("never".into())).unwrap());
        let mut settings = at(&directory);
        assert_eq!((settings.audit(), settings.coexist()), (Audit::All, Coexist::Never));
        assert_eq!(settings.get("gateway.limits.requests").unwrap(), Some(3.into()));
        assert!(!settings.change("coexist", Some("never".into())).unwrap());
        assert!(settings.change("audit", None).unwrap());
        assert!(at(&directory).change("gateway.limits.requests", None).unwrap());
        assert_eq!(at(&directory).get("gateway.limits").unwrap(), None);
        assert_eq!(at(&directory).get("audit").unwrap(), Some("slow".into()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&settings.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = at(&directory);
        for (key, value) in [
            ("audit", "sometimes"),
            ("coexist", ""),
            ("audit.x", "all"),
            ("gateway", "x"),
            ("gateway.", "x"),
            ("store..url", "x"),
            ("auth", "x"),
            ("", "x"),
        ] {
            let refused = settings.change(key, Some(value.into())).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage, "{key}");
        }
        assert!(!settings.path.exists());
    }

    #[test]
    fn a_file_that_is_damaged_or_was_changed_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = at(&directory);
        at(&directory).change("audit", Some("off".into())).unwrap();
        let late = settings.change("coexist", Some("never".into())).unwrap_err();
        assert_eq!(late.code, "settings_changed");
        auth_store::write_atomic(&settings.path, b"[1]").unwrap();
        assert_eq!(Settings::at(settings.path.clone()).unwrap_err().code, "settings");
        assert_eq!(read_regular(&settings.path).unwrap(), b"[1]");
    }
}
