//! Parses, runs, prints the error, returns the exit code.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = rprov::cli::arguments::Cli::parse();
    let exit = rprov::cli::run(cli);
    ExitCode::from(exit as u8)
}
