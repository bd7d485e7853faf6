//! Loads the kernel side and attaches its programs.
//!
//! Nothing is pinned: the kernel detaches every program when this process ends,
//! however it ends.

use anyhow::{Context as _, Result, bail};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader, Endianness,
    programs::{BtfTracePoint, FEntry, FExit, ProgramError, ProgramInfo, TracePoint},
};
use tracer_common::{
    config::{Config, SCOPE_ALL, SCOPE_LISTED},
    signal::SignalSet,
};

use super::{
    backend::{Backend, Wanted},
    btf::{self, Btf},
    hooks::{CONCERNS, Concern, TRACEPOINTS, first},
    layout::{self, Missing},
    refusal, tracefs, trial,
};
use crate::timeline::document::Fallback;

/// The kernel side, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../tracer-ebpf/object/sigready.bpf.o");

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
    /// How dispositions and notify messages are to be seen.
    pub backend: Wanted,
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
    /// Which backend it is: `Fentry` if any concern comes in through its function.
    pub backend: Backend,
    /// Concerns that come in through syscalls although their function was wanted.
    pub fallbacks: Vec<Fallback>,
    /// Members this kernel doesn't have.
    pub missing: Vec<Missing>,
}

/// Loads and attaches everything.
pub fn attach(request: &Request) -> Result<Attached> {
    let bytes = btf::read()?;
    let (offsets, missing) = layout::find(&Btf::parse(&bytes)?);
    if let Some(missing) = missing.iter().find(|missing| missing.is_essential()) {
        bail!(
            "this kernel's BTF has no {missing}: without it sigready can't tell {}. Please \
             report your kernel's version",
            missing.cost()
        );
    }
    let mut ebpf = load(request, bytemuck::bytes_of(&offsets))?;
    let btf = AyaBtf::parse(&bytes, Endianness::default())
        .context("cannot parse the kernel's type information")?;
    // What everything needs is verified before anything is attached.
    for name in TRACEPOINTS {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        program.load(first(name), &btf).map_err(|error| refusal::of_program(name, error))?;
        verified(name, &program.info());
    }
    let mut fallbacks = Vec::new();
    for concern in &CONCERNS {
        let Err(reason) = by_function(&mut ebpf, &btf, concern, request.backend, &missing)? else {
            continue;
        };
        if request.backend == Wanted::Only(Backend::Fentry) && concern.is_essential {
            bail!(
                "the fentry backend does not work here: '{}' can't be hooked: {reason}. Use \
                 --backend auto",
                concern.function
            );
        }
        let Concern { function, shows, .. } = *concern;
        let [function, shows] = [function, shows].map(str::to_owned);
        fallbacks.push(Fallback { function, shows, reason });
    }
    let is_by_syscalls =
        |concern: &&Concern| fallbacks.iter().any(|fallback| fallback.function == concern.function);
    let syscalls: Vec<_> =
        CONCERNS.iter().filter(is_by_syscalls).flat_map(|concern| concern.syscalls).collect();
    if !syscalls.is_empty() {
        tracefs::with(|| attach_syscalls(&mut ebpf, &syscalls))?;
    }
    for name in TRACEPOINTS {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        program.attach().map_err(|error| refusal::of_program(name, error))?;
    }
    let backend =
        if fallbacks.len() == CONCERNS.len() { Backend::Tracepoint } else { Backend::Fentry };
    if request.backend == Wanted::Only(Backend::Tracepoint) {
        fallbacks.clear();
    }
    Ok(Attached { ebpf, backend, fallbacks, missing })
}

fn load(request: &Request, offsets: &[u8]) -> Result<Ebpf> {
    let config = Config {
        signals: request.signals,
        dispositions: request.dispositions,
        scope: if matches!(request.reach, Reach::Everything) { SCOPE_ALL } else { SCOPE_LISTED },
        parent: if let Reach::ChildrenOf(pid) = request.reach { pid } else { 0 },
        loader: std::process::id(),
        reserved: 0,
    };
    EbpfLoader::new()
        .override_global("LAYOUT", offsets, true)
        .override_global("CONFIG", bytemuck::bytes_of(&config), true)
        .map_max_entries("EVENTS", request.buffer)
        .load(OBJECT)
        .map_err(refusal::of_object)
}

/// Hooks a concern's kernel function, or says why not.
fn by_function(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    concern: &Concern,
    wanted: Wanted,
    missing: &[Missing],
) -> Result<Result<(), String>> {
    if wanted == Wanted::Only(Backend::Tracepoint) {
        return Ok(Err("not wanted".to_owned()));
    }
    if let Some(missing) = missing.iter().find(|it| concern.needs.contains(&it.structure)) {
        return Ok(Err(format!("this kernel's BTF has no {missing}")));
    }
    if let Err(error) = hook_function(ebpf, btf, concern)? {
        unhook_function(ebpf, concern)?;
        let reason = refusal::in_short(&error);
        log::debug!("{:#}", refusal::of_program(concern.function, error));
        return Ok(Err(reason));
    }
    if !trial::is_called(ebpf, concern.call)? {
        unhook_function(ebpf, concern)?;
        return Ok(Err("the kernel's compiler has built it into its callers".to_owned()));
    }
    Ok(Ok(()))
}

fn hook_function(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    concern: &Concern,
) -> Result<Result<(), ProgramError>> {
    // The exit first: an entry without its exit would leave a thread remembered.
    for name in concern.exit {
        let exit: &mut FExit = program(ebpf, name)?;
        let hooked = exit.load(concern.function, btf).and_then(|()| exit.attach());
        verified(name, &exit.info());
        if let Err(error) = hooked {
            return Ok(Err(error));
        }
    }
    for name in concern.entry {
        let entry: &mut FEntry = program(ebpf, name)?;
        let hooked = entry.load(concern.function, btf).and_then(|()| entry.attach());
        verified(name, &entry.info());
        if let Err(error) = hooked {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Takes the hooks of a function out again, as far as they are there.
fn unhook_function(ebpf: &mut Ebpf, concern: &Concern) -> Result<()> {
    for name in concern.entry {
        let entry: &mut FEntry = program(ebpf, name)?;
        let _ = entry.unload();
    }
    for name in concern.exit {
        let exit: &mut FExit = program(ebpf, name)?;
        let _ = exit.unload();
    }
    Ok(())
}

fn attach_syscalls(ebpf: &mut Ebpf, syscalls: &[&(&str, bool)]) -> Result<()> {
    let hooks = |&&(name, everywhere): &&(&str, bool)| {
        ["exit", "enter"].map(|edge| (format!("sys_{edge}_{name}"), everywhere))
    };
    for (name, everywhere) in syscalls.iter().flat_map(hooks) {
        let program: &mut TracePoint = program(ebpf, &name)?;
        program.load().map_err(|error| refusal::of_program(&name, error))?;
        verified(&name, &program.info());
        match program.attach("syscalls", &name) {
            Ok(_) => {}
            Err(ProgramError::TracePointError(_)) if !everywhere => {}
            Err(error) => return Err(refusal::of_program(&name, error)),
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

/// Says what a program cost the verifier.
fn verified(name: &str, info: &Result<ProgramInfo, ProgramError>) {
    if let Some(count) = info.as_ref().ok().and_then(ProgramInfo::verified_instruction_count) {
        log::debug!("{name}: {count} instructions verified");
    }
}
