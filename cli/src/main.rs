//! `maxmargin`: max-margin losses of arrays in files, on the CPU or any GPU.

mod arguments;
mod devices;
mod eval;
mod failure;
mod file;
mod report;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let outcome = match &arguments.command {
        arguments::Command::Devices(options) => devices::run(options),
        arguments::Command::Eval(options) => eval::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
