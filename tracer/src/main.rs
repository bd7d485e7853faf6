//! `sigready`: parse, pick the command, run it.

mod cli;
mod commands;

use std::{env, process::ExitCode};

use clap::Parser as _;
use sigready::{
    host::{contained::contain_panics, named, opener::serve, program},
    report, session, systemd,
};

fn main() -> ExitCode {
    contain_panics();
    let answering = [systemd::opener::answer, named::answer, program::answer, report::answer];
    if let Some(status) = serve(env::args_os(), &answering) {
        return status;
    }
    if let Some(status) = session::guard(env::args_os()) {
        return status;
    }
    match cli::Cli::try_parse() {
        Ok(cli) => commands::main(&cli),
        Err(error) => commands::refused(error),
    }
}
