//! What the builder itself says: how far a capture has come, what is new, what is final.

use std::ops::Range;

use super::story::{BEGIN, DEMO, MS, STARTER, Story};
use crate::{
    model::{
        document::{Owner, Severity},
        event::{DispositionKind, What},
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Fact, Observation, ProcessId, UnitNews},
    timeline::{Builder, Counting, News, Progress, Setup},
};

/// ns in a second.
const S: u64 = 1_000 * MS;
/// The services that are told again although nothing of them is new.
const NONE: Range<u64> = 0..0;
const ALL: Range<u64> = 0..u64::MAX;

fn fed(setup: Setup, observations: &[Observation]) -> Builder {
    let mut builder = Builder::new(setup);
    for observation in observations {
        builder.observe(observation.clone());
    }
    builder
}

/// A builder that has heard a story, up to half a second after its last fact.
fn built(story: &Story) -> Builder {
    let mut builder = fed(story.setup(), &story.observations);
    let last = story.observations.iter().map(|it| it.at).max().unwrap_or(BEGIN);
    builder.advance(last + S / 2);
    builder
}

#[test]
fn of_what_the_tracer_starts_the_command_alone_and_what_that_starts_are_told() {
    const HELPER: u32 = 9;
    let story = Story::command()
        .fork(0, STARTER, 10)
        .exec(1, 10, "/bin/demo")
        .fork(2, STARTER, HELPER)
        .exec(3, HELPER, "/proc/self/exe")
        .fork(4, 10, 11)
        .fork(5, HELPER, 12);
    let mut builder = Builder::new(story.setup());
    builder.set_command(10);
    story.observations.iter().for_each(|observation| builder.observe(observation.clone()));
    builder.end();
    let services = builder.services(BEGIN + S);
    let starts: Vec<_> = services.iter().flat_map(|service| &service.activations).collect();
    assert_eq!(starts.len(), 1);
    let forked = |what: &What| match what {
        What::Fork { process, .. } => Some(process.pid),
        _ => None,
    };
    let forked: Vec<u32> = starts[0].events.iter().filter_map(|it| forked(&it.what)).collect();
    assert_eq!(forked, [10, 11]);
    assert_eq!(starts[0].main_process.as_ref().map(|main| main.pid), Some(10));
}

fn running() -> Story {
    Story::unit().start(0, 10, "/bin/demo", "a")
}

fn news(change: impl FnOnce(&mut UnitNews)) -> Fact {
    let mut news = UnitNews { cgroup: DEMO.to_owned(), ..UnitNews::default() };
    change(&mut news);
    Fact::Unit(Box::new(news))
}

#[test]
fn facts_of_the_kernel_side_are_counted_and_what_was_lost_by_its_kind() {
    let loss = |kind: &'static str, count| Fact::Loss { kind: kind.into(), count };
    let story = running()
        .found(20, STARTER, DEMO, &[])
        .fact(1, Fact::CgroupPath { hierarchy: 0, id: 7, path: "/other".to_owned() })
        .fact(1, Fact::CgroupGone { hierarchy: 0, id: 7, path: "/other".to_owned() })
        .fact(1, news(|_| ()))
        .fact(2, loss("signal", 2))
        .fact(3, loss("notify", 1))
        .fact(4, loss("signal", 3))
        .handler(5, 10);
    let mut builder = built(&story);
    // The move, the exec, the handler.
    assert_eq!(builder.events(), 3);
    assert_eq!(builder.losses(), [("notify".to_owned(), 1), ("signal".to_owned(), 5)].into());
    let progress = builder.progress();
    assert_eq!((progress.events, progress.lost), (3, 6));
}

#[test]
fn a_fact_has_20_ms_to_come_into_its_place() {
    let mut builder = fed(running().setup(), &running().observations);
    assert_eq!(builder.live(), []);
    builder.advance(BEGIN + 20 * MS - 1);
    assert_eq!(builder.live(), []);
    builder.advance(BEGIN + 21 * MS);
    assert_eq!(builder.live(), [running().task(10).id]);
}

#[test]
fn news_are_told_once_and_what_is_open_as_often_as_it_is_asked_for() {
    let mut builder = built(&running());
    let now = BEGIN + S;
    let starts =
        |news: Vec<News>| -> usize { news.iter().map(|news| news.service.activations.len()).sum() };
    assert_eq!(starts(builder.news(now, &NONE)), 1);
    assert_eq!(starts(builder.news(now, &NONE)), 0);
    assert_eq!(starts(builder.news(now, &ALL)), 1);
    let more = running().handler(600, 10);
    builder.observe(more.observations.last().unwrap().clone());
    builder.advance(BEGIN + S);
    let told = builder.news(now, &NONE);
    assert_eq!(told[0].service.activations[0].milestones.handler_ns, Some(599 * MS as i64));
    assert_eq!(starts(builder.news(now, &NONE)), 0);
    // What systemd says of a unit may change what was told.
    let state = UnitState { active_state: "active".to_owned(), ..UnitState::default() };
    let said = news(|it| (it.state, it.invocation_id) = (Some(state), Some("a".to_owned())));
    builder.observe(Observation { at: BEGIN + S, fact: said });
    builder.advance(BEGIN + 2 * S);
    assert_eq!(starts(builder.news(now, &NONE)), 1);
}

#[test]
fn news_of_a_service_come_with_its_place_and_whether_its_last_start_is_among_them() {
    let first = running().handler(5, 10);
    let second = first.clone().exit(20, 10, 0).start(30, 11, "/bin/demo", "b");
    let mut builder = built(&first);
    let told = |news: Vec<News>| -> Vec<(u64, usize, bool, usize)> {
        let told = |it: &News| (it.number, it.starts, it.has_last, it.service.activations.len());
        news.iter().map(told).collect()
    };
    assert_eq!(told(builder.news(BEGIN + S, &NONE)), [(0, 1, true, 1)]);
    assert_eq!(builder.numbers().collect::<Vec<_>>(), [0]);
    for observation in &second.observations[first.observations.len()..] {
        builder.observe(observation.clone());
    }
    builder.advance(BEGIN + S);
    assert_eq!(told(builder.news(BEGIN + S, &NONE)), [(0, 2, true, 2)]);
    assert_eq!(told(builder.news(BEGIN + S, &(0..1))), [(0, 2, true, 2)]);
    assert_eq!(told(builder.news(BEGIN + S, &(1..9))), []);
    assert_eq!(builder.next(), 1);
}

#[test]
fn every_kind_of_fact_of_a_start_is_news() {
    // Beside a signal that came before it and was not told either.
    let told = running().handler(5, 10).hup(20, STARTER, 10).fork(21, 10, 11).hup(599, 11, 10);
    let kinds: Vec<(&str, Story)> = vec![
        ("exec", told.clone().exec(600, 10, "/bin/other")),
        ("exit", told.clone().exit(600, 10, 0)),
        ("signal", told.clone().hup(600, STARTER, 10)),
        ("delivery", told.clone().deliver(600, 10, DispositionKind::Handler, false)),
        ("taken", told.clone().taken(600, 10)),
        ("action", told.clone().action(600, 10, Signal::HUP, DispositionKind::Ignored, 0)),
        ("mask", told.clone().mask(600, 10, true)),
        ("signalfd", {
            let signalfd = crate::model::event::Consumer::Signalfd;
            told.clone().consume(600, 10, signalfd)
        }),
        ("message", told.clone().notify(600, 10, "READY=1")),
        ("main process", told.clone().notify(600, 10, "MAINPID=11")),
        ("look", {
            let (id, state) = (told.task(10).id, crate::observation::SignalState::default());
            told.clone().fact(600, Fact::Left { id, state })
        }),
    ];
    for (kind, story) in kinds {
        for (told, news) in [(2, true), (1, true), (0, false)] {
            let (before, last) = story.observations.split_at(story.observations.len() - told);
            let mut builder = fed(story.setup(), before);
            builder.advance(BEGIN + 700 * MS);
            let _ = builder.news(BEGIN + S, &NONE);
            for observation in last {
                builder.observe(observation.clone());
            }
            builder.advance(BEGIN + 2 * S);
            let is_news = !builder.news(BEGIN + 2 * S, &NONE).is_empty();
            assert_eq!(is_news, news, "{kind}, {told} facts");
        }
    }
}

#[test]
fn a_capture_has_come_as_far_as_the_last_start_of_every_service() {
    let progress = |story: &Story| built(story).progress();
    assert_eq!(progress(&Story::unit()), Progress::default(), "nothing is there yet");
    let one = running().handler(5, 10).notify(6, 10, "READY=1");
    let far = progress(&one);
    assert_eq!((far.handler, far.ready, far.exited), (true, true, false));
    let two =
        one.clone().attach(7, 20, "/system.slice/demo2.service").exec_in(8, 20, "/bin/demo", "b");
    let far = progress(&two);
    assert_eq!((far.activations, far.handler, far.ready), (2, false, false));
    let again = one.exit(20, 10, 0).start(30, 11, "/bin/demo", "b");
    let far = progress(&again);
    assert_eq!((far.activations, far.handler, far.ready, far.exited), (2, false, false, false));
}

#[test]
fn only_starts_that_were_seen_from_their_beginning_count_where_that_is_asked_for() {
    let old = Story::unit().found(10, STARTER, DEMO, &[Signal::HUP]);
    let fresh = |story: &Story| {
        let mut builder = fed(Setup { fresh: true, ..story.setup() }, &story.observations);
        builder.advance(BEGIN + S);
        builder.progress()
    };
    assert_eq!((fresh(&old).activations, fresh(&old).exited), (1, false));
    assert!(!fresh(&old.clone().exit(5, 10, 0)).exited);
    assert!(built(&old.exit(5, 10, 0)).progress().exited);
    assert!(fresh(&running().exit(5, 10, 0)).exited);
}

/// A start that is over, with its cgroup gone.
fn over() -> Story {
    let gone = Fact::CgroupGone { hierarchy: 0, id: 1, path: DEMO.to_owned() };
    running().handler(5, 10).notify(6, 10, "READY=1").exit(20, 10, 0).fact(21, gone)
}

#[test]
fn a_start_is_final_ten_seconds_after_its_last_fact() {
    let mut builder = built(&over());
    builder.advance(BEGIN + 10 * S);
    assert!(!builder.has_unjudged());
    let progress = builder.progress();
    // systemd has had the time to tell what it made of it.
    builder.advance(BEGIN + 11 * S);
    assert!(builder.has_unjudged());
    assert_eq!(builder.progress(), progress, "it has come as far as before");
    assert_eq!(builder.news(BEGIN + 11 * S, &ALL).len(), 0);
    let mut judged = Vec::new();
    builder.judge_final(|service| {
        judged.push((service.name.clone(), service.activations.len()));
        Some(Severity::Error)
    });
    assert_eq!(judged, [("demo.service".to_owned(), 1)]);
    assert!(!builder.has_unjudged());
    builder.judge_final(|_| panic!("it was judged"));
    let services = builder.services(BEGIN + 20 * S);
    assert_eq!(services[0].activations[0].milestones.exit_ns, Some(19 * MS as i64));
}

#[test]
fn a_start_that_may_go_on_is_not_final() {
    let final_at = |story: &Story, at: u64| {
        let mut builder = built(story);
        builder.advance(BEGIN + at);
        builder.has_unjudged()
    };
    assert!(final_at(&over(), 12 * S));
    // Its cgroup is there.
    let kept = running().exit(20, 10, 0);
    assert!(!final_at(&kept, 60 * S));
    // A process of it is left.
    assert!(!final_at(&over().fork(19, 10, 11), 60 * S));
    // It is not the last, and the last one runs.
    let again = kept.start(30, 11, "/bin/demo", "b");
    assert!(final_at(&again, 12 * S));
    let mut builder = built(&again);
    builder.advance(BEGIN + 12 * S);
    let mut judged = 0;
    builder.judge_final(|service| {
        judged += service.activations.len();
        assert_eq!(service.activations[0].invocation_id.as_deref(), Some("a"));
        None
    });
    assert_eq!(judged, 1);
}

#[test]
fn of_a_service_with_many_starts_they_are_final_after_a_second() {
    let restarted = |times: u32| {
        let mut story = Story::unit();
        for start in 0..times {
            let (at, pid) = (u64::from(start), 100 + start);
            story = story.start(at, pid, "/bin/demo", &format!("{start}")).exit(at + 1, pid, 0);
        }
        let mut builder = built(&story);
        builder.advance(BEGIN + 2 * S);
        builder.has_unjudged()
    };
    assert!(restarted(50));
    assert!(!restarted(49));
}

#[test]
fn states_of_a_start_that_is_final_are_told_no_more_and_no_second_time() {
    let state = UnitState { active_state: "inactive".to_owned(), ..UnitState::default() };
    let said = |id: &str| {
        let (state, id) = (state.clone(), id.to_owned());
        news(|it| (it.state, it.invocation_id) = (Some(state), Some(id)))
    };
    let story = over().fact(22, said("a")).start(11_000, 11, "/bin/demo", "b");
    let story = story.fact(11_005, said("b"));
    let mut builder = built(&story);
    builder.advance(BEGIN + 30 * S);
    let services = builder.services(BEGIN + 30 * S);
    let states = services[0].activations.iter().map(|start| {
        start.events.iter().filter(|it| matches!(it.what, What::Systemd { .. })).count()
    });
    assert_eq!(states.collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn units_are_told_by_their_numbers_and_commands_are_none() {
    let story =
        running().attach(7, 20, "/system.slice/demo2.service").exec_in(8, 20, "/bin/demo", "b");
    let builder = built(&story);
    let unit = |name: &str| (format!("{name}.service"), format!("/system.slice/{name}.service"));
    assert_eq!(builder.units_after(0), (vec![unit("demo"), unit("demo2")], 2));
    assert_eq!(builder.units_after(1), (vec![unit("demo2")], 2));
    assert_eq!(builder.units_after(2), (vec![], 2));
    let command = Story::command().fork(0, STARTER, 10).exec(1, 10, "/bin/demo");
    assert_eq!(built(&command).units_after(0), (vec![], 1));
}

#[test]
fn processes_with_open_signals_are_awaited_each_once() {
    let usr1: Signal = "USR1".parse().unwrap();
    let blocked = |story: Story, pid| {
        let story = story.mask(5, pid, true).hup(10, STARTER, pid);
        story.hup_with(10, STARTER, pid, |it| it.signal = usr1)
    };
    let story = blocked(blocked(running().fork(4, 10, 9), 10), 9);
    let ids: Vec<ProcessId> = built(&story).awaited();
    assert_eq!(ids.iter().map(|id| id.pid).collect::<Vec<_>>(), [9, 10]);
    let taken = story.taken(20, 10).clone();
    let ended = taken.exit(21, 9, 0).exit(22, 10, 0);
    assert_eq!(built(&ended).awaited(), []);
    assert_eq!(built(&ended).live(), []);
}

#[test]
fn what_was_only_claimed_stays_so_and_an_owner_is_not_forgotten() {
    let owner = |story: Story, owner: Option<Owner>| story.fact(5, news(|it| it.owner = owner));
    let told = |story: &Story| built(story).services(BEGIN + S)[0].owner;
    let claimed = Owner::Claimed { uid: 7 };
    let host = owner(running(), Some(Owner::Host));
    assert_eq!(told(&owner(host.clone(), None)), Some(Owner::Host));
    assert_eq!(told(&owner(host, Some(claimed))), Some(claimed));
    assert_eq!(told(&owner(owner(running(), Some(claimed)), Some(Owner::Host))), Some(claimed));
}

#[test]
fn why_settings_are_unknown_is_told_until_they_are_known() {
    let problem = |text: &str| news(|it| it.problem = Some(text.to_owned()));
    let told = |story: &Story| {
        let service = built(story).services(BEGIN + S).remove(0);
        (service.unit.is_some(), service.unit_problem)
    };
    let no_bus = running().fact(5, problem("no bus"));
    assert_eq!(told(&no_bus), (false, Some("no bus".to_owned())));
    assert_eq!(told(&no_bus.clone().fact(6, news(|_| ()))), (false, Some("no bus".to_owned())));
    let known = no_bus.fact(6, news(|it| it.facts = Some(UnitFacts::default())));
    assert_eq!(told(&known), (true, None));
    // What is asked in vain later does not make known settings doubtful.
    assert_eq!(told(&known.fact(7, problem("gone"))), (true, None));
}

#[test]
fn a_start_that_is_final_counts_as_it_did_before() {
    let gone = Fact::CgroupGone { hierarchy: 0, id: 1, path: DEMO.to_owned() };
    let old = Story::unit().found(10, STARTER, DEMO, &[Signal::HUP]).exit(20, 10, 0);
    let has_exited = |story: &Story, fresh: bool| {
        let mut builder = fed(Setup { fresh, ..story.setup() }, &story.observations);
        builder.advance(BEGIN + 12 * S);
        assert!(builder.has_unjudged(), "it is final");
        builder.progress().exited
    };
    let old = old.fact(21, gone);
    assert!(has_exited(&old, false) && !has_exited(&old, true), "it ran before");
    assert!(has_exited(&over(), false) && has_exited(&over(), true));
}

#[test]
fn what_a_capture_was_set_up_with_is_told_by_its_builder() {
    let counting = Counting::HostFirst { of_host: ["demo.service".to_owned()].into() };
    let setup = Setup { counting: counting.clone(), settle_ns: 7 * S, ..running().setup() };
    let builder = fed(setup, &running().observations);
    assert_eq!((builder.counting(), builder.settle_ns()), (&counting, 7 * S));
}

#[test]
fn each_service_has_the_next_number() {
    let numbers = |count: u32| {
        let mut story = Story::unit();
        for number in 0..count {
            let path = format!("/system.slice/demo{number}.service");
            story = story.attach(1, 20 + number, &path).exec_in(2, 20 + number, "/bin/demo", "a");
        }
        let mut builder = built(&story);
        builder.advance(BEGIN + S);
        builder.next()
    };
    assert_eq!([0, 1, 3].map(numbers), [0, 1, 3]);
}

#[test]
fn the_end_of_a_capture_makes_no_start_final() {
    let mut builder = fed(over().setup(), &over().observations);
    builder.end();
    assert!(!builder.has_unjudged());
}

#[test]
fn settings_that_were_named_are_those_of_the_command_and_of_no_unit() {
    let unit = |story: Story| story.with_facts("notify", "main").told().services[0].unit.clone();
    let command = Story::command().fork(0, STARTER, 10).exec(1, 10, "/bin/demo");
    assert_eq!(unit(command).unwrap().service_type.as_deref(), Some("notify"));
    assert_eq!(unit(running()), None);
}

#[test]
fn a_service_found_running_was_ready_only_if_it_becomes_so_during_the_capture() {
    let progress = |active: &str, ready: bool| {
        let facts = UnitFacts {
            service_type: Some("notify".to_owned()),
            notify_access: Some("main".to_owned()),
            ..UnitFacts::default()
        };
        let state = UnitState { active_state: active.to_owned(), ..UnitState::default() };
        let story = Story::unit().found(10, STARTER, DEMO, &[Signal::HUP]);
        let story = story
            .fact(0, news(|it| it.facts = Some(facts)))
            .fact(0, news(|it| (it.state, it.invocation_id) = (Some(state), Some("a".to_owned()))));
        let story = if ready { story.notify(30, 10, "READY=1") } else { story };
        built(&story.handler(40, 10)).progress().ready
    };
    // What came before is waited for no more.
    assert!(!progress("active", false) && !progress("active", true));
    assert!(!progress("activating", false) && progress("activating", true));
}
