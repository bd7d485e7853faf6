use tokio::{sync::mpsc::channel, task::unconstrained, time::timeout};
use zbus::zvariant::Value;

use super::{
    super::{
        MAX_NEWS,
        tests::{nowhere, run},
    },
    *,
};

fn attendant(news_sender: Sender<Observation>) -> Attendant {
    Attendant::new(nowhere(0), news_sender)
}

fn unit(number: usize) -> Watched {
    Watched::new(format!("{number}.service"), format!("/{number}"), 0)
}

#[test]
fn of_too_many_units_the_one_watched_longest_gives_way_and_counts_as_lost() {
    run(async {
        let (sender, mut news) = channel(MAX_NEWS);
        let mut attendant = attendant(sender);
        for number in 0..MAX_WATCHED {
            attendant.watch(unit(number)).await;
        }
        // It is among the last now: systemd has moved it.
        let moved = Watched::new("0.service".to_owned(), "/moved".to_owned(), 0);
        attendant.watch(moved).await;
        assert!(news.try_recv().is_err(), "all have room");
        attendant.watch(unit(MAX_WATCHED)).await;
        assert_eq!((attendant.watched.len(), attendant.order.len()), (MAX_WATCHED, MAX_WATCHED));
        let is_watched = |number| attendant.watched.contains_key(&bus::object(&unit(number).name));
        assert_eq!([0, 1, 2, MAX_WATCHED].map(is_watched), [true, false, true, true]);
        let Fact::Loss { kind, count } = news.try_recv().unwrap().fact else { panic!("no loss") };
        assert_eq!((&*kind, count), ("systemd", 1));
    });
}

#[test]
fn what_a_systemd_says_waits_until_there_is_room() {
    run(async {
        let (sender, mut news) = channel(MAX_NEWS);
        let mut attendant = attendant(sender);
        for _ in 0..MAX_NEWS {
            assert!(poll_once(unconstrained(attendant.tell(loss(1)))).await.is_some());
        }
        assert!(poll_once(unconstrained(attendant.tell(loss(2)))).await.is_none());
        news.recv().await;
        assert!(poll_once(unconstrained(attendant.tell(loss(2)))).await.is_some());
    });
}

#[test]
fn a_systemd_that_says_much_is_listened_to_no_faster_than_two_in_a_millisecond() {
    run(async {
        let (sender, mut news) = channel(MAX_NEWS);
        let mut attendant = attendant(sender);
        // Those that may come at once, without the time that it takes to tell them.
        attendant.pace.take(TOLD_AT_ONCE);
        let taking = tokio::spawn(async move { while news.recv().await.is_some() {} });
        let begun = std::time::Instant::now();
        for _ in 0..200 {
            attendant.tell(loss(1)).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
        drop(attendant);
        taking.await.unwrap();
    });
}

fn properties(pairs: &[(&str, Value<'_>)]) -> Properties {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.try_to_owned().unwrap())).collect()
}

#[test]
fn what_a_systemd_said_before_a_unit_was_watched_is_told_once_it_is() {
    run(async {
        let (sender, mut news) = channel(MAX_NEWS);
        let mut attendant = attendant(sender);
        let object = bus::object(&unit(0).name);
        let states = attendant.services.announced(object.clone());
        states.service_changed(properties(&[("Result", "exit-code".into())]));
        let since = clock::monotonic_ns() / 1_000 - 5_000_000;
        states.unit_changed(properties(&[
            ("ActiveState", "failed".into()),
            ("SubState", "failed".into()),
            ("StateChangeTimestampMonotonic", since.into()),
            ("InvocationID", vec![0xab_u8, 1].into()),
        ]));
        assert!(news.try_recv().is_err());
        attendant.watch(unit(0)).await;
        let Observation { at, fact: Fact::Unit(told) } = news.try_recv().unwrap() else {
            panic!("no state");
        };
        let ago = clock::boot_ns() - at;
        assert!((5_000_000_000..65_000_000_000).contains(&ago), "{ago}");
        assert_eq!((told.cgroup.as_str(), told.invocation_id.as_deref()), ("/0", Some("ab01")));
        // An address may be that of a container's.
        assert!(told.own_pids);
        let state = told.state.unwrap();
        assert_eq!((state.active_state.as_str(), state.result.as_deref()), {
            ("failed", Some("exit-code"))
        });
        attendant.tell_states(&object).await;
        assert!(news.try_recv().is_err(), "it is told once");
    });
}

#[test]
fn that_a_systemd_is_not_reached_is_told_of_units_without_settings_and_once() {
    run(async {
        let (sender, mut news) = channel(MAX_NEWS);
        let mut attendant = attendant(sender);
        let object = attendant.watch(unit(0)).await;
        let failure = anyhow::anyhow!("nobody listens");
        attendant.tell_problem(&object, &failure, 2).await;
        assert!(news.try_recv().is_err(), "it was told at the first failure");
        attendant.tell_problem(&object, &failure, 1).await;
        let Fact::Unit(told) = news.try_recv().unwrap().fact else { panic!("no unit") };
        let problem = told.problem.as_deref();
        assert_eq!((told.cgroup.as_str(), problem), ("/0", Some("nobody listens")));
        attendant.watched.get_mut(&object).unwrap().has_facts = true;
        attendant.tell_problem(&object, &failure, 1).await;
        assert!(news.try_recv().is_err(), "its settings are known");
    });
}

#[test]
fn what_a_systemd_answers_of_a_unit_is_its_settings_or_why_there_are_none() {
    let loaded = |state: &str| properties(&[("LoadState", state.into())]);
    let service =
        |cgroup: &str| properties(&[("Type", "notify".into()), ("ControlGroup", cgroup.into())]);
    let version = || Some("257".to_owned());
    let told = |watched: &mut Watched, answer| watched.answered(version(), &answer);

    let mut watched = Watched::new("a.service".to_owned(), "/here".to_owned(), 7);
    let failed = told(&mut watched, Err(anyhow::anyhow!("no answer")));
    assert_eq!((failed.cgroup.as_str(), failed.problem.as_deref()), ("/here", Some("no answer")));
    assert_eq!((failed.owner, failed.facts.is_some()), (None, false));

    let elsewhere = told(&mut watched, Ok((loaded("loaded"), service("/there"))));
    let problem = "systemd keeps a.service in /there, and not here";
    assert_eq!(elsewhere.problem.as_deref(), Some(problem));
    let owner = Some(Owner::Claimed { uid: 7 });
    assert_eq!((elsewhere.cgroup.as_str(), elsewhere.owner), ("/here", owner));
    assert_eq!(elsewhere.facts, None);

    let masked = told(&mut watched, Ok((loaded("masked"), service("/here"))));
    assert!(masked.problem.is_some() && masked.facts.is_none() && !watched.has_facts);

    let known = told(&mut watched, Ok((loaded("loaded"), service("/here"))));
    assert_eq!((known.cgroup.as_str(), known.problem), ("/here", None));
    let facts = known.facts.unwrap();
    assert_eq!((facts.service_type.as_deref(), facts.systemd), (Some("notify"), version()));
    assert!(watched.has_facts);
    // It was here, and has been moved since.
    let moved = told(&mut watched, Ok((loaded("loaded"), service("/there"))));
    assert_eq!((moved.owner, moved.facts.is_some()), (None, true));
    // What is known stays known.
    told(&mut watched, Ok((loaded("masked"), service("/here"))));
    assert!(watched.has_facts);
}

#[test]
fn without_a_systemd_a_units_files_tell_its_settings() {
    let watched = unit(0);
    let failure = anyhow::anyhow!("nobody listens");
    let told = |files| {
        let UnitNews { cgroup, facts, problem, .. } = watched.unanswered(&failure, files);
        assert_eq!(cgroup, "/0");
        (facts.and_then(|facts| facts.service_type), problem.unwrap())
    };
    let facts = UnitFacts { service_type: Some("notify".to_owned()), ..UnitFacts::default() };
    let found = UnitFile::Unit { name: "0.service".to_owned(), facts: Box::new(facts) };
    let from_files = "nobody listens; the settings are from unit files";
    assert_eq!(told(Ok(found)), (Some("notify".to_owned()), from_files.to_owned()));
    let problem = |files| told(files).1;
    assert_eq!(problem(Ok(UnitFile::Masked)), "nobody listens, and it is masked");
    assert_eq!(problem(Ok(UnitFile::Nothing)), "nobody listens");
    let unread = problem(Err(io::Error::other("too long")));
    assert_eq!(unread, "nobody listens; its unit files can't be read: too long");
}

#[test]
fn a_systemd_is_tried_again_soon_at_first_and_no_more_when_nobody_asks() {
    run(async {
        let (sender, _news) = channel(MAX_NEWS);
        let mut attendant = attendant(sender);
        let failure = anyhow::anyhow!("nobody listens");
        let (ask, mut requests) = channel(2);
        let soon = Duration::from_millis(700);
        for (failures, expected) in [(1, Some(false)), (SOON_RETRIES, None)] {
            let waiting = attendant.is_over(&failure, failures, &mut requests);
            assert_eq!(timeout(soon, waiting).await.ok(), expected, "{failures}");
        }
        ask.send(Request::Watch(unit(0))).await.unwrap();
        let (done, answered) = oneshot::channel();
        ask.send(Request::Finish(done)).await.unwrap();
        assert!(attendant.is_over(&failure, 1, &mut requests).await);
        assert!(answered.await.is_err(), "it has no answer");
        assert_eq!(attendant.watched.len(), 1);
        drop(ask);
        assert!(attendant.is_over(&failure, 1, &mut requests).await);
    });
}

#[test]
fn a_time_that_systemd_tells_twice_is_one_time_unless_the_host_slept_between() {
    let mut sleep = Sleep::default();
    assert_eq!(sleep.until(5_000_000, 1_000_000), 4_000_000);
    // It takes a while to read two clocks.
    assert_eq!(sleep.until(9_000_000, 5_000_900), 4_000_000);
    let slept = SHORTEST_SLEEP_NS + 4_000_000;
    assert_eq!(sleep.until(slept + 7_000_000, 7_000_000), slept);
    // One that never slept may read the later clock first.
    assert_eq!(Sleep::default().until(1_000, 1_200), 0);
}
