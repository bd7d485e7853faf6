//! A service and its starts.

use std::collections::VecDeque;

use super::known::KnownUnit;
use crate::{
    model::document::{Activation, Severity},
    timeline::{scope::Named, start::Start},
};

/// Starts of one service that are kept.
const MAX_STARTS: usize = 200;

/// A service and its starts.
#[derive(Clone, Debug)]
pub struct ServiceStarts {
    /// Name, kind, and cgroup (empty where it isn't one's).
    pub named: Named,
    /// Notify sockets that its processes were given.
    pub sockets: Vec<String>,
    /// What systemd has said of it.
    pub known: KnownUnit,
    /// Its cgroup was removed and not made again.
    pub is_gone: bool,
    /// Starts there was no room for.
    pub starts_left_out: u64,
    /// The number of the next start.
    next: u64,
    /// With their numbers, oldest first.
    starts: VecDeque<(u64, StartState)>,
}

/// A start, followed or finished.
#[derive(Clone, Debug)]
pub enum StartState {
    /// Something may still become of it.
    Open(Box<Start>),
    /// Nothing will.
    Final(Box<Final>),
}

/// A start that nothing will become of any more.
#[derive(Clone, Debug)]
pub struct Final {
    /// Its timeline.
    pub activation: Activation,
    /// When it began, `CLOCK_BOOTTIME` ns.
    pub began: u64,
    /// What the rules have found in it.
    pub verdict: Verdict,
}

/// What the rules have found in a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They have not been asked.
    None,
    /// No alert.
    Clean,
    /// Alerts, this the worst.
    Worst(Severity),
}

impl StartState {
    /// When it began, `CLOCK_BOOTTIME` ns.
    #[must_use]
    pub fn began(&self) -> u64 {
        match self {
            Self::Open(start) => start.began(),
            Self::Final(last) => last.began,
        }
    }

    /// Its invocation id.
    #[must_use]
    pub fn invocation_id(&self) -> Option<&str> {
        match self {
            Self::Open(start) => start.invocation_id.as_deref(),
            Self::Final(last) => last.activation.invocation_id.as_deref(),
        }
    }

    /// What keeps it when there are too many: alerts, and the worse the longer. Not having
    /// been judged counts as the worst.
    fn weight(&self) -> u8 {
        match self {
            Self::Open(start) => 4 + u8::from(!start.is_over()),
            Self::Final(last) => match last.verdict {
                Verdict::Clean => 0,
                Verdict::Worst(Severity::Warning) => 1,
                Verdict::Worst(Severity::Error) => 2,
                Verdict::None => 3,
            },
        }
    }
}

impl ServiceStarts {
    /// One without starts.
    #[must_use]
    pub fn new(named: Named) -> Self {
        Self {
            named,
            sockets: Vec::new(),
            known: KnownUnit::default(),
            is_gone: false,
            starts_left_out: 0,
            next: 0,
            starts: VecDeque::new(),
        }
    }

    /// Its starts with their numbers, oldest first.
    pub fn starts(
        &self,
    ) -> impl DoubleEndedIterator<Item = (u64, &StartState)> + ExactSizeIterator {
        self.starts.iter().map(|(number, start)| (*number, start))
    }

    /// The same, to change them.
    pub fn starts_mut(&mut self) -> impl DoubleEndedIterator<Item = (u64, &mut StartState)> {
        self.starts.iter_mut().map(|(number, start)| (*number, start))
    }

    /// The last start, with its number.
    #[must_use]
    pub fn last(&self) -> Option<(u64, &StartState)> {
        self.starts().next_back()
    }

    /// How many starts there have been.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len() + self.starts_left_out as usize
    }

    /// An open start, by its number.
    #[must_use]
    pub fn open(&self, number: u64) -> Option<&Start> {
        match self.state(number)? {
            StartState::Open(start) => Some(start),
            StartState::Final(_) => None,
        }
    }

    /// The same, to change it.
    pub fn open_mut(&mut self, number: u64) -> Option<&mut Start> {
        match self.state_mut(number)? {
            StartState::Open(start) => Some(start),
            StartState::Final(_) => None,
        }
    }

    /// A start, by its number, to change it.
    pub fn state_mut(&mut self, number: u64) -> Option<&mut StartState> {
        let index = self.starts.partition_point(|(of, _)| *of < number);
        self.starts.get_mut(index).filter(|(of, _)| *of == number).map(|(_, state)| state)
    }

    /// A start, by its number.
    #[must_use]
    pub fn state(&self, number: u64) -> Option<&StartState> {
        let index = self.starts.partition_point(|(of, _)| *of < number);
        self.starts.get(index).filter(|(of, _)| *of == number).map(|(_, state)| state)
    }

    /// Begins another start; gives its number. The least telling one gives way if there are
    /// too many, the oldest of its kind first.
    pub fn begin(&mut self, start: Start) -> u64 {
        if self.starts.len() >= MAX_STARTS {
            let lightest = self.starts.iter().enumerate().min_by_key(|(_, (_, it))| it.weight());
            if let Some(index) = lightest.map(|(index, _)| index) {
                self.starts.remove(index);
                self.starts_left_out += 1;
            }
        }
        let number = self.next;
        self.next += 1;
        self.starts.push_back((number, StartState::Open(Box::new(start))));
        number
    }

    /// Makes an open start final.
    pub fn finish(&mut self, number: u64, activation: Activation) {
        if let Some(state) = self.state_mut(number)
            && let StartState::Open(start) = state
        {
            let began = start.began();
            *state =
                StartState::Final(Box::new(Final { activation, began, verdict: Verdict::None }));
        }
    }

    /// Whether it can be left out: nothing of it runs, and its cgroup is gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_gone
            && self.starts.iter().all(|(_, state)| match state {
                StartState::Open(start) => start.is_over(),
                StartState::Final(_) => true,
            })
    }

    /// What keeps it when there are too many services.
    #[must_use]
    pub fn weight(&self) -> u8 {
        self.starts.iter().map(|(_, state)| state.weight()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::document::ServiceKind,
        timeline::tests::story::{STARTER, Story},
    };

    fn service() -> ServiceStarts {
        let (name, path) = ("demo.service".to_owned(), "/demo.service".to_owned());
        ServiceStarts::new(Named { name, path, kind: ServiceKind::Unit })
    }

    /// One that has not ended, or has.
    fn start(is_over: bool) -> Start {
        let mut start = Start::new(None);
        start.main_exited_well = is_over.then_some(true);
        start
    }

    /// What the last start of a story became.
    fn finished(service: &mut ServiceStarts, number: u64, verdict: Verdict) {
        let story = Story::command().fork(0, STARTER, 10).exec(1, 10, "/bin/demo").exit(2, 10, 0);
        service.finish(number, story.told().starts()[0].clone());
        match service.state_mut(number) {
            Some(StartState::Final(last)) => last.verdict = verdict,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_too_many_starts_those_that_tell_least_give_way_and_the_oldest_of_these() {
        use Severity::{Error, Warning};
        let mut service = service();
        let running = [service.begin(start(false)), service.begin(start(false))];
        let over = service.begin(start(true));
        let judged =
            [Verdict::None, Verdict::Worst(Error), Verdict::Worst(Warning), Verdict::Clean];
        let mut going = vec![running[0], over];
        for verdict in judged {
            let number = service.begin(start(true));
            finished(&mut service, number, verdict);
            going.push(number);
        }
        while service.starts().len() < MAX_STARTS {
            service.begin(start(false));
        }
        for (gone, least) in (1..).zip(going.into_iter().rev()) {
            assert!(service.state(least).is_some(), "{least}");
            service.begin(start(false));
            assert!(service.state(least).is_none(), "{least}");
            assert_eq!((service.starts_left_out, service.starts().len()), (gone, MAX_STARTS));
        }
        assert!(service.state(running[1]).is_some());
        assert_eq!(service.count(), MAX_STARTS + 6);
    }

    #[test]
    fn a_service_is_over_when_its_cgroup_is_gone_and_all_its_starts_are_over() {
        let is_over = |is_gone: bool, starts: &[bool]| {
            let mut service = service();
            service.is_gone = is_gone;
            for over in starts {
                service.begin(start(*over));
            }
            service.is_over()
        };
        assert!(is_over(true, &[true, true]) && is_over(true, &[]));
        assert!(!is_over(false, &[true]) && !is_over(true, &[true, false]));
        assert!(!is_over(true, &[false]) && !is_over(false, &[]));
    }

    #[test]
    fn a_service_weighs_what_its_weightiest_start_does() {
        let mut service = service();
        assert_eq!(service.weight(), 0);
        let number = service.begin(start(true));
        finished(&mut service, number, Verdict::Worst(Severity::Warning));
        assert_eq!(service.weight(), 1);
        service.begin(start(false));
        let number = service.begin(start(true));
        finished(&mut service, number, Verdict::Clean);
        assert_eq!(service.weight(), 5);
    }
}
