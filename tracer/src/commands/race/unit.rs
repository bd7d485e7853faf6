//! `sigready race --unit`: the start of a unit, through its systemd.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::anyhow;
use sigready::{
    host::{cgroups::Hierarchies, clock},
    model::{
        race::{By, Role},
        signal::Signal,
        text::Outside,
    },
    probe::attach::Reach,
    race::role,
    session::{Between, RacedUnit, Rules, Runner, UnitRacer},
    systemd::manager::Manager,
};

use super::{Line, counts, request, result, rules, verdict};
use crate::{
    cli::RaceOptions,
    commands::{
        Verdict,
        fault::Fault,
        in_event_loop,
        messages::Messages,
        progress, trace,
        unit_names::{is_glob, service, user},
    },
};

/// Races a unit.
pub fn run(options: &RaceOptions, name: &str, messages: &Messages) -> Result<Verdict, Fault> {
    let name = service(name)?;
    if is_glob(&name) {
        return Err(Fault::usage(format_args!(
            "'{}' stands for many units: one can be raced at a time",
            Outside::new(&name)
        )));
    }
    let hierarchies = Hierarchies::find()?;
    let manager = manager(options, &hierarchies)?;
    let mut rules = rules(options)?;
    let (race, restored) = in_event_loop(async {
        let unit = RacedUnit::find(manager, &name, &hierarchies).await?;
        follow_settings(&mut rules, options, &unit);
        check_reload(&rules, &unit)?;
        let request = request(options, &rules.signals, Reach::Listed)?;
        agreed(options, &unit, messages)?;
        let line = Line(progress::Line::start(messages, " (Ctrl-C ends)"));
        let anchor = clock::anchor();
        let between = options.between.clone().map(|line| Between { line, limit: options.timeout });
        let racer =
            UnitRacer::attach(unit, &hierarchies, &request, counts(options), between, &line)?;
        let mut runner = Runner::Unit(racer);
        let found = super::race(&mut runner, &rules, &line).await;
        // Whatever came of it.
        let race = found.map(|found| result(options, &rules, anchor, &runner, found));
        let Runner::Unit(mut racer) = runner else { unreachable!("it is a unit that is raced") };
        line.0.say(&format_args!("{name} is brought back"));
        let restored = racer.restore(options.timeout).await;
        racer.end();
        drop(line);
        match (race, restored) {
            (Ok(race), restored) => Ok((race, restored)),
            (Err(error), Ok(_)) => Err(error.into()),
            (Err(error), Err(other)) => Err(Fault::Failed(anyhow!("{error:#}; and {other:#}"))),
        }
    })?;
    let verdict = verdict(&race, options, messages);
    match restored {
        Ok(Some(sentence)) => messages.note(sentence),
        Ok(None) => {}
        Err(error) => {
            // What was found is written already, and is worth less than this.
            return Err(Fault::Failed(error));
        }
    }
    verdict
}

/// The systemd that has the unit.
fn manager(options: &RaceOptions, hierarchies: &Hierarchies) -> Result<Manager, Fault> {
    match (&options.root, &options.user) {
        (Some(root), _) => trace::below(root, false, hierarchies),
        (None, Some(name)) => Ok(Manager::of_user(user(name)?.uid)),
        (None, None) if Manager::host_runs() => Ok(Manager::host()),
        (None, None) => Err(Fault::usage(
            "this host does not run systemd: --root names the root of a container that does",
        )),
    }
}

/// What is asked for of the unit itself: its type, and the signal that reloads it.
fn follow_settings(rules: &mut Rules, options: &RaceOptions, unit: &RacedUnit) {
    unit.service_type().clone_into(&mut rules.service_type);
    rules.can_reload = Some(unit.unreloadable().is_none());
    let Some(reload) = unit.facts().reload_signal else { return };
    if options.signals.is_empty() && options.reload_signals.is_empty() {
        rules.signals = vec![reload];
    }
    if !rules.reloads.contains(&reload) {
        rules.reloads.push(reload);
    }
}

/// Whether what is placed can come by a reload, where it is to.
fn check_reload(rules: &Rules, unit: &RacedUnit) -> Result<(), Fault> {
    if rules.by != By::Reload {
        return Ok(());
    }
    if let Some(why) = unit.unreloadable() {
        return Err(Fault::usage(why));
    }
    let is_reload = |signal: &Signal| role(*signal, &rules.reloads) == Role::Reload;
    if let Some(other) = rules.signals.iter().find(|signal| !is_reload(signal)) {
        return Err(Fault::usage(format_args!(
            "--by reload has systemd reload {}, which sends it no {other}: race that with --by kill",
            unit.name()
        )));
    }
    Ok(())
}

/// Says what will be done, and asks where somebody can be asked.
fn agreed(options: &RaceOptions, unit: &RacedUnit, messages: &Messages) -> Result<(), Fault> {
    let plan = unit.plan();
    if options.yes {
        messages.note(plan);
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Fault::usage(format_args!(
            "{plan} To agree to that where nobody can be asked, add --yes"
        )));
    }
    let _ = write!(io::stderr(), "{plan}\nGo on? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Fault::usage("nothing was done"))
}
