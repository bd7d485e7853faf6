//! What processes do on signals: actions, masks, signalfd and sigwait.

use bytemuck::{AnyBitPattern, NoUninit};
use tracer_common::{
    config::Call,
    event::{
        CONSUME_SIGNALFD, CONSUME_SIGWAIT, CONSUME_TAKEN, Consume, DISPOSITION_HANDLER,
        Disposition, Kind, Mask,
    },
    signal::SignalSet,
};

use crate::{
    emit::{self, Maker},
    kernel::{Pointer, Room, Task, config},
    pairs::Program,
    scope, served,
};

/// A call of the current thread `task`, which is in scope, has changed what its process does on
/// signals. `change` gives what is remembered of it: a [`Call`] and a word, which is the signal whose
/// action was set, the thread's mask before, or the set that a signalfd is for. It is asked for twice:
/// what a verifier does not know it does not follow by itself, and what is between is the same for
/// each call.
#[inline(always)]
pub fn changed(
    task: Task<impl Pointer>,
    maker: Maker,
    program: Program,
    change: impl Fn() -> [u64; 2],
) {
    const ACTION: u64 = Call::Sigaction as u64;
    const MASK: u64 = Call::Sigprocmask as u64;
    let [call, word] = change();
    match call {
        ACTION => served::changed(),
        MASK if !is_recorded(SignalSet(word ^ task.mask().0)) => return,
        MASK => {}
        _ if !is_recorded(SignalSet(word)) => return,
        _ => {}
    }
    let shared = task.shared();
    let Some(record) = emit::begin::<Disposition>(maker) else {
        return emit::lost(Kind::Disposition);
    };
    record.header = emit::header(Kind::Disposition, task);
    // All three begin with a header and this.
    task.signal_state(shared, &mut record.state);
    let [call, word] = change();
    match call {
        ACTION => action(task, word as u32, program, record),
        MASK => {
            let record: &mut Mask = begun_as(record, Kind::Mask);
            (record.before, record.after) = (SignalSet(word), task.mask());
            emit::send(Kind::Mask, record);
        }
        _ => {
            let record: &mut Consume = begun_as(record, Kind::Consume);
            (record.way, record.set) = (CONSUME_SIGNALFD, SignalSet(word));
            emit::send(Kind::Consume, record);
        }
    }
}

/// Whether one of the signals is recorded.
#[inline(always)]
fn is_recorded(set: SignalSet) -> bool {
    set.intersects(config().dispositions)
}

/// The record as one of another kind that begins alike, and is no longer.
#[inline(always)]
fn begun_as<T: AnyBitPattern + NoUninit>(record: &mut Disposition, kind: Kind) -> &mut T {
    record.header.kind = kind as u32;
    bytemuck::from_bytes_mut(&mut bytemuck::bytes_of_mut(record)[..size_of::<T>()])
}

/// The action for `signal` is told, too.
#[inline(always)]
fn action(task: Task<impl Pointer>, signal: u32, program: Program, record: &mut Disposition) {
    let Some(actions) = task.actions() else {
        return emit::lost(Kind::Disposition);
    };
    let Some(action) = actions.action(signal) else {
        return emit::lost(Kind::Disposition);
    };
    record.signal = signal;
    record.disposition = action.disposition();
    record.sa_flags = action.flags;
    if record.disposition == DISPOSITION_HANDLER {
        let room = match program {
            Program::First => Room::First,
            Program::Second => Room::Second,
        };
        record.handler = actions.handler(action.handler, room);
    }
    emit::send(Kind::Disposition, record);
}

/// The current thread is about to wait for `set`.
#[inline(always)]
pub fn waiting(set: SignalSet) {
    if !is_recorded(set) || !scope::covers_current() {
        return;
    }
    emit::record::<Consume>(Kind::Consume, Maker::Waiting, |record| {
        record.header = emit::header_of_current(Kind::Consume);
        (record.way, record.set) = (CONSUME_SIGWAIT, set);
        // They are rare: see `Task::by_helper`.
        let task = Task::current_address();
        task.signal_state(task.shared(), &mut record.state);
    });
}

/// The current thread's wait gave it `signal`.
#[inline(always)]
pub fn taken(signal: u32) {
    let set = SignalSet::of(signal);
    if !is_recorded(set) || !scope::covers_current() {
        return;
    }
    emit::record::<Consume>(Kind::Consume, Maker::Taken, |record| {
        record.header = emit::header_of_current(Kind::Consume);
        (record.way, record.signal, record.set) = (CONSUME_TAKEN, signal, set);
    });
}
