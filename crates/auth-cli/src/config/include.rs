//! The raw config from its files: JSON5, with `$include` resolved, and variables as written.

use std::io;
use std::path::{Path, PathBuf};

use auth_store::{Stamp, is_open_to_others, read_text_at_most};
use serde_json::{Map, Value};

use crate::config::json5::{self, Key, Node, Step};
use crate::host::error::{CliError, Exit};
use crate::host::paths;
use crate::host::shell_quote::word;

/// A function that reads a text; `None` if there is no such file.
pub(crate) type ReadText<'a> = &'a dyn Fn(&Path) -> io::Result<Option<String>>;

/// The text of the file at `path`; `None` if there is none.
pub(crate) fn read_text(path: &Path) -> io::Result<Option<String>> {
    Ok(read_stamped(path)?.map(|(text, _stamp)| text))
}

/// Like [`read_text`], with the file's stamp from before it was read.
pub(crate) fn read_stamped(path: &Path) -> io::Result<Option<(String, Option<Stamp>)>> {
    match read_text_at_most(path, LARGEST) {
        Ok((text, as_it_was)) => Ok(Some((text, Stamp::from_metadata(&as_it_was)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.read_link() {
            // Whoever put a link there has a config: it is not taken for none.
            Ok(to) => Err(io::Error::other(format!(
                "it is a link to `{}`, which is not there",
                to.display()
            ))),
            Err(_) => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// The value of the config with everything it includes, variables as written, and its files; `None`
/// if there is no file.
pub(crate) fn resolved(
    path: &Path,
    read: ReadText<'_>,
) -> Result<Option<(Value, Vec<PathBuf>)>, CliError> {
    let Some((value, _)) = read_json5(path, read)? else { return Ok(None) };
    let (chain, files) = (vec![path.to_owned()], vec![path.to_owned()]);
    let mut includes = Includes { read, chain, files, size: 0 };
    let value = includes.resolve(value, path, &mut Vec::new())?;
    Ok(Some((value, includes.files)))
}

/// The value of a file, and the length of its text.
fn read_json5(path: &Path, read: ReadText<'_>) -> Result<Option<(Value, usize)>, CliError> {
    let text = match read(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) => return Err(damaged(path, &error.to_string())),
    };
    match json5::parse(&text) {
        Ok(value) => Ok(Some((value, text.len()))),
        // Empty, or only comments.
        Err(_) if matches!(Node::parse(&text), Ok(None)) => {
            Ok(Some((Value::Object(Map::new()), text.len())))
        }
        Err(reason) => Err(damaged(path, &reason)),
    }
}

/// The error for a config that cannot be used.
pub(crate) fn damaged(path: &Path, reason: &str) -> CliError {
    let message = format!("could not read the config `{}`: {reason}", path.display());
    let hint = if is_open_to_others(reason) {
        format!("look at what is in it, then: chmod go-w {}", word(path.display()))
    } else {
        "correct the file; nothing was changed".to_owned()
    };
    CliError::new(Exit::Usage, "config", message).hint(hint).path(path)
}

/// The file to which `name` refers in an `$include` of `file`.
pub(crate) fn included_path(file: &Path, name: &str) -> PathBuf {
    paths::normalise(&file.parent().unwrap_or(Path::new("")).join(name))
}

/// Replaces `$include` with the content of the files it names.
struct Includes<'a> {
    read: ReadText<'a>,
    /// The current chain of including files.
    chain: Vec<PathBuf>,
    /// All files.
    files: Vec<PathBuf>,
    /// The length of all that was included so far.
    size: usize,
}

impl Includes<'_> {
    /// `value`, which is in `file` at `key`, with its includes resolved.
    fn resolve(
        &mut self,
        value: Value,
        file: &Path,
        key: &mut Vec<Step>,
    ) -> Result<Value, CliError> {
        let mut below = |this: &mut Self, step: Step, value| {
            key.push(step);
            let value = this.resolve(value, file, key)?;
            key.pop();
            Ok::<_, CliError>(value)
        };
        let mut members = match value {
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                let items = items.map(|(index, item)| below(self, index.into(), item));
                return items.collect::<Result<_, _>>().map(Value::Array);
            }
            Value::Object(members) => members,
            other => return Ok(other),
        };
        let include = members.shift_remove(INCLUDE);
        let mut own = Map::new();
        for (name, member) in members {
            let member = below(self, name.as_str().into(), member)?;
            own.insert(name, member);
        }
        let names = match include {
            None => return Ok(Value::Object(own)),
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                let names = names.collect::<Option<_>>();
                names.ok_or_else(|| self.wrong(file, key, INCLUDE_SHAPE))?
            }
            Some(_) => return Err(self.wrong(file, key, INCLUDE_SHAPE)),
        };
        let mut included = Value::Object(Map::new());
        for name in names {
            included = merge(included, self.file(&name, file, key)?);
        }
        match included {
            included if own.is_empty() => Ok(included),
            Value::Object(_) => Ok(merge(included, Value::Object(own))),
            _ => Err(self.wrong(file, key, "keys beside `$include` need an object to be included")),
        }
    }

    /// The value of the file `name`, which `file` includes at `key`.
    fn file(&mut self, name: &str, file: &Path, key: &[Step]) -> Result<Value, CliError> {
        let path = included_path(file, name);
        if self.chain.contains(&path) {
            let reason = format!("`$include` of `{name}` leads back to itself");
            return Err(self.wrong(file, key, &reason));
        }
        if self.chain.len() > DEEPEST_INCLUDE {
            return Err(self.wrong(file, key, "`$include` is nested deeper than 10"));
        }
        let (included, size) = read_json5(&path, self.read)?.ok_or_else(|| {
            let reason = format!("it includes `{name}`, which is not there");
            self.wrong(file, key, &reason)
        })?;
        self.size += size;
        if self.files.len() >= MOST_FILES || self.size as u64 > LARGEST {
            return Err(self.wrong(file, key, "too much is included: 1,000 files, 4 MiB in all"));
        }
        self.files.push(path.clone());
        self.chain.push(path.clone());
        let included = self.resolve(included, &path, &mut Vec::new())?;
        self.chain.pop();
        Ok(included)
    }

    /// The error for an invalid `$include` at `key` of `file`.
    fn wrong(&self, file: &Path, key: &[Step], reason: &str) -> CliError {
        let key: Vec<_> = key.iter().cloned().chain([INCLUDE.into()]).collect();
        let text = (self.read)(file).ok().flatten().unwrap_or_default();
        let node = Node::parse(&text).ok().flatten();
        let start = node.and_then(|node| Some(node.at(&key)?.span.start)).unwrap_or_default();
        let (line, column) = json5::line_and_column(&text, start);
        let place = format!("{reason} at line {line}, column {column}, in `{}`", Key(&key));
        damaged(file, &place)
    }
}

/// Merges `over` into `base`: objects by member, arrays by concatenation; any other value of `over`
/// replaces that of `base`.
fn merge(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let value = match base.get_mut(&name).map(Value::take) {
                    Some(before) => merge(before, value),
                    None => value,
                };
                base.insert(name, value);
            }
            Value::Object(base)
        }
        (Value::Array(mut base), Value::Array(over)) => {
            base.extend(over);
            Value::Array(base)
        }
        (_, over) => over,
    }
}

/// The key that includes other files.
pub(crate) const INCLUDE: &str = "$include";
const INCLUDE_SHAPE: &str = "`$include` must be a path or a list of paths";
const DEEPEST_INCLUDE: usize = 10;
/// Of files that include others twice, which include others twice, there are soon many.
const MOST_FILES: usize = 1_000;
/// Of a file, and of all that is included.
const LARGEST: u64 = 4 << 20;
