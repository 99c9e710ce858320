//! `maxmargin`: max-margin losses of arrays in files, and networks trained with them, on the CPU or any GPU.

mod arguments;
mod bench;
mod choices;
mod devices;
mod eval;
mod failure;
mod file;
mod interrupt;
mod method;
mod place;
mod predict;
mod report;
mod train;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run() -> failure::Outcome<ExitCode> {
    let arguments = match arguments::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => {
                // The first paragraph says what is wrong; usage and tips follow.
                let text = error.to_string();
                let what = text.split("\n\n").next().unwrap_or_default();
                return Err(failure::Failure::usage(what.trim_start_matches("error: ")));
            }
        },
    };
    interrupt::install();
    match &arguments.command {
        arguments::Command::Devices(options) => devices::run(options)?,
        arguments::Command::Bench(options) => bench::run(options)?,
        arguments::Command::Eval(options) => eval::run(options)?,
        arguments::Command::Predict(options) => predict::run(options)?,
        arguments::Command::Train(options) if train::run(options)? => return Ok(ExitCode::from(interrupt::EXIT_CODE)),
        arguments::Command::Train(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
