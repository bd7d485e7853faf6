//! Whose unit is meant by a name.

use super::story::{BEGIN, DEMO, MS, Story};
use crate::{
    model::document::Owner,
    observation::{Fact, UnitNews},
    timeline::{Builder, Counting, Setup},
};

/// A cgroup of the same name elsewhere.
const OTHER: &str = "/elsewhere/demo.service";

/// A unit that began at once and, if `over`, has ended.
fn unit(story: Story, cgroup: &str, pid: u32, owner: Option<Owner>, over: bool) -> Story {
    let news = UnitNews {
        cgroup: cgroup.to_owned(),
        owner,
        problem: Some("nobody was asked".to_owned()),
        ..UnitNews::default()
    };
    let story = story.attach(0, pid, cgroup).exec_in(1, pid, "/bin/demo", &pid.to_string());
    let story = story.fact(2, Fact::Unit(Box::new(news)));
    if over { story.exit(5, pid, 0) } else { story }
}

fn builder(story: &Story, of_host: &[&str]) -> Builder {
    let of_host = of_host.iter().map(|name| (*name).to_owned()).collect();
    let counting = Counting::HostFirst { of_host };
    let mut builder = Builder::new(Setup { counting, ..story.setup() });
    for observation in &story.observations {
        builder.observe(observation.clone());
    }
    builder.advance(BEGIN + 1_000 * MS);
    builder
}

fn has_exited(story: &Story, of_host: &[&str]) -> bool {
    builder(story, of_host).progress().exited
}

#[test]
fn what_is_claimed_ends_no_wait_and_is_shown_as_that() {
    let claimed = Owner::Claimed { uid: 1000 };
    let story = unit(Story::unit(), OTHER, 10, Some(claimed), true);
    let mut builder = builder(&story, &[]);
    assert!(!builder.progress().exited);
    assert_eq!(builder.progress().activations, 1);
    let services = builder.services(BEGIN + 1_000 * MS);
    assert_eq!((services.len(), services[0].owner), (1, Some(claimed)));
    // Until it is known whose it is, it may be anybody's.
    assert!(!has_exited(&unit(Story::unit(), OTHER, 10, None, true), &[]));
}

#[test]
fn the_hosts_unit_is_meant_where_it_has_one() {
    let inside = Some(Owner::Container { uid: 0 });
    let of_container = unit(Story::unit(), OTHER, 10, inside, true);
    assert!(has_exited(&of_container, &[]));
    assert!(has_exited(&of_container, &["other.service"]));
    // It is there, and has not begun.
    assert!(!has_exited(&of_container, &["demo.service"]));
    // It runs, whatever its files are called.
    let both = unit(of_container, DEMO, 11, Some(Owner::Host), false);
    assert!(!has_exited(&both, &[]));

    let hosts = unit(Story::unit(), DEMO, 11, Some(Owner::Host), true);
    let beside = unit(hosts.clone(), OTHER, 10, inside, false);
    assert!(has_exited(&beside, &[]), "the container's goes on, and is not meant");
    for other in [inside, Some(Owner::User { uid: 7 }), Some(Owner::Claimed { uid: 7 }), None] {
        assert!(has_exited(&unit(hosts.clone(), OTHER, 10, other, false), &["demo.service"]));
    }
}

#[test]
fn what_was_only_claimed_once_stays_so() {
    let claimed = Owner::Claimed { uid: 7 };
    let story = unit(Story::unit(), OTHER, 10, Some(claimed), true);
    let news =
        UnitNews { cgroup: OTHER.to_owned(), owner: Some(Owner::Host), ..UnitNews::default() };
    let story = story.fact(9, Fact::Unit(Box::new(news)));
    assert_eq!(builder(&story, &[]).services(BEGIN + 1_000 * MS)[0].owner, Some(claimed));
}
