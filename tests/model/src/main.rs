//! `cargo run -p model --release [-- --full] [--only TEXT]`: explores the protocols, then shows that
//! each mistake is found; or only those whose names contain the text. Ends with a table, and with 1
//! if a property failed or a mistake was not found.
#![allow(clippy::print_stdout, reason = "a command line tool for developers")]

use std::process::ExitCode;

use model::checks::{of_the_mistakes, of_the_protocols};
use model::report::{Failure, Outcome};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_full = arguments.iter().any(|argument| argument == "--full");
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1);
    let is_asked = |name: &str| only.is_none_or(|only| name.contains(only.as_str()));
    let mut is_good = true;

    println!("{:<64} {:>10} {:>5} {:>8}  outcome", "the protocols", "states", "depth", "time");
    let mut states = 0;
    for check in of_the_protocols(is_full).into_iter().filter(|check| is_asked(&check.name)) {
        let name = check.name.clone();
        let outcome = check.run();
        let Outcome { states: here, depth, time, .. } = outcome;
        states += here;
        let word = if outcome.is_complete { "every property holds" } else { "FAILED" };
        println!("{name:<64} {here:>10} {depth:>5} {:>6.1} s  {word}", time.as_secs_f64());
        is_good &= outcome.is_complete;
        tell(outcome.failure.as_ref());
    }
    println!("{:<64} {states:>10}", "sum");

    println!("\n{:<52} {:>8} {:>5}  found by", "mistakes", "states", "depth");
    for (mistake, checks) in of_the_mistakes() {
        if !is_asked(&mistake.to_string()) {
            continue;
        }
        let mut found = false;
        for check in checks {
            let name = check.name.clone();
            let outcome = check.run();
            if let Some(failure) = outcome.failure {
                let Outcome { states, depth, .. } = outcome;
                let property = failure.property;
                println!("{mistake:<52} {states:>8} {depth:>5}  `{property}` ({name})");
                found = true;
                break;
            }
        }
        if !found {
            println!("{mistake:<52} NOT FOUND");
            is_good = false;
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(failure: Option<&Failure>) {
    let Some(Failure { property, actions, state }) = failure else { return };
    println!("\n`{property}` does not hold after\n");
    for action in actions {
        println!("  {action}");
    }
    println!("\nin the state {state}\n");
}
