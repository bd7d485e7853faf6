//! Processes: fork, exec, exit.

use core::{ffi::c_void, hint::black_box, ptr};

use aya_ebpf::{
    helpers::{
        bpf_probe_read_user_buf, bpf_probe_read_user_str_bytes, generated::bpf_probe_read_user_str,
    },
    macros::map,
    maps::PerCpuArray,
};
use bytemuck::Zeroable;
use tracer_common::{
    event::{
        ENV_INVOCATION_ID, ENV_MAINPID, ENV_NOTIFY_SOCKET, ENV_SERVICE_RESULT, Exec, Exit, Fork,
        Kind, SHARES_HANDLERS, SHARES_MEMORY, ThreadExit,
    },
    signal::SignalSet,
};

use crate::{
    emit::{self, Maker},
    entered,
    kernel::{
        Address, Pointer, SIGNAL_GROUP_EXIT, Task, Typed, config, nonzero, offset, read_string,
        zero,
    },
    pairs::Program,
    scope, served,
};

/// Environment strings looked at, in pieces of [`PIECE`] bytes.
const MAX_PIECES: usize = 192;
/// Bytes of a string read at a time: `NOTIFY_SOCKET=` and the longest socket address fit.
const PIECE: usize = 128;

/// A variable that tells something of a service. Its name is compared by words: a loop
/// over its bytes would cost the verifier more than the rest of the program.
struct Variable {
    /// The name and `=`, and zeros.
    words: [u64; 2],
    /// Which bits of the second word count.
    mask: u64,
    /// Bytes of the name and `=`.
    length: u64,
    /// `ENV_*`
    bit: u32,
}

impl Variable {
    /// `name` with its `=` is 8 to 16 bytes long.
    const fn new(name: &[u8], bit: u32) -> Self {
        let mut bytes = [[0; 8]; 2];
        let mut mask = [0; 8];
        let mut index = 0;
        while index < name.len() {
            bytes[index / 8][index % 8] = name[index];
            if index >= 8 {
                mask[index % 8] = u8::MAX;
            }
            index += 1;
        }
        Self {
            words: [u64::from_ne_bytes(bytes[0]), u64::from_ne_bytes(bytes[1])],
            mask: u64::from_ne_bytes(mask),
            length: name.len() as u64,
            bit,
        }
    }

    /// 0 if a string that starts like this is the variable.
    #[inline(always)]
    fn difference(&self, start: [u64; 2]) -> u64 {
        (start[0] ^ self.words[0]) | ((start[1] & self.mask) ^ self.words[1])
    }
}

/// Each at the place that its first letter gives: [`place_of`].
static VARIABLES: [Variable; 4] = [
    Variable::new(b"INVOCATION_ID=", ENV_INVOCATION_ID),
    Variable::new(b"SERVICE_RESULT=", ENV_SERVICE_RESULT),
    Variable::new(b"MAINPID=", ENV_MAINPID),
    Variable::new(b"NOTIFY_SOCKET=", ENV_NOTIFY_SOCKET),
];

/// Which of [`VARIABLES`] a string that starts with this word may be.
const fn place_of(word: u64) -> u64 {
    (word >> 1) & (VARIABLES.len() as u64 - 1)
}

const _: () = {
    let mut place = 0;
    while place < VARIABLES.len() {
        assert!(place_of(VARIABLES[place].words[0]) == place as u64);
        place += 1;
    }
};

/// A piece of an environment. Aligned, so that it can be compared by words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Zeroable)]
struct Piece([u8; PIECE]);

impl Piece {
    /// Its first bytes.
    #[inline(always)]
    fn words(&self) -> [u64; 2] {
        // SAFETY: it is longer than two words, and aligned to them.
        unsafe { ptr::from_ref(self).cast::<[u64; 2]>().read() }
    }
}

/// What is being read of an environment. It is in a map, of which the verifier knows nothing: the
/// ways on from each piece are one.
#[repr(C)]
#[derive(Clone, Copy, Zeroable)]
struct Environment {
    piece: Piece,
    /// Where each of [`VARIABLES`] is, or 0; then, by the place that each might have had, strings
    /// that are none of them.
    found: [u64; 2 * VARIABLES.len()],
}

/// That of the process that execs on this CPU: one for each [`Program`].
#[map]
static ENVIRONMENT: PerCpuArray<Environment> = PerCpuArray::with_max_entries(2, 0);

/// A task was forked; threads are left out.
#[inline(always)]
pub fn forked(parent: Task<Typed>, child: Task<Typed>, program: Program) {
    if program.is_taken() {
        return;
    }
    if child.tgid() != child.tid() || !scope::fork(parent, child) {
        return;
    }
    program.take();
    emit::record::<Fork>(Kind::Fork, Maker::Fork(program), |record| {
        record.header = emit::header(Kind::Fork, parent);
        record.child = child.describe();
        if parent.shares_handlers(child) {
            record.flags = SHARES_HANDLERS;
        }
        if parent.shares_memory(child) {
            record.flags |= SHARES_MEMORY;
        }
        let child = child.by_helper();
        child.signal_state_of_one(child.shared(), &mut record.state);
    });
}

/// A process replaced its program; `bprm` is its `struct linux_binprm`.
#[inline(always)]
pub fn executed(task: Task<Typed>, bprm: Typed, program: Program) {
    if program.is_taken() || !scope::covers_current() {
        return;
    }
    program.take();
    scope::executed(task);
    served::changed();
    emit::record::<Exec>(Kind::Exec, Maker::Exec(program), |record| {
        record.header = emit::header(Kind::Exec, task);
        let by_helper = task.by_helper();
        by_helper.signal_state_of_one(by_helper.shared(), &mut record.state);
        if let Some(name) = bprm.follow_address(offset!(bprm_filename)) {
            read_string(name, &mut record.filename);
        }
        if let Some(name) = bprm.follow_address(offset!(bprm_interp)) {
            read_string(name, &mut record.interp);
        }
        if let Some(name) = file_name(bprm) {
            read_string(name, &mut record.file);
        }
        read_environment(task, record, program);
    });
}

/// Where the name of the file is that `bprm` loaded.
#[inline(always)]
fn file_name(bprm: Typed) -> Option<Address> {
    let dentry = bprm.follow_address(offset!(bprm_file))?.follow(offset!(file_dentry))?;
    dentry.follow(offset!(dentry_name))
}

/// Looks for systemd's variables in the new program's environment. It has just
/// been written (`copy_strings`), so all of it can be read. Of a longer one than is looked at the
/// beginning counts: systemd writes its own variables first (`exec_child`).
#[inline(always)]
fn read_environment(task: Task<Typed>, record: &mut Exec, program: Program) {
    record.environment = 0;
    let Some(environment) = ENVIRONMENT.get_ptr_mut(program as u32) else {
        return;
    };
    // SAFETY: a per-CPU value of this program alone, which the kernel doesn't run twice at a
    // time on a CPU.
    let environment = unsafe { &mut *environment };
    let mm = task.0.member(offset!(task_mm)).step(0);
    find_variables(mm.read(offset!(mm_env_start)), mm.read(offset!(mm_env_end)), environment);
    // SAFETY: references are valid to read. Volatile, as the verifier is to find one state here.
    unsafe {
        for (place, variable) in VARIABLES.iter().enumerate() {
            let at = ptr::read_volatile(&raw const environment.found[place]);
            if at != 0 {
                note_variable(variable, at, record);
            }
        }
    }
}

/// Finds where in an environment [`VARIABLES`] are.
#[inline(always)]
fn find_variables(begin: u64, end: u64, environment: &mut Environment) {
    zero(environment);
    let mut at = begin;
    // 1 where a string begins: one longer than a piece goes on in the next one.
    let mut starts = 1;
    for _ in 0..MAX_PIECES {
        if at >= end {
            return;
        }
        // SAFETY: the helper checks the address and never writes past `piece`.
        let length = unsafe {
            bpf_probe_read_user_str(
                (&raw mut environment.piece).cast::<c_void>(),
                PIECE as u32,
                at as *const c_void,
            )
        };
        if length <= 0 {
            return;
        }
        let start = environment.piece.words();
        let place = place_of(start[0]);
        // No branch: see `nonzero`.
        let differs = nonzero(VARIABLES[place as usize].difference(start)) | (starts ^ 1);
        let place = differs * VARIABLES.len() as u64 + place;
        // Verifiers such as that of 6.1 don't know how large it may be, after an `or` with what is
        // not constant.
        environment.found[black_box(place) as usize % (2 * VARIABLES.len())] = at;
        // The length counts the zero at the end, which a piece that was cut off has too.
        let length = length as u64;
        starts = nonzero(length ^ PIECE as u64);
        at += length - (starts ^ 1);
    }
}

/// Takes note of an environment variable that begins at `at`.
#[inline(always)]
fn note_variable(variable: &Variable, at: u64, record: &mut Exec) {
    let value = (at + variable.length) as *const u8;
    let is_read = match variable.bit {
        // SAFETY: the helper checks the address.
        ENV_INVOCATION_ID => unsafe {
            bpf_probe_read_user_buf(value, &mut record.invocation_id).is_ok()
        },
        // SAFETY: the helper checks the address.
        ENV_NOTIFY_SOCKET => unsafe {
            bpf_probe_read_user_str_bytes(value, &mut record.notify_socket).is_ok()
        },
        _ => true,
    };
    if is_read {
        record.environment |= variable.bit;
    }
}

/// A thread exits. The end of its whole process is reported, and what goes with a thread
/// before.
///
/// `do_exit` counts `signal->live` down before the tracepoint, so the last thread
/// finds 0. (Two that exit at once may both: user space takes the first.)
#[inline(always)]
pub fn exited(task: Task<Typed>, program: Program) {
    if program.is_taken() {
        return;
    }
    // What it never came back from.
    entered::forget();
    let signals = task.by_helper().signal();
    let is_dying = signals.flags() & SIGNAL_GROUP_EXIT != 0;
    if signals.live() != 0 {
        // Of a group that exits as one, the last thread tells.
        if !is_dying {
            thread_exited(task, program);
        }
        return;
    }
    if !scope::covers_current() {
        return;
    }
    program.take();
    scope::exit(task);
    // As wait(2) computes it (`wait_task_zombie`).
    let status = if is_dying { signals.group_exit_code() } else { task.leader().exit_code() };
    emit::record::<Exit>(Kind::Exit, Maker::Exit(program), |record| {
        record.header = emit::header(Kind::Exit, task);
        record.status = status;
        let by_helper = task.by_helper();
        by_helper.signal_state_of_one(by_helper.shared(), &mut record.state);
    });
}

#[inline(always)]
fn thread_exited(task: Task<Typed>, program: Program) {
    let pending = SignalSet(task.pending().0 & config().signals.0);
    if pending == SignalSet::EMPTY || !scope::covers_current() {
        return;
    }
    program.take();
    emit::record::<ThreadExit>(Kind::ThreadExit, Maker::Exit(program), |record| {
        record.header = emit::header(Kind::ThreadExit, task);
        record.pending = pending;
    });
}
