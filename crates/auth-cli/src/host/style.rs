//! The style of text: the terminal's own colors if they are wanted, bars of blocks or of ASCII. No
//! information is in the color alone.

use auth_store::Timestamp;

use crate::host::context::Context;

/// The terminal's abilities and the user's preferences.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    has_colour: bool,
    has_blocks: bool,
}

/// The quality of a state.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    /// It works, and will keep working.
    Good,
    /// It works only for a short time, or not now.
    Soon,
    /// It does not work until the user acts.
    Bad,
}

impl Style {
    /// The style of standard output: `--no-color` and `NO_COLOR` (<https://no-color.org>) turn
    /// colors off, `CLICOLOR_FORCE` (<https://bixense.com/clicolors>) turns them on; otherwise they
    /// are used on terminals.
    pub(crate) fn from_environment(no_color: bool, context: &Context) -> Self {
        let is_set = |name: &str| context.env(name).is_some_and(|value| !value.is_empty());
        let is_forced = is_set("CLICOLOR_FORCE") && context.env("CLICOLOR_FORCE") != Some("0");
        let is_dumb = context.env("TERM") == Some("dumb");
        let is_wanted = is_forced || (context.terminal.stdout && !is_dumb);
        Self {
            has_colour: is_wanted && !no_color && !is_set("NO_COLOR"),
            has_blocks: has_blocks(context),
        }
    }

    /// The text in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// The text in the color of a state.
    pub(crate) fn paint(self, level: Level, text: &str) -> String {
        let colour = match level {
            Level::Good => "32",
            Level::Soon => "33",
            Level::Bad => "31",
        };
        self.with(colour, text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A bar for the remaining part of the time between `start` and `end`.
    pub(crate) fn bar(self, start: Timestamp, end: Timestamp, now: Timestamp) -> Option<String> {
        let whole = end.0.checked_sub(start.0).filter(|whole| *whole > 0)?;
        let left = end.0.saturating_sub(now.0).clamp(0, whole);
        let cells = i64::try_from(CELLS).ok()?;
        // A small remainder is still visible, and so is a small elapsed part.
        let full =
            (i128::from(left) * i128::from(cells) + i128::from(whole) - 1) / i128::from(whole);
        let full = usize::try_from(full).ok()?.min(CELLS);
        Some(if self.has_blocks {
            format!("{}{}", "\u{2588}".repeat(full), "\u{2591}".repeat(CELLS - full))
        } else {
            format!("[{}{}]", "#".repeat(full), "-".repeat(CELLS - full))
        })
    }
}

/// Whether the terminal shows more than ASCII, according to its locale (POSIX.1-2017 §8.2).
pub(crate) fn has_blocks(context: &Context) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| context.env(name).filter(|it| !it.is_empty()));
    match locale {
        Some(locale) => {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        }
        None => cfg!(target_os = "macos"),
    }
}

const CELLS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_at_the_start_and_empty_at_the_end() {
        let style = Style::default();
        let bar = |now| style.bar(Timestamp(0), Timestamp(80), Timestamp(now)).unwrap();
        assert_eq!(bar(0), "[########]");
        assert_eq!(bar(41), "[####----]");
        assert_eq!(bar(79), "[#-------]");
        assert_eq!(bar(80), "[--------]");
        assert_eq!(bar(-9), "[########]");
        assert_eq!(style.bar(Timestamp(1), Timestamp(1), Timestamp(1)), None);
        assert!(style.bar(Timestamp(i64::MIN), Timestamp(i64::MAX), Timestamp(0)).is_none());
    }

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        let has_colour = |is_terminal, env: &[(&str, &str)], no_color| {
            let home = std::path::Path::new("/");
            let mut context = Context::sealed(home, Timestamp(0));
            context.terminal.stdout = is_terminal;
            context.env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
            Style::from_environment(no_color, &context).has_colour
        };
        assert!(has_colour(true, &[], false));
        assert!(has_colour(true, &[("NO_COLOR", "")], false));
        assert!(has_colour(false, &[("CLICOLOR_FORCE", "1")], false));
        assert!(!has_colour(false, &[("CLICOLOR_FORCE", "0")], false));
        assert!(!has_colour(false, &[], false));
        assert!(!has_colour(true, &[], true));
        assert!(!has_colour(true, &[("NO_COLOR", "1")], false));
        assert!(!has_colour(true, &[("TERM", "dumb")], false));
        assert!(!has_colour(false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false));
    }
}
