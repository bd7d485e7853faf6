//! The events of one start, as many as there is room for.
//!
//! The first ones are all kept. Beyond, each kind of event (the same signal from the same
//! sender to the main process, say) has room for its first and its last ones. What is left
//! out is counted exactly.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use tracer_common::signal::SignalSet;

use super::{
    admission::Claim,
    signals::{Amendment, Dispositions},
};
use crate::{
    model::{
        event::{Consumer, DispositionKind, Fate, ProcessRef, Runtime, SignalSent},
        signal::Signal,
    },
    observation::ProcessId,
};

/// Events of one start that are all kept.
pub const ROOM: usize = 1_000;
/// The same where all starts together have [`MANY`] or more.
const LITTLE_ROOM: usize = 50;
/// Events of all starts from which on each has little room.
pub const MANY: usize = 200_000;
/// The first of a kind that are kept where there is no more room for all.
const FIRST: u64 = 8;
/// The last of a kind that are kept then.
const LAST: usize = 8;
/// Kinds that are told apart in one start; the rest are one.
const MAX_CLASSES: usize = 512;
/// Groups that are counted apart; the rest are counted without their sender.
const MAX_GROUPS: usize = 256;

/// What happened, before it is known which signal the service reloads by.
#[derive(Clone, Debug)]
pub enum Record {
    /// See [`crate::model::event::What::Fork`].
    Fork { process: ProcessRef, parent: ProcessRef },
    /// See [`crate::model::event::What::Exec`].
    Exec { process: ProcessRef, exe: String, filename: Option<String>, now: Dispositions },
    /// See [`crate::model::event::What::Exit`].
    Exit { process: ProcessRef, signal: Option<Signal>, code: u8, core_dumped: bool },
    /// A signal; its times are absolute.
    Signal { sent: SignalSent, fate_at: Option<u64> },
    /// A sigaction.
    Action {
        process: ProcessRef,
        signal: Signal,
        disposition: DispositionKind,
        once: bool,
        runtime: Option<Runtime>,
    },
    /// What a process does has changed without a sigaction, or was found so.
    Turn {
        process: ProcessRef,
        before: Dispositions,
        now: Dispositions,
        consumer: Option<Consumer>,
        found: bool,
    },
    /// A thread has changed its mask to `mask`.
    Mask { process: ProcessRef, tid: u32, mask: SignalSet, before: Dispositions, now: Dispositions },
    /// A notify message; whether it counts is judged when the unit's settings are known.
    Notify {
        sender: ProcessRef,
        destination: String,
        assignments: Vec<(String, String)>,
        length: u32,
        claim: Claim,
    },
    /// A process joined a cgroup.
    Cgroup { process: ProcessRef, path: String },
}

/// A record with its time and the process it is about.
#[derive(Clone, Debug)]
pub struct Stored {
    /// `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// In which order they came.
    pub order: u64,
    /// The process it is about: of a signal the target, of a message the sender.
    pub id: ProcessId,
    /// What happened.
    pub record: Record,
    class: Class,
}

/// What an event is, as far as it is one of many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// What sort of event.
    pub kind: Kind,
    /// The process, where each one's are told apart.
    pub of: Option<ProcessId>,
    /// The signal's number, an exit's or a message's meaning.
    pub detail: u32,
    /// The name of a signal's sender.
    pub sender: Option<Arc<str>>,
}

/// Sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Fork,
    Exec,
    Exit,
    Signal,
    Action,
    Turn,
    Mask,
    Notify,
    Cgroup,
}

/// What left out events are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// What sort of event.
    pub kind: Kind,
    /// The signals it is about; empty where it is about none.
    pub signals: u64,
    /// What became of the signal.
    pub fate: Option<u8>,
    /// The name of its sender.
    pub sender: Option<Arc<str>>,
}

/// Where an event is, if it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    slot: usize,
    order: u64,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    first: u64,
    last: VecDeque<Place>,
}

/// The events of one start.
#[derive(Clone, Debug, Default)]
pub struct Events {
    slots: Vec<Option<Box<Stored>>>,
    free: Vec<usize>,
    order: u64,
    classes: HashMap<Class, Kept>,
    left_out: BTreeMap<Group, u64>,
}

impl Events {
    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes an event. `is_tight` says that there is little room for each start.
    pub fn add(
        &mut self,
        at: u64,
        id: ProcessId,
        class: Class,
        record: Record,
        is_tight: bool,
    ) -> Place {
        let room = if is_tight { LITTLE_ROOM } else { ROOM };
        let has_room = self.len() < room;
        let class = if self.classes.len() < MAX_CLASSES || self.classes.contains_key(&class) {
            class
        } else {
            Class { of: None, detail: 0, sender: None, ..class }
        };
        let kept = self.classes.entry(class.clone()).or_default();
        let is_first = has_room || kept.first < FIRST;
        self.order += 1;
        let stored = Box::new(Stored { at, order: self.order, id, record, class: class.clone() });
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(stored);
        let place = Place { slot, order: self.order };
        if is_first {
            kept.first += 1;
            return place;
        }
        kept.last.push_back(place);
        let oldest = if kept.last.len() > LAST { kept.last.pop_front() } else { None };
        if let Some(gone) = oldest.and_then(|oldest| self.take(oldest)) {
            self.count(gone.group(), 1);
        }
        place
    }

    fn take(&mut self, place: Place) -> Option<Box<Stored>> {
        let slot = self.slots.get_mut(place.slot)?;
        let stored = slot.take_if(|stored| stored.order == place.order)?;
        self.free.push(place.slot);
        Some(stored)
    }

    fn count(&mut self, group: Group, by: i64) {
        let group = if self.left_out.len() < MAX_GROUPS || self.left_out.contains_key(&group) {
            group
        } else {
            Group { sender: None, signals: 0, ..group }
        };
        let count = self.left_out.entry(group).or_default();
        *count = count.saturating_add_signed(by);
    }

    /// A kept event.
    pub fn get_mut(&mut self, place: Place) -> Option<&mut Stored> {
        let stored = self.slots.get_mut(place.slot)?.as_deref_mut()?;
        (stored.order == place.order).then_some(stored)
    }

    /// What became of the signal at `place`; `group` is what it is counted by if it was left
    /// out meanwhile, with what was known of it until now.
    pub fn settle(&mut self, place: Place, group: &Group, fate: Fate, fate_at: Option<u64>) {
        if let Some(stored) = self.get_mut(place) {
            if let Record::Signal { sent, fate_at: when } = &mut stored.record {
                sent.fate = fate;
                *when = fate_at;
            }
            return;
        }
        self.count(group.clone(), -1);
        self.count(Group { fate: Some(fate as u8), ..group.clone() }, 1);
    }

    /// Says of a process's events whose handler a signal had, in hindsight.
    pub fn amend(&mut self, id: ProcessId, amendment: Amendment) {
        let Amendment { signal, from, until, runtime } = amendment;
        let is_meant = |it: &&mut Box<Stored>| it.id == id && it.at >= from && it.at < until;
        let of_process = self.slots.iter_mut().flatten().filter(is_meant);
        for stored in of_process {
            let amend = |now: &mut Dispositions| {
                if now.caught.intersects(signal.set()) {
                    now.set_runtime(signal, runtime);
                }
            };
            match &mut stored.record {
                Record::Exec { now, .. } => amend(now),
                Record::Turn { before, now, .. } | Record::Mask { before, now, .. } => {
                    // What it did before may be older.
                    if stored.at > from {
                        amend(before);
                    }
                    amend(now);
                }
                Record::Signal { sent, .. }
                    if sent.signal == signal && sent.disposition == DispositionKind::Handler =>
                {
                    sent.runtime = runtime;
                }
                Record::Action { signal: of, disposition, runtime: whose, .. }
                    if *of == signal && *disposition == DispositionKind::Handler =>
                {
                    *whose = runtime;
                }
                _ => {}
            }
        }
    }

    /// Every kept event, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stored> {
        self.slots.iter_mut().flatten().map(|stored| &mut **stored)
    }

    /// Every kept event, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.slots.iter().flatten().map(|stored| &**stored)
    }

    /// Every kept event, in order of time.
    #[must_use]
    pub fn in_order(&self) -> Vec<&Stored> {
        let mut events: Vec<&Stored> = self.slots.iter().flatten().map(|it| &**it).collect();
        events.sort_by_key(|event| (event.at, event.order));
        events
    }

    /// The events that were left out, counted.
    pub fn left_out(&self) -> impl Iterator<Item = (&Group, u64)> {
        self.left_out.iter().map(|(group, count)| (group, *count)).filter(|(_, count)| *count > 0)
    }
}

impl Stored {
    /// What it is counted by if it is left out.
    fn group(&self) -> Group {
        let (signals, fate) = match &self.record {
            Record::Signal { sent, .. } => (sent.signal.set().0, Some(sent.fate as u8)),
            Record::Action { signal, .. } => (signal.set().0, None),
            Record::Turn { before, now, .. } | Record::Mask { before, now, .. } => {
                (before.differ(now).0, None)
            }
            _ => (0, None),
        };
        Group { kind: self.class.kind, signals, fate, sender: self.class.sender.clone() }
    }
}
