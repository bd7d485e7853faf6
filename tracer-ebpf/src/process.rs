//! Processes: fork, exec, exit.

use core::{ffi::c_void, hint::black_box, ptr};

use aya_ebpf::{
    helpers::{
        bpf_probe_read_user_buf, bpf_probe_read_user_str_bytes, generated::bpf_probe_read_user_str,
    },
    macros::map,
    maps::PerCpuArray,
};
use tracer_common::{
    event::{
        ENV_INCOMPLETE, ENV_INVOCATION_ID, ENV_MAINPID, ENV_NOTIFY_SOCKET, ENV_SERVICE_RESULT,
        Exec, Exit, Fork, Kind, SHARES_HANDLERS, ThreadExit,
    },
    signal::SignalSet,
};

use crate::{
    emit, entered,
    kernel::{
        Address, Pointer, SIGNAL_GROUP_EXIT, Task, Typed, config, nonzero, offset, read_string,
    },
    pairs::Program,
    scope,
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

const VARIABLES: [Variable; 4] = [
    Variable::new(b"MAINPID=", ENV_MAINPID),
    Variable::new(b"SERVICE_RESULT=", ENV_SERVICE_RESULT),
    Variable::new(b"INVOCATION_ID=", ENV_INVOCATION_ID),
    Variable::new(b"NOTIFY_SOCKET=", ENV_NOTIFY_SOCKET),
];

/// A piece of an environment. Aligned, so that it can be compared by words.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Piece([u8; PIECE]);

impl Piece {
    /// Its first bytes.
    #[inline(always)]
    fn words(&self) -> [u64; 2] {
        // SAFETY: it is longer than two words, and aligned to them.
        unsafe { ptr::from_ref(self).cast::<[u64; 2]>().read() }
    }
}

/// That of the process that execs on this CPU: one for each [`Program`].
#[map]
static ENVIRONMENT: PerCpuArray<Piece> = PerCpuArray::with_max_entries(2, 0);

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
    emit::record::<Fork>(Kind::Fork, |record| {
        record.header = emit::header(Kind::Fork, parent);
        record.child = child.describe();
        if parent.shares_handlers(child) {
            record.flags = SHARES_HANDLERS;
        }
        record.state = child.by_helper().signal_state();
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
    emit::record::<Exec>(Kind::Exec, |record| {
        record.header = emit::header(Kind::Exec, task);
        record.state = task.by_helper().signal_state();
        if let Some(name) = bprm.follow_address(offset!(bprm_filename)) {
            read_string(name, &mut record.filename);
        }
        if let Some(name) = bprm.follow_address(offset!(bprm_interp)) {
            read_string(name, &mut record.interp);
        }
        if let Some(name) = file_name(bprm) {
            read_string(name, &mut record.file);
        }
        environment(task, record, program);
    });
}

/// Where the name of the file is that `bprm` loaded.
#[inline(always)]
fn file_name(bprm: Typed) -> Option<Address> {
    let dentry = bprm.follow_address(offset!(bprm_file))?.follow(offset!(file_dentry))?;
    dentry.follow(offset!(dentry_name))
}

/// Looks for systemd's variables in the new program's environment. It has just
/// been written (`copy_strings`), so all of it can be read.
#[inline(always)]
fn environment(task: Task<Typed>, record: &mut Exec, program: Program) {
    if read_variables(task, record, program).is_none() {
        record.environment |= ENV_INCOMPLETE;
    }
}

/// `None` if there is more than was read.
#[inline(always)]
fn read_variables(task: Task<Typed>, record: &mut Exec, program: Program) -> Option<()> {
    let mm = task.0.follow_address(offset!(task_mm))?;
    let (begin, end): (u64, u64) = (mm.read(offset!(mm_env_start)), mm.read(offset!(mm_env_end)));
    let mut found = [0; VARIABLES.len()];
    let complete = find_variables(begin, end, program, &mut found);
    for (variable, at) in VARIABLES.iter().zip(found) {
        if at != 0 {
            note_variable(variable, at, record)?;
        }
    }
    complete
}

/// Finds where in an environment [`VARIABLES`] are; 0 for those that aren't in it.
#[inline(always)]
fn find_variables(
    begin: u64,
    end: u64,
    program: Program,
    found: &mut [u64; VARIABLES.len()],
) -> Option<()> {
    // SAFETY: a per-CPU value of this program alone, which the kernel doesn't run twice at a
    // time on a CPU.
    let piece = unsafe { &mut *ENVIRONMENT.get_ptr_mut(program as u32)? };
    let mut at = begin;
    // 1 where a string begins: one longer than a piece goes on in the next one.
    let mut starts = 1;
    for _ in 0..MAX_PIECES {
        if at >= end {
            return Some(());
        }
        // SAFETY: the helper checks the address and never writes past `piece`.
        let length = unsafe {
            bpf_probe_read_user_str(
                ptr::from_mut(piece).cast::<c_void>(),
                PIECE as u32,
                at as *const c_void,
            )
        };
        if length <= 0 {
            return None;
        }
        let start = piece.words();
        for (variable, found) in VARIABLES.iter().zip(found.iter_mut()) {
            // All ones where it is found. No branch: see `nonzero`.
            let here =
                black_box((nonzero(variable.difference(start)) | (starts ^ 1)).wrapping_sub(1));
            *found = (*found & !here) | (at & here);
        }
        // The length counts the zero at the end, which a piece that was cut off has too.
        let length = length as u64;
        starts = nonzero(length ^ PIECE as u64);
        at += length - (starts ^ 1);
    }
    None
}

/// Takes note of an environment variable that begins at `at`.
#[inline(always)]
fn note_variable(variable: &Variable, at: u64, record: &mut Exec) -> Option<()> {
    let value = (at + variable.length) as *const u8;
    if variable.bit == ENV_INVOCATION_ID {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user_buf(value, &mut record.invocation_id) }.ok()?;
    } else if variable.bit == ENV_NOTIFY_SOCKET {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user_str_bytes(value, &mut record.notify_socket) }.ok()?;
    }
    record.environment |= variable.bit;
    Some(())
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
    emit::record::<Exit>(Kind::Exit, |record| {
        record.header = emit::header(Kind::Exit, task);
        record.status = status;
        record.state = task.by_helper().signal_state();
    });
}

#[inline(always)]
fn thread_exited(task: Task<Typed>, program: Program) {
    let pending = SignalSet(task.pending().0 & config().signals.0);
    if pending == SignalSet::EMPTY || !scope::covers_current() {
        return;
    }
    program.take();
    emit::record::<ThreadExit>(Kind::ThreadExit, |record| {
        record.header = emit::header(Kind::ThreadExit, task);
        record.pending = pending;
    });
}
