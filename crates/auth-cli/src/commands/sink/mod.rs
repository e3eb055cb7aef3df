//! `sink`: a machine without logins of its own takes its tokens from another one.

pub mod args;

use serde_json::json;

use crate::agent::invocation::Invocation;
use crate::agent::{self, Agent};
use crate::commands::sink::args::{SetArgs, SinkCommand};
use crate::host::context::Context;
use crate::host::error::{CliError, Exit};
use crate::host::report::Report;
use crate::profiles::remote::{self, RemoteSink};

/// Sets, shows or unsets it.
pub fn run(command: &SinkCommand, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    match command {
        SinkCommand::Set(args) => set(args, invocation),
        SinkCommand::Show => show(context),
        SinkCommand::Unset => {
            let was_set = remote::unset(context)?;
            let mut report = Report::from_data(json!({ "changed": was_set }));
            report.line(if was_set { "No sink is asked any more." } else { "No sink was set." });
            Ok(report)
        }
    }
}

fn set(args: &SetArgs, invocation: &Invocation<'_>) -> Result<Report, CliError> {
    let context = invocation.context;
    refuse_own_profiles(invocation)?;
    let read = context.read_stdin(LONGEST_TOKEN);
    let token = read.map_err(|error| CliError::usage(format!("no token: {error}")))?;
    let sink = RemoteSink::new(
        &args.address,
        auth_store::trim(&token).into(),
        args.ca.as_deref(),
        context,
    )?;
    // Whether it is there and knows us; it need not have granted this.
    match sink.ask("/v1/status", None) {
        Err(error) if error.code != "not_granted" => return Err(error),
        _ => {}
    }
    remote::set(&sink, args.ca.as_deref(), context)?;
    let mut report = Report::from_data(json!({ "address": sink.address }));
    report.line(format_args!("Tokens come from {} now.", sink.address));
    Ok(report)
}

/// A machine with logins of its own is a sink itself: nobody could say whose counts.
fn refuse_own_profiles(invocation: &Invocation<'_>) -> Result<(), CliError> {
    let (config, context) = (invocation.config()?, invocation.context);
    for id in agent::all(&config, context)? {
        let agent = Agent { directory: agent::directory(&id, &config, context)?, id };
        if agent.store_to_change(context).read()?.profiles().next().is_some() {
            let message = format!("the agent `{}` has profiles on this machine", agent.id);
            return Err(CliError::new(Exit::Usage, "own_profiles", message).hint(format!(
                "see them: clawdbot models auth list{0}; take each away first: clawdbot models auth remove ID{0}",
                agent.option()
            )));
        }
    }
    Ok(())
}

fn show(context: &Context) -> Result<Report, CliError> {
    let sink = remote::configured(context)?;
    let address = sink.as_ref().map(|sink| &sink.address);
    let mut report = Report::from_data(json!({ "address": address }));
    match address {
        Some(address) => report.line(address),
        None => report.note("No sink is set: this machine has its own."),
    }
    Ok(report)
}

const LONGEST_TOKEN: u64 = 4096;
