//! `sigready trace`: one shot at services on a live host.

use std::{
    io::stdout,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use globset::GlobBuilder;
use sigready::{
    probe::{
        attach::{Attached, Reach, attach},
        cgroups::{Cgroup, Hierarchies},
        clock, procfs,
        scope::ScopeMaps,
    },
    systemd::{manager::Manager, watch::Watch},
    timeline::{
        Builder, Scope, Selector, Setup,
        document::EndedBy,
        observation::{Fact, Observation, UnitNews},
    },
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Verdict,
    capture::{Asked, Capture, Deadline, Recorded},
    fault::Fault,
    output, privileges, progress,
    talk::Talk,
};
use crate::cli::{Trace, Until};

/// The longest a loop waits for news before it looks at the clock.
const TICK: Duration = Duration::from_millis(200);
/// How often new managers are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// There if the host runs systemd (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Where unit files are (systemd.unit(5)).
const UNIT_DIRECTORIES: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Runs the command.
pub fn run(options: &Trace, talk: &Talk) -> Result<Verdict, Fault> {
    let hierarchies = Hierarchies::find()?;
    let wanted = Wanted::resolve(options, &hierarchies)?;
    let recorded = Recorded::asked(&options.signals)?;
    let request = recorded.request(wanted.reach());
    let anchor = clock::anchor();
    let mut attached = attach(&request)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let builder = Builder::new(Setup {
            scope: wanted.scope(options),
            reload_signal: options.signals.signal,
            units_choose: false,
            recorded: recorded.dispositions,
            shown: recorded.dispositions,
            facts: None,
            anchor,
        });
        let asked = Asked {
            command: "trace",
            arguments: wanted.arguments(),
            signal: options.signals.signal,
        };
        let systemd = hierarchies.systemd.as_ref().map(|(_, id)| *id);
        let mut capture = Capture::begin(asked, builder, &mut attached, anchor, systemd)?;
        privileges::drop_unneeded();
        wanted.list(&mut attached, &hierarchies)?;
        capture.observe(hierarchies.scan().into_iter().map(path_known));
        capture.observe(procfs::snapshot(&hierarchies));
        let mut units = Units::new(options, &hierarchies);
        let ended_by = follow(options, &wanted, &mut capture, &mut units, talk).await?;
        units.seek(&mut capture);
        capture.observe(units.watch.finish().await);
        let document = capture.end(ended_by)?;
        let verdict = output::write(&document, &options.output, stdout().lock(), talk)?;
        if document.services.is_empty() && !options.all {
            return Err(Fault::Failed(anyhow::anyhow!(
                "nothing was seen of {} in this time, so nothing can be said about it",
                wanted.arguments().join(", ")
            )));
        }
        Ok(verdict)
    })
}

fn path_known(cgroup: Cgroup) -> Observation {
    let Cgroup { hierarchy, id, path } = cgroup;
    Observation { at: clock::boot_ns(), fact: Fact::CgroupPath { hierarchy, id, path } }
}

async fn follow(
    options: &Trace,
    wanted: &Wanted,
    capture: &mut Capture,
    units: &mut Units<'_>,
    talk: &Talk,
) -> Result<EndedBy> {
    let ending = if options.duration.is_some() { "" } else { " (Ctrl-C ends and reports)" };
    let line = progress::Line::start(talk, ending);
    if !talk.shows_progress() {
        talk.note(format_args!("tracing {}{ending}", wanted.arguments().join(", ")));
    }
    let mut int = signal(SignalKind::interrupt()).context("cannot take signals")?;
    let mut term = signal(SignalKind::terminate()).context("cannot take signals")?;
    let deadline = Deadline::after(options.duration);
    loop {
        let news;
        tokio::select! {
            biased;
            _ = int.recv() => return Ok(EndedBy::Interrupt),
            _ = term.recv() => return Ok(EndedBy::Interrupt),
            told = units.watch.next() => {
                capture.observe([told]);
                news = 1;
            }
            taken = capture.advance(deadline.patience(TICK)) => news = taken?.len(),
        }
        units.seek(capture);
        units.look();
        let progress = capture.progress();
        line.show(&progress);
        let reached = match options.until {
            Some(Until::Ready) => progress.ready,
            Some(Until::Exit) => progress.exited,
            Some(Until::Alert) => news > 0 && capture.has_alert(options.output.fail_on),
            None => false,
        };
        if reached {
            return Ok(EndedBy::Until);
        }
        if deadline.has_passed() {
            return Ok(EndedBy::Timeout);
        }
        if wanted.is_gone() {
            return Ok(EndedBy::Exit);
        }
    }
}

/// The units seen, and what systemd says of them.
struct Units<'a> {
    watch: Watch,
    hierarchies: &'a Hierarchies,
    /// The manager to ask for all of them, if one was given.
    given: Option<Manager>,
    /// When to look again for managers that were started, for units that are waited for.
    look: Option<Instant>,
}

impl<'a> Units<'a> {
    fn new(options: &Trace, hierarchies: &'a Hierarchies) -> Self {
        let given = options.bus.clone().map(Manager::Address);
        let given = given.or_else(|| options.root.clone().map(Manager::below));
        let mut watch = Watch::default();
        let likely = given.clone().or_else(|| Path::new(BOOTED).is_dir().then(Manager::host));
        if let Some(manager) = likely.filter(|_| options.all || !options.units.is_empty()) {
            watch.expect(&manager);
        }
        let waits = options.wait && given.is_none();
        Self { watch, hierarchies, given, look: waits.then(Instant::now) }
    }

    /// Connects to the systemd of a container that was started, so that what it says of the
    /// first start of a unit is heard.
    fn look(&mut self) {
        if self.look.is_some_and(|look| look <= Instant::now()) {
            for manager in Manager::running(self.hierarchies) {
                self.watch.expect(&manager);
            }
            self.look = Some(Instant::now() + LOOK);
        }
    }

    /// Has the units watched that have come into sight.
    fn seek(&mut self, capture: &mut Capture) {
        for (name, cgroup) in capture.new_units() {
            let found = || Manager::of(&cgroup, self.hierarchies);
            if let Some(manager) = self.given.clone().or_else(found) {
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

/// What is to be traced, checked against what is there.
struct Wanted {
    /// Unit names and globs, with their suffix.
    units: Vec<String>,
    pids: Vec<u32>,
    /// Paths from the hierarchy's root.
    cgroups: Vec<String>,
    all: bool,
}

impl Wanted {
    fn resolve(options: &Trace, hierarchies: &Hierarchies) -> Result<Self, Fault> {
        let units: Vec<String> = options.units.iter().map(|name| with_suffix(name)).collect();
        for unit in &units {
            matcher(unit)?;
            if !is_glob(unit) && !options.wait && !is_known(unit, hierarchies) {
                return Err(Fault::usage(format_args!(
                    "there is no unit '{unit}' on this host: no unit file and no cgroup has \
                     that name (if it is in a container that is yet to start, add --wait)"
                )));
            }
        }
        for pid in &options.pid {
            if procfs::name(*pid).is_none() {
                return Err(Fault::usage(format_args!("there is no process {pid}")));
            }
        }
        let cgroups = options.cgroup.iter().map(|path| cgroup_path(path, hierarchies));
        let cgroups = cgroups.collect::<Result<_, _>>()?;
        Ok(Self { units, pids: options.pid.clone(), cgroups, all: options.all })
    }

    fn reach(&self) -> Reach {
        if self.all || self.units.iter().any(|unit| is_glob(unit)) {
            Reach::Everything
        } else {
            Reach::Listed
        }
    }

    fn scope(&self, options: &Trace) -> Scope {
        if options.all {
            return Scope::All;
        }
        let units = self.units.iter().filter_map(|unit| matcher(unit).ok()).map(Selector::Unit);
        let pids = self.pids.iter().copied().map(Selector::Process);
        let cgroups = self.cgroups.iter().cloned().map(Selector::Cgroup);
        Scope::Selected(units.chain(pids).chain(cgroups).collect())
    }

    fn arguments(&self) -> Vec<String> {
        if self.all {
            return vec!["all units and containers".to_owned()];
        }
        let pids = self.pids.iter().map(|pid| format!("pid {pid}"));
        self.units.iter().cloned().chain(pids).chain(self.cgroups.iter().cloned()).collect()
    }

    /// Tells the attached kernel side, which reports nothing else.
    fn list(&self, attached: &mut Attached, hierarchies: &Hierarchies) -> Result<()> {
        if matches!(self.reach(), Reach::Everything) {
            return Ok(());
        }
        let mut maps = ScopeMaps::of(&mut attached.ebpf);
        for unit in &self.units {
            maps.add_name(unit)?;
        }
        for pid in &self.pids {
            maps.add_tree(*pid, procfs::children)?;
        }
        for cgroup in hierarchies.scan() {
            if self.includes(&cgroup.path) {
                maps.add_cgroup(&cgroup)?;
            }
        }
        // In a v1 hierarchy it is the processes that are listed, not their cgroup.
        for (pid, path) in procfs::cgroups(hierarchies) {
            if self.includes(&path) {
                maps.add_process(pid)?;
            }
        }
        Ok(())
    }

    fn includes(&self, path: &str) -> bool {
        let of_unit = path.split('/').any(|name| self.units.iter().any(|unit| unit == name));
        of_unit
            || self.cgroups.iter().any(|cgroup| {
                path.strip_prefix(cgroup.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Whether only processes were asked for, and none is left.
    fn is_gone(&self) -> bool {
        !self.pids.is_empty()
            && self.units.is_empty()
            && self.cgroups.is_empty()
            && self.pids.iter().all(|pid| procfs::name(*pid).is_none())
    }
}

fn with_suffix(name: &str) -> String {
    const SUFFIXES: [&str; 4] = [".service", ".scope", ".socket", ".slice"];
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) || name.ends_with('*') {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

fn is_glob(unit: &str) -> bool {
    unit.contains(['*', '?', '['])
}

/// A glob over unit names, with a backslash meaning itself: escaped names have them.
fn matcher(unit: &str) -> Result<globset::GlobMatcher, Fault> {
    GlobBuilder::new(unit)
        .backslash_escape(false)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| Fault::usage(format_args!("'{unit}' is not a unit name or glob: {error}")))
}

/// Whether this host has a unit file, or a cgroup in this or a container's tree.
fn is_known(unit: &str, hierarchies: &Hierarchies) -> bool {
    // An instance's file is its template's.
    let template = unit.split_once('@').zip(unit.rsplit_once('.'));
    let template = template.map(|((name, _), (_, suffix))| format!("{name}@.{suffix}"));
    let names = [Some(unit.to_owned()), template];
    let has_file = UNIT_DIRECTORIES.iter().any(|directory| {
        names.iter().flatten().any(|name| Path::new(directory).join(name).exists())
    });
    has_file || hierarchies.scan().iter().any(|cgroup| cgroup.path.rsplit('/').next() == Some(unit))
}

/// A cgroup's path from its hierarchy's root, given that or the path of its directory.
fn cgroup_path(given: &Path, hierarchies: &Hierarchies) -> Result<String, Fault> {
    let roots = || {
        let systemd = hierarchies.systemd.iter().map(|(root, _)| root);
        hierarchies.unified.iter().chain(systemd)
    };
    let inside = roots()
        .find_map(|root| given.strip_prefix(root).ok())
        .unwrap_or_else(|| given.strip_prefix("/").unwrap_or(given));
    let there = roots().any(|root| root.join(inside).is_dir());
    if !there || inside.as_os_str().is_empty() {
        return Err(Fault::usage(format_args!(
            "there is no cgroup {} (looked below {})",
            given.display(),
            roots().map(|root| root.display().to_string()).collect::<Vec<_>>().join(" and ")
        )));
    }
    Ok(format!("/{}", inside.to_string_lossy().trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_of_a_service_may_be_left_out() {
        assert_eq!(with_suffix("nginx"), "nginx.service");
        assert_eq!(with_suffix("nginx.service"), "nginx.service");
        assert_eq!(with_suffix("postgresql@*"), "postgresql@*");
    }

    #[test]
    fn a_backslash_in_a_unit_name_is_a_backslash() {
        let matcher = matcher(r"foo\x2dbar@a-b.service").unwrap();
        assert!(matcher.is_match(r"foo\x2dbar@a-b.service"));
        assert!(!matcher.is_match("foox2dbar@a-b.service"));
    }

    #[test]
    fn a_glob_that_is_not_one_is_refused_with_a_reason() {
        let Err(Fault::Usage(sentence)) = matcher("foo[.service") else {
            panic!("accepted");
        };
        assert!(sentence.contains("foo[.service"), "{sentence}");
    }
}
