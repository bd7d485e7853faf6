//! The units that a trace has come upon, and what their systemd says of them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sigready::{
    host::{cgroups::Hierarchies, clock},
    observation::{Fact, Observation, UnitNews},
    systemd::{manager::Manager, watch::Watch},
};

use crate::{cli::Trace, commands::capture::Capture};

/// How often new managers are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// There if the host runs systemd (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// The units seen, and what systemd says of them.
pub struct Units<'a> {
    /// What was learned of them.
    pub watch: Watch,
    /// The host's.
    pub hierarchies: &'a Hierarchies,
    /// The manager to ask for all of them, if one was named.
    named: Option<Manager>,
    /// When to look again for managers that were started, for units that are waited for.
    look: Option<Instant>,
}

impl<'a> Units<'a> {
    /// Connects to the systemd that is likely to have them.
    pub fn new(options: &Trace, named: Option<Manager>, hierarchies: &'a Hierarchies) -> Self {
        let mut watch = Watch::default();
        let likely = named.clone().or_else(|| Path::new(BOOTED).is_dir().then(Manager::host));
        if let Some(manager) = likely.filter(|_| options.all || !options.units.is_empty()) {
            watch.expect(&manager);
        }
        let waits = options.wait && named.is_none();
        Self { watch, hierarchies, named, look: waits.then(Instant::now) }
    }

    /// Connects to the systemd of a container that was started, so that what it says of the
    /// first start of a unit is heard.
    pub fn look(&mut self) {
        if self.look.is_some_and(|look| look <= Instant::now()) {
            for manager in Manager::running(self.hierarchies) {
                self.watch.expect(&manager);
            }
            self.look = Some(Instant::now() + LOOK);
        }
    }

    /// Has the units watched that have come into sight.
    pub fn seek(&mut self, capture: &mut Capture) {
        for (name, cgroup) in capture.new_units() {
            let found = || Manager::of(&cgroup, self.hierarchies);
            if let Some(manager) = self.named.clone().or_else(found) {
                self.watch.unit(&manager, name, cgroup);
            } else {
                let problem = Some("no systemd runs above its cgroup".to_owned());
                let news = UnitNews { cgroup, problem, ..UnitNews::default() };
                let fact = Fact::Unit(Box::new(news));
                capture.observe([Observation { at: clock::boot_ns(), fact }]);
            }
        }
    }
}
