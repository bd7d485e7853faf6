//! What the processes of a start tell systemd: READY=1 and other messages, and whose count.

use super::{Context, Start};
use crate::{
    model::unit::UnitFacts,
    observation::{Datagram, ProcessId},
    timeline::{
        admission::{self, Admission, Claim, Speakers},
        events::{Class, Kind, Record},
        notify::{self, Meaning, Message},
    },
};

/// Changes of `NotifyAccess=` by messages; the first and the last ones are kept.
const MAX_ACCESS: usize = 64;

/// READY=1 messages that are remembered; those of main processes besides.
const MAX_READY: usize = 64;

/// The first ones of one sender that are.
const MAX_READY_OF_ONE: usize = 4;

impl Start {
    /// What becomes of a message of its service, under these settings of the unit.
    #[must_use]
    pub fn admission(&self, facts: Option<&UnitFacts>, claim: &Claim) -> Admission {
        let changed = self.access.iter().rev().find(|(since, _)| *since < claim.at);
        let speakers = Speakers {
            main: self.main_at(claim.at),
            controls: &self.controls,
            changed: changed.map(|(_, access)| access.as_str()),
        };
        admission::judge(speakers, facts, claim)
    }

    /// Notes that a message has changed who may speak.
    pub fn change_access(&mut self, at: u64, access: &str) {
        if self.access.len() >= MAX_ACCESS {
            self.access.remove(MAX_ACCESS / 2);
            self.unfollowed += 1;
        }
        self.access.push((at, access.to_owned()));
        self.revision += 1;
    }

    /// Changes what is known of the messages that a process sent, as far as they are kept: it
    /// makes doubtful whether one was read, and never refuses it.
    pub(super) fn claims_of(&mut self, sender: ProcessId, mut change: impl FnMut(&mut Claim)) {
        for stored in self.events.iter_mut().filter(|stored| stored.id == sender) {
            if let Record::Notify { claim, .. } = &mut stored.record {
                change(claim);
            }
        }
    }

    pub(super) fn notified(&mut self, context: Context<'_>, at: u64, datagram: &Datagram) {
        let given = context.sockets.iter().map(String::as_str);
        if !notify::is_notify_socket(&datagram.destination, given) {
            return;
        }
        let message = datagram
            .payload
            .as_deref()
            .map(|payload| notify::parse(payload, datagram.length))
            .unwrap_or_default();
        let mut claim = Claim::new(at, datagram, &message);
        let id = datagram.sender.id;
        if let Some(member) = self.members.get_mut(&id) {
            member.last_message = member.last_message.max(Some(at));
            claim.ended = member.ended.map(|end| end.at);
            if claim.waited {
                member.last_barrier = member.last_barrier.max(Some(at));
            }
            // Messages may be told in another order than they were sent in.
            claim.waited |= member.last_barrier >= Some(at);
        }
        if message.is_barrier() {
            self.claims_of(id, |earlier| earlier.waited |= earlier.at <= at);
        }
        let meaning = notify::meaning(&message.assignments);
        if meaning == Some(Meaning::Ready) {
            self.note_ready(&claim);
        }
        let mut sender = self.sender(&datagram.sender);
        // /proc was read later, and may tell of the next program already.
        sender.exe = sender.exe.or_else(|| datagram.exe.clone());
        let detail = match meaning {
            None => 0,
            Some(Meaning::Stopping) => 1,
            Some(Meaning::Ready) => 2,
            Some(Meaning::Reloading) => 3,
        } | u32::from(claim.errno != 0) << 4
            | u32::from(datagram.not_connected) << 5;
        let class = Class { detail, ..self.class(Kind::Notify, id, at) };
        let Message { assignments, lines_left_out, .. } = message;
        let Datagram { length, not_connected, .. } = *datagram;
        let destination = datagram.destination.clone();
        let record = Record::Notify {
            sender,
            destination,
            assignments,
            lines_left_out,
            length,
            not_connected,
            claim,
        };
        self.events.add(at, id, class, record, context.is_tight);
        self.revision += 1;
    }

    /// Remembers a READY=1: the first ones of each sender.
    fn note_ready(&mut self, claim: &Claim) {
        let is_same = |earlier: &Claim| {
            (earlier.sender, earlier.claimed, earlier.errno == 0)
                == (claim.sender, claim.claimed, claim.errno == 0)
        };
        // The main process may change between two of one sender's, and they may be told late.
        let same = self.ready.iter().enumerate().filter(|(_, earlier)| is_same(earlier));
        let last = same.clone().max_by_key(|(_, earlier)| earlier.at).map(|(index, _)| index);
        let (count, is_main) =
            (same.count(), self.mains.iter().any(|(_, main)| main.id == claim.sender));
        match last {
            Some(last) if count >= MAX_READY_OF_ONE && claim.at < self.ready[last].at => {
                self.ready[last] = claim.clone();
            }
            Some(_) if count >= MAX_READY_OF_ONE => {}
            _ if is_main || self.ready.len() < MAX_READY => self.ready.push(claim.clone()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Task;

    fn ready(at: u64, pid: u32) -> Claim {
        let sender = Task {
            id: ProcessId { pid, start_ticks: 0 },
            tid: pid,
            ns_pid: pid,
            uid: 0,
            start_ns: 0,
            cgroup_id: 0,
            comm: "".into(),
        };
        let datagram = Datagram {
            sender,
            exe: None,
            claimed_pid: None,
            destination: String::new(),
            payload: Some(b"READY=1".to_vec()),
            length: 7,
            errno: 0,
            not_connected: false,
        };
        Claim::new(at, &datagram, &notify::parse(b"READY=1", 7))
    }

    #[test]
    fn of_one_sender_four_that_say_ready_are_remembered_and_an_earlier_one_takes_the_last_place() {
        let mut start = Start::new(None);
        (10..20).for_each(|at| start.note_ready(&ready(at, 7)));
        let times = |start: &Start| start.ready().iter().map(|it| it.at).collect::<Vec<_>>();
        assert_eq!(times(&start), [10, 11, 12, 13]);
        start.note_ready(&ready(5, 7));
        assert_eq!(times(&start), [10, 11, 12, 5]);
    }

    #[test]
    fn of_all_senders_so_many_that_say_ready_are_remembered_and_main_ones_besides() {
        let mut start = Start::new(None);
        let main =
            |pid| admission::KnownProcess { id: ProcessId { pid, start_ticks: 0 }, ns_pid: pid };
        start.set_main(1, main(500));
        (0..100).for_each(|pid| start.note_ready(&ready(10, pid)));
        assert_eq!(start.ready().len(), MAX_READY);
        start.note_ready(&ready(20, 500));
        assert_eq!(start.ready().last().map(|it| it.sender.pid), Some(500));
    }

    #[test]
    fn changes_of_who_may_speak_that_there_is_no_room_for_are_counted() {
        let mut start = Start::new(None);
        (0..=MAX_ACCESS as u64).for_each(|at| start.change_access(at, "all"));
        assert_eq!((start.access().len(), start.unfollowed()), (MAX_ACCESS, 1));
        let times = [start.access().first(), start.access().last()].map(|it| it.unwrap().0);
        assert_eq!(times, [0, MAX_ACCESS as u64]);
    }
}
