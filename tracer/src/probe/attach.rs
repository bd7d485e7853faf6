//! Loads the kernel side and attaches its programs.
//!
//! Nothing is pinned: the kernel detaches every program when this process ends,
//! however it ends.

use std::fs;

use anyhow::{Context as _, Result, bail};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, ProgramError, TracePoint},
};
use tracer_common::{
    config::{Config, SCOPE_ALL, SCOPE_LISTED},
    signal::SignalSet,
};

use super::{
    Backend,
    btf::{Btf, VMLINUX},
    layout::{self, Missing},
    tracefs,
};

/// The kernel side, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../tracer-ebpf/object/sigready.bpf.o");

/// Hooks every backend has.
pub const TRACEPOINTS: [&str; 7] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "signal_generate",
    "signal_deliver",
    "cgroup_mkdir",
    "cgroup_attach_task",
];

/// Syscalls whose entry and exit the `tracepoint` backend hooks, and whether every
/// architecture has them.
pub const SYSCALLS: [(&str, bool); 10] = [
    ("rt_sigaction", true),
    ("rt_sigprocmask", true),
    ("signalfd", false),
    ("signalfd4", true),
    ("rt_sigtimedwait", true),
    ("write", true),
    ("writev", true),
    ("sendto", true),
    ("sendmsg", true),
    ("sendmmsg", true),
];

/// What is to be captured.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Signals whose sending is recorded.
    pub signals: SignalSet,
    /// Signals whose disposition is recorded: at most `MAX_DISPOSITIONS`.
    pub dispositions: SignalSet,
    /// Which processes are reported.
    pub reach: Reach,
    /// Bytes of the ring buffer: a power of two of pages.
    pub buffer: u32,
}

/// Which processes the kernel side reports from the moment it is attached.
#[derive(Clone, Copy, Debug, Default)]
pub enum Reach {
    /// All of them.
    #[default]
    Everything,
    /// Those in the scope maps, which are still empty (see [`super::scope`]).
    Listed,
    /// The children of this process, and theirs.
    ChildrenOf(u32),
}

/// The attached kernel side.
pub struct Attached {
    /// aya's handle; the programs stay attached as long as it lives.
    pub ebpf: Ebpf,
    /// Which backend it is.
    pub backend: Backend,
    /// Members this kernel doesn't have.
    pub missing: Vec<Missing>,
}

/// Loads and attaches everything.
pub fn attach(request: &Request) -> Result<Attached> {
    let bytes = fs::read(VMLINUX).with_context(|| {
        format!(
            "cannot read the kernel's type information ({VMLINUX}): sigready needs a kernel \
             built with CONFIG_DEBUG_INFO_BTF=y, and the right to read that file"
        )
    })?;
    let (offsets, missing) = layout::find(&Btf::parse(&bytes)?);
    if let Some(missing) = missing.iter().find(|missing| missing.is_essential()) {
        bail!(
            "this kernel's BTF has no '{}' in struct {}: without it sigready can't tell {}. \
             Please report your kernel's version",
            missing.member,
            missing.structure,
            missing.cost()
        );
    }
    let mut ebpf = load(request, bytemuck::bytes_of(&offsets))?;
    // Everything is verified before anything is attached: a refusal leaves no trace.
    let btf = AyaBtf::from_sys_fs().context("cannot parse the kernel's type information")?;
    for name in TRACEPOINTS {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        program.load(name, &btf).map_err(|error| refused(name, error))?;
        log::debug!("{name}: {:?}", program.info().ok().and_then(|i| i.verified_instruction_count()));
    }
    tracefs::with(|| attach_syscalls(&mut ebpf))?;
    for name in TRACEPOINTS {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        program.attach().map_err(|error| refused(name, error))?;
    }
    Ok(Attached { ebpf, backend: Backend::Tracepoint, missing })
}

fn load(request: &Request, offsets: &[u8]) -> Result<Ebpf> {
    let config = Config {
        signals: request.signals,
        dispositions: request.dispositions,
        scope: if matches!(request.reach, Reach::Everything) { SCOPE_ALL } else { SCOPE_LISTED },
        parent: if let Reach::ChildrenOf(pid) = request.reach { pid } else { 0 },
    };
    EbpfLoader::new()
        .override_global("LAYOUT", offsets, true)
        .override_global("CONFIG", bytemuck::bytes_of(&config), true)
        .map_max_entries("EVENTS", request.buffer)
        .load(OBJECT)
        .context(
            "the kernel does not let sigready create its eBPF maps: run it as root, or with \
             CAP_BPF and CAP_PERFMON ('sigready doctor' tells what is missing)",
        )
}

fn attach_syscalls(ebpf: &mut Ebpf) -> Result<()> {
    let hooks = |(name, everywhere): (&'static str, bool)| {
        // The exit first: an entry without its exit would leave a thread remembered.
        ["exit", "enter"].map(|edge| (format!("sys_{edge}_{name}"), everywhere))
    };
    for (name, everywhere) in SYSCALLS.into_iter().flat_map(hooks) {
        let program: &mut TracePoint = program(ebpf, &name)?;
        program.load().map_err(|error| refused(&name, error))?;
        log::debug!("{name}: {:?}", program.info().ok().and_then(|i| i.verified_instruction_count()));
        match program.attach("syscalls", &name) {
            Ok(_) => {}
            Err(ProgramError::TracePointError(_)) if !everywhere => {}
            Err(error) => return Err(refused(&name, error)),
        }
    }
    Ok(())
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .with_context(|| format!("the built-in eBPF object has no program '{name}'"))?
        .try_into()
        .with_context(|| format!("the built-in eBPF program '{name}' is of another type"))
}

/// A program the kernel refused. The verifier's words are for `--verbose`.
fn refused(name: &str, error: ProgramError) -> anyhow::Error {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        log::debug!("verifier log of {name}:\n{verifier_log}");
        return anyhow::Error::new(io_error).context(format!(
            "the kernel refused the eBPF program for '{name}' ('sigready doctor' tells what \
             this host allows; --verbose shows the verifier's log)"
        ));
    }
    anyhow::Error::new(error).context(format!("cannot attach to '{name}'"))
}
