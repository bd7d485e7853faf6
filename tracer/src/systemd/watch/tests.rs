use super::*;

pub(super) fn nowhere(number: usize) -> Manager {
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

pub(super) fn run(test: impl Future<Output = ()>) {
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
            watch.unit(&nowhere(0), watched(&format!("/{number}")));
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
        let told = "systemd had not answered when the trace ended";
        assert_eq!((news.cgroup.as_str(), problem), ("/a", Some(told)));
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
