//! Commands that are printed for the user to paste: a POSIX shell and our own argument parser read
//! every name unchanged, whatever is in it.

use std::path::Path;

use crate::host::text::printable;

/// `text` as one word of a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(c);
    // zsh takes `=name`, also behind a colon, for the path of a program.
    let is_path_in_zsh = text.starts_with('=') || text.contains(":=");
    if !text.is_empty() && text.chars().all(plain) && !is_path_in_zsh {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// `text` as one word of a POSIX shell, for display: without characters that could change a
/// terminal.
#[expect(clippy::needless_pass_by_value, reason = "a borrowed `ToString` is one, too")]
pub(crate) fn word(text: impl ToString) -> String {
    shell_word(&printable(&text.to_string()))
}

/// `--name value`, with a space before it.
pub(crate) fn option(name: &str, value: impl ToString) -> String {
    let value = word(value);
    // Otherwise the value would be read as an option.
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!(" {name}{between}{value}")
}

/// `clawdbot <words> <names>…<options>`; `options` begin with a space.
pub(crate) fn command(words: &str, names: &[&dyn ToString], options: &str) -> String {
    let names: Vec<_> = names.iter().map(|name| word(name.to_string())).collect();
    let is_like_an_option = names.iter().any(|name| name.starts_with('-'));
    let names = names.join(" ");
    if is_like_an_option {
        format!("clawdbot {words}{options} -- {names}")
    } else {
        format!("clawdbot {words} {names}{options}")
    }
}

/// The command that moves a file out of the way, to a name of its own.
pub(crate) fn moved_away(path: &Path, ending: &str) -> String {
    let path = path.display();
    format!("mv {} {}", word(&path), word(format!("{path}.{ending}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 12] = [
        "plain:a_b.c@d.e",
        "",
        "a b",
        "a'b",
        "a\"b",
        "$(touch x)`touch y`",
        "a;b&c|d>e<f",
        "-rf",
        "--all-agents",
        "~/*?[a]{b,c}",
        "!history \\ back",
        "Zoë's # key",
    ];

    /// The words that a shell reads from it.
    #[cfg(unix)]
    fn parsed(line: &str) -> Vec<String> {
        let script = format!("clawdbot() {{ for it; do printf '%s\\n' \"$it\"; done; }}\n{line}\n");
        let run = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{line}: {run:?}");
        String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_finds_every_name_again() {
        for name in HOSTILE {
            let line = command("models auth refresh", &[&name], &option("--agent", name));
            let words = parsed(&line);
            let agent = words.iter().find_map(|word| word.strip_prefix("--agent="));
            let after = words.iter().position(|word| word == "--agent").map(|at| &words[at + 1]);
            assert_eq!(agent.or(after.map(String::as_str)), Some(name), "{line}");
            if name.starts_with('-') {
                assert_eq!(words[words.len() - 2..], ["--", name], "{line}");
            } else {
                assert_eq!(words[3], name, "{line}");
            }
        }
        // The control: without quotes the result differs.
        assert_ne!(parsed("clawdbot a'b c'"), parsed("clawdbot a b c"));
    }

    #[test]
    fn plain_names_are_left_as_they_are() {
        let line = command("models auth refresh", &[&"acme:work"], &option("--agent", "main"));
        assert_eq!(line, "clawdbot models auth refresh acme:work --agent main");
        assert_eq!(word("a\u{1b}[2Jb"), "'a\u{fffd}[2Jb'");
    }

    #[test]
    fn a_word_of_a_shell_is_quoted_where_it_must_be() {
        assert_eq!(shell_word("sk-a_b.c"), "sk-a_b.c");
        assert_eq!(shell_word("a b'c$(d)"), r"'a b'\''c$(d)'");
        assert_eq!(shell_word(""), "''");
    }
}
