//! `schema`: what the JSON outputs promise, as JSON Schemas. The tests validate every output against
//! them.

use clap::Args;
use serde_json::{Map, Value};

use crate::host::error::{CliError, Exit};
use crate::host::prompt::suggest;
use crate::host::remedy::Remedy;
use crate::host::report::Report;

/// `schema`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot schema
  clawdbot schema status > status.schema.json")]
pub struct SchemaArgs {
    /// The output: `status`, `token`, `error`, …; without it, the names are listed
    pub name: Option<String>,
}

/// Prints a schema, or the names there are.
pub fn run(args: &SchemaArgs) -> Result<Report, CliError> {
    let schemas = all();
    let Some(name) = &args.name else {
        let names: Vec<&str> = schemas.keys().map(String::as_str).collect();
        let mut report = Report::from_data(names.clone().into());
        for name in names {
            report.line(name);
        }
        return Ok(report);
    };
    let Some(schema) = schemas.get(name) else {
        let error =
            CliError::new(Exit::Usage, "unknown_schema", format!("there is no schema `{name}`"));
        let error = match suggest::did_you_mean(name, schemas.keys().map(String::as_str)) {
            Some(suggestion) => error.hint(suggestion),
            None => error,
        };
        return Err(error.remedy(Remedy::new("list the names", "clawdbot schema")));
    };
    Ok(Report::raw(format!("{schema:#}\n")))
}

/// All schemas, by name.
pub fn all() -> Map<String, Value> {
    serde_json::from_str(include_str!("schemas.json")).unwrap_or_default()
}
