//! `cargo xtask vm`: the privileged tests on Debian's kernels, in virtual machines.
//!
//! Each machine runs one kernel, with one backend after the other, under software emulation, with
//! real systemd as its init.

mod arch;
mod foreign;
mod guest;
mod image;
mod kernels;
mod machine;
mod page;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    thread::{self, available_parallelism},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::{arch::Arch, image::Image, kernels::Kernel};
use crate::{
    apt, process,
    suite::{self, Suite, Verdict},
};

/// Names of the tests that tell kernels and backends apart: those behind the table in
/// docs/compatibility.md are among them.
pub const DIFFERENCES: &str =
    "backend,32_bit,io_uring,renamed,cap_bpf,once_attached,five_hundred_children,verifier";

/// Options of the command.
#[derive(Args, Default)]
pub struct Options {
    /// Which processors. On aarch64 only the tests that tell kernels and backends apart are run
    /// unless others are named: its root has no daemons.
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    pub arch: Arch,
    /// Which of Debian's kernels; all by default.
    #[arg(long, value_name = "VERSION", value_parser = ["5.10", "6.1", "6.12", "7.2", "all"])]
    pub kernel: Option<String>,
    /// Which backend; both by default.
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// Bring the table in docs/compatibility.md up to date with what the tests prove,
    /// instead of checking it. Needs all kernels and backends.
    #[arg(long, conflicts_with_all = ["kernel", "backend", "filter"])]
    pub write: bool,
    /// Run only tests whose name contains one of these, separated by commas.
    pub filter: Option<String>,
}

/// How the tests' sigready sees handlers and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Kernel functions.
    Fentry,
    /// Syscall tracepoints.
    Tracepoint,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    suite::conclude(&suites(options)?)
}

/// A suite for each kernel and backend that was asked for.
pub fn suites(options: &Options) -> Result<Vec<Suite>> {
    process::need_root("building the virtual machines' root")?;
    let arch = options.arch;
    apt::install(arch.packages(), "testing in virtual machines")?;
    let wanted = options.kernel.as_deref().filter(|kernel| *kernel != "all");
    let kernels = kernels::fetch(arch, wanted)?;
    if kernels.is_empty() {
        bail!("there is no such kernel among the tested ones: see 'cargo xtask vm --help'");
    }
    let image = image::build(arch, &kernels)?;
    let backends = match options.backend {
        Some(backend) => vec![backend],
        None => vec![Backend::Fentry, Backend::Tracepoint],
    };
    let filter = options.filter.as_deref().or(arch.tests());
    let machines: VecDeque<&Kernel> = kernels.iter().collect();
    let suites = in_parallel(machines, |kernel| one(arch, kernel, &backends, &image, filter));
    let suites: Vec<(String, Suite)> = suites.into_iter().flatten().collect();
    if suites.is_empty() {
        bail!("no virtual machine was run");
    }
    let proves_the_table = wanted.is_none()
        && options.backend.is_none()
        && filter.is_none_or(|names| names == DIFFERENCES);
    let page = (proves_the_table && suites.iter().all(|(_, suite)| suite.passed())).then(|| {
        Suite::run("docs/compatibility.md says what was proved", || {
            page::check(arch, &page::columns(&suites), options.write).map(|()| Verdict::default())
        })
    });
    Ok(suites.into_iter().map(|(_, suite)| suite).chain(page).collect())
}

/// A suite for each backend, with what its column in the table is called.
fn one(
    arch: Arch,
    kernel: &Kernel,
    backends: &[Backend],
    image: &Image,
    filter: Option<&str>,
) -> Vec<(String, Suite)> {
    let backends = backends.iter().filter(|it| kernel.hooks_functions || **it != Backend::Fentry);
    let backends: Vec<&str> = backends.map(|backend| backend.name()).collect();
    let [_, line] = arch.lines();
    let settings = guest::Settings {
        line,
        hooks_functions: kernel.hooks_functions,
        backends: &backends,
        filter,
    };
    let named = |what: &str| backends.iter().map(|name| format!("{what}{name}")).collect();
    let suites =
        Suite::run_together(named(&format!("{}Linux {}, ", arch.label(), kernel.version)), || {
            let machine = machine::Machine {
                arch,
                label: kernel.name,
                kernel: &kernel.image,
                disk: &image.file,
                settings: &settings.words(),
            };
            let mut verdicts = BTreeMap::<String, Verdict>::new();
            let mut backend = String::new();
            machine::run(&machine, |line| {
                println!("[{} {backend}] {line}", kernel.name);
                if let Some(name) = line.strip_prefix(guest::BACKEND) {
                    name.clone_into(&mut backend);
                }
                verdicts.entry(backend.clone()).or_default().read(line);
            })?;
            let is_wanted = |test: &&String| {
                filter.is_none_or(|names| names.split(',').any(|name| test.contains(name)))
            };
            let verdict = |backend: &&str| {
                let expected = image.tests.iter().filter(is_wanted);
                verdicts.remove(*backend).unwrap_or_default().complete(expected)
            };
            Ok(backends.iter().map(verdict).collect())
        });
    let labels: Vec<String> = named(&format!("{} ", kernel.name));
    labels.into_iter().zip(suites).collect()
}

/// Has a machine measure what a trace costs: see `cargo xtask bench --machine`. Gives the version of
/// its kernel, and what it printed.
pub fn measure(kernel: &str, rounds: usize) -> Result<(String, Vec<String>)> {
    process::need_root("building the virtual machine's root")?;
    let arch = Arch::X86_64;
    apt::install(arch.packages(), "measuring in a virtual machine")?;
    let kernels = kernels::fetch(arch, Some(kernel))?;
    let kernel = kernels.first().context("there is no such kernel: see --help")?;
    let disk = image::measuring(arch)?;
    let [_, line] = arch.lines();
    let machine = machine::Machine {
        arch,
        label: "bench",
        kernel: &kernel.image,
        disk: &disk,
        settings: &guest::measuring(line, rounds),
    };
    let mut lines = Vec::new();
    machine::run(&machine, |line| {
        eprintln!("[{}] {line}", kernel.name);
        lines.push(line.to_owned());
    })?;
    Ok((kernel.version.clone(), lines))
}

/// Works on one more at a time than there are processors: a machine keeps one busy, and
/// sleeps in between. The results are in the order of the jobs.
fn in_parallel<T: Send, R: Send>(jobs: VecDeque<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let workers = available_parallelism().map_or(1, |count| count.get() + 1).min(jobs.len());
    let jobs = Mutex::new(jobs.into_iter().enumerate());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let job = jobs.lock().expect("no worker has panicked").next();
                    let Some((index, job)) = job else { break };
                    let result = work(job);
                    results.lock().expect("no worker has panicked").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no worker has panicked");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_parallel_work_keep_the_order_of_the_jobs() {
        let results = in_parallel((0..20).collect(), |number| {
            thread::sleep(std::time::Duration::from_millis(20 - number));
            number * number
        });
        assert_eq!(results, (0..20).map(|number| number * number).collect::<Vec<_>>());
    }
}
