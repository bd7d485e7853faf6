//! The events of one start, as many as there is room for.
//!
//! The first ones are all kept. Beyond, each kind of event (the same signal from the same
//! sender to the main process, say) has room for its first and its last ones. What is left
//! out is counted exactly.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use hashbrown::HashMap;
use smol_str::SmolStr;
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
    observation::{Origin, ProcessId},
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
/// Kinds that are told apart in one start, senders included. As many more are told apart
/// without; the rest are one of each sort.
const MAX_CLASSES: usize = 512;
/// Groups that are counted apart; the rest are counted without their sender.
const MAX_GROUPS: usize = 256;

/// What happened, before it is known which signal the service reloads by.
#[derive(Clone, Debug)]
pub enum Record {
    /// See [`crate::model::event::What::Fork`].
    Fork { process: ProcessRef, parent: ProcessRef },
    /// See [`crate::model::event::What::Exec`].
    Exec {
        process: ProcessRef,
        exe: SmolStr,
        filename: Option<String>,
        now: Dispositions,
        background: bool,
    },
    /// See [`crate::model::event::What::Exit`].
    Exit { process: ProcessRef, signal: Option<Signal>, code: u8, core_dumped: bool },
    /// A signal; its times are absolute, and of its sender nothing is told in it but the process:
    /// what else `sender` says is put into words when it is told.
    Signal { sent: SignalSent, sender: Option<SenderFrom>, fate_at: Option<u64> },
    /// A sigaction.
    Action {
        process: ProcessRef,
        signal: Signal,
        disposition: DispositionKind,
        once: bool,
        runtime: Option<Runtime>,
    },
    /// What a process does has changed without a sigaction, or was found so.
    Change {
        process: ProcessRef,
        before: Dispositions,
        now: Dispositions,
        consumer: Option<Consumer>,
        found: bool,
    },
    /// A thread has changed its mask to `mask`.
    Mask { process: ProcessRef, tid: u32, mask: SignalSet, before: Dispositions, now: Dispositions },
    /// A notify message, or a connect() to its socket that failed; whether it counts is judged
    /// when the unit's settings are known.
    Notify {
        sender: ProcessRef,
        destination: String,
        assignments: Vec<(String, String)>,
        lines_left_out: u32,
        length: u32,
        not_connected: bool,
        claim: Claim,
    },
    /// A process joined a cgroup.
    Cgroup { process: ProcessRef, path: String },
}

/// Where the sender of a signal comes from.
#[derive(Clone, Debug)]
pub struct SenderFrom {
    /// Its cgroup in the unified hierarchy.
    pub cgroup_id: u64,
    /// What else was seen of it: one for all the signals that it was seen of at a time.
    pub origin: Arc<Origin>,
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
    pub sender: Option<SmolStr>,
}

/// Sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Fork,
    Exec,
    Exit,
    Signal,
    Action,
    Change,
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
    pub sender: Option<SmolStr>,
}

impl Group {
    fn of(kind: Kind, signals: SignalSet) -> Self {
        Self { kind, signals: signals.0, fate: None, sender: None }
    }
}

/// Where an event is, if it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace {
    slot: usize,
    order: u64,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    first: u64,
    last: VecDeque<EventPlace>,
}

/// The events of one start.
#[derive(Clone, Debug, Default)]
pub struct Events {
    slots: Vec<Option<Box<Stored>>>,
    free: Vec<usize>,
    order: u64,
    classes: HashMap<Class, Kept>,
    left_out: BTreeMap<Group, u64>,
    weight: usize,
}

/// Bytes of text that weigh as much as an event.
const TEXT: usize = 512;

impl Record {
    /// What it takes of the room for events, one without much text being 1.
    fn weight(&self) -> usize {
        let text = match self {
            Self::Notify { assignments, .. } => assignments
                .iter()
                .map(|(key, value)| key.len() + value.len() + size_of::<(String, String)>())
                .sum(),
            _ => 0,
        };
        1 + text / TEXT
    }
}

impl Events {
    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How much room the kept ones take, an event without much text being 1.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Takes an event. `is_tight` says that there is little room for each start.
    pub fn add(
        &mut self,
        at: u64,
        id: ProcessId,
        class: Class,
        record: Record,
        is_tight: bool,
    ) -> EventPlace {
        let room = if is_tight { LITTLE_ROOM } else { ROOM };
        let has_room = self.len() < room;
        let class = self.told_apart(class);
        let kept = self.classes.entry(class.clone()).or_default();
        let is_first = has_room || kept.first < FIRST;
        self.order += 1;
        self.weight += record.weight();
        let stored = Box::new(Stored { at, order: self.order, id, record, class: class.clone() });
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(stored);
        let place = EventPlace { slot, order: self.order };
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

    /// The class as far as it is told apart from others. Senders are the first to be taken
    /// together: there may be any number of names.
    fn told_apart(&self, class: Class) -> Class {
        let has_room =
            |class: &Class, max| self.classes.len() < max || self.classes.contains_key(class);
        if has_room(&class, MAX_CLASSES) {
            return class;
        }
        let class = Class { sender: None, ..class };
        if has_room(&class, 2 * MAX_CLASSES) {
            return class;
        }
        Class { of: None, detail: 0, ..class }
    }

    fn take(&mut self, place: EventPlace) -> Option<Box<Stored>> {
        let slot = self.slots.get_mut(place.slot)?;
        let stored = slot.take_if(|stored| stored.order == place.order)?;
        self.free.push(place.slot);
        self.weight -= stored.record.weight();
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
    pub fn get_mut(&mut self, place: EventPlace) -> Option<&mut Stored> {
        let stored = self.slots.get_mut(place.slot)?.as_deref_mut()?;
        (stored.order == place.order).then_some(stored)
    }

    /// What became of the signal at `place`; `group` is what it is counted by if it was left
    /// out meanwhile, with what was known of it until now.
    pub fn settle(&mut self, place: EventPlace, group: &Group, fate: Fate, fate_at: Option<u64>) {
        if let Some(stored) = self.get_mut(place) {
            if let Record::Signal { sent, fate_at: when, .. } = &mut stored.record {
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
                Record::Change { before, now, .. } | Record::Mask { before, now, .. } => {
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
        let kind = self.class.kind;
        match &self.record {
            Record::Signal { sent, .. } => Group {
                kind,
                signals: sent.signal.set().0,
                fate: Some(sent.fate as u8),
                sender: sent.sender.as_ref().map(|sender| sender.comm.clone()),
            },
            Record::Action { signal, .. } => Group::of(kind, signal.set()),
            Record::Change { before, now, .. } | Record::Mask { before, now, .. } => {
                Group::of(kind, before.differ(now))
            }
            _ => Group::of(kind, SignalSet::EMPTY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observation::Fact,
        timeline::{
            notify,
            tests::story::{STARTER, Story},
        },
    };

    const ID: ProcessId = ProcessId { pid: 10, start_ticks: 0 };

    fn process() -> ProcessRef {
        ProcessRef { pid: 10, ns_pid: None, comm: "demo".into(), exe: None, uid: None }
    }

    fn class(kind: Kind, detail: u32, sender: Option<&str>) -> Class {
        Class { kind, of: Some(ID), detail, sender: sender.map(SmolStr::from) }
    }

    fn fork(events: &mut Events, at: u64, is_tight: bool) -> EventPlace {
        let record = Record::Fork { process: process(), parent: process() };
        events.add(at, ID, class(Kind::Fork, 0, None), record, is_tight)
    }

    fn exec(events: &mut Events, at: u64) -> EventPlace {
        let now = Dispositions::default();
        let (exe, filename, background) = (SmolStr::default(), None, false);
        let record = Record::Exec { process: process(), exe, filename, now, background };
        events.add(at, ID, class(Kind::Exec, 0, None), record, false)
    }

    /// A HUP from a process of this name, and what it is counted by.
    fn hup(events: &mut Events, at: u64, sender: &str) -> (EventPlace, Group) {
        let sent = SignalSent {
            signal: Signal::HUP,
            sender: Some(ProcessRef { comm: sender.into(), ..process() }.into()),
            target: process(),
            tid: None,
            unblocked: None,
            si_code: 0,
            disposition: DispositionKind::Handler,
            runtime: None,
            traced: false,
            fate: Fate::Pending,
            fate_ns: None,
            effect: None,
            effect_ns: None,
        };
        let record = Record::Signal { sent, sender: None, fate_at: None };
        let place = events.add(at, ID, class(Kind::Signal, 1, Some(sender)), record, false);
        (place, group(Fate::Pending, sender))
    }

    fn group(fate: Fate, sender: &str) -> Group {
        Group {
            kind: Kind::Signal,
            signals: Signal::HUP.set().0,
            fate: Some(fate as u8),
            sender: Some(sender.into()),
        }
    }

    fn left_out(events: &Events) -> u64 {
        events.left_out().map(|(_, count)| count).sum()
    }

    fn times(events: &Events, kind: Kind) -> Vec<u64> {
        let all = events.in_order();
        all.iter().filter(|it| it.class.kind == kind).map(|event| event.at).collect()
    }

    #[test]
    fn the_first_events_are_all_kept_and_of_each_kind_beyond_the_first_and_the_last() {
        let mut events = Events::default();
        for at in 0..ROOM as u64 + 100 {
            fork(&mut events, at, false);
        }
        assert_eq!(events.len(), ROOM + LAST);
        assert_eq!(left_out(&events), 100 - LAST as u64);
        assert_eq!(times(&events, Kind::Fork).last(), Some(&(ROOM as u64 + 99)));
        // Another kind has its own room.
        for at in 0..100 {
            exec(&mut events, at);
        }
        let kept: Vec<u64> = (0..FIRST).chain(100 - LAST as u64..100).collect();
        assert_eq!(times(&events, Kind::Exec), kept);
        assert_eq!(left_out(&events), 100 - LAST as u64 + 100 - FIRST - LAST as u64);
    }

    #[test]
    fn where_all_starts_have_many_events_each_has_little_room() {
        let mut events = Events::default();
        for at in 0..200 {
            fork(&mut events, at, true);
        }
        assert_eq!(events.len(), LITTLE_ROOM + LAST);
        assert_eq!(left_out(&events), 200 - (LITTLE_ROOM + LAST) as u64);
    }

    #[test]
    fn what_is_left_out_is_counted_by_the_fate_that_is_told_later_too() {
        let mut events = Events::default();
        let places: Vec<_> = (0..ROOM as u64 + 50).map(|at| hup(&mut events, at, "kill")).collect();
        for (place, group) in &places {
            events.settle(*place, group, Fate::Handled, Some(9_999));
        }
        let told: Vec<(Group, u64)> =
            events.left_out().map(|(group, count)| (group.clone(), count)).collect();
        assert_eq!(told, [(group(Fate::Handled, "kill"), 50 - LAST as u64)]);
        assert!(events.iter().all(|stored| matches!(
            &stored.record,
            Record::Signal { sent, fate_at: Some(9_999), .. } if sent.fate == Fate::Handled
        )));
    }

    /// As many senders as like to: the counts stay exact, and a main process's other events
    /// are told apart from theirs.
    #[test]
    fn senders_of_any_number_of_names_take_no_room_from_other_kinds() {
        let mut events = Events::default();
        for at in 0..ROOM as u64 {
            fork(&mut events, at, false);
        }
        let senders = 2_000;
        let places: Vec<_> =
            (0..senders).map(|n| hup(&mut events, 5_000 + n, &format!("sender{n}"))).collect();
        let kept = events.len() - ROOM;
        assert!((MAX_CLASSES..MAX_CLASSES + 32).contains(&kept), "{kept}");
        exec(&mut events, 10_000);
        for at in 0..100 {
            hup(&mut events, 20_000 + at, "another");
        }
        assert_eq!(times(&events, Kind::Exec), [10_000]);
        assert_eq!(times(&events, Kind::Signal).last(), Some(&20_099));
        let total = ROOM as u64 + senders + 1 + 100;
        assert_eq!(events.len() as u64 + left_out(&events), total);
        for (place, group) in &places {
            events.settle(*place, group, Fate::Handled, None);
        }
        assert_eq!(events.len() as u64 + left_out(&events), total);
        assert!(events.left_out().count() <= MAX_GROUPS + 4);
        let handled = events.left_out().filter(|(it, _)| it.fate == Some(Fate::Handled as u8));
        let of_kept = places.iter().filter(|(place, _)| {
            events.slots[place.slot].as_ref().is_some_and(|stored| stored.order == place.order)
        });
        assert_eq!(handled.map(|(_, count)| count).sum::<u64>(), senders - of_kept.count() as u64);
    }

    /// Kinds in any number, as when each of many processes ends in another way.
    #[test]
    fn kinds_of_any_number_have_no_more_room_than_there_is_for_kinds() {
        let mut events = Events::default();
        for at in 0..ROOM as u64 {
            fork(&mut events, at, false);
        }
        let kinds = 4 * MAX_CLASSES as u32;
        for number in 0..kinds {
            let of = ProcessId { pid: 1_000 + number, start_ticks: 0 };
            let class = Class { kind: Kind::Exit, of: Some(of), detail: number % 7, sender: None };
            let (code, signal, core_dumped) = (0, None, false);
            let record = Record::Exit { process: process(), signal, code, core_dumped };
            events.add(5_000, of, class, record, false);
        }
        // That of the forks is one; the exits that have none of their own share one.
        let shared = FIRST as usize + LAST;
        assert_eq!(times(&events, Kind::Exit).len(), 2 * MAX_CLASSES - 1 + shared);
        assert_eq!(events.len() as u64 + left_out(&events), ROOM as u64 + u64::from(kinds));
    }

    #[test]
    fn what_is_left_out_is_counted_in_groups_of_bounded_number_whatever_it_is_about() {
        let mut events = Events::default();
        for at in 0..ROOM as u64 {
            fork(&mut events, at, false);
        }
        for number in 0..10_000 {
            let (before, mut now) = (Dispositions::default(), Dispositions::default());
            now.caught = SignalSet(number + 1);
            let (consumer, found) = (None, false);
            let record = Record::Change { process: process(), before, now, consumer, found };
            events.add(5_000, ID, class(Kind::Change, 0, None), record, false);
        }
        let groups: Vec<&Group> = events.left_out().map(|(group, _)| group).collect();
        assert_eq!(groups.len(), MAX_GROUPS + 1);
        assert_eq!(groups[0].signals, 0, "those that there is no group for");
        assert_eq!(events.len() as u64 + left_out(&events), ROOM as u64 + 10_000);
    }

    /// A mask is told that changes while HUP has a handler.
    fn mask(events: &mut Events, at: u64, id: ProcessId) -> EventPlace {
        let mut caught = Dispositions::default();
        caught.caught = Signal::HUP.set();
        let (tid, mask, before, now) = (10, SignalSet::EMPTY, caught, caught);
        let record = Record::Mask { process: process(), tid, mask, before, now };
        events.add(at, id, class(Kind::Mask, 0, None), record, false)
    }

    #[test]
    fn whose_a_handler_was_is_said_of_its_process_its_time_and_its_signal() {
        let mut events = Events::default();
        let runtime = Some(Runtime::CatchAll);
        let signals: Vec<EventPlace> =
            [9, 10, 15, 20].map(|at| hup(&mut events, at, "kill").0).into_iter().collect();
        let others = {
            let place = hup(&mut events, 15, "kill").0;
            events.get_mut(place).unwrap().id = ProcessId { pid: 11, start_ticks: 0 };
            let (to_default, term) =
                (hup(&mut events, 15, "kill").0, hup(&mut events, 15, "kill").0);
            for (place, signal, disposition) in [
                (to_default, Signal::HUP, DispositionKind::Default),
                (term, Signal::TERM, DispositionKind::Handler),
            ] {
                let Record::Signal { sent, .. } = &mut events.get_mut(place).unwrap().record else {
                    panic!("a signal");
                };
                (sent.signal, sent.disposition) = (signal, disposition);
            }
            [place, to_default, term]
        };
        let masks = [10, 15].map(|at| mask(&mut events, at, ID));
        events.amend(ID, Amendment { signal: Signal::HUP, from: 10, until: 20, runtime });
        let mut of = |place: EventPlace| match &events.get_mut(place).unwrap().record {
            Record::Signal { sent, .. } => [sent.runtime; 2],
            Record::Mask { before, now, .. } => [before, now].map(|it| it.runtime(Signal::HUP)),
            other => panic!("{other:?}"),
        };
        let signals: Vec<_> = signals.into_iter().map(|place| of(place)[0]).collect();
        assert_eq!(signals, [None, runtime, runtime, None]);
        assert_eq!(others.map(|place| of(place)[0]), [None; 3]);
        // What it did before its first event of that time is older.
        assert_eq!(masks.map(&mut of), [[None, runtime], [runtime, runtime]]);
    }

    #[test]
    fn a_message_weighs_more_the_more_text_it_has() {
        let story = Story::command().fork(0, STARTER, 10).notify(1, 10, "STATUS=on");
        let Some(Fact::Notify(datagram)) = story.observations.last().map(|it| &it.fact) else {
            panic!("a message was sent");
        };
        let payload = datagram.payload.as_deref().unwrap();
        let claim = Claim::new(1, datagram, &notify::parse(payload, datagram.length));
        let weight = |texts: &[(usize, usize)]| {
            let text = |(key, value): &(usize, usize)| ("k".repeat(*key), "v".repeat(*value));
            let (destination, lines_left_out, not_connected) = (String::new(), 0, false);
            let assignments = texts.iter().map(text).collect();
            let (sender, length, claim) = (process(), 0, claim.clone());
            let message = Record::Notify {
                sender,
                destination,
                assignments,
                lines_left_out,
                length,
                not_connected,
                claim,
            };
            message.weight()
        };
        let own = size_of::<(String, String)>();
        assert_eq!(weight(&[]), 1);
        assert_eq!(weight(&[(100, TEXT - own - 101)]), 1);
        assert_eq!(weight(&[(100, TEXT - own - 100)]), 2);
        assert_eq!(weight(&[(100, TEXT - own - 100); 3]), 4);
        assert_eq!(Record::Fork { process: process(), parent: process() }.weight(), 1);
    }

    #[test]
    fn what_is_left_out_weighs_nothing() {
        let mut events = Events::default();
        assert_eq!(events.weight(), 0);
        for at in 0..ROOM as u64 + 100 {
            fork(&mut events, at, false);
        }
        assert_eq!(events.weight(), ROOM + LAST);
    }

    #[test]
    fn whose_a_handler_was_is_said_of_an_exec_and_of_the_calls_that_set_it() {
        let mut events = Events::default();
        let mut now = Dispositions::default();
        now.caught = Signal::HUP.set();
        let (exe, filename, background) = (SmolStr::default(), None, false);
        let record = Record::Exec { process: process(), exe, filename, now, background };
        let exec = events.add(15, ID, class(Kind::Exec, 0, None), record, false);
        let actions = [
            (Signal::HUP, DispositionKind::Handler),
            (Signal::HUP, DispositionKind::Ignored),
            (Signal::TERM, DispositionKind::Handler),
        ];
        let actions = actions.map(|(signal, disposition)| {
            let (once, runtime) = (false, None);
            let record = Record::Action { process: process(), signal, disposition, once, runtime };
            events.add(15, ID, class(Kind::Action, 0, None), record, false)
        });
        let runtime = Some(Runtime::CatchAll);
        events.amend(ID, Amendment { signal: Signal::HUP, from: 10, until: 20, runtime });
        let mut of = |place: EventPlace| match &events.get_mut(place).unwrap().record {
            Record::Exec { now, .. } => now.runtime(Signal::HUP),
            Record::Action { runtime, .. } => *runtime,
            other => panic!("{other:?}"),
        };
        assert_eq!(of(exec), runtime);
        assert_eq!(actions.map(of), [runtime, None, None]);
    }
}
