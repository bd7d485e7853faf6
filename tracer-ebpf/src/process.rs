//! Processes: fork, exec, exit.

use core::ptr;

use aya_ebpf::{
    helpers::{bpf_probe_read_user_buf, bpf_probe_read_user_str_bytes},
    macros::map,
    maps::PerCpuArray,
};
use tracer_common::event::{
    ENV_INCOMPLETE, ENV_INVOCATION_ID, ENV_MAINPID, ENV_NOTIFY_SOCKET, ENV_SERVICE_RESULT, Exec,
    Exit, Fork, Kind,
};

use crate::{
    emit,
    kernel::{SIGNAL_GROUP_EXIT, Task, config, offset, read, read_pointer, read_string},
    scope,
};

/// Environment strings looked at, in pieces of [`PIECE`] bytes.
const MAX_PIECES: usize = 192;
/// Bytes of a string read at a time: `NOTIFY_SOCKET=` and the longest socket address fit.
const PIECE: usize = 128;

/// A piece of an environment. Aligned, so that it can be compared by words.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Piece([u8; PIECE]);

/// That of the process that execs on this CPU.
#[map]
static ENVIRONMENT: PerCpuArray<Piece> = PerCpuArray::with_max_entries(1, 0);

/// A task was forked; threads are passed over.
#[inline(always)]
pub fn forked(parent: Task, child: Task) {
    let described = child.describe();
    if described.pid != described.tid || !scope::fork(parent, child) {
        return;
    }
    emit::record(Kind::Fork, || Fork {
        header: emit::header(Kind::Fork, parent),
        child: described,
        state: child.signal_state(config().dispositions),
    });
}

/// A process replaced its program; `bprm` is its `struct linux_binprm`.
#[inline(always)]
pub fn executed(task: Task, bprm: u64) {
    if !scope::covers(task) {
        return;
    }
    emit::large_record::<Exec>(Kind::Exec, |record| {
        record.header = emit::header(Kind::Exec, task);
        record.state = task.signal_state(config().dispositions);
        if let Some(name) = read_pointer(bprm + offset!(bprm_filename)) {
            read_string(name, &mut record.filename);
        }
        if let Some(name) = read_pointer(bprm + offset!(bprm_interp)) {
            read_string(name, &mut record.interp);
        }
        if let Some(name) = file_name(bprm) {
            read_string(name, &mut record.file);
        }
        environment(task, record);
    });
}

/// Address of the name of the file that `bprm` loaded.
#[inline(always)]
fn file_name(bprm: u64) -> Option<u64> {
    let file = read_pointer(bprm + offset!(bprm_file))?;
    let dentry = read_pointer(file + offset!(file_dentry))?;
    read_pointer(dentry + offset!(dentry_name))
}

/// Looks for systemd's variables in the new program's environment. It has just
/// been written (`copy_strings`), so all of it can be read.
#[inline(always)]
fn environment(task: Task, record: &mut Exec) {
    if read_variables(task, record).is_none() {
        record.environment |= ENV_INCOMPLETE;
    }
}

/// `None` if there is more than was read.
#[inline(always)]
fn read_variables(task: Task, record: &mut Exec) -> Option<()> {
    let mm = read_pointer(task.0 + offset!(task_mm))?;
    let mut at: u64 = read(mm + offset!(mm_env_start));
    let end: u64 = read(mm + offset!(mm_env_end));
    // SAFETY: a per-CPU value nothing else uses; exec can't be interrupted by exec.
    let piece = unsafe { &mut *ENVIRONMENT.get_ptr_mut(0)? };
    // A string longer than a piece goes on in the next one, which then starts no variable.
    let mut starts = true;
    for _ in 0..MAX_PIECES {
        if at >= end {
            return Some(());
        }
        // SAFETY: the helper checks the address and never writes past `piece`.
        let length =
            unsafe { bpf_probe_read_user_str_bytes(at as *const u8, &mut piece.0) }.ok()?.len();
        if starts {
            note_variable(piece, at, record)?;
        }
        starts = length < PIECE - 1;
        at += length as u64 + u64::from(starts);
    }
    None
}

/// Takes note of the environment variable that begins at `at`.
#[inline(always)]
fn note_variable(piece: &Piece, at: u64, record: &mut Exec) -> Option<()> {
    if begins(piece, b"MAINPID=") {
        record.environment |= ENV_MAINPID;
    } else if begins(piece, b"SERVICE_RESULT=") {
        record.environment |= ENV_SERVICE_RESULT;
    } else if begins(piece, b"INVOCATION_ID=") {
        let value = at + b"INVOCATION_ID=".len() as u64;
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user_buf(value as *const u8, &mut record.invocation_id) }.ok()?;
        record.environment |= ENV_INVOCATION_ID;
    } else if begins(piece, b"NOTIFY_SOCKET=") {
        let value = at + b"NOTIFY_SOCKET=".len() as u64;
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user_str_bytes(value as *const u8, &mut record.notify_socket) }
            .ok()?;
        record.environment |= ENV_NOTIFY_SOCKET;
    }
    Some(())
}

/// Whether a string begins with `prefix`, of at most 16 bytes. Compared as one number:
/// a loop over its bytes would cost the verifier more than the rest of the program.
#[inline(always)]
fn begins(piece: &Piece, prefix: &[u8]) -> bool {
    let mut wanted = [0; 16];
    let mut mask = [0; 16];
    for (index, byte) in prefix.iter().enumerate().take(16) {
        wanted[index] = *byte;
        mask[index] = u8::MAX;
    }
    // SAFETY: a piece is longer than two words, and aligned to them.
    let start = unsafe { ptr::from_ref(piece).cast::<[u64; 2]>().read() };
    let other = |n: usize| (start[n] ^ word(wanted, n)) & word(mask, n);
    other(0) | other(1) == 0
}

/// Word `n` of 16 bytes.
#[inline(always)]
fn word(bytes: [u8; 16], n: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[8 * n..8 * n + 8]);
    u64::from_ne_bytes(word)
}

/// A thread exits. Only the end of its whole process is reported.
///
/// `do_exit` counts `signal->live` down before the tracepoint, so the last thread
/// finds 0. (Two that exit at once may both: user space takes the first.)
#[inline(always)]
pub fn exited(task: Task) {
    let Some(signals) = task.signal() else {
        return;
    };
    if signals.live() != 0 {
        return;
    }
    let reported = scope::covers(task);
    scope::exit(task);
    if !reported {
        return;
    }
    // As wait(2) computes it (`wait_task_zombie`).
    let status = if signals.flags() & SIGNAL_GROUP_EXIT != 0 {
        signals.group_exit_code()
    } else {
        read(task.leader().0 + offset!(task_exit_code))
    };
    emit::record(Kind::Exit, || Exit {
        header: emit::header(Kind::Exit, task),
        status,
        reserved: 0,
        state: task.signal_state(config().dispositions),
    });
}
