//! `sigready`: parse, pick the command, run it.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    commands::main(&cli::Cli::parse())
}
