//! `cargo xtask test`: every test, and what they need.

use std::{process::Command, thread, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    apt, dist, process, root,
    suite::{self, Suite, Verdict},
    vm, workspace,
};

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// Run only tests whose name contains this.
    pub filter: Option<String>,
    /// What to run in virtual machines, on every kernel with both backends.
    #[arg(long, value_enum, default_value_t = Machines::All)]
    pub machines: Machines,
}

/// What is run in virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Machines {
    /// All the privileged tests: an hour or more on two processors. Then the program is built as
    /// it is packaged, and its size held.
    All,
    /// Those that tell kernels and backends apart: some minutes.
    Differences,
    /// None.
    None,
}

/// Packages on the machine that runs the tests.
const PACKAGES: [&str; 10] = [
    "bpftool",
    "chromium",
    "gcc",
    "jq",
    "libc6-dev",
    "procps",
    "python3",
    "strace",
    "systemd-container",
    "util-linux",
];

/// So many tests may fail for want of a processor while daemons and systemd boot beside them. They
/// are run once more, alone, and named in the summary.
const LATE: usize = 5;

/// The tests on the kernel of this machine.
const NATIVE: &str = "on this kernel, under real systemd";

/// Tests that take so long that they are left out where the machines run those that tell them apart:
/// they race daemons for some ten minutes.
const LONG: &str = "race::daemons::";

/// How long the kernel may take to let go of programs whose owner has ended.
const RELEASE: Duration = Duration::from_secs(5);

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    say_what_is_needed();
    let filter = options.filter.as_deref();
    let mut suites = vec![Suite::run("without privileges", || plain_tests(filter))];
    if process::is_root() {
        let name = match options.machines {
            Machines::Differences => {
                format!("{NATIVE}, without {LONG} (cargo xtask test has them)")
            }
            Machines::All | Machines::None => NATIVE.to_owned(),
        };
        suites.push(Suite::run(&name, || privileged_tests(filter, options.machines)));
        suites.push(Suite::run("nothing stays in the kernel", || {
            nothing_left_attached().map(|()| Verdict::default())
        }));
        suites.extend(machines(options)?);
    }
    if options.machines == Machines::All && filter.is_none() {
        suites.push(Suite::run("the program as it is packaged, and its size", || {
            dist::program().map(|()| Verdict::default())
        }));
    }
    suite::conclude(&suites)
}

fn say_what_is_needed() {
    eprintln!(
        "The tests need root for eBPF and containers, these packages, and a Debian root to boot:\n  \
         {}\nWhat is missing is installed with apt-get; the Debian root is built under {}.",
        PACKAGES.join(" "),
        workspace::target().join("roots").display()
    );
}

/// The privileged tests on Debian's kernels.
fn machines(options: &Options) -> Result<Vec<Suite>> {
    let filter = match options.machines {
        Machines::All => options.filter.clone(),
        Machines::Differences => Some(vm::DIFFERENCES.to_owned()),
        Machines::None => return Ok(Vec::new()),
    };
    vm::suites(&vm::Options { filter, ..vm::Options::default() })
}

/// Tests that need nothing but the compiler.
fn plain_tests(filter: Option<&str>) -> Result<Verdict> {
    suite::cargo_test(
        workspace::cargo()
            .args(["test", "--locked", "--no-fail-fast", "--workspace", "--exclude", "tracer-ebpf"])
            .args(filter),
    )
}

/// Tests that attach to the kernel, run daemons and boot systemd: those marked `#[ignore]`.
fn privileged_tests(filter: Option<&str>, machines: Machines) -> Result<Verdict> {
    // They wait for two thirds of their time: for daemons, systemd, and settle times.
    let mut command = privileged(&["--no-fail-fast"])?;
    command.args(["--ignored", "--test-threads=3"]).args(filter);
    if machines == Machines::Differences {
        command.args(["--skip", LONG]);
    }
    let verdict = suite::cargo_test(&mut command)?;
    if !(1..=LATE).contains(&verdict.failed().len()) {
        return Ok(verdict);
    }
    eprintln!("\n== tests: those that failed, once more, one at a time");
    let alone = ["--ignored", "--test-threads=1", "--exact"];
    let mut again = privileged(&["--no-fail-fast"])?;
    let second = suite::cargo_test(again.args(alone).args(verdict.failed()))?;
    Ok(verdict.after(&second))
}

/// cargo's tests of sigready with what the privileged ones need, up to their own options.
pub fn privileged(options: &[&str]) -> Result<Command> {
    apt::install(&PACKAGES, "testing on this kernel")?;
    let [daemons, newer, newest] = root::prepare_all(root::ALL)?;
    let mut command = workspace::cargo();
    command
        .args(["test", "--locked", "--package", "sigready"])
        .args(options)
        .arg("--")
        .env("SIGREADY_ROOT", daemons)
        .env("SIGREADY_NEWER_ROOT", newer)
        .env("SIGREADY_NEWEST_ROOT", newest)
        .env("SIGREADY_PROGRAMS", workspace::programs()?);
    Ok(command)
}

/// No program of ours is in the kernel once the tests are over.
fn nothing_left_attached() -> Result<()> {
    let programs = || -> Result<Vec<String>> {
        let all = process::output(Command::new("bpftool").args(["prog", "list"]))?;
        let ours = all.lines().filter(|line| line.contains("name signal_generate"));
        Ok(ours.map(str::to_owned).collect())
    };
    let step = Duration::from_millis(250);
    let mut waited = Duration::ZERO;
    while waited < RELEASE && !programs()?.is_empty() {
        thread::sleep(step);
        waited += step;
    }
    let left = programs()?;
    if !left.is_empty() {
        bail!("programs were left in the kernel:\n{}", left.join("\n"));
    }
    Ok(())
}
