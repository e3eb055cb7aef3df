//! The result of a command: data, text, and the exit code. It is rendered only here.

use std::fmt;

use serde_json::Value;

use crate::host::context::Context;
use crate::host::error::{CliError, Exit};

/// The output format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    /// Print JSON, errors too.
    pub json: bool,
    /// Progress messages on stderr.
    pub verbose: bool,
    /// No colours.
    pub no_color: bool,
}

/// The result of a command.
#[derive(Debug)]
pub struct Report {
    exit: Exit,
    data: Option<Value>,
    lines: Vec<Line>,
    failure: Option<CliError>,
}

#[derive(Debug)]
enum Line {
    /// A line of data, which may contain foreign text.
    Text(String),
    /// A line of data with our own colors. Foreign text in it is printable already.
    Styled(String),
    /// Data unchanged, to the byte; in both formats.
    Raw(String),
    /// A line for the user, on stderr.
    Note(String),
    /// A line for the user, on stderr, in both formats.
    Said(String),
}

impl Default for Report {
    fn default() -> Self {
        Self { exit: Exit::Done, data: None, lines: Vec::new(), failure: None }
    }
}

impl From<Exit> for Report {
    fn from(exit: Exit) -> Self {
        Self { exit, ..Self::default() }
    }
}

impl Report {
    /// A report with this data; its text is added afterwards.
    pub fn from_data(data: Value) -> Self {
        Self { data: Some(data), ..Self::default() }
    }

    /// The same text with this as data.
    #[must_use]
    pub(crate) fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }

    /// A response in the form that is wanted; the other one is not made.
    pub fn shown(
        output: Output,
        data: impl FnOnce() -> Value,
        text: impl FnOnce(&mut Self),
    ) -> Self {
        if output.json {
            return Self::from_data(data());
        }
        let mut report = Self::default();
        text(&mut report);
        report
    }

    /// A report that is the same in both formats, to the byte.
    pub fn raw(text: String) -> Self {
        Self { lines: vec![Line::Raw(text)], ..Self::default() }
    }

    /// Adds a line of text.
    pub fn line(&mut self, line: impl fmt::Display) {
        self.lines.push(Line::Text(line.to_string()));
    }

    /// Adds lines of text without foreign text that could begin another line.
    pub fn lines(&mut self, lines: &str) {
        for line in lines.split('\n') {
            self.line(line);
        }
    }

    /// Adds a line with our own colors. Foreign text in it must be printable already.
    pub(crate) fn styled(&mut self, line: impl Into<String>) {
        self.lines.push(Line::Styled(line.into()));
    }

    /// Adds a line for the user that belongs to the text format: it goes to stderr.
    pub fn note(&mut self, line: impl fmt::Display) {
        self.lines.push(Line::Note(line.to_string()));
    }

    /// Adds a line for the user that is printed in both formats.
    pub fn say(&mut self, line: impl fmt::Display) {
        self.lines.push(Line::Said(line.to_string()));
    }

    /// This report with another exit code.
    #[must_use]
    pub fn ending(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// This report for a command that did a part and then failed. The data, if any, describes the
    /// failure itself.
    #[must_use]
    pub fn failed(self, error: CliError) -> Self {
        Self { exit: error.exit, failure: Some(error), ..self }
    }

    /// This report for a command that could not continue: the data is only the error.
    #[must_use]
    pub fn cut_short(self, error: CliError) -> Self {
        Self { data: None, ..self }.failed(error)
    }

    /// The data, for use as a part of another report; prints the lines for both formats.
    pub(crate) fn quietly(self, context: &Context) -> Value {
        for line in &self.lines {
            if let Line::Said(line) = line {
                context.say(line);
            }
        }
        self.data.unwrap_or_default()
    }

    /// All its text.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| match line {
            Line::Text(line)
            | Line::Styled(line)
            | Line::Raw(line)
            | Line::Note(line)
            | Line::Said(line) => line.as_str(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// This report with its failure replaced, for a better message.
    pub(crate) fn map_failure(self, better: impl FnOnce(CliError) -> CliError) -> Self {
        Self { failure: self.failure.map(better), ..self }
    }

    /// Prints the report, and returns the exit code.
    ///
    /// # Errors
    /// Standard output could not be written.
    pub fn render(&self, output: Output, context: &Context) -> Result<Exit, CliError> {
        for line in &self.lines {
            match line {
                Line::Raw(text) => context.write(text.as_bytes())?,
                Line::Said(line) => context.say(line),
                _ if output.json && self.data.is_some() => {}
                Line::Text(line) => context.print(line)?,
                Line::Styled(line) => context.print_styled(line)?,
                Line::Note(line) => context.say(line),
            }
        }
        match (&self.data, &self.failure) {
            (Some(data), _) if output.json => context.print_json(data)?,
            (_, Some(failure)) => context.report(failure, output.json),
            _ => {}
        }
        Ok(self.exit)
    }
}
