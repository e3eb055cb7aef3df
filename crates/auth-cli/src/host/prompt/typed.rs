//! Lines that are typed or pasted at a terminal, without the terminal's own length limit.
//!
//! A terminal in line mode keeps 4095 bytes of a line (1023 on macOS) and silently drops the rest.
//! So it is put into raw mode, and its line editing is done here: Backspace, Ctrl-U, Ctrl-W,
//! Ctrl-D, the echo. Ctrl-C is left to the terminal.

use std::io::{self, Read};

/// The effect of a byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Typed {
    /// A part of the line.
    More,
    /// The end of the line.
    Line,
    /// The end of the input.
    End,
}

/// The line that is being typed.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    keys: Keys,
    line: Vec<u8>,
    /// The bytes of an incomplete escape sequence.
    escape: Vec<u8>,
    /// Between the paste markers: no byte in there is a key.
    is_pasting: bool,
    /// Ctrl-D was pressed: there is no next line, although the terminal is still open.
    has_ended: bool,
}

/// The keys that edit a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    erase: u8,
    erase_word: u8,
    kill: u8,
    end: u8,
}

impl Default for Keys {
    fn default() -> Self {
        Self { erase: BACKSPACE[1], erase_word: 0x17, kill: 0x15, end: 0x04 }
    }
}

impl Editor {
    /// An empty line.
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Processes a byte; the output for the terminal is appended to `echo`.
    pub(crate) fn take(&mut self, byte: u8, echo: &mut Vec<u8>) -> Typed {
        if !self.escape.is_empty() {
            self.escape.push(byte);
            self.escaped();
            return Typed::More;
        }
        let keys = self.keys;
        match byte {
            ESCAPE => self.escape.push(byte),
            b'\n' | b'\r' => {
                echo.push(b'\n');
                return Typed::Line;
            }
            _ if self.is_pasting => self.add(byte, echo),
            byte if byte == keys.end && byte != 0 => return Typed::End,
            byte if byte == keys.erase || BACKSPACE.contains(&byte) => self.erase(echo),
            byte if byte == keys.kill && byte != 0 => {
                while !self.line.is_empty() {
                    self.erase(echo);
                }
            }
            byte if byte == keys.erase_word && byte != 0 => {
                while self.line.last().is_some_and(u8::is_ascii_whitespace) {
                    self.erase(echo);
                }
                while self.line.last().is_some_and(|last| !last.is_ascii_whitespace()) {
                    self.erase(echo);
                }
            }
            byte => self.add(byte, echo),
        }
        Typed::More
    }

    fn add(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if self.line.len() < LONGEST {
            self.line.push(byte);
        }
        // Pasted text must not control the terminal.
        if !byte.is_ascii_control() {
            echo.push(byte);
        }
    }

    /// Removes the last character, which may have several bytes.
    fn erase(&mut self, echo: &mut Vec<u8>) {
        if self.line.is_empty() {
            return;
        }
        while self.line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
        echo.extend_from_slice(b"\x08 \x08");
    }

    /// Ends a complete escape sequence (ECMA-48 §5.4). Only the paste markers have an effect; arrow
    /// keys and the like are ignored.
    fn escaped(&mut self) {
        let is_whole = match self.escape[..] {
            [_, b'[', .., last] if self.escape.len() > 2 => (0x40..=0x7e).contains(&last),
            [_, b'[' | b'O'] => false,
            _ => true,
        };
        if !is_whole && self.escape.len() < 32 {
            return;
        }
        match self.escape.as_slice() {
            b"\x1b[200~" => self.is_pasting = true,
            b"\x1b[201~" => self.is_pasting = false,
            _ => {}
        }
        self.escape.clear();
    }

    /// The line, and whether it ended within a paste; starts the next line.
    pub(crate) fn finish(&mut self) -> (Vec<u8>, bool) {
        (std::mem::take(&mut self.line), self.is_pasting)
    }
}

/// Reads up to an empty line, or the end: a secret that may be wrapped. An empty line before it is
/// ignored, and an empty line within a paste is part of it.
pub(crate) fn paragraph(stdin: &mut impl Read, mut editor: Editor) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    while let Some((line, is_pasting)) = next_line(stdin, &mut editor, &mut |_| {})? {
        let is_empty = line.iter().all(u8::is_ascii_whitespace);
        if is_empty && !text.is_empty() && !is_pasting {
            break;
        }
        if !is_empty {
            text.extend(line);
            text.push(b'\n');
        }
    }
    Ok(text)
}

/// The next line, and whether it ended within a paste; `None` at the end. Reads byte by byte, so
/// that the rest is left for the next caller.
pub(crate) fn next_line(
    stdin: &mut impl Read,
    editor: &mut Editor,
    show: &mut dyn FnMut(&[u8]),
) -> io::Result<Option<(Vec<u8>, bool)>> {
    if editor.has_ended {
        return Ok(None);
    }
    let (mut byte, mut echo) = ([0], Vec::new());
    loop {
        let typed = match stdin.read(&mut byte) {
            Ok(0) => Typed::End,
            Ok(_) => editor.take(byte[0], &mut echo),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if !echo.is_empty() {
            show(&echo);
            echo.clear();
        }
        match typed {
            Typed::More => {}
            Typed::Line => return Ok(Some(editor.finish())),
            Typed::End => {
                editor.has_ended = true;
                let (line, is_pasting) = editor.finish();
                return Ok((!line.is_empty()).then_some((line, is_pasting)));
            }
        }
    }
}

const ESCAPE: u8 = 0x1b;
/// The bytes that terminals send for Backspace.
const BACKSPACE: [u8; 2] = [0x08, 0x7f];
/// For one line: longer than any token, so that a truncated line is refused.
const LONGEST: usize = 1 << 20;

/// The longest line that a terminal in line mode keeps.
pub(crate) const TERMINALS_LIMIT: usize = if cfg!(target_os = "linux") {
    4095
} else if cfg!(unix) {
    1023
} else {
    usize::MAX
};

#[cfg(unix)]
pub(crate) use unix::RawInput;

#[cfg(unix)]
mod unix {
    use rustix::stdio::stdin;
    use rustix::termios::{
        LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex as Code, Termios, tcflush,
        tcgetattr, tcsetattr,
    };

    use super::{Keys, TERMINALS_LIMIT};

    /// While this exists, the terminal is in raw mode without an echo.
    pub(crate) struct RawInput {
        before: Option<Termios>,
        is_raw: bool,
    }

    impl RawInput {
        /// Starts raw mode. A terminal that does not support it stays in line mode, which is not an
        /// error.
        pub(crate) fn begin() -> Self {
            let before = tcgetattr(stdin()).ok();
            let is_raw = before.as_ref().is_some_and(|before| {
                let mut raw = before.clone();
                raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
                raw.special_codes[Code::VMIN] = 1;
                raw.special_codes[Code::VTIME] = 0;
                tcsetattr(stdin(), OptionalActions::Now, &raw).is_ok()
            });
            Self { before, is_raw }
        }

        /// Whether the terminal's limit is lifted.
        pub(crate) fn is_raw(&self) -> bool {
            self.is_raw
        }

        /// The keys that edit a line at this terminal.
        pub(crate) fn keys(&self) -> Keys {
            let Some(before) = &self.before else { return Keys::default() };
            let codes = &before.special_codes;
            Keys {
                erase: codes[Code::VERASE],
                erase_word: codes[Code::VWERASE],
                kill: codes[Code::VKILL],
                end: codes[Code::VEOF],
            }
        }

        /// Discards text that was pasted before raw mode started, if the terminal may have
        /// truncated it. Returns whether it did.
        pub(crate) fn drop_what_was_cut(&self) -> bool {
            let waiting = rustix::io::ioctl_fionread(stdin()).unwrap_or(0);
            let is_cut = self.is_raw && waiting >= TERMINALS_LIMIT as u64;
            is_cut && tcflush(stdin(), QueueSelector::IFlush).is_ok()
        }

        /// Echoes what is typed, as the terminal would.
        pub(crate) fn show(bytes: &[u8]) {
            // A terminal that can be read can nearly always be written.
            let _ = rustix::io::write(stdin(), bytes);
        }
    }

    impl Drop for RawInput {
        fn drop(&mut self) {
            if let Some(before) = &self.before {
                let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            }
        }
    }
}

#[cfg(not(unix))]
pub(crate) struct RawInput;

#[cfg(not(unix))]
impl RawInput {
    pub(crate) fn begin() -> Self {
        Self
    }

    pub(crate) fn is_raw(&self) -> bool {
        false
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::default()
    }

    pub(crate) fn drop_what_was_cut(&self) -> bool {
        false
    }

    pub(crate) fn show(_: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// The lines in the typed input, and the terminal's output.
    fn lines(typed: &[u8]) -> (Vec<String>, String) {
        let (mut stdin, mut editor) = (Cursor::new(typed), Editor::new(Keys::default()));
        let (mut lines, mut shown) = (Vec::new(), Vec::new());
        while let Some((line, _)) =
            next_line(&mut stdin, &mut editor, &mut |bytes| shown.extend_from_slice(bytes)).unwrap()
        {
            lines.push(String::from_utf8(line).unwrap());
        }
        (lines, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn the_keys_that_edit_a_line_do_what_people_expect() {
        let of = |typed: &[u8]| lines(typed).0;
        assert_eq!(of(b"abc\n"), ["abc"]);
        assert_eq!(of(b"abx\x7fc\r"), ["abc"]);
        assert_eq!(of(b"\x7f\x08abx\x08c\n"), ["abc"]);
        assert_eq!(of("Zo\u{eb}\x7fe\n".as_bytes()), ["Zoe"]);
        assert_eq!(of(b"wrong\x15right\n"), ["right"]);
        assert_eq!(of(b"one two \x17three\n"), ["one three"]);
        assert_eq!(of(b"one\ntwo\x04"), ["one", "two"]);
        assert_eq!(of(b"one\n\x04two\n"), ["one"], "Ctrl-D ends the input");
        assert_eq!(of(b"one\x04two\n"), ["one"], "in the middle of a line, too");
        assert_eq!(of(b"a\x1b[Db\x1b[1;5Cc\x1bOHd\x1bxe\n"), ["abcde"], "arrows do nothing");
    }

    #[test]
    fn what_is_shown_is_what_the_line_is() {
        let (_, shown) = lines(b"abx\x7fc\x01\n");
        assert_eq!(shown, "abx\x08 \x08c\n");
        assert_eq!(lines(b"\x1b[2J\x07a\n").1, "a\n", "nothing pasted commands the terminal");
        assert_eq!(lines(b"\x7fa\n").1, "a\n", "there is nothing to take back");
    }

    #[test]
    fn the_marks_of_a_paste_are_no_part_of_it_and_no_key_in_it_is_one() {
        let (pasted, _) = lines(b"\x1b[200~sk-1\x15\x043\x1b[201~\n");
        assert_eq!(pasted, ["sk-1\x15\x043"]);
        let (mut stdin, editor) =
            (Cursor::new(b"\x1b[200~ab\n\ncd\n\x1b[201~\n\nnext\n"), Editor::default());
        assert_eq!(paragraph(&mut stdin, editor).unwrap(), b"ab\ncd\n");
        let mut rest = String::new();
        stdin.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "\nnext\n", "what comes behind it is for whoever asks next");
    }

    #[test]
    fn a_secret_ends_with_an_empty_line_or_the_end_and_may_begin_with_one() {
        for typed in [&b"\n \nab\ncd\n\nrest"[..], b"ab\ncd\n\x04", b"ab\ncd\x04", b"ab\ncd"] {
            let text = paragraph(&mut Cursor::new(typed), Editor::default()).unwrap();
            assert_eq!(String::from_utf8(text).unwrap().replace('\n', ""), "abcd");
        }
        assert_eq!(paragraph(&mut Cursor::new(b"\x04"), Editor::default()).unwrap(), b"");
    }
}
