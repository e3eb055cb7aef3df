//! The config as its files say it: JSON5, with what `$include` names in its place, and variables
//! as they are written.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use auth_store::{Stamp, open_regular};
use serde_json::{Map, Value};

use crate::config::json5::{self, Key, Node, Step};
use crate::host::error::{CliError, Exit};
use crate::host::paths;

/// How a text gets here; `None` if there is no such file.
pub(crate) type ReadText<'a> = &'a dyn Fn(&Path) -> io::Result<Option<String>>;

/// The text of the file at `path`; `None` if there is none.
pub(crate) fn read_text(path: &Path) -> io::Result<Option<String>> {
    Ok(read_stamped(path)?.map(|(text, _stamp)| text))
}

/// The same with the file's state before it was read.
pub(crate) fn read_stamped(path: &Path) -> io::Result<Option<(String, Option<Stamp>)>> {
    let read = || -> io::Result<_> {
        let (mut file, found) = open_regular(path)?;
        let (stamp, mut text) = (Stamp::from_metadata(&found), String::new());
        file.read_to_string(&mut text)?;
        Ok((text, stamp))
    };
    match read() {
        Ok(read) => Ok(Some(read)),
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

/// The value of the config with everything it includes, variables as they are written, and the
/// files it is in; `None` if there is no file.
pub(crate) fn resolved(
    path: &Path,
    read: ReadText<'_>,
) -> Result<Option<(Value, Vec<PathBuf>)>, CliError> {
    let Some(value) = read_json5(path, read)? else { return Ok(None) };
    let mut includes =
        Includes { read, chain: vec![path.to_owned()], files: vec![path.to_owned()] };
    let value = includes.resolve(value, path, &mut Vec::new())?;
    Ok(Some((value, includes.files)))
}

fn read_json5(path: &Path, read: ReadText<'_>) -> Result<Option<Value>, CliError> {
    let text = match read(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) => return Err(damaged(path, &error.to_string())),
    };
    match json5::parse(&text) {
        Ok(value) => Ok(Some(value)),
        // Nothing at all, or nothing but comments.
        Err(_) if matches!(Node::parse(&text), Ok(None)) => Ok(Some(Value::Object(Map::new()))),
        Err(reason) => Err(damaged(path, &reason)),
    }
}

/// The config cannot be used as it is.
pub(crate) fn damaged(path: &Path, reason: &str) -> CliError {
    let message = format!("could not read the config `{}`: {reason}", path.display());
    CliError::new(Exit::Usage, "config", message)
        .hint("mend the file; nothing was changed")
        .path(path)
}

/// The file that `name` means in an `$include` of `file`.
pub(crate) fn included_path(file: &Path, name: &str) -> PathBuf {
    paths::normalise(&file.parent().unwrap_or(Path::new("")).join(name))
}

/// Replaces `$include` by the files it names.
struct Includes<'a> {
    read: ReadText<'a>,
    /// The files that include each other.
    chain: Vec<PathBuf>,
    /// All of them.
    files: Vec<PathBuf>,
}

impl Includes<'_> {
    /// `value`, which is in `file` at `key`, with what it includes.
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
        let included = read_json5(&path, self.read)?.ok_or_else(|| {
            let reason = format!("it includes `{name}`, which is not there");
            self.wrong(file, key, &reason)
        })?;
        self.files.push(path.clone());
        self.chain.push(path.clone());
        let included = self.resolve(included, &path, &mut Vec::new())?;
        self.chain.pop();
        Ok(included)
    }

    /// The `$include` at `key` of `file` is wrong.
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

/// `over` on top of `base`: objects by member, arrays one after the other, else `over`.
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

/// The key that stands for the content of other files.
pub(crate) const INCLUDE: &str = "$include";
const INCLUDE_SHAPE: &str = "`$include` must be a path or a list of paths";
const DEEPEST_INCLUDE: usize = 10;
