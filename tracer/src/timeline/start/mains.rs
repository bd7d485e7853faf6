//! Which process is the main one, from when on: as systemd and messages say, or for want of their
//! word as it looks. What is known later amends it.

use super::Start;
use crate::{observation::ProcessId, timeline::admission::Known};

/// Main processes of one start, one after the other, that are kept; the first and the last
/// ones always are.
const MAX_MAINS: usize = 64;
/// Main processes that another took the place of, for want of a word of systemd; the last
/// ones are kept.
const MAX_REPLACED: usize = 64;

impl Start {
    /// Makes a process the main one from `at` on, after those before it.
    pub fn hand_over(&mut self, at: u64, main: Known) {
        if self.chosen.is_some() {
            return;
        }
        if self.mains.len() >= MAX_MAINS {
            let (_, gone) = self.mains.remove(MAX_MAINS / 2);
            self.forget(gone.id);
        }
        // systemd may tell of it under the time of an older state.
        let since = self.mains.last().map_or(at, |(since, _)| at.max(*since));
        self.mains.push((since, main));
        self.main_exited_well = None;
        self.told_to_stop = false;
        self.since_unknown = None;
        self.guessed.retain(|guessed| *guessed != main.id);
        self.revision += 1;
    }

    /// The same where the one before has ended and left it running: a daemon, or what is to end
    /// with the service.
    pub fn guess(&mut self, at: u64, main: Known) {
        // The daemon is the service from its birth on: a handler of its own counts from when it
        // was set, and not from the end of what started the daemon.
        let born = self.members.get(&main.id).map_or(at, |member| member.start_ns);
        self.hand_over(born.min(at), main);
        let mains = &self.mains;
        self.guessed.retain(|guessed| mains.iter().any(|(_, main)| main.id == *guessed));
        self.guessed.push(main.id);
    }

    /// The same where systemd says so, under the time of an older state.
    pub fn hand_over_by_then(&mut self, at: u64, main: Known) {
        let born = self.members.get(&main.id).map_or(at, |member| member.start_ns);
        self.hand_over(at.max(born), main);
        self.since_unknown = Some(main.id);
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

    /// What was left running is no main process: its service does not put itself into the
    /// background.
    pub fn drop_guesses(&mut self) {
        if self.chosen.is_some() {
            return;
        }
        let guessed = std::mem::take(&mut self.guessed);
        if guessed.is_empty() {
            return;
        }
        self.mains.retain(|(_, main)| !guessed.contains(&main.id));
        self.look_at_main();
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

    /// Notes whether what is the main process now has ended.
    fn look_at_main(&mut self) {
        let ended = self.main().and_then(|main| self.member(main)).and_then(|main| main.ended);
        self.main_exited_well = ended.map(|end| end.signal.is_none() && end.code == 0);
        self.revision += 1;
    }

    /// Makes a process the main one for good, if none was said to be it before.
    pub fn choose_main(&mut self, since: u64, main: Known) {
        if self.chosen.is_none() {
            self.supervisor = self.main().filter(|before| *before != main.id);
            self.set_main(since, main);
            self.chosen = Some(main.id);
        }
    }

    /// Makes a process the main one in place of all that were: those were not, but commands
    /// before it such as ExecStartPre=.
    pub fn set_main(&mut self, since: u64, main: Known) {
        for before in std::mem::take(&mut self.mains) {
            self.add_control(before.1);
            if self.replaced.len() >= MAX_REPLACED {
                self.replaced.remove(0);
            }
            self.replaced.push(before);
        }
        self.mains.push((since, main));
        self.main_exited_well = None;
        self.told_to_stop = false;
        self.revision += 1;
    }
}
