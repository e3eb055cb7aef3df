//! Names of environment variables, wherever they come from: a manifest, an option, a reference.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ProviderId;

/// The name of a variable that a key may be in: letters, digits and `_`, and none by which a program
/// or a shell decides what to run. So it can stand in a line of a shell as it is.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub struct VariableName(String);

/// Why a text is not the name of such a variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VariableNameError {
    /// It has another character, begins with a digit, is empty or too long.
    #[error("use letters, digits and `_`, such as `OPENAI_API_KEY`")]
    Form,
    /// A program or a shell looks there for what to run or whom to trust.
    #[error("no key belongs into this variable: programs look there for what to run or load")]
    Reserved,
}

impl VariableName {
    /// The name `text`.
    ///
    /// # Errors
    /// It is not the name of a variable, or of one that decides what is run.
    pub fn parse(text: &str) -> Result<Self, VariableNameError> {
        let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
        let is_name = !text.is_empty()
            && text.len() <= LONGEST
            && text.bytes().all(is_word)
            && !text.as_bytes()[0].is_ascii_digit();
        if !is_name {
            return Err(VariableNameError::Form);
        }
        // Some systems and shells know no difference.
        let upper = text.to_ascii_uppercase();
        let is_reserved = RESERVED.contains(&upper.as_str())
            || RESERVED_STARTS.iter().any(|start| upper.starts_with(start));
        if is_reserved { Err(VariableNameError::Reserved) } else { Ok(Self(text.to_owned())) }
    }

    /// The variable for a key of a provider that names none: `<PROVIDER>_API_KEY`.
    pub fn of_provider(provider: &ProviderId) -> Self {
        let upper = provider.as_str().to_ascii_uppercase();
        let word = upper.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let name = format!("{}_API_KEY", word.trim_start_matches(|c: char| c.is_ascii_digit()));
        // It cannot fail with that in front, unless it is too long.
        let safe = |name: &str| Self::parse(name).or_else(|_| Self::parse(&format!("X_{name}")));
        safe(&name).unwrap_or_else(|_| Self("API_KEY".to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VariableName {
    type Error = VariableNameError;

    fn try_from(text: String) -> Result<Self, VariableNameError> {
        Self::parse(&text)
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const LONGEST: usize = 128;

/// How the names begin of what dynamic linkers, shells and the locale read.
const RESERVED_STARTS: [&str; 7] = ["LD_", "DYLD_", "BASH_", "ZSH_", "FISH_", "KSH_", "LC_"];

/// What shells, programming languages, editors and network libraries read.
const RESERVED: [&str; 107] = [
    // Where programs and files are.
    "PATH",
    "PATHEXT",
    "HOME",
    "USER",
    "LOGNAME",
    "USERNAME",
    "USERPROFILE",
    "SHELL",
    "PWD",
    "OLDPWD",
    "TERM",
    "TMPDIR",
    "TMP",
    "TEMP",
    "LANG",
    "TZ",
    "COMSPEC",
    "SYSTEMROOT",
    "WINDIR",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    // Shells' own, in any of them; zsh and fish have some in small letters.
    "IFS",
    "ENV",
    "BASH",
    "SHELLOPTS",
    "BASHOPTS",
    "PROMPT_COMMAND",
    "PROMPT",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "CDPATH",
    "FPATH",
    "MANPATH",
    "MAILPATH",
    "MODULE_PATH",
    "ZDOTDIR",
    "FCEDIT",
    "HISTFILE",
    "HISTCMD",
    "HISTORY",
    "UID",
    "EUID",
    "GID",
    "EGID",
    "PPID",
    "RANDOM",
    "SECONDS",
    "LINENO",
    "OPTARG",
    "OPTIND",
    "GROUPS",
    "DIRSTACK",
    "FUNCNAME",
    "PIPESTATUS",
    "STATUS",
    "ARGV",
    "UMASK",
    "VERSION",
    "SIGNALS",
    "OPTIONS",
    "COMMANDS",
    "FUNCTIONS",
    "ALIASES",
    "PARAMETERS",
    "REPLY",
    "_",
    // What programs load or start.
    "EDITOR",
    "VISUAL",
    "PAGER",
    "BROWSER",
    "LESSOPEN",
    "LESSCLOSE",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "RUBYLIB",
    "RUBYOPT",
    "CLASSPATH",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "PSMODULEPATH",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "GIT_EDITOR",
    "GIT_EXEC_PATH",
    // Whom they talk to and trust.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_and_decides_nothing() {
        for name in ["OPENAI_API_KEY", "GH_TOKEN", "_x", "a1", "GIT_TOKEN", "PATHS", "LDAP_KEY"] {
            assert_eq!(VariableName::parse(name).unwrap().as_str(), name);
        }
        for name in
            ["", "1A", "A B", "X; id; Y", "A=B", "A-B", "Ä", "A\n", "A$(id)", &"A".repeat(129)]
        {
            assert_eq!(VariableName::parse(name), Err(VariableNameError::Form), "{name:?}");
        }
        for name in [
            "PATH",
            "path",
            "LD_PRELOAD",
            "DYLD_INSERT_LIBRARIES",
            "IFS",
            "BASH_ENV",
            "ENV",
            "PROMPT_COMMAND",
            "BASH_FUNC_x",
            "NODE_OPTIONS",
            "https_proxy",
            "fpath",
            "status",
            "PS4",
        ] {
            assert_eq!(VariableName::parse(name), Err(VariableNameError::Reserved), "{name}");
        }
    }

    #[test]
    fn every_provider_has_a_variable() {
        for (provider, name) in [
            ("openai", "OPENAI_API_KEY"),
            ("my.own-one", "MY_OWN_ONE_API_KEY"),
            ("0day", "DAY_API_KEY"),
            ("ld", "X_LD_API_KEY"),
            ("größe", "GR__E_API_KEY"),
        ] {
            assert_eq!(VariableName::of_provider(&ProviderId::new(provider)).as_str(), name);
        }
        let long = ProviderId::new(&"a".repeat(500));
        assert_eq!(VariableName::of_provider(&long).as_str(), "API_KEY");
    }
}
