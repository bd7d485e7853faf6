//! `sigready trace`: one shot at services on a live host.

mod errand;
mod units;
mod wanted;

use std::{io::stdout, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use sigready::{
    host::{
        cgroups::{Cgroup, Hierarchies},
        clock, procfs,
    },
    model::document::EndedBy,
    observation::{Fact, Observation},
    probe::attach::attach,
    systemd::manager::Manager,
    timeline::{Builder, Setup},
};
use tokio::signal::unix::{SignalKind, signal};

use self::{errand::Errand, units::Units, wanted::Wanted};
use super::{
    Verdict,
    capture::{Asked, Capture, Deadline, Recorded},
    fault::Fault,
    output, privileges, progress,
    talk::Talk,
    unit_names,
};
use crate::cli::{Trace, Until};

/// The longest a loop waits for news before it looks at the clock.
const TICK: Duration = Duration::from_millis(200);
/// The same while something is to be done at a moment of a start.
const SHORT_TICK: Duration = Duration::from_millis(5);
/// How long a restart is traced where nothing else is said.
const AFTER_RESTART: Duration = Duration::from_secs(15);

/// Runs the command.
pub fn run(options: &Trace, talk: &Talk) -> Result<Verdict, Fault> {
    let hierarchies = Hierarchies::find()?;
    let named = named(options)?;
    let wanted = Wanted::resolve(options, named.as_ref(), &hierarchies, talk)?;
    let mut errand = Errand::asked(options, named.as_ref(), &wanted)?;
    let recorded = Recorded::of_units(&options.signals)?;
    let request = recorded.request(wanted.reach());
    let mut attached = attach(&request)?;
    wanted.list(&mut attached, &hierarchies)?;
    // Of processes that are started from now on, everything is seen.
    let anchor = clock::anchor();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let builder = Builder::new(Setup {
            scope: wanted.scope(options),
            reload_signal: options.signals.reload(),
            units_choose: options.signals.signal.is_none(),
            fresh: options.wait || options.restart,
            counting: wanted.counting(options, named.as_ref()),
            recorded: recorded.dispositions,
            shown: recorded.shown,
            facts: None,
            anchor,
        });
        let asked = Asked {
            command: "trace",
            arguments: wanted.arguments(),
            signal: options.signals.reload(),
        };
        let systemd = hierarchies.systemd.as_ref().map(|(_, id)| *id);
        let mut capture = Capture::begin(asked, builder, &mut attached, anchor, systemd)?;
        privileges::drop_unneeded();
        capture.observe(hierarchies.scan().into_iter().map(path_known));
        capture.observe(procfs::snapshot(&hierarchies));
        let mut units = Units::new(options, named, wanted.system(), &hierarchies);
        let ended_by =
            follow(options, &wanted, &mut capture, &mut units, &mut errand, talk).await?;
        errand.end();
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

/// The systemd that was named, if one was. The host's own is meant by default, and with it
/// every unit of that name in a container or of a user.
fn named(options: &Trace) -> Result<Option<Manager>, Fault> {
    let root = options.root.as_deref().filter(|root| *root != Path::new("/"));
    Ok(match (&options.bus, root, &options.user) {
        (Some(address), ..) => Some(Manager::Address(address.clone())),
        (_, Some(root), _) => Some(Manager::below(root.to_owned())),
        (.., Some(user)) => Some(Manager::of_user(unit_names::user(user)?.uid)),
        _ => None,
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
    errand: &mut Errand,
    talk: &Talk,
) -> Result<EndedBy> {
    let implied = (options.restart && options.until.is_none()).then_some(AFTER_RESTART);
    let duration = options.duration.or(implied);
    let ending = if duration.is_some() { "" } else { " (Ctrl-C ends and reports)" };
    let line = progress::Line::start(talk, ending);
    if !talk.shows_progress() {
        talk.note(format_args!("tracing {}{ending}", wanted.arguments().join(", ")));
    }
    let mut int = signal(SignalKind::interrupt()).context("cannot take signals")?;
    let mut term = signal(SignalKind::terminate()).context("cannot take signals")?;
    let deadline = Deadline::after(duration);
    errand.begin(talk)?;
    loop {
        let news;
        let tick = if errand.waits() { SHORT_TICK } else { TICK };
        tokio::select! {
            biased;
            _ = int.recv() => return Ok(EndedBy::Interrupt),
            _ = term.recv() => return Ok(EndedBy::Interrupt),
            told = units.watch.next() => {
                capture.observe([told]);
                news = 1;
            }
            done = errand.done() => {
                done?;
                news = 0;
            }
            taken = capture.advance(deadline.patience(tick)) => news = taken?.len(),
        }
        errand.act(capture, units.hierarchies, talk);
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
