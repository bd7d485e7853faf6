//! Hands programs to the kernel's verifier, several at a time.
//!
//! It takes most of the time of a start. Programs of a privileged caller are verified side by
//! side: `bpf_check` (kernel/bpf/verifier.c) takes its lock for others alone.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Mutex,
    thread,
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError, ProgramInfo},
};

/// No more at a time: the longest one takes a tenth of the time of all.
const MAX_THREADS: usize = 8;

/// A program, and what it is for.
#[derive(Clone, Copy)]
pub struct Unverified<'a> {
    /// Its name in the object.
    pub name: &'static str,
    /// The tracepoint or the kernel function that it is to be attached to.
    pub hook: &'a str,
}

/// A program that the kernel did not take.
pub struct Refused {
    /// Its name in the object.
    pub name: &'static str,
    /// Why.
    pub error: ProgramError,
}

/// Loads programs, which are to be attached then; one that is named twice, once. Those that come
/// first are begun first. Once one is refused no other one is begun.
///
/// # Errors
///
/// If the object does not have one of them, or has it as a program of a type that is not
/// known here.
pub fn all<'a>(
    ebpf: &mut Ebpf,
    btf: &Btf,
    wanted: impl IntoIterator<Item = Unverified<'a>>,
) -> Result<Result<(), Refused>> {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let mut queue = VecDeque::new();
    let mut names = HashSet::new();
    for it in wanted {
        if names.insert(it.name) {
            let program = programs.remove(it.name).with_context(|| {
                format!("the built-in eBPF object has no program '{}'", it.name)
            })?;
            queue.push_back((it, program));
        }
    }
    let threads = threads(thread::available_parallelism().map_or(1, usize::from), queue.len());
    let (queue, refused) = (Mutex::new(queue), Mutex::new(None));
    let next = || queue.lock().ok()?.pop_front();
    let work = || -> Result<()> {
        while let Some((it, program)) = next() {
            if let Err(error) = load(program, it, btf)? {
                // Others have no place any more.
                queue.lock().map(|mut queue| queue.clear()).ok();
                refused
                    .lock()
                    .map(|mut it_is| it_is.replace(Refused { name: it.name, error }))
                    .ok();
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        // This thread works too. Where no other one can be started, it does it alone.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut result = work();
        for other in others {
            result =
                result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        result
    })?;
    Ok(refused.into_inner().ok().flatten().map_or(Ok(()), Err))
}

/// How many threads verify so many programs.
fn threads(processors: usize, programs: usize) -> usize {
    processors.min(MAX_THREADS).min(programs)
}

fn load(program: &mut Program, it: Unverified<'_>, btf: &Btf) -> Result<Result<(), ProgramError>> {
    let loaded = match program {
        Program::BtfTracePoint(program) => program.load(it.hook, btf),
        Program::FEntry(program) => program.load(it.hook, btf),
        Program::FExit(program) => program.load(it.hook, btf),
        Program::TracePoint(program) => program.load(),
        _ => bail!("the built-in eBPF program '{}' is of another type", it.name),
    };
    if let Some(count) =
        program.info().ok().as_ref().and_then(ProgramInfo::verified_instruction_count)
    {
        log::debug!("{}: {count} instructions verified", it.name);
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_threads_verify_than_have_a_program_and_than_make_it_faster() {
        let of = |processors| threads(processors, 40);
        assert_eq!([1, MAX_THREADS, MAX_THREADS + 1].map(of), [1, MAX_THREADS, MAX_THREADS]);
        assert_eq!(threads(4, 3), 3);
    }
}
