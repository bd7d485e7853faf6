//! Loads the kernel side and attaches its programs.
//!
//! Nothing is pinned: the kernel detaches every program when this process ends,
//! however it ends.

use std::thread;

use anyhow::{Context as _, Result, bail};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    maps::ProgramArray,
    programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError, TracePoint},
};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
    unistd::chroot,
};
use tracer_common::{
    config::{Call, Config, Layout, SCOPE_ALL, SCOPE_LISTED, Syscalls, numbers},
    signal::SignalSet,
};

use super::{
    backend::{Backend, Wanted},
    btf::{self, Btf},
    hooks::{CONCERNS, Concern, Function, TRACEPOINTS, first, is_second},
    layout::{self, Missing},
    links::{Link, Links},
    object, place, refusal, tracefs, trial,
    verify::{self, Unverified},
};
use crate::{
    host::{beside::beside, namespaces},
    model::{document::Fallback, errno},
};

/// Where the kernel can preempt programs, which miss events meanwhile. Elsewhere a hook's second
/// program would be cost alone.
#[derive(Clone, Copy)]
struct Preemptible {
    at_tracepoints: bool,
    at_syscalls: bool,
}

impl Preemptible {
    /// What the kernel's types tell. Up to 6.19 tracepoints turned preemption off; what they do
    /// since leaves a type in each file that has one (`__DECLARE_TRACE` in
    /// include/linux/tracepoint.h, seen in 7.2). Those of syscalls call programs through a
    /// function of their own since (kernel/trace/bpf_trace.c).
    fn of(types: &Btf<'_>) -> Self {
        let [at_tracepoints, at_syscalls] = Self::SIGNS;
        Self {
            at_tracepoints: types.has_typedef(at_tracepoints),
            at_syscalls: types.has_function(at_syscalls),
        }
    }

    /// What tells it: the type, and the function.
    const SIGNS: [&str; 2] = ["class_srcu_fast_notrace_t", "trace_call_bpf_faultable"];

    /// Whether the program of a tracepoint, that of a syscall or another one, is of use.
    fn needs(self, program: &str, at_syscall: bool) -> bool {
        !is_second(program) || if at_syscall { self.at_syscalls } else { self.at_tracepoints }
    }
}

/// What a [`Fallback`] says of a concern none of whose functions can be hooked.
const TRACEPOINTS_INSTEAD: &str = "syscall tracepoints";

/// What a tracepoint is found by in the kernel's types (include/trace/bpf_probe.h).
pub(super) fn typedef(tracepoint: &str) -> String {
    format!("btf_trace_{tracepoint}")
}

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
    /// Whether a signal is to be placed ([`super::place`]).
    pub places: bool,
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
    /// aya's handle: maps and programs.
    pub ebpf: Ebpf,
    links: Links,
    /// Which processes it reports.
    pub reach: Reach,
    /// Which backend it is: `Fentry` if any concern comes in through its function.
    pub backend: Backend,
    /// Concerns that come in through syscalls although their function was wanted.
    pub fallbacks: Vec<Fallback>,
    /// Members this kernel doesn't have.
    pub missing: Vec<Missing>,
}

impl Attached {
    /// Keeps more programs attached.
    pub(super) fn keep(&mut self, links: Vec<Link>) {
        self.links.add(links);
    }

    /// Takes everything out of the kernel, without waiting for it (see [`Links`]).
    pub fn detach(self) {
        let Self { ebpf, links, .. } = self;
        // The links alone keep the programs now, so nothing of them is open afterwards.
        drop(ebpf);
        drop(links);
    }
}

/// Loads and attaches everything.
pub fn attach(request: &Request) -> Result<Attached> {
    if !namespaces::has_host_pids() {
        bail!("{}: {}", namespaces::OTHER_PIDS, namespaces::OTHER_PIDS_MEND);
    }
    let functions = CONCERNS.iter().flat_map(Concern::symbols);
    let hooks: Vec<_> = functions.chain(TRACEPOINTS.map(|name| typedef(first(name)))).collect();
    let names: Vec<_> = hooks.iter().map(String::as_str).chain(Preemptible::SIGNS).collect();
    let bytes = btf::read()?;
    let (object, types) = beside(object::read, || Btf::parse(&bytes, &names));
    let (object, types) = (object?, types?);
    let (offsets, missing) = layout::find(&types);
    let preemptible = Preemptible::of(&types);
    if let Some(missing) = missing.iter().find(|missing| missing.is_essential()) {
        bail!(
            "this kernel's BTF has no {missing}: without it sigready can't tell {}. Please \
             report your kernel's version",
            missing.cost()
        );
    }
    let (btf, ebpf) = beside(|| types.hooks(), || load(&object, request, &offsets));
    let (mut ebpf, btf) = (ebpf?, btf?);
    drop(types);
    drop(bytes);
    drop(object);
    let mut links = Vec::new();
    let mut fallbacks = Vec::new();
    let mut by_syscalls = Vec::new();
    let mut unwanted =
        (request.backend == Wanted::Only(Backend::Tracepoint)).then(|| "not wanted".to_owned());
    for concern in &CONCERNS {
        let hooked = by_functions(&mut ebpf, &mut links, &btf, concern, &missing, &mut unwanted)?;
        let refused = match hooked {
            Hooked::First => continue,
            Hooked::Other(refused) => refused,
            Hooked::None(refused) => {
                by_syscalls.push(concern);
                refused
            }
        };
        if request.backend == Wanted::Only(Backend::Fentry) && concern.is_essential {
            bail!(
                "the fentry backend does not work here: '{}' can't be hooked: {}. Use \
                 --backend auto",
                refused.function,
                refused.reason
            );
        }
        fallbacks.push((concern, refused));
    }
    let at_syscalls = by_syscalls.iter().any(|concern| concern.call == Call::Send);
    let mut fallbacks: Vec<_> = fallbacks
        .into_iter()
        .map(|(concern, refused)| match concern.syscalls {
            [] if !at_syscalls => Fallback { instead: Fallback::NOTHING.to_owned(), ..refused },
            _ => refused,
        })
        .collect();
    let tracepoints: Vec<_> =
        TRACEPOINTS.into_iter().filter(|name| preemptible.needs(name, false)).collect();
    // The longest first: those at the exits of system calls, the last concern's before all.
    let exits = by_syscalls.iter().rev().flat_map(|concern| concern.exit);
    let syscalls = by_syscalls.iter().rev().flat_map(|concern| concern.syscalls);
    let entries = syscalls.flat_map(|syscall| syscall.entry);
    let is_needed = |name: &&&str| preemptible.needs(name, true);
    let mut unverified: Vec<_> = exits.filter(is_needed).copied().collect();
    unverified.extend(&tracepoints);
    unverified.extend(entries.filter(is_needed));
    let unverified = unverified.into_iter().map(|name| Unverified { name, hook: first(name) });
    verify::all(&mut ebpf, &btf, unverified)?
        .map_err(|it| refusal::of_program(first(it.name), it.error))?;
    if at_syscalls {
        let sending = by_syscalls.iter().find(|concern| concern.call == Call::Send);
        let programs = sending.into_iter().flat_map(|concern| concern.exit).zip(0..);
        for (name, index) in programs.filter(|(name, _)| preemptible.needs(name, true)) {
            call_itself(&mut ebpf, name, index)?;
        }
    }
    if !by_syscalls.is_empty() {
        let attaching = || attach_syscalls(&mut ebpf, &mut links, &by_syscalls, preemptible);
        tracefs::with(attaching)?;
    }
    for name in tracepoints {
        let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
        let attached = program.attach().and_then(|id| program.take_link(id));
        links.push(Box::new(attached.map_err(|error| refusal::of_program(name, error))?));
    }
    let backend =
        if by_syscalls.len() == CONCERNS.len() { Backend::Tracepoint } else { Backend::Fentry };
    if request.backend == Wanted::Only(Backend::Tracepoint) {
        fallbacks.clear();
    }
    let links = Links::new(links);
    Ok(Attached { ebpf, links, reach: request.reach, backend, fallbacks, missing })
}

/// Loads the object into the kernel, but for its programs: `layout` tells where members are.
fn load(object: &[u8], request: &Request, layout: &Layout) -> Result<Ebpf> {
    let (config, dispositions) = (config(request), numbers(request.dispositions));
    let syscalls = syscalls();
    let mut loader = loader();
    for (map, room) in place::ROOM.into_iter().filter(|_| request.places) {
        loader.map_max_entries(map, room);
    }
    loader
        .override_global("LAYOUT", bytemuck::bytes_of(layout), true)
        .override_global("DISPOSITIONS", bytemuck::bytes_of(&dispositions), true)
        .override_global("CONFIG", bytemuck::bytes_of(&config), true)
        .override_global("SYSCALLS", bytemuck::bytes_of(&syscalls), true)
        .map_max_entries("EVENTS", request.buffer)
        .load(object)
        .map_err(refusal::of_object)
}

/// aya's loader. As it is made it reads all of the kernel's types (`EbpfLoader::new`), which takes
/// a fifth of a start, and nothing here needs them of it. So it is made by a thread that has another
/// root directory, one without them. Where that is not allowed it reads them.
fn loader<'a>() -> EbpfLoader<'a> {
    let without_types = || {
        // The process keeps its root: the thread's is its own from here on.
        if unshare(CloneFlags::CLONE_FS).is_ok() {
            let _ = chroot(btf::FOLDER);
        }
        EbpfLoader::new()
    };
    let made = thread::scope(|scope| {
        let made = thread::Builder::new().spawn_scoped(scope, without_types);
        made.ok().and_then(|made| made.join().ok())
    });
    made.unwrap_or_default()
}

/// The numbers of system calls here.
fn syscalls() -> Syscalls {
    Syscalls {
        writev: libc::SYS_writev as u32,
        sendto: libc::SYS_sendto as u32,
        sendmsg: libc::SYS_sendmsg as u32,
        sendmmsg: libc::SYS_sendmmsg as u32,
    }
}

/// What the kernel side is set to for a request.
fn config(request: &Request) -> Config {
    Config {
        signals: request.signals,
        dispositions: request.dispositions,
        scope: if matches!(request.reach, Reach::Everything) { SCOPE_ALL } else { SCOPE_LISTED },
        parent: if let Reach::ChildrenOf(pid) = request.reach { pid } else { 0 },
        loader: std::process::id(),
        reserved: 0,
    }
}

/// Which of a concern's functions is hooked, and why the first one is not.
enum Hooked {
    First,
    Other(Fallback),
    None(Fallback),
}

/// Hooks the first of a concern's kernel functions that can be. None is, where `unwanted` says why
/// not.
fn by_functions(
    ebpf: &mut Ebpf,
    links: &mut Vec<Link>,
    btf: &AyaBtf,
    concern: &Concern,
    missing: &[Missing],
    unwanted: &mut Option<String>,
) -> Result<Hooked> {
    let mut refused: Option<Fallback> = None;
    for function in concern.functions {
        let reason = match unwanted {
            Some(reason) => Err(reason.clone()),
            None => by_function(ebpf, links, btf, function, concern.call, missing, unwanted)?,
        };
        match (reason, &refused) {
            (Ok(()), None) => return Ok(Hooked::First),
            (Ok(()), Some(refused)) => {
                return Ok(Hooked::Other(Fallback {
                    instead: function.symbol(),
                    ..refused.clone()
                }));
            }
            (Err(reason), None) => {
                refused = Some(Fallback {
                    function: function.symbol(),
                    shows: concern.shows.to_owned(),
                    reason,
                    instead: TRACEPOINTS_INSTEAD.to_owned(),
                });
            }
            (Err(_), Some(_)) => {}
        }
    }
    refused.map(Hooked::None).context("a concern has no function")
}

/// Hooks a kernel function, or says why not.
fn by_function(
    ebpf: &mut Ebpf,
    links: &mut Vec<Link>,
    btf: &AyaBtf,
    function: &Function,
    call: Call,
    missing: &[Missing],
    unwanted: &mut Option<String>,
) -> Result<Result<(), String>> {
    if let Some(missing) = missing.iter().find(|it| function.needs.contains(&it.structure)) {
        return Ok(Err(format!("this kernel's BTF has no {missing}")));
    }
    let before = links.len();
    if let Err(error) = hook_function(ebpf, links, btf, function)? {
        links.truncate(before);
        unload_function(ebpf, function)?;
        let reason = refusal::in_short(&error);
        if refusal::is_of_all(&error) {
            *unwanted = Some(reason.clone());
        }
        log::debug!("{}", errno::chain(&refusal::of_program(&function.symbol(), error)));
        return Ok(Err(reason));
    }
    if !trial::is_called(ebpf, call)? {
        links.truncate(before);
        unload_function(ebpf, function)?;
        return Ok(Err("the kernel's compiler has built it into its callers".to_owned()));
    }
    Ok(Ok(()))
}

fn hook_function(
    ebpf: &mut Ebpf,
    links: &mut Vec<Link>,
    btf: &AyaBtf,
    function: &Function,
) -> Result<Result<(), ProgramError>> {
    let symbol = function.symbol();
    let programs = function.exit.iter().chain(function.entry).copied();
    let unverified = programs.map(|name| Unverified { name, hook: &symbol });
    if let Err(refused) = verify::all(ebpf, btf, unverified)? {
        return Ok(Err(refused.error));
    }
    // The exit first: an entry without its exit would leave a thread remembered.
    for name in function.exit {
        let exit: &mut FExit = program(ebpf, name)?;
        match exit.attach().and_then(|id| exit.take_link(id)) {
            Ok(link) => links.push(Box::new(link)),
            Err(error) => return Ok(Err(error)),
        }
    }
    for name in function.entry {
        let entry: &mut FEntry = program(ebpf, name)?;
        match entry.attach().and_then(|id| entry.take_link(id)) {
            Ok(link) => links.push(Box::new(link)),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// Takes the programs of a function, which are not attached, out again as far as they are there.
fn unload_function(ebpf: &mut Ebpf, function: &Function) -> Result<()> {
    for name in function.entry {
        let entry: &mut FEntry = program(ebpf, name)?;
        let _ = entry.unload();
    }
    for name in function.exit {
        let exit: &mut FExit = program(ebpf, name)?;
        let _ = exit.unload();
    }
    Ok(())
}

/// Lets a program at the end of a send call itself, for the next of several messages.
fn call_itself(ebpf: &mut Ebpf, name: &str, index: u32) -> Result<()> {
    let sending: &mut TracePoint = program(ebpf, name)?;
    let itself = sending.fd()?.try_clone()?;
    let map = ebpf.map_mut("EXIT_SEND").context("the built-in eBPF object has no map EXIT_SEND")?;
    Ok(ProgramArray::try_from(map)?.set(index, &itself, 0)?)
}

fn attach_syscalls(
    ebpf: &mut Ebpf,
    links: &mut Vec<Link>,
    concerns: &[&Concern],
    preemptible: Preemptible,
) -> Result<()> {
    for concern in concerns {
        for syscall in concern.syscalls {
            let exit = (concern.exit, format!("sys_exit_{}", syscall.name));
            let entry = (syscall.entry, format!("sys_enter_{}", syscall.name));
            for (programs, tracepoint) in [exit, entry] {
                for name in programs.iter().filter(|name| preemptible.needs(name, true)) {
                    let is_everywhere = syscall.is_everywhere;
                    links.extend(attach_syscall(ebpf, name, &tracepoint, is_everywhere)?);
                }
            }
        }
    }
    Ok(())
}

/// Gives nothing for a syscall that this architecture does not have.
pub(super) fn attach_syscall(
    ebpf: &mut Ebpf,
    name: &str,
    tracepoint: &str,
    is_everywhere: bool,
) -> Result<Option<Link>> {
    let program: &mut TracePoint = program(ebpf, name)?;
    let attached = program.attach("syscalls", tracepoint);
    match attached.and_then(|id| program.take_link(id)) {
        Ok(link) => Ok(Some(Box::new(link))),
        Err(ProgramError::TracePointError(_)) if !is_everywhere => Ok(None),
        Err(error) => Err(refusal::of_program(tracepoint, error)),
    }
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .with_context(|| format!("the built-in eBPF object has no program '{name}'"))?
        .try_into()
        .with_context(|| format!("the built-in eBPF program '{name}' is of another type"))
}
