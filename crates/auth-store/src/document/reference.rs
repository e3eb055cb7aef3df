//! Keys outside the store. A profile names the place, and the key is read from there when it is
//! needed. It is never copied into the store.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::document::json::{self, Object};

/// Where a key is kept: the member `keyRef` of a profile of type `api_key` without a `key`.
#[derive(Clone, Eq, PartialEq, Serialize)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum KeyReference {
    /// In a variable of the environment.
    Env {
        /// Its name.
        id: String,
    },
    /// In a file: its first line.
    File {
        /// The absolute path.
        path: PathBuf,
    },
    /// In the output of a program: its first line.
    Exec {
        /// The absolute path of the program, and its arguments. No shell is used.
        command: Vec<String>,
    },
}

impl KeyReference {
    /// The place that the value `raw` names, if it is valid.
    pub(crate) fn read(raw: &[u8]) -> Option<Self> {
        let members = Object::parse(raw)?;
        let text = |name| json::string(members.get(name));
        Some(match &*text("source")? {
            "env" => Self::Env { id: text("id")? },
            "file" => Self::File { path: text("path")?.into() },
            "exec" => {
                let words = json::elements(members.get("command")?)?.into_iter();
                Self::Exec {
                    command: words.map(|word| json::string(Some(word))).collect::<Option<_>>()?,
                }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for KeyReference {
    /// `env: NAME`, `file: /path` or `command: /path/of/program`. The arguments of a program are left
    /// out, because users put secrets there.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { id } => write!(formatter, "env: {id}"),
            Self::File { path } => write!(formatter, "file: {}", path.display()),
            Self::Exec { command } => {
                write!(formatter, "command: {}", command.first().map_or("", String::as_str))
            }
        }
    }
}

impl fmt::Debug for KeyReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyReference({self})")
    }
}
