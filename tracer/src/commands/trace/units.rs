//! The units that a trace has come upon, and what their systemd says of them.

use std::time::{Duration, Instant};

use sigready::{
    host::{cgroups::Hierarchies, clock},
    model::document::Owner,
    observation::{Fact, Observation, UnitNews},
    systemd::{
        manager::Manager,
        ownership::{levels, whose},
        watch::{Watch, Watched},
    },
};

use crate::{cli::Trace, commands::capture::Capture};

/// How often new managers are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// The units seen, and what systemd says of them.
pub struct Units<'a> {
    /// What was learned of them.
    pub watch: Watch,
    /// The host's.
    pub hierarchies: &'a Hierarchies,
    /// The manager to ask for all of them, if one was named.
    named: Option<Manager>,
    /// Its cgroup, if that is known.
    system: Option<String>,
    /// When to look again for managers that were started, for units that are waited for.
    look: Option<Instant>,
}

impl<'a> Units<'a> {
    /// Connects to the systemd that is likely to have them.
    pub fn new(
        options: &Trace,
        named: Option<Manager>,
        system: Option<&str>,
        hierarchies: &'a Hierarchies,
    ) -> Self {
        let mut watch = Watch::default();
        let likely = named.clone().or_else(|| Manager::host_runs().then(Manager::host));
        if let Some(manager) = likely.filter(|_| options.all || !options.units.is_empty()) {
            watch.expect(&manager);
        }
        let waits = options.wait && named.is_none();
        let system = system.map(str::to_owned);
        Self { watch, hierarchies, named, system, look: waits.then(Instant::now) }
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
            let levels = levels(&cgroup, self.hierarchies);
            let owner = whose(&levels, self.system.as_deref().map_or(0, depth));
            let manager = match (&self.named, owner) {
                (_, Owner::Claimed { uid }) => Err(format!(
                    "claimed by uid {uid}: no systemd keeps a unit in its cgroup that root runs \
                     (to ask another, name it by --root or --user)"
                )),
                (Some(named), _) => Ok(named.clone()),
                (None, _) => Manager::of(&cgroup, self.hierarchies)
                    .ok_or_else(|| "no systemd runs above its cgroup".to_owned()),
            };
            let news = UnitNews {
                cgroup: cgroup.clone(),
                owner: Some(owner),
                problem: manager.as_ref().err().cloned(),
                ..UnitNews::default()
            };
            let fact = Fact::Unit(Box::new(news));
            capture.observe([Observation { at: clock::boot_ns(), fact }]);
            if let Ok(manager) = manager {
                let uid = levels.last().and_then(|level| level.uid).unwrap_or(0);
                self.watch.unit(&manager, Watched::new(name, cgroup, uid));
            }
        }
    }
}

/// How many cgroups lead to this one, the root and itself included.
fn depth(cgroup: &str) -> usize {
    1 + cgroup.split('/').filter(|name| !name.is_empty()).count()
}
