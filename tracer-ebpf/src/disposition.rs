//! What processes do on signals: actions, masks, signalfd and sigwait.

use tracer_common::{
    event::{
        CONSUME_SIGNALFD, CONSUME_SIGWAIT, CONSUME_TAKEN, Consume, DISPOSITION_HANDLER,
        Disposition, Kind, Mask,
    },
    signal::SignalSet,
};

use crate::{
    emit::{self, Maker},
    kernel::{Pointer, Room, Task, config, with_current},
    pairs::Program,
    scope, served,
};

/// The current process, which is in scope, has set its action for `signal`, a recorded one.
#[inline(always)]
pub fn set(signal: u32, program: Program) {
    with_current!(|task| set_by(task, signal, program));
}

#[inline(always)]
fn set_by(task: Task<impl Pointer>, signal: u32, program: Program) {
    let Some(actions) = task.actions() else {
        return emit::lost(Kind::Disposition);
    };
    let Some(action) = actions.action(signal) else {
        return emit::lost(Kind::Disposition);
    };
    served::changed();
    let shared = task.shared();
    emit::record::<Disposition>(Kind::Disposition, Maker::Disposition(program), |record| {
        record.header = emit::header(Kind::Disposition, task);
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
        task.signal_state(shared, &mut record.state);
    });
}

/// The mask of the current thread, which is in scope, was `before`. It is reported if a recorded
/// signal changed.
#[inline(always)]
pub fn masked(before: SignalSet, program: Program) {
    with_current!(|task| masked_by(task, before, program));
}

#[inline(always)]
fn masked_by(task: Task<impl Pointer>, before: SignalSet, program: Program) {
    let after = task.mask();
    if !SignalSet(before.0 ^ after.0).intersects(config().dispositions) {
        return;
    }
    let shared = task.shared();
    emit::record::<Mask>(Kind::Mask, Maker::Mask(program), |record| {
        record.header = emit::header(Kind::Mask, task);
        record.before = before;
        record.after = after;
        task.signal_state(shared, &mut record.state);
    });
}

/// The current process made a signalfd for `set`, or changed one to it.
#[inline(always)]
pub fn signalfd(set: SignalSet) {
    consume(Maker::Signalfd, CONSUME_SIGNALFD, 0, set);
}

/// The current thread is about to wait for `set`.
#[inline(always)]
pub fn waiting(set: SignalSet) {
    consume(Maker::Waiting, CONSUME_SIGWAIT, 0, set);
}

/// The current thread's wait gave it `signal`.
#[inline(always)]
pub fn taken(signal: u32) {
    consume(Maker::Taken, CONSUME_TAKEN, signal, SignalSet::of(signal));
}

#[inline(always)]
fn consume(maker: Maker, way: u32, signal: u32, set: SignalSet) {
    if !set.intersects(config().dispositions) || !scope::covers_current() {
        return;
    }
    emit::record::<Consume>(Kind::Consume, maker, |record| {
        record.header = emit::header_of_current(Kind::Consume);
        record.way = way;
        record.signal = signal;
        record.set = set;
        // They are rare: see `Task::by_helper`.
        let task = Task::current_address();
        task.signal_state(task.shared(), &mut record.state);
    });
}
