//! `sigready`: parse, pick the command, run it.

mod cli;
mod commands;

use std::{env, process::ExitCode};

use clap::Parser as _;
use sigready::systemd::opener;

fn main() -> ExitCode {
    if let Some(status) = opener::serve(env::args_os()) {
        return status;
    }
    commands::main(&cli::Cli::parse())
}
