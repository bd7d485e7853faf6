//! `cargo xtask ci`: everything that has to hold before a change lands.

use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    demo, deny, ebpf, process,
    test::{self, Machines},
    workspace,
};

/// Options of the command.
#[derive(Args)]
pub struct Options {}

/// A step: its name and what it does.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 7] = [
    ("format", format),
    ("lints", lints),
    ("lints of the kernel side", kernel_lints),
    ("dependencies", || deny::run(&deny::Options {})),
    ("the committed eBPF object", || ebpf::run(&ebpf::Options { check: true })),
    ("tests", || test::run(&test::Options { filter: None, machines: Machines::Differences })),
    ("the demo", demo_of_tested),
];

/// Runs the command.
pub fn run(_: &Options) -> Result<()> {
    for (name, step) in STEPS {
        let begun = Instant::now();
        eprintln!("\n=== {name}");
        step().with_context(|| format!("step '{name}'"))?;
        eprintln!("=== {name}: passed in {} s", begun.elapsed().as_secs());
    }
    Ok(())
}

/// With the program that the tests have built: a release takes minutes.
fn demo_of_tested() -> Result<()> {
    let program = workspace::target().join("debug/sigready");
    demo::run(&demo::Options { sigready: Some(program) })
}

fn format() -> Result<()> {
    process::run(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    process::run(
        workspace::cargo()
            .args(["clippy", "--locked", "--workspace", "--exclude", "tracer-ebpf"])
            .args(["--all-targets", "--", "-D", "warnings"]),
    )
}

/// On the host's target: the installed clippy has no core for BPF. Without std there is
/// no unwinding, hence the panic strategy.
fn kernel_lints() -> Result<()> {
    process::run(
        workspace::cargo().args(["clippy", "--locked", "--package", "tracer-ebpf"]).args([
            "--config",
            "profile.dev.panic=\"abort\"",
            "--",
            "-D",
            "warnings",
        ]),
    )
}
