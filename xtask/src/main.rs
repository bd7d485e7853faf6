//! sigready's development commands: `cargo xtask COMMAND`.

mod apt;
mod bench;
mod ci;
mod daemons;
mod demo;
mod deny;
mod dist;
mod ebpf;
mod fuzz;
mod musl;
mod mutants;
mod process;
mod race_daemons;
mod root;
mod suite;
mod test;
mod tool;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development commands of sigready.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the kernel side and commit-ready object, or check the committed one.
    Ebpf(ebpf::Options),
    /// Show the main job on a bundled service, reloaded too early and in time (as root).
    Demo(demo::Options),
    /// Make the table in docs/daemons.md anew (as root).
    Daemons(daemons::Options),
    /// Race Debian's daemons, and make the tables in docs/race-daemons.md anew (as root).
    RaceDaemons(race_daemons::Options),
    /// Run every test; installs what that needs (as root).
    Test(test::Options),
    /// Build the container root that the tests boot real systemd in (as root).
    Root(root::Options),
    /// Run the privileged tests on Debian's kernels, in virtual machines (as root).
    Vm(vm::Options),
    /// Change the code in one place at a time, and show which changes no pure test notices.
    Mutants(mutants::Options),
    /// Check the licences and the sources of what is linked in.
    Deny(deny::Options),
    /// Let libFuzzer read what comes from outside, for as long as is wanted.
    Fuzz(fuzz::Options),
    /// Make what users install: programs, packages, checksums.
    Dist(dist::Options),
    /// Measure what a trace costs the host, as ratios of one run (as root).
    Bench(bench::Options),
    /// Everything that has to hold before a change lands.
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let result = match Xtask::parse().command {
        Command::Ebpf(options) => ebpf::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Daemons(options) => daemons::run(&options),
        Command::RaceDaemons(options) => race_daemons::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Root(options) => root::run(&options),
        Command::Vm(options) => vm::run(&options),
        Command::Mutants(options) => mutants::run(&options),
        Command::Deny(options) => deny::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Ci(options) => ci::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
