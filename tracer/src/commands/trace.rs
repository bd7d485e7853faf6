//! `sigready trace`: one shot at services on a live host.

mod wanted;

use std::{
    io::stdout,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use sigready::{
    host::{
        cgroups::{Cgroup, Hierarchies},
        clock, procfs,
        terminal::Terminal,
    },
    model::{document::Service, signal::Signal, text::Outside},
    observation::{Fact, Observation},
    probe::attach::attach,
    session::{
        self, Asked, Blocked, Capture, Ending, Interrupts, Observer, Recorded, Restart, Session,
        Units, drop_unneeded, heed,
    },
    systemd::manager::Manager,
    timeline::{Builder, Setup},
};

use self::wanted::Wanted;
use super::{
    Verdict,
    fault::Fault,
    in_event_loop, live,
    messages::Messages,
    nanoseconds, output, progress,
    unit_names::{self, main_pattern},
};
use crate::cli::Trace;

/// How long a restart is traced where nothing else is said.
const AFTER_RESTART: Duration = Duration::from_secs(15);

/// Runs the command.
pub fn run(options: &Trace, messages: &Messages) -> Result<Verdict, Fault> {
    heed();
    let terminal = if options.live { Some(live::terminal()?) } else { None };
    let hierarchies = Hierarchies::find()?;
    let named = named(options, &hierarchies)?;
    let wanted = Wanted::resolve(options, named.as_ref(), &hierarchies, messages)?;
    let signals = session::Wanted::from(&options.signals);
    let main = main_pattern(options.main.as_deref())?;
    let mut restart = restart(options, named.as_ref(), &wanted, signals.signal)?;
    let recorded = Recorded::of_units(&signals, wanted.reload_signals())?;
    let mut attached = attach(&recorded.request(wanted.reach()))?;
    wanted.list(&mut attached, &hierarchies)?;
    let counting = wanted.counting(options, named.as_ref());
    // Of processes that are started from now on, everything is seen.
    let anchor = clock::anchor();
    let blocked = Blocked::now()?;
    in_event_loop(async {
        let builder = Builder::new(Setup {
            scope: wanted.scope(options),
            reload_signal: signals.reload(),
            units_choose: options.signals.signal.is_none(),
            fresh: options.wait || options.restart,
            counting: counting.clone(),
            recorded: recorded.dispositions,
            shown: recorded.shown,
            facts: None,
            settle_ns: nanoseconds(options.settle),
            placed: false,
            main: main.clone(),
            anchor,
        });
        let asked =
            Asked { command: "trace", arguments: wanted.arguments(), signal: signals.reload() };
        let systemd = hierarchies.systemd.as_ref().map(|(_, id)| *id);
        let mut capture = Capture::begin(asked, builder, &mut attached, anchor, systemd)?;
        // Before the first thread that stays: it would keep what is given up here.
        drop_unneeded();
        let interrupts = Interrupts::start(blocked)?;
        capture.observe(hierarchies.scan().into_iter().map(path_known));
        capture.observe_found(procfs::snapshot(&hierarchies));
        let ending = ending(options);
        let what = wanted.arguments().join(", ");
        let observer = observer(terminal, messages, &what, ending.1)?;
        restart.begin(&*observer)?;
        let asked = options.all || !options.units.is_empty();
        let gone = || wanted.is_gone();
        let system = wanted.system();
        let units = Units::new(named, system, asked, options.wait, &hierarchies, restart, gone);
        let mut session = Session::new(capture, units, ending.0, interrupts, &*observer);
        let ended_by = session.follow().await?;
        let (_, document) = Box::pin(session.end(ended_by, attached)).await?;
        drop(observer);
        let verdict =
            output::write_live(&document, &options.output, &counting, stdout().lock(), messages);
        let is_it = |service: &Service| counting.judges(service.owner);
        if !document.services.iter().any(is_it) && !options.all {
            // What was not tested, and why.
            let untested = match verdict {
                Err(Fault::Failed(error)) => format!("; {error:#}"),
                Err(fault) => return Err(fault),
                Ok(_) => String::new(),
            };
            let claimed = if document.services.is_empty() {
                ""
            } else {
                " (what is shown is only claimed to be it, by somebody who may not)"
            };
            return Err(Fault::Failed(anyhow::anyhow!(
                "nothing was seen of {} in this time, so nothing can be said about it{claimed}\
                 {untested}",
                wanted.arguments().join(", ")
            )));
        }
        verdict
    })
}

/// Shows how far the trace of `what` has come: on a terminal that was taken for that, or in a line.
fn observer<'a>(
    terminal: Option<Terminal>,
    messages: &'a Messages,
    what: &str,
    ends_by_time: bool,
) -> Result<Box<dyn Observer + 'a>> {
    if let Some(terminal) = terminal {
        return Ok(Box::new(live::Screen::start(messages, terminal, what)?));
    }
    let how = if ends_by_time { "" } else { " (Ctrl-C ends and reports)" };
    let line = progress::Line::start(messages, how);
    if !messages.shows_progress() {
        line.note(&format_args!("tracing {what}{how}"));
    }
    Ok(Box::new(line))
}

/// What ends the trace, and whether time does.
fn ending(options: &Trace) -> (Ending, bool) {
    let implied = (options.restart && options.until.is_none()).then_some(AFTER_RESTART);
    let duration = options.duration.or(implied);
    let until = options.until.map(|until| until.counting(options.output.fail_on));
    (Ending::new(until, duration, false, Instant::now()), duration.is_some())
}

/// What is to be restarted.
fn restart(
    options: &Trace,
    named: Option<&Manager>,
    wanted: &Wanted,
    signal: Option<Signal>,
) -> Result<Restart, Fault> {
    let units = match wanted.exact() {
        _ if !options.restart => &[],
        Some(units) => units,
        None => {
            return Err(Fault::usage(
                "--restart needs the names of units: what a glob, --all, --pid or --cgroup \
                 take in is not restarted",
            ));
        }
    };
    let manager = named.cloned().unwrap_or_else(Manager::host);
    let reload = options.reload_during_start.map(session::Reload::from);
    Ok(Restart::new(manager, wanted.system(), units.to_vec(), reload, signal))
}

/// The systemd that was named, if one was. The host's own is meant by default, and with it
/// every unit of that name in a container or of a user.
fn named(options: &Trace, hierarchies: &Hierarchies) -> Result<Option<Manager>, Fault> {
    let root = options.root.as_deref().filter(|root| *root != Path::new("/"));
    Ok(match (&options.bus, root, &options.user) {
        (Some(address), ..) => Some(Manager::Address(address.clone())),
        (_, Some(root), _) => Some(below(root, options.wait, hierarchies)?),
        (.., Some(user)) => Some(Manager::of_user(unit_names::user(user)?.uid)),
        _ => None,
    })
}

/// The systemd of a container, by its root directory. That is not always where its sockets are:
/// those are in what it has mounted itself.
pub(super) fn below(root: &Path, waits: bool, hierarchies: &Hierarchies) -> Result<Manager, Fault> {
    let given = Outside::path(root);
    let mut running = Manager::running_in(root, hierarchies);
    if running.len() > 1 {
        return Err(Fault::usage(format_args!(
            "several systemds run over {given}: name the root of one's first process: {}",
            list(running.iter().filter_map(Manager::root))
        )));
    }
    let named = Manager::below(root.to_owned());
    if let Some(running) = running.pop() {
        return Ok(running);
    }
    if waits || named.is_reachable() {
        return Ok(named);
    }
    let others = Manager::running(hierarchies);
    let mut others =
        others.iter().filter(|it| it.has_own_pids()).filter_map(Manager::root).peekable();
    let advice = if others.peek().is_none() {
        "none runs in a container here".to_owned()
    } else {
        format!("name the root of a container's first process: {}", list(others))
    };
    Err(Fault::usage(format_args!(
        "no systemd runs with the root {given}: {advice} (to trace its first start, add --wait)"
    )))
}

fn list<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A cgroup that is there: before anything that is told of it. No other gets its id
/// (`__kernfs_new_node`, from 5.5 on).
fn path_known(cgroup: Cgroup) -> Observation {
    let Cgroup { hierarchy, id, path } = cgroup;
    Observation { at: 0, fact: Fact::CgroupPath { hierarchy, id, path } }
}
