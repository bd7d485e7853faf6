use tokio::task::unconstrained;
use zbus::zvariant::Value;

use super::*;

fn nowhere(number: usize) -> Manager {
    Manager::Address(format!("unix:path=/nowhere/{number}"))
}

fn watched(cgroup: &str) -> Watched {
    Watched::new("a.service".to_owned(), cgroup.to_owned(), 0)
}

/// The reason that comes next, and the cgroup it is told of.
async fn problem(watch: &mut Watch) -> (String, String) {
    let next = timeout(Duration::from_secs(30), watch.next()).await.expect("news");
    let Fact::Unit(news) = next.fact else { panic!("{next:?}") };
    (news.cgroup, news.problem.expect("a problem"))
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn a_systemd_that_is_not_there_is_told_of_and_asked_no_longer_than_the_trace_lasts() {
    run(async {
        let mut watch = Watch::default();
        watch.unit(&nowhere(0), watched("/a"));
        let (cgroup, told) = problem(&mut watch).await;
        assert_eq!(cgroup, "/a");
        let reason = "cannot reach systemd through unix:path=/nowhere/0: ";
        assert!(told.starts_with(reason), "{told}");
        let begun = std::time::Instant::now();
        assert_eq!(watch.finish(LAST_ANSWERS).await, []);
        assert!(begun.elapsed() < LAST_ANSWERS, "{:?}", begun.elapsed());
    });
}

#[test]
fn only_so_many_systemds_are_listened_to() {
    run(async {
        let mut watch = Watch::default();
        for number in 0..MAX_MANAGERS {
            watch.expect(&nowhere(number));
        }
        watch.unit(&nowhere(MAX_MANAGERS), watched("/late"));
        let (cgroup, told) = problem(&mut watch).await;
        assert_eq!(cgroup, "/late");
        assert_eq!(told, "its systemd can't be asked: 256 others are already");
        assert_eq!(watch.managers.len(), MAX_MANAGERS);
        // One that is listened to already is asked.
        watch.unit(&nowhere(7), watched("/seven"));
        assert_eq!(problem(&mut watch).await.0, "/seven");
    });
}

#[test]
fn of_too_many_units_that_wait_for_an_answer_the_newest_is_not_asked_about() {
    run(async {
        let mut watch = Watch::default();
        let mut requests = watch.requests_for(&nowhere(0));
        let ask = |watch: &mut Watch, number: usize| {
            watch.unit(&nowhere(0), unit(number));
            watch.own.len()
        };
        for number in 0..MAX_REQUESTS {
            assert_eq!(ask(&mut watch, number), 0, "{number}");
        }
        assert_eq!(ask(&mut watch, MAX_REQUESTS), 1);
        let told = "its systemd can't be asked: 4096 units are waiting for its answers already";
        assert_eq!(problem(&mut watch).await, (format!("/{MAX_REQUESTS}"), told.to_owned()));
        let Some(Request::Watch(first)) = requests.recv().await else { panic!("not asked") };
        assert_eq!(first.cgroup, "/0");
        assert_eq!(ask(&mut watch, MAX_REQUESTS), 0, "there is room again");
    });
}

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
        let mut watch = Watch::default();
        let mut attendant = attendant(watch.news_sender.clone());
        for _ in 0..MAX_NEWS {
            assert!(poll_once(unconstrained(attendant.tell(loss(1)))).await.is_some());
        }
        assert!(poll_once(unconstrained(attendant.tell(loss(2)))).await.is_none());
        watch.next().await;
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

/// A systemd that goes on telling after the trace is over.
#[test]
fn once_the_trace_is_over_so_much_is_taken_and_the_rest_counted_as_lost() {
    run(async {
        let mut watch = Watch::default();
        let (ask, mut requests) = channel(1);
        watch.managers.insert(nowhere(0), ask);
        let sender = watch.news_sender.clone();
        tokio::spawn(async move {
            let Some(Request::Finish(done)) = requests.recv().await else { panic!("no end") };
            for _ in 0..MAX_REST + 2 * MAX_NEWS {
                sender.send(loss(1)).await.unwrap();
            }
            done.send(()).unwrap();
        });
        let rest = watch.finish(LAST_ANSWERS).await;
        let (last, told) = rest.split_last().unwrap();
        assert!((MAX_REST..=MAX_REST + MAX_NEWS).contains(&told.len()), "{}", told.len());
        let left_out = MAX_REST + 2 * MAX_NEWS - told.len();
        assert!(left_out >= MAX_NEWS);
        assert_eq!(last.fact, loss(left_out as u64).fact);
    });
}

#[test]
fn a_systemd_that_does_not_answer_at_the_end_is_not_waited_for() {
    run(async {
        let mut watch = Watch::default();
        let (ask, mut requests) = channel(1);
        watch.managers.insert(nowhere(0), ask);
        watch.unit(&nowhere(0), watched("/a"));
        let Some(Request::Watch(_)) = requests.recv().await else { panic!("not asked") };
        let rest = timeout(2 * LAST_ANSWERS, watch.finish(LAST_ANSWERS)).await.expect("an end");
        let [Observation { fact: Fact::Unit(news), .. }] = &rest[..] else { panic!("{rest:?}") };
        let problem = news.problem.as_deref();
        assert_eq!(problem, Some("systemd had not answered when the trace ended"));
    });
}

#[test]
fn systemds_whose_containers_are_gone_make_room_for_others() {
    run(async {
        let mut watch = Watch::default();
        let listen = |watch: &mut Watch, manager| {
            let (ask, requests) = channel(1);
            watch.managers.insert(manager, ask);
            requests
        };
        let gone = Manager::below("/proc/99999999/root".into());
        let _gone = listen(&mut watch, gone.clone());
        let mut others: Vec<_> =
            (1..MAX_MANAGERS - 1).map(|number| listen(&mut watch, nowhere(number))).collect();
        watch.expect(&nowhere(1_000));
        assert!(watch.managers.contains_key(&gone), "all have room");
        watch.expect(&nowhere(1_001));
        assert!(!watch.managers.contains_key(&gone));
        assert!(watch.managers.contains_key(&nowhere(1_001)));
        assert_eq!(watch.managers.len(), MAX_MANAGERS);
        assert!(others.iter_mut().all(|requests| requests.try_recv().is_err()));
    });
}

fn properties(pairs: &[(&str, Value<'_>)]) -> properties::Properties {
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
