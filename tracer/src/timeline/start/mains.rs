//! Which process is the main one, from when on: as systemd and messages say, or for want of their
//! word as it looks. What is known later amends it.

use super::Start;
use crate::{observation::ProcessId, timeline::admission::KnownProcess};

/// Main processes of one start, one after the other, that are kept; the first and the last
/// ones always are.
const MAX_MAINS: usize = 64;
/// Main processes that another took the place of, for want of a word of systemd; the last
/// ones are kept.
const MAX_REPLACED: usize = 64;
/// So soon after the end of a main process systemd stops what that has left, ns.
const SOON_NS: u64 = 250_000_000;

impl Start {
    /// Makes a process the main one from `at` on, after those before it.
    pub fn hand_over(&mut self, at: u64, main: KnownProcess) {
        if self.chosen.is_some() {
            return;
        }
        if self.mains.len() >= MAX_MAINS {
            let (_, gone) = self.mains.remove(MAX_MAINS / 2);
            self.forget(gone.id);
            self.unfollowed += 1;
        }
        // systemd may tell of it under the time of an older state.
        let since = self.mains.last().map_or(at, |(since, _)| at.max(*since));
        self.mains.push((since, main));
        self.main_exited_well = None;
        self.told_to_stop = false;
        self.since_unknown = None;
        self.guessed.retain(|(guessed, _)| *guessed != main.id);
        self.revision += 1;
    }

    /// The same where the one before has ended and left it running: a daemon, or what is to end
    /// with the service.
    pub fn guess(&mut self, at: u64, main: KnownProcess) {
        // The daemon is the service from its birth on: a handler of its own counts from when it
        // was set, and not from the end of what started the daemon.
        let born = self.members.get(&main.id).map_or(at, |member| member.start_ns);
        self.hand_over(born.min(at), main);
        let mains = &self.mains;
        self.guessed.retain(|(guessed, _)| mains.iter().any(|(_, main)| main.id == *guessed));
        self.guessed.push((main.id, at));
    }

    /// The same where systemd says so, under the time of an older state.
    pub fn hand_over_by_then(&mut self, at: u64, main: KnownProcess) {
        let born = self.members.get(&main.id).map_or(at, |member| member.start_ns);
        self.hand_over(at.max(born), main);
        self.since_unknown = Some(main.id);
    }

    /// The same of one that may have ended since.
    pub fn was_main(&mut self, at: u64, main: KnownProcess) {
        self.hand_over_by_then(at, main);
        self.look_at_main();
    }

    /// The main process named by a message sent at `at` became that by it, and not before.
    pub fn was_handed_over(&mut self, at: u64, main: ProcessId) {
        if self.since_unknown == Some(main)
            && let [.., (before, _), (since, _)] = self.mains.as_mut_slice()
        {
            *since = at.max(*before);
            self.since_unknown = None;
            self.revision += 1;
        }
    }

    /// systemd has said of the main process that it is that: it is no guess any more.
    pub fn confirm(&mut self, main: ProcessId) {
        self.guessed.retain(|(guessed, _)| *guessed != main);
    }

    /// What was left running is no main process: its service does not put itself into the
    /// background.
    pub fn drop_guesses(&mut self) {
        if self.chosen.is_some() {
            return;
        }
        let guessed = std::mem::take(&mut self.guessed);
        if !guessed.is_empty() {
            self.drop_mains(&guessed);
        }
    }

    fn drop_mains(&mut self, guessed: &[(ProcessId, u64)]) {
        self.mains.retain(|(_, main)| guessed.iter().all(|(guessed, _)| *guessed != main.id));
        self.look_at_main();
    }

    /// systemd stops it since `at`: what was left running since then is on its way out.
    pub fn drop_guesses_since(&mut self, at: u64) {
        let left = self.guessed.iter().position(|(_, left)| *left >= at);
        if let Some(left) = left.filter(|_| self.chosen.is_none()) {
            let guessed = self.guessed.split_off(left);
            self.drop_mains(&guessed);
        }
    }

    /// systemd knew a main process and knows none since `at`, and stops the service for that: what
    /// the old one has left running, and has not ended since, did not take its place.
    pub fn drop_guess_left_before(&mut self, at: u64) {
        let Some((id, left)) = self.guessed.last().copied() else { return };
        let ended = self.members.get(&id).and_then(|member| member.ended);
        let lived = ended.is_none_or(|end| end.at >= at);
        if left <= at && (lived || at - left <= SOON_NS) {
            self.drop_guesses_since(left);
        }
    }

    /// systemd has it as up since `at`. What has come into it by itself since then is no main
    /// process: a command of ExecReload= or ExecStop=.
    pub fn came_up(&mut self, at: u64) {
        let at = self.came_up.map_or(at, |known| known.min(at));
        self.came_up = Some(at);
        while self.chosen.is_none()
            && let [(since, main)] = self.mains.as_slice()
            && *since > at
            && let Some(before) = self.replaced.pop()
        {
            let later = *main;
            self.controls.retain(|control| *control != before.1);
            self.mains = vec![before];
            self.add_control(later);
            self.look_at_main();
        }
    }

    /// Whether systemd had it as up before `at`.
    #[must_use]
    pub fn is_up_at(&self, at: u64) -> bool {
        self.came_up.is_some_and(|since| since < at)
    }

    /// It ended before systemd had started its main process: what ran were commands before that.
    pub fn had_no_main(&mut self) {
        if self.chosen.is_some() {
            return;
        }
        for (_, before) in std::mem::take(&mut self.mains) {
            self.add_control(before);
        }
        self.revision += 1;
    }

    /// The same where its main process is yet to come.
    pub fn has_no_main_yet(&mut self) {
        self.had_no_main();
        self.look_at_main();
    }

    /// Whether it was found running, and its main processes were there at `at` and lived on.
    #[must_use]
    pub fn was_there(&self, at: u64) -> bool {
        let mut mains = self.mains.iter().filter_map(|(_, main)| self.member(main.id));
        self.joined_at.is_some()
            && mains.all(|it| it.start_ns < at && it.ended.is_none_or(|end| end.at > at))
    }

    /// Notes whether what is the main process now has ended.
    fn look_at_main(&mut self) {
        let ended = self.main().and_then(|main| self.member(main)).and_then(|main| main.ended);
        self.main_exited_well = ended.map(|end| end.signal.is_none() && end.code == 0);
        self.revision += 1;
    }

    /// Makes a process the main one for good, if none was said to be it before.
    pub fn choose_main(&mut self, since: u64, main: KnownProcess) {
        if self.chosen.is_none() {
            self.supervisor = self.main().filter(|before| *before != main.id);
            self.set_main(since, main);
            self.chosen = Some(main.id);
        }
    }

    /// Makes a process the main one in place of all that were: those were not, but commands
    /// before it such as ExecStartPre=.
    pub fn set_main(&mut self, since: u64, main: KnownProcess) {
        for before in std::mem::take(&mut self.mains) {
            self.add_control(before.1);
            if self.replaced.len() >= MAX_REPLACED {
                self.replaced.remove(0);
                self.unfollowed += 1;
            }
            self.replaced.push(before);
        }
        self.mains.push((since, main));
        self.main_exited_well = None;
        self.told_to_stop = false;
        self.revision += 1;
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::signal::SignalSet;

    use super::{super::Context, *};
    use crate::{
        observation::Task,
        timeline::start::{End, MAX_CONTROLS},
    };

    #[test]
    fn of_the_processes_that_took_each_others_place_the_last_are_gone_back_to() {
        let process =
            |pid: u32| KnownProcess { id: ProcessId { pid, start_ticks: 0 }, ns_pid: pid };
        let up_at = |at: u64| {
            let mut start = Start::new(None);
            for pid in 1..=100 {
                start.set_main(u64::from(pid), process(pid));
            }
            start.came_up(at);
            start.main().map(|main| main.pid)
        };
        assert_eq!([99, 60, 36].map(up_at), [Some(99), Some(60), Some(36)]);
        assert_eq!(up_at(10), Some(100 - MAX_REPLACED as u32));
    }

    #[test]
    fn main_processes_and_commands_that_there_is_no_room_for_are_counted() {
        let process =
            |pid: u32| KnownProcess { id: ProcessId { pid, start_ticks: 0 }, ns_pid: pid };
        let count = |has: fn(&mut Start, KnownProcess), most: usize, more: u32| {
            let mut start = Start::new(None);
            (0..most as u32 + more).for_each(|pid| has(&mut start, process(pid)));
            start.unfollowed()
        };
        for more in [0, 1, 7] {
            let handed_over: fn(&mut Start, KnownProcess) = |start, it| start.hand_over(1, it);
            assert_eq!(count(handed_over, MAX_MAINS, more), u64::from(more));
            // The last one is not replaced.
            let set: fn(&mut Start, KnownProcess) = |start, it| start.set_main(1, it);
            assert_eq!(count(set, MAX_REPLACED + 1, more), u64::from(more));
            assert_eq!(count(Start::add_control, MAX_CONTROLS, more), u64::from(more));
        }
    }

    #[test]
    fn a_main_process_that_had_ended_before_it_was_one_again_ended_as_it_did() {
        let process =
            |pid: u32| KnownProcess { id: ProcessId { pid, start_ticks: 0 }, ns_pid: pid };
        let hup = Some(crate::model::signal::Signal::HUP);
        for (signal, code, well) in [(None, 0, true), (None, 1, false), (hup, 0, false)] {
            let mut start = Start::new(None);
            start.set_main(1, process(7));
            let (recorded, sockets, is_tight) = (SignalSet::EMPTY, &[][..], false);
            let task = Task {
                id: process(7).id,
                tid: 7,
                ns_pid: 7,
                uid: 0,
                start_ns: 0,
                cgroup_id: 0,
                comm: "".into(),
            };
            let context = Context { recorded, sockets, is_tight };
            start.member_mut(context, &task).ended = Some(End { at: 2, signal, code });
            start.guess(3, process(8));
            assert_eq!(start.main_exited_well, None);
            // What it left running is no daemon.
            start.drop_guesses();
            assert_eq!(start.main_exited_well, Some(well), "{signal:?} {code}");
        }
    }

    #[test]
    fn each_change_of_the_main_process_is_told_of() {
        let main = KnownProcess { id: ProcessId { pid: 7, start_ticks: 0 }, ns_pid: 7 };
        let other = KnownProcess { id: ProcessId { pid: 8, start_ticks: 0 }, ns_pid: 8 };
        let changes: [fn(&mut Start, KnownProcess); 5] = [
            |start, other| start.hand_over(5, other),
            |start, other| start.set_main(5, other),
            |start, other| start.choose_main(5, other),
            |start, _| start.had_no_main(),
            |start, _| start.drop_guesses(),
        ];
        for change in changes {
            let mut start = Start::new(None);
            start.guess(1, main);
            let (told, before) = (start.revision, start.main());
            change(&mut start, other);
            assert_ne!(start.main(), before);
            assert!(start.revision > told);
        }
    }

    #[test]
    fn what_was_taken_for_the_main_process_meanwhile_is_a_command_beside_it() {
        let process =
            |pid: u32| KnownProcess { id: ProcessId { pid, start_ticks: 0 }, ns_pid: pid };
        let mut start = Start::new(None);
        (1..=3).for_each(|pid| start.set_main(u64::from(pid), process(pid)));
        let controls =
            |start: &Start| start.controls.iter().map(|it| it.id.pid).collect::<Vec<_>>();
        assert_eq!(controls(&start), [1, 2]);
        start.came_up(2);
        assert_eq!(controls(&start), [1, 3]);
    }

    #[test]
    fn a_message_says_since_when_the_process_that_it_names_is_the_main_one() {
        let process =
            |pid: u32| KnownProcess { id: ProcessId { pid, start_ticks: 0 }, ns_pid: pid };
        let mut start = Start::new(None);
        start.hand_over(1, process(1));
        start.hand_over_by_then(2, process(2));
        let since = |start: &Start| start.mains.last().unwrap().0;
        start.was_handed_over(9, process(1).id);
        assert_eq!(since(&start), 2, "it names another");
        start.was_handed_over(9, process(2).id);
        start.was_handed_over(12, process(2).id);
        assert_eq!(since(&start), 9);
    }
}
