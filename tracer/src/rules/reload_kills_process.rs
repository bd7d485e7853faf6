//! The reload signal killed another process of the service than the main one.

use super::{Case, Finding, Rule, consequence, mend, reload::Reload, result::End, text};
use crate::model::{
    document::Severity,
    event::{Effect, Fate, ProcessRef, What},
};

/// Who signals all processes of a service does it one by one, ns.
const TOGETHER_NS: u64 = 100_000_000;

pub(super) const RULE: Rule = Rule {
    id: "reload-kills-process",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/reload-kills-process.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let killed: Vec<Reload> = killed(case).collect();
    let first = killed.first()?;
    let Reload { at_ns, sent, sender, .. } = *first;
    let parent = started_by(case, &sent.target);
    // systemd starts commands of the unit, and passes nothing on to them.
    let is_passed_on = match parent {
        Some(parent) => parent.pid == sender.pid && !is_of_systemd(&sent.target, Some(parent)),
        // It ran before the capture: the main process signals what is its own.
        None => case.is_main(sender),
    };
    Some(Finding {
        at_ns,
        events: killed.iter().map(|reload| reload.index).collect(),
        message: format!(
            "{} from {} killed {}, a process of the service, {}: its disposition was {}{}.",
            sent.signal,
            text::sender(sender),
            text::process(&sent.target),
            text::when_of_service(case.activation, at_ns),
            text::disposition(sent.disposition),
            text::and_more(killed.len())
        ),
        consequence: follows(case, first),
        mend: if is_passed_on {
            mend::handler_of_child(sent.signal, &sent.target.comm)
        } else {
            mend::main_alone(sent.signal)
        },
    })
}

/// The reload signals that killed processes besides the main one. Where that ended as well, its
/// own end is what there is to tell.
fn killed<'a>(case: &Case<'a>) -> impl Iterator<Item = Reload<'a>> {
    let ended: Vec<Reload> = case
        .with_effect(|effect| effect == Effect::Ended)
        .filter(|reload| case.is_main(&reload.sent.target))
        .collect();
    case.with_effect(|effect| effect == Effect::LostProcess)
        // The main process's own says that it went on.
        .filter(|reload| reload.sent.fate == Fate::Killed)
        .filter(move |lost| {
            !ended.iter().any(|end| {
                let until = end.sent.effect_ns.unwrap_or(end.at_ns);
                let passed_on = lost.sender.pid == end.sent.target.pid
                    && (end.at_ns..=until).contains(&lost.at_ns);
                // One that was sent to all of them.
                let together = end.sent.fate == Fate::Killed
                    && lost.sender.pid == end.sender.pid
                    && lost.at_ns.abs_diff(end.at_ns) <= TOGETHER_NS;
                passed_on || together
            })
        })
}

/// Who started a process, if that was seen.
fn started_by<'a>(case: &Case<'a>, child: &ProcessRef) -> Option<&'a ProcessRef> {
    case.events().find_map(|(_, event)| match &event.what {
        What::Fork { process, parent } if process.pid == child.pid => Some(parent),
        _ => None,
    })
}

/// When and how the main process ended within the settle time of a process's death, where nothing
/// else is known to have ended it.
fn ended_with(case: &Case, died: i64) -> Option<(i64, End)> {
    // A command that nobody starts again may just have come to its end.
    if case.is_command() && case.facts().is_none_or(|facts| facts.restart.is_none()) {
        return None;
    }
    case.ended_by_itself(died)
}

/// What follows for the service: whether somebody starts the process again.
fn follows(case: &Case, lost: &Reload) -> String {
    if case.main().is_none() {
        return consequence::death_before_main(case, lost.sent.signal, lost.settled_ns());
    }
    let died = lost.settled_ns();
    let parent = started_by(case, &lost.sent.target);
    let main = text::main(case);
    let ended = case.activation.milestones.exit_ns.filter(|end| *end <= died);
    let is_main = match ended {
        Some(end) => {
            format!("was {main}, and had ended {} before", text::Span(died.saturating_sub(end)))
        }
        None => format!("is {main}"),
    };
    let is_command = is_of_systemd(&lost.sent.target, parent);
    // After one of ExecStartPre= that fails systemd starts no main process, unless its line has that
    // prefix (`service_sigchld_event` in src/core/service.c).
    let is_before = case.activation.milestones.exec_ns.is_some_and(|first| died < first);
    if is_command && is_before {
        return format!(
            "What it did was cut off: it is a command that systemd runs before the main process, \
             {main}. systemd started that all the same: the line of the command begins with '-'."
        );
    }
    if let Some((at, end)) = ended_with(case, died) {
        let how = text::ended(end);
        return format!(
            "The main process, {main}, {how} {} later, and nobody had told it to. {}",
            text::Span(at.saturating_sub(died)),
            consequence::death(case, end, at)
        );
    }
    if is_command {
        let beside = if ended.is_some() { "after" } else { "beside" };
        return format!(
            "What it did was cut off: it is a command that systemd runs {beside} the main process, \
             which {is_main}. systemd takes that for a failure of the command, unless its line \
             begins with '-'."
        );
    }
    match next_of(case, lost, parent) {
        Some(Next { by, at, is_alike: false }) => format!(
            "What it did was cut off. {} started another process {} later, which may do the same. \
             systemd looks after the main process alone, which {is_main}.",
            text::process(by),
            text::Span(at.saturating_sub(died))
        ),
        Some(Next { by, at, is_alike: true }) => format!(
            "{} started another one {} later: what the first one did was cut off, and the \
             settings that it runs with are those that it starts with. systemd looks after the \
             main process alone, which {is_main}.",
            text::process(by),
            text::Span(at.saturating_sub(died))
        ),
        None => format!(
            "The service goes on without it: systemd looks after the main process alone, which \
             {is_main}, and nothing was seen to start it again."
        ),
    }
}

/// Whether systemd itself started it: a command of the unit that is not its main process. Before
/// its exec systemd has it named after what it is to execute, and its own helpers after itself.
fn is_of_systemd(process: &ProcessRef, parent: Option<&ProcessRef>) -> bool {
    let named = process.comm.starts_with('(') && process.comm.ends_with(')');
    // One that it has yet to name is called as systemd itself.
    let named = named && !process.comm.starts_with("(sd-") || process.comm == "systemd";
    parent.is_some_and(|parent| parent.comm == "systemd") || parent.is_none() && named
}

/// What was started next by whoever had started a process.
struct Next<'a> {
    by: &'a ProcessRef,
    at: i64,
    /// Whether it runs what that process ran.
    is_alike: bool,
}

/// The first process like the one that died, or else the first at all, that its parent started
/// afterwards. Where the parent is not known, as it ran before the capture, anything that did so may
/// have been that, and the first process like it is the next.
fn next_of<'a>(case: &Case<'a>, lost: &Reload, parent: Option<&ProcessRef>) -> Option<Next<'a>> {
    let later = || case.events().skip(lost.index);
    let name = |child: &'a ProcessRef| {
        let execs = later().filter_map(|(_, event)| match &event.what {
            What::Exec { process, .. } if process.pid == child.pid => Some(&process.comm),
            _ => None,
        });
        execs.last().unwrap_or(&child.comm)
    };
    // What systemd starts beside the main process are commands of the unit.
    let is_older = |by: &ProcessRef| {
        case.is_main(by) || by.comm != "systemd" && started_by(case, by).is_none()
    };
    let mut forks = later().filter_map(|(_, event)| match &event.what {
        What::Fork { parent: by, process }
            if parent.map_or_else(|| is_older(by), |parent| parent.pid == by.pid) =>
        {
            let is_alike = *name(process) == lost.sent.target.comm;
            Some(Next { by, at: event.at_ns, is_alike })
        }
        _ => None,
    });
    let first = forks.next()?;
    if first.is_alike {
        return Some(first);
    }
    let alike = forks.find(|next| next.is_alike);
    alike.or_else(|| parent.is_some().then_some(first))
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{event::ProcessRef, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reload-kills-process";

    fn up() -> Start {
        activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0).handler(1.ms())
    }

    /// HUP to the process `job`.
    fn hup(start: Start, at: i64, sender: ProcessRef) -> Start {
        start.signal(at, Signal::HUP, Default, Killed, sender).to("job")
    }

    #[test]
    fn a_job_that_dies_of_the_reload_of_its_master_is_told() {
        let alerts = hup(up(), 30.s(), by("systemctl")).judged(&[ID]);
        assert!(alerts[0].message.contains("killed job"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("--kill-whom=main"), "{}", alerts[0].mend);
    }

    #[test]
    fn what_processes_of_the_service_send_each_other_is_their_own_affair() {
        hup(up().fork(2.s(), 4720), 30.s(), by("worker")).judged(&[]);
        hup(up().fork(2.s(), 4713), 30.s(), by("systemctl")).judged(&[ID]);
        hup(up(), 30.s(), itself()).judged(&[ID]);
        let job_itself = ProcessRef { pid: 4712, ..by("job") };
        hup(up(), 30.s(), job_itself).judged(&[]);
    }

    #[test]
    fn where_the_main_process_ends_too_the_service_does_not_go_on() {
        let consequence = |start: Start| hup(start, 30.s(), by("systemd"));
        let told = consequence(up()).exit(30.s() + 5.ms(), 129).judged(&[ID]);
        let words = &told[0].consequence;
        assert!(words.contains("exited with code 129 5.00 ms later"), "{words}");
        assert!(words.contains("result 'exit-code'"), "{words}");
        assert!(!words.contains("goes on"), "{words}");
        // Long after, or told to: that is another matter.
        let later = consequence(up()).exit(40.s(), 129).judged(&[ID]);
        assert!(later[0].consequence.contains("goes on"), "{}", later[0].consequence);
        let stopped = consequence(up()).signal(31.s(), Signal::TERM, Handler, Handled, by("kill"));
        let stopped = stopped.exit(31.s() + 1, 0).judged(&[ID]);
        assert!(stopped[0].consequence.contains("goes on"), "{}", stopped[0].consequence);
    }

    #[test]
    fn when_it_died_is_told_by_the_services_exec() {
        let told = hup(up(), 30.s(), by("pkill")).judged(&[ID]);
        assert!(
            told[0].message.contains(", 30.0 s after the service's exec: "),
            "{}",
            told[0].message
        );
    }

    #[test]
    fn a_main_process_that_had_ended_before_is_not_said_to_be_there() {
        let job = |start: Start| {
            let start = start.signal_to("job", 30.s(), Signal::HUP, Default, Killed, by("kill"));
            start.judged(&[ID])[0].consequence.clone()
        };
        // As with RemainAfterExit=yes.
        let ended = |start: Start| start.exit(10.s(), 0);
        let words = "which was python3 (pid 4711), and had ended 20.0 s before, and nothing";
        let alone = job(ended(up()));
        assert!(alone.contains(words), "{alone}");
        let command = ProcessRef { pid: 4712, ..by("job") };
        let command = job(ended(up()).forks(20.s(), by("systemd"), command));
        let words = "runs after the main process, which was python3 (pid 4711), and had ended";
        assert!(command.contains(words), "{command}");
        let goes_on = job(up());
        assert!(goes_on.contains("which is python3 (pid 4711), and"), "{goes_on}");
    }

    #[test]
    fn a_command_of_systemds_is_not_started_again_by_what_it_starts_next() {
        let command = ProcessRef { pid: 4712, ..by("job") };
        let start = up().forks(20.s(), by("systemd"), command);
        let start = start.signal_to("job", 30.s(), Signal::HUP, Default, Killed, by("systemd"));
        let told = start.forks(31.s(), by("systemd"), ProcessRef { pid: 4730, ..by("job") });
        let told = &told.judged(&[ID])[0].consequence;
        assert!(told.contains("a command that systemd runs beside the main process"), "{told}");
        assert!(!told.contains("another"), "{told}");
        // `systemctl kill`: nothing passes it on to the command.
        let command = ProcessRef { pid: 4712, ..by("job") };
        let start = up().forks(20.s(), by("systemd"), command);
        let start = start.signal_to("job", 30.s(), Signal::HUP, Default, Killed, by("systemd"));
        let mend = &start.judged(&[ID])[0].mend;
        assert!(mend.contains("--kill-whom=main"), "{mend}");
        // On older releases its fork is not seen: systemd has named it after what it is to run.
        let told = up().signal_to("(env)", 30.s(), Signal::HUP, Default, Killed, by("systemd"));
        let told = &told.judged(&[ID])[0].consequence;
        assert!(told.contains("a command that systemd runs beside the main process"), "{told}");
    }

    #[test]
    fn a_command_that_died_before_the_main_process_began_has_not_ended_that() {
        let told = |comm: &str, forked: bool| {
            let command = ProcessRef { pid: 4712, ..by(comm) };
            let start = activation().unit("simple", "no").reloads_by(Signal::HUP);
            let start = if forked { start.forks(-70.ms(), by("systemd"), command) } else { start };
            let start = start.signal_to(comm, -64.ms(), Signal::HUP, Default, Killed, by("kill"));
            let start = start.exec(0).handler(1.ms()).exit(40.ms(), 0);
            start.judged(&[ID])[0].consequence.clone()
        };
        // systemd 257, and 252 before it has named the process.
        for told in [told("8", true), told("systemd", false)] {
            assert!(told.contains("a command that systemd runs before the main process"), "{told}");
            assert!(told.contains("begins with '-'"), "{told}");
        }
    }

    #[test]
    fn a_command_beside_a_program_that_executes_another_is_none_before_it() {
        let command = ProcessRef { pid: 4712, ..by("post") };
        let start = activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
        let start = start.forks(5.ms(), by("systemd"), command);
        let start = start.signal_to("post", 10.ms(), Signal::HUP, Default, Killed, by("kill"));
        let alerts = start.exec(20.ms()).handler(25.ms()).judged(&[ID]);
        let told = &alerts[0].consequence;
        assert!(told.contains("runs beside the main process"), "{told}");
    }

    #[test]
    fn another_one_is_one_that_runs_the_same() {
        let died = || {
            let job = ProcessRef { pid: 4712, ..by("job") };
            let start = up().forks(20.s(), itself(), job);
            start.signal_to("job", 30.s(), Signal::HUP, Default, Killed, by("systemctl"))
        };
        let told = |start: Start| start.judged(&[ID])[0].consequence.clone();
        let alike = died().forks(31.s(), itself(), ProcessRef { pid: 4730, ..by("job") });
        assert!(told(alike).contains("started another one 1.00 s later"));
        // What it executes tells, and not what it is called before that.
        let forked = || died().forks(31.s(), itself(), ProcessRef { pid: 4730, ..by("master") });
        let ran = forked().runs(32.s(), ProcessRef { pid: 4730, ..by("job") }, false);
        assert!(told(ran).contains("started another one 1.00 s later"));
        let other = told(forked().runs(32.s(), ProcessRef { pid: 4730, ..by("mail") }, false));
        assert!(other.contains("started another process 1.00 s later, which may"), "{other}");
        let after = forked().forks(33.s(), itself(), ProcessRef { pid: 4731, ..by("job") });
        assert!(told(after).contains("started another one 3.00 s later"));
    }

    #[test]
    fn one_that_ran_before_the_capture_is_started_again_by_whoever_runs_the_same() {
        let died = || up().signal_to("job", 30.s(), Signal::HUP, Default, Killed, by("systemd"));
        let told = |start: Start| start.judged(&[ID])[0].clone();
        let started = |name| {
            died().forks(31.s(), itself(), ProcessRef { pid: 4730, ..by("main") }).runs(
                32.s(),
                ProcessRef { pid: 4730, ..by(name) },
                false,
            )
        };
        let alike = told(started("job")).consequence;
        assert!(alike.contains("started another one 1.00 s later"), "{alike}");
        // Anything else may have been about to be started anyway.
        let other = told(started("mail")).consequence;
        assert!(other.contains("nothing was seen to start it again"), "{other}");
        // A command of systemd's that runs the same was not there.
        let stop = ProcessRef { pid: 4740, ..by("sh") };
        let command = died().forks(31.s(), by("systemd"), stop.clone());
        let command = command.forks(32.s(), stop, ProcessRef { pid: 4741, ..by("job") });
        let command = told(command).consequence;
        assert!(command.contains("nothing was seen to start it again"), "{command}");
        // So is one that systemd starts itself, as to check the settings before a reload.
        let check = ProcessRef { pid: 4740, ..by("job") };
        let check = told(died().forks(31.s(), by("systemd"), check)).consequence;
        assert!(check.contains("nothing was seen to start it again"), "{check}");
        // What the main process sends to what runs with it, it passes on.
        let passed = up().signal_to("job", 30.s(), Signal::HUP, Default, Killed, itself());
        let mend = told(passed).mend;
        assert!(!mend.contains("--kill-whom=main"), "{mend}");
    }

    #[test]
    fn where_the_same_signal_killed_the_main_process_its_own_end_is_told() {
        let all = |main: i64| {
            let start = activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
            let start =
                start.signal_to("job", main + 1.ms(), Signal::HUP, Default, Killed, by("systemd"));
            start.signal(main, Signal::HUP, Default, Killed, by("systemd"))
        };
        all(30.s()).judged(&["reload-never-handled"]);
    }

    #[test]
    fn a_job_whose_handler_lets_it_die_dies_by_its_own_decision() {
        up().signal(30.s(), Signal::HUP, Handler, Killed, by("kill")).to("job").judged(&[]);
    }

    #[test]
    fn what_comes_as_the_service_goes_away_harms_nothing() {
        let start = up().signal(20.s(), Signal::TERM, Handler, Handled, by("systemd"));
        hup(start, 30.s(), by("systemd")).judged(&[]);
    }

    #[test]
    fn what_took_the_signal_is_not_harmed() {
        up().signal(30.s(), Signal::HUP, Handler, Handled, by("kill")).to("job").judged(&[]);
    }

    #[test]
    fn what_its_own_parent_sent_it_was_passed_on() {
        let mend = |sender: ProcessRef| {
            let job = ProcessRef { pid: 4712, ..by("job") };
            let start = up().forks(20.s(), itself(), job);
            let start = start.signal_to("job", 30.s(), Signal::HUP, Default, Killed, sender);
            start.judged(&[ID]).remove(0).mend
        };
        assert!(mend(itself()).starts_with("Give job a handler for HUP"), "{}", mend(itself()));
        assert!(mend(by("kill")).contains("--kill-whom=main"), "{}", mend(by("kill")));
    }

    #[test]
    fn what_one_signal_killed_long_after_another_killed_the_main_process_is_told_too() {
        let start = activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
        let start = start.signal(30.s(), Signal::HUP, Default, Killed, by("systemd"));
        let start =
            start.signal_to("job", 30.s() + 500.ms(), Signal::HUP, Default, Killed, by("systemd"));
        start.judged(&["reload-never-handled", ID]);
    }

    #[test]
    fn that_the_main_process_ended_too_is_told_of_a_unit_and_not_while_systemd_stops_it() {
        let ended = |start: Start| {
            let start = start.signal_to("job", 30.s(), Signal::HUP, Blocked, Killed, by("kill"));
            let start = start.fate_at(30.s() + 20.ms()).exit(30.s() + 30.ms(), 1);
            start.judged(&[ID]).remove(0).consequence
        };
        let known = up().systemd(2.ms(), "active", Some("running"), "success");
        for start in [known.clone(), activation().exec(0).handler(1.ms())] {
            let told = ended(start);
            assert!(told.contains("10.0 ms later, and nobody had told it to"), "{told}");
        }
        let stopped = known.systemd(30.s() + 10.ms(), "deactivating", Some("stop"), "success");
        let told = ended(stopped);
        assert!(!told.contains("nobody had told it to"), "{told}");
    }

    #[test]
    fn a_process_whose_name_only_begins_as_one_of_systemds_commands_is_none() {
        let start = up().signal_to("(odd", 30.s(), Signal::HUP, Default, Killed, by("systemd"));
        let told = &start.judged(&[ID])[0].consequence;
        assert!(told.starts_with("The service goes on without it"), "{told}");
    }

    #[test]
    fn what_others_execute_does_not_make_another_process_of_the_next_one() {
        let job = |pid| ProcessRef { pid, ..by("job") };
        let start = up().forks(20.s(), itself(), job(4712));
        let start = start.signal_to("job", 30.s(), Signal::HUP, Default, Killed, by("systemctl"));
        let start = start.forks(31.s(), itself(), job(4730));
        let start = start.runs(32.s(), ProcessRef { pid: 4731, ..by("mail") }, false);
        let told = &start.judged(&[ID])[0].consequence;
        assert!(told.contains("started another one 1.00 s later"), "{told}");
    }

    #[test]
    fn whoever_ran_before_the_capture_may_start_again_what_died() {
        let died = || up().signal_to("job", 30.s(), Signal::HUP, Default, Killed, by("systemctl"));
        let start = died().forks(31.s(), by("master"), ProcessRef { pid: 4730, ..by("job") });
        let told = &start.judged(&[ID])[0].consequence;
        assert!(told.starts_with("master (pid 4720) started another one"), "{told}");
    }
}
