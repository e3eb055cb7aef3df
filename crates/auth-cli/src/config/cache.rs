//! A cache of the config values that the hot path needs: parsing 20 kB of JSON5 takes longer than
//! everything else that prints a token.
//!
//! The cache is one file of the state directory, accessible to its owner only. It is used only if
//! every file that was read for it is unchanged. Whatever else is wrong with it, the config is read
//! instead, and the cache is written again. So it can be deleted at any time.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use auth_store::{Stamp, Timestamp, write_atomic_unsynced};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;
use crate::host::context::Context;

/// The content of the cache, after a line with its checksum.
#[derive(Deserialize, Serialize)]
struct Cache {
    /// The version of the program that wrote it.
    version: String,
    /// The config file.
    path: PathBuf,
    /// All files that were read, with their stamps at that time.
    files: Vec<(PathBuf, Stamp)>,
    /// See [`Config::projection`].
    projection: Value,
}

/// The config, or its cached part: then its value is only the [projection](Config::projection).
/// `None` if the fast path cannot handle it: it is invalid, or it depends on the environment.
pub(crate) fn load(context: &Context) -> Option<Config> {
    let paths = context.paths();
    if paths.config_is_absent {
        return Some(Config::absent(&paths.config));
    }
    let place = paths.state_dir.join(NAME);
    if let Some(cache) = read(&place).filter(|cache| cache.is_current(&paths.config)) {
        let (files, stamps) = cache.files.into_iter().map(|(path, it)| (path, Some(it))).unzip();
        let value = cache.projection;
        return Some(Config {
            exists: true,
            value,
            files,
            stamps,
            ..Config::absent(&paths.config)
        });
    }
    let started = context.now();
    let config = Config::load(context).ok()?;
    if !config.is_fixed {
        return None;
    }
    if let Some(cache) = Cache::from_config(&config, started) {
        // If it cannot be written, the next run tries again.
        let _ = write(&place, &cache);
    }
    Some(config)
}

impl Cache {
    /// The cache for `config`, which was read at `now` or later.
    fn from_config(config: &Config, now: Timestamp) -> Option<Self> {
        let files = config.files.iter().zip(&config.stamps).map(|(path, stamp)| {
            let stamp = stamp.filter(|stamp| stamp.is_stable(now))?;
            Some((path.clone(), stamp))
        });
        let files: Vec<_> = files.collect::<Option<_>>()?;
        // An explicit path may lead to no file; that case is fast without a cache.
        (!files.is_empty()).then(|| Self {
            version: VERSION.to_owned(),
            path: config.path.clone(),
            files,
            projection: config.projection(),
        })
    }

    /// Whether it belongs to this config, and no file has changed.
    fn is_current(&self, config: &Path) -> bool {
        let as_it_was = |(path, stamp): &(PathBuf, Stamp)| {
            fs::metadata(path).ok().and_then(|found| Stamp::from_metadata(&found)) == Some(*stamp)
        };
        self.version == VERSION && self.path == config && self.files.iter().all(as_it_was)
    }
}

/// The cache at `place`, if it is complete, and no other user can have written it.
fn read(place: &Path) -> Option<Cache> {
    let text = String::from_utf8(auth_store::read_private(place, LARGEST)?).ok()?;
    let (sum, json) = text.split_once('\n')?;
    if sum != checksum(json) {
        return None;
    }
    serde_json::from_str(json).ok()
}

fn write(place: &Path, cache: &Cache) -> Option<()> {
    let json = serde_json::to_string(cache).ok()?;
    write_atomic_unsynced(place, format!("{}\n{json}", checksum(&json)).as_bytes()).ok()
}

/// Against damage, not against attackers: a user who can write here can write the config.
fn checksum(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

const NAME: &str = ".config-cache";
const VERSION: &str = concat!("1 of ", env!("CARGO_PKG_VERSION"));
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    use auth_store::{Clock as _, SystemClock, write_atomic};

    use super::*;
    use crate::agent;
    use crate::profiles::view::default_model;

    const CONFIG: &str = r#"{ // comment
        auth: { order: { acme: ["a", "b"] }, profiles: { a: { provider: "acme", mode: "token" } } },
        agents: {
            defaults: { model: { primary: "fast" }, models: { "acme/m": { alias: "fast" } } },
            list: [{ id: "Work", default: true, agentDir: "~/work", model: { primary: "acme/own" }, tools: { deny: ["x"] } }],
        },
        channels: { chat: { token: "${CHAT}" } },
    }"#;

    /// A home directory with that config; the clock is an hour ahead, so that the file is old.
    fn home(config: &str) -> (tempfile::TempDir, Context) {
        let home = tempfile::tempdir().unwrap();
        let mut context = Context::sealed(home.path(), SystemClock.now());
        let config_path = home.path().join(".clawdbot/clawdbot.json");
        auth_store::create_private_directory(config_path.parent().unwrap()).unwrap();
        write_atomic(&config_path, config.as_bytes()).unwrap();
        context.clock = std::sync::Arc::new(SystemClock.now().plus(Duration::from_hours(1)));
        (home, context)
    }

    fn place(context: &Context) -> PathBuf {
        context.paths().state_dir.join(NAME)
    }

    /// What the hot path asks a config.
    fn responses(config: &Config, context: &Context) -> String {
        let routing = config.routing();
        let (id, model) = (config.default_agent(), default_model(config));
        let directory = agent::directory(&id, config, context).unwrap();
        let (all, of_agent) = (agent::all(config, context).unwrap(), config.models_of_agent(&id));
        format!("{routing:?} {id} {directory:?} {model:?} {all:?} {of_agent:?}")
    }

    #[test]
    fn the_cache_agrees_with_the_config() {
        let (_home, context) = home(CONFIG);
        let whole = Config::load(&context).unwrap();
        let first = load(&context).unwrap();
        assert!(place(&context).exists());
        let cached = load(&context).unwrap();
        assert!(cached.value.get("channels").is_none(), "it came from the cache");
        for config in [first, cached] {
            assert_eq!(responses(&config, &context), responses(&whole, &context));
        }
    }

    #[test]
    fn a_changed_config_is_read_again() {
        let (home, context) = home(CONFIG);
        load(&context).unwrap();
        let path = home.path().join(".clawdbot/clawdbot.json");
        write_atomic(&path, CONFIG.replace("Work", "Play").as_bytes()).unwrap();
        assert_eq!(load(&context).unwrap().default_agent(), "play");
    }

    #[test]
    fn an_included_file_counts_too() {
        let (home, context) = home("{ $include: './more.json5' }");
        let included = home.path().join(".clawdbot/more.json5");
        for id in ["one", "two"] {
            let text = format!("{{ agents: {{ list: [{{ id: '{id}' }}] }} }}");
            write_atomic(&included, text.as_bytes()).unwrap();
            assert_eq!(load(&context).unwrap().default_agent(), id);
            assert_eq!(load(&context).unwrap().default_agent(), id);
        }
    }

    #[test]
    fn a_config_that_changed_just_now_is_not_kept() {
        let before = SystemClock.now();
        let (_home, mut context) = home(CONFIG);
        context.clock = std::sync::Arc::new(before);
        load(&context).unwrap();
        assert!(!place(&context).exists());
    }

    #[test]
    fn what_the_environment_decides_about_is_left_to_the_long_way() {
        let (_home, context) = home("{ agents: { list: [{ id: '${WHO}' }] } }");
        assert!(load(&context).is_none() && !place(&context).exists());
        let (_home, context) = home("{ agents: 1, ");
        assert!(load(&context).is_none() && !place(&context).exists());
    }

    #[test]
    fn a_damaged_or_foreign_cache_is_ignored_and_made_anew() {
        let (home, context) = home(CONFIG);
        load(&context).unwrap();
        let whole = fs::read(place(&context)).unwrap();
        let mut swapped = whole.clone();
        let at = whole.windows(4).rposition(|it| it == b"acme").unwrap();
        swapped[at] = b'b';
        let other = String::from_utf8(whole.clone()).unwrap().replace(VERSION, "0");
        for damage in [&b""[..], &whole[..whole.len() / 2], &swapped, b"\n{}", other.as_bytes()] {
            write_atomic(&place(&context), damage).unwrap();
            assert_eq!(load(&context).unwrap().default_agent(), "work");
            assert_eq!(fs::read(place(&context)).unwrap(), whole);
        }
        fs::set_permissions(place(&context), fs::Permissions::from_mode(0o660)).unwrap();
        assert!(read(&place(&context)).is_none());
        fs::set_permissions(place(&context), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&place(&context)).is_some());
        let elsewhere = home.path().join("elsewhere");
        fs::rename(place(&context), &elsewhere).unwrap();
        symlink(&elsewhere, place(&context)).unwrap();
        assert!(read(&place(&context)).is_none());
    }
}
