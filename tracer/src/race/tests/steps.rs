//! From facts to steps and intervals, and back to a step.

use tracer_common::place::{Order, STEPS};

use crate::{
    model::{
        event::{Consumer, DispositionKind},
        race::Reach,
        signal::Signal,
    },
    race::{
        MAX_INTERVALS, plan, role,
        steps::process::MAX_PROGRAMS,
        testing::{COMMAND, Story},
    },
};

const MS: u64 = 1_000_000;

fn ids(story: &Story) -> Vec<String> {
    story.intervals("simple").into_iter().map(|(id, ..)| id).collect()
}

#[test]
fn the_first_interval_begins_at_the_fork_and_each_step_begins_the_next() {
    let story = Story::command().handler(300, COMMAND).says(350, COMMAND, "READY=1\nSTATUS=x");
    assert_eq!(
        story.intervals("notify"),
        [
            ("HUP@fork".to_owned(), 0, Reach::NotByReload),
            ("HUP@exec1".to_owned(), 298, Reach::NotByReload),
            ("HUP@exec1.action1".to_owned(), 348, Reach::NotByReload),
            ("HUP@exec1.ready1".to_owned(), 998, Reach::Reached),
        ]
    );
}

#[test]
fn a_simple_service_is_reloaded_from_the_fork_on_and_no_one_once_it_stops() {
    let story = Story::command().handler(300, COMMAND).says(400, COMMAND, "STOPPING=1");
    let reached: Vec<Reach> = story.intervals("simple").iter().map(|it| it.2).collect();
    assert_eq!(reached, [Reach::Reached, Reach::Reached, Reach::Reached, Reach::NotByReload]);
}

#[test]
fn an_interval_in_which_another_process_says_ready_is_reached() {
    let story = Story::command().fork(10, COMMAND, 101).says(20, 101, "READY=1").exit(21, 101);
    let last = story.intervals("notify").pop().unwrap();
    assert_eq!(last, ("HUP@exec1".to_owned(), 998, Reach::Reached));
}

#[test]
fn what_is_prepared_in_the_command_before_its_exec_is_no_step_of_it() {
    let story = Story::default()
        .fork(0, 1, COMMAND)
        .action(1, COMMAND, Signal::HUP, DispositionKind::Default)
        .exec(2, COMMAND, "/usr/bin/demo")
        .handler(3, COMMAND);
    assert_eq!(ids(&story), ["HUP@fork", "HUP@exec1", "HUP@exec1.action1"]);
}

#[test]
fn steps_are_numbered_by_kind_and_anew_after_each_exec() {
    let story = Story::command()
        .handler(10, COMMAND)
        .mask(20, COMMAND, true)
        .handler(30, COMMAND)
        .mask(40, COMMAND, false)
        .exec(50, COMMAND, "/usr/bin/demo")
        .handler(60, COMMAND);
    assert_eq!(
        ids(&story),
        [
            "HUP@fork",
            "HUP@exec1",
            "HUP@exec1.action1",
            "HUP@exec1.block1",
            "HUP@exec1.action2",
            "HUP@exec1.unblock1",
            "HUP@exec2",
            "HUP@exec2.action1",
        ]
    );
}

#[test]
fn another_signals_handler_is_no_step_for_this_one() {
    let story = Story::command().action(10, COMMAND, Signal::TERM, DispositionKind::Handler);
    assert_eq!(ids(&story), ["HUP@fork", "HUP@exec1"]);
    let steps = story.steps_of(Signal::TERM);
    assert_eq!(steps.command().unwrap().steps().len(), 3);
}

#[test]
fn a_mask_for_a_moment_is_none_but_is_counted() {
    let story = Story::command()
        .mask_ns(10 * MS, COMMAND, true)
        .mask_ns(10 * MS + 900_000, COMMAND, false)
        .mask_ns(20 * MS, COMMAND, true)
        .mask_ns(30 * MS, COMMAND, false);
    assert_eq!(ids(&story), ["HUP@fork", "HUP@exec1", "HUP@exec1.block2", "HUP@exec1.unblock2"]);
}

#[test]
fn what_the_c_library_blocks_around_a_fork_or_a_thread_is_no_step_on_a_busy_host_either() {
    let fork = |from: u64, to| {
        let story = Story::command().mask_of_all(from, COMMAND, true).fork(from + 1, COMMAND, 101);
        ids(&story.mask_of_all(to, COMMAND, false))
    };
    // vfork(2) comes back once the child has executed its program.
    assert_eq!(fork(10, 400), ["HUP@fork", "HUP@exec1", "HUP@exec1.fork1", "HUP@child1.fork"]);
    let thread = Story::command().mask_of_all(10, COMMAND, true).mask_of_all(25, COMMAND, false);
    assert_eq!(ids(&thread).len(), 2);
    let long = Story::command().mask_of_all(10, COMMAND, true).mask_of_all(50, COMMAND, false);
    assert_eq!(ids(&long)[2..], ["HUP@exec1.block1", "HUP@exec1.unblock1"]);
}

#[test]
fn how_many_helpers_a_start_has_changes_the_number_of_no_mask() {
    let mut story = Story::command();
    for number in 0..3 {
        let at = 10 + 10 * number;
        story = story.mask_of_runtime(at, COMMAND, true).fork(at + 1, COMMAND, 101 + number as u32);
        story = story.mask_of_runtime(at + 2, COMMAND, false).exit(at + 3, 101 + number as u32);
    }
    let story = story.mask(50, COMMAND, true).mask(60, COMMAND, false);
    assert_eq!(ids(&story)[2..], ["HUP@exec1.block1", "HUP@exec1.unblock1"]);
}

#[test]
fn a_helper_that_comes_again_and_again_is_no_worker() {
    let helper = |story: Story, at: u64, pid: u32| {
        story.fork(at, COMMAND, pid).exec(at + 1, pid, "/usr/bin/sleep")
    };
    let once = helper(Story::command(), 10, 101);
    assert_eq!(ids(&once)[2..], ["HUP@exec1.fork1", "HUP@child1.fork", "HUP@child1.exec1"]);
    assert_eq!(ids(&helper(once.exit(20, 101), 30, 102)).len(), 2);
    // Two workers of which one has ended: what they are was not executed.
    let workers = Story::command().fork(10, COMMAND, 101).exit(20, 101).fork(30, COMMAND, 102);
    assert_eq!(ids(&workers)[2..], ["HUP@exec1.fork1", "HUP@child1.fork"]);
}

#[test]
fn a_helper_that_is_yet_to_execute_its_program_is_no_worker() {
    let story = |at| Story::command().handler(300, COMMAND).fork(at, COMMAND, 101);
    assert_eq!(ids(&story(899))[3..], ["HUP@exec1.fork1", "HUP@child1.fork"]);
    assert_eq!(ids(&story(901)).len(), 3);
}

#[test]
fn the_fork_of_a_child_that_lives_on_is_a_step_and_that_of_a_helper_is_none() {
    let story = Story::command()
        .fork(10, COMMAND, 101)
        .exec(11, 101, "/usr/bin/helper")
        .exit(15, 101)
        .fork(20, COMMAND, 102)
        .fork(30, 102, 103)
        .handler(40, COMMAND);
    let steps = story.steps_of(Signal::TERM);
    let (planned, _) = plan(&steps, Signal::TERM, role(Signal::TERM, &[]), "simple", 900 * MS);
    let told: Vec<_> = planned.iter().map(|it| (it.id.as_str(), it.after.what.as_str())).collect();
    assert_eq!(
        told[1..],
        [("TERM@exec1", "exec of demo"), ("TERM@exec1.fork1", "fork of child 1")],
        "a handler of HUP is none of TERM"
    );
    assert_eq!(
        ids(&story),
        [
            "HUP@fork",
            "HUP@exec1",
            "HUP@exec1.fork1",
            "HUP@exec1.action1",
            "HUP@child1.fork",
            "HUP@child1.fork1",
            "HUP@child1.child1.fork",
        ]
    );
}

#[test]
fn a_signal_at_a_fork_is_at_that_of_a_child_of_the_same_kind() {
    let helper = |story: Story, at, pid: u32| {
        story.fork(at, COMMAND, pid).exec(at + 1, pid, "/usr/bin/helper").exit(at + 5, pid)
    };
    let untouched = helper(Story::command(), 10, 101).fork(20, COMMAND, 102).handler(40, COMMAND);
    let (planned, _) =
        plan(&untouched.steps(), Signal::HUP, role(Signal::HUP, &[]), "simple", 900 * MS);
    let [_, exec, fork, action, begin] = &planned[..] else { panic!("{planned:?}") };
    // It ends of the signal, and so does the child.
    let again = helper(Story::command(), 10, 101).fork(30, COMMAND, 102);
    let again = again.exit(31, COMMAND).exit(32, 102).steps();
    assert!(planned.iter().all(|it| it.is_of(&again)));
    assert!(fork.holds(&again, 30 * MS) && !fork.holds(&again, 29 * MS));
    assert!(exec.holds(&again, 29 * MS) && begin.holds(&again, 31 * MS));
    // With another helper in between, the second child is that one.
    let other = helper(helper(Story::command(), 10, 101), 20, 102).fork(30, COMMAND, 103).steps();
    assert!(!fork.is_of(&other) && !begin.is_of(&other) && exec.is_of(&other));
    let late = helper(Story::command(), 10, 101).handler(15, COMMAND).fork(20, COMMAND, 102);
    assert!(action.holds(&late.steps(), 21 * MS) && fork.holds(&late.steps(), 21 * MS));
}

#[test]
fn a_mask_for_a_moment_in_which_the_action_changes_is_told() {
    let story = Story::command().mask_ns(10 * MS, COMMAND, true).handler(10, COMMAND).mask_ns(
        10 * MS + 500_000,
        COMMAND,
        false,
    );
    assert_eq!(ids(&story).len(), 5);
}

#[test]
fn a_thread_that_blocks_it_while_others_do_not_changes_nothing() {
    let story = Story::command().mask_of_thread(10, COMMAND, true).mask(20, COMMAND, true);
    assert_eq!(ids(&story), ["HUP@fork", "HUP@exec1", "HUP@exec1.block2"]);
}

#[test]
fn a_process_that_waits_again_and_again_does_so_once() {
    let story = Story::command()
        .mask(10, COMMAND, true)
        .consume(20, COMMAND, Consumer::Sigwait)
        .consume(30, COMMAND, Consumer::Sigwait)
        .consume(40, COMMAND, Consumer::Signalfd);
    assert_eq!(ids(&story)[2..], ["HUP@exec1.block1", "HUP@exec1.sigwait1", "HUP@exec1.signalfd1"]);
}

#[test]
fn a_handler_for_one_delivery_is_a_step_where_it_is_called() {
    let story = Story::command().handler(10, COMMAND).called_once(20, COMMAND).handler(30, COMMAND);
    assert_eq!(ids(&story)[2..], ["HUP@exec1.action1", "HUP@exec1.reset1", "HUP@exec1.action2"]);
}

#[test]
fn only_what_is_said_to_its_own_socket_and_changes_something_is_a_step() {
    let story = Story::command()
        .says(10, COMMAND, "STATUS=loading")
        .says_to(20, COMMAND, "/run/other", "READY=1")
        .says(30, COMMAND, "READY=1")
        .says(40, COMMAND, "WATCHDOG=1")
        .says(50, COMMAND, "RELOADING=1\nMONOTONIC_USEC=5")
        .says(60, COMMAND, "READY=1");
    assert_eq!(ids(&story)[2..], ["HUP@exec1.ready1", "HUP@exec1.reloading1", "HUP@exec1.ready2"]);
}

#[test]
fn of_the_processes_it_starts_those_that_run_on_are_raced_too() {
    let story = Story::command()
        .handler(10, COMMAND)
        .fork(20, COMMAND, 101)
        .exec(21, 101, "/usr/bin/helper")
        .exit(25, 101)
        .fork(30, COMMAND, 102)
        .action(40, 102, Signal::HUP, DispositionKind::Default)
        .fork(50, 102, 103);
    assert_eq!(
        ids(&story)[3..],
        [
            "HUP@exec1.fork1",
            "HUP@child1.fork",
            "HUP@child1.action1",
            "HUP@child1.fork1",
            "HUP@child1.child1.fork",
        ]
    );
    let reached = story.intervals("simple").pop().unwrap().2;
    assert_eq!(reached, Reach::NotByReload);
    let steps = story.steps_of(Signal::TERM);
    let (planned, _) = plan(&steps, Signal::TERM, role(Signal::TERM, &[]), "simple", 100 * MS);
    assert!(planned.iter().all(|it| it.main), "what ends the service ends them");
}

#[test]
fn a_signal_is_in_the_interval_whose_step_was_the_last_one() {
    let first = Story::command().handler(300, COMMAND).handler(400, COMMAND);
    let (planned, _) =
        plan(&first.steps(), Signal::HUP, role(Signal::HUP, &[]), "simple", 900 * MS);
    let [.., exec, one, two] = &planned[..] else { panic!("{planned:?}") };
    // Another run, which is slower.
    let again = Story::command().handler(600, COMMAND).handler(800, COMMAND).steps();
    assert!(one.holds(&again, 600 * MS) && one.holds(&again, 799 * MS));
    assert!(!one.holds(&again, 599 * MS) && !one.holds(&again, 800 * MS));
    assert!(exec.holds(&again, 599 * MS) && two.holds(&again, 801 * MS));
    // One in which the second handler never comes.
    let other = Story::command().handler(600, COMMAND).steps();
    assert!(!two.holds(&other, 900 * MS));
}

#[test]
fn an_order_says_which_step_it_is() {
    let story = Story::command().handler(10, COMMAND).handler(20, COMMAND);
    let (planned, _) =
        plan(&story.steps(), Signal::HUP, role(Signal::HUP, &[]), "simple", 900 * MS);
    let order: Order = planned[3].at.order(Signal::HUP);
    assert_eq!((order.signal, order.process, order.execs, order.number), (1, 1, 1, 2));
    assert!((order.step as usize) < STEPS);
    assert_eq!(order.starter, 0, "nothing is placed until it is told who starts the command");
}

#[test]
fn of_too_many_intervals_the_first_are_raced_and_the_rest_is_counted() {
    let mut story = Story::command();
    for at in 0..2 * MAX_INTERVALS as u64 {
        story = story.handler(10 + at, COMMAND);
    }
    let (planned, left_out) =
        plan(&story.steps(), Signal::HUP, role(Signal::HUP, &[]), "simple", 900 * MS);
    assert_eq!((planned.len(), left_out), (MAX_INTERVALS, MAX_INTERVALS as u64 + 2));
}

#[test]
fn facts_that_overtook_each_other_are_put_in_order() {
    let ordered = Story::command().handler(10, COMMAND).handler(20, COMMAND);
    let mut facts = ordered.facts().to_vec();
    facts.reverse();
    let steps = crate::race::Steps::of(
        &facts,
        Signal::HUP,
        crate::race::Origin::ChildOf(1),
        None,
        u64::MAX,
    );
    assert_eq!(steps.command().unwrap().steps().len(), 4);
}

#[test]
fn a_mask_that_the_signal_itself_ends_at_once_was_a_step_as_it_came() {
    let untouched = || Story::command().mask_ns(10 * MS, COMMAND, true);
    let (planned, _) =
        plan(&untouched().steps(), Signal::HUP, role(Signal::HUP, &[]), "simple", 1_000 * MS);
    let last = planned.last().unwrap();
    assert_eq!(last.id, "HUP@exec1.block1");
    // The signal is placed at 10 ms; who waits for it goes on, and blocks it again.
    let run = untouched().mask_ns(10 * MS + 1_000, COMMAND, false);
    let run = run.mask_ns(11 * MS, COMMAND, true);
    let at = 10 * MS + 500;
    assert!(!last.holds(&run.steps(), at), "by all that came, it was none");
    assert!(last.holds(&run.steps_until(last.until(at)), at));
}

#[test]
fn no_reload_reaches_a_unit_that_has_none() {
    let steps = Story::command().handler(300, COMMAND).steps().with_reload(Some(false));
    let (planned, _) = plan(&steps, Signal::HUP, role(Signal::HUP, &[]), "simple", 900 * MS);
    assert!(planned.iter().all(|it| it.reached == Reach::NotByReload));
    let (planned, _) = plan(&steps, Signal::TERM, role(Signal::TERM, &[]), "simple", 900 * MS);
    assert!(planned.iter().all(|it| it.reached == Reach::Reached));
}

#[test]
fn of_the_programs_of_a_process_the_first_ones_are_remembered() {
    let executes = |story: Story, at: u64| story.exec(at, COMMAND, &format!("/usr/bin/p{at}"));
    let steps = (3..3 + MAX_PROGRAMS as u64).fold(Story::command(), executes).steps();
    let process = steps.command().unwrap();
    assert_eq!(process.programs().len(), MAX_PROGRAMS);
    assert_eq!(process.programs()[MAX_PROGRAMS - 1], format!("p{}", 1 + MAX_PROGRAMS));
}
