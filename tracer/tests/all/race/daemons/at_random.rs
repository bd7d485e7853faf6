//! Reloads at random times, as an operator would send them: they find nothing that `race` did not list.

use std::collections::BTreeMap;

use super::{super::units::race_for, BOOKWORM};
use crate::support::container::Container;

/// Each with the longest time after its start that a signal is sent, in ms.
const UNITS: [(&str, u32); 5] = [
    ("mosquitto", 60),
    ("nginx", 120),
    ("node", 500),
    ("prometheus-node-exporter", 100),
    ("ssh", 120),
];
/// How often each is started and hit, by a reload through systemd and by a signal alone.
const TRIES: u32 = 24;

/// Starts the unit $1 again and again; $2 ms later at most it is reloaded, or its main process is sent
/// HUP. Prints what became of each start, after which it is not started again. systemd keeps what it
/// knows of a unit that has ended only where another unit names it.
const HITS: &str = r"
mkdir -p /run/systemd/system/$1.service.d
printf '[Service]\nRestart=no\n' > /run/systemd/system/$1.service.d/hits.conf
systemctl --runtime --quiet add-wants multi-user.target $1
systemctl daemon-reload
for try in $(seq $3); do
    systemctl stop $1; systemctl reset-failed $1 2> /dev/null
    systemctl start --no-block $1
    sleep $(awk -v most=$2 -v seed=$RANDOM$try 'BEGIN { srand(seed); print rand() * most / 1000 }')
    case $4 in
        reload) systemctl reload $1 ;;
        kill) systemctl kill --kill-whom=main --signal=HUP $1 ;;
    esac 2> /dev/null
    sleep 0.4
    echo $(systemctl show $1 -p ActiveState,ExecMainCode,ExecMainStatus)
done
systemctl stop $1
";

/// What became of the starts of a unit, and how often.
fn hit(
    container: &Container,
    unit: &str,
    most: u32,
    how: &str,
) -> (BTreeMap<&'static str, u32>, String) {
    let said = container.ask(&format!("bash -c '{}' - {unit} {most} {TRIES} {how}", quoted(HITS)));
    let mut found = BTreeMap::new();
    for line in said.lines() {
        let is = |fact: &str| line.split_whitespace().any(|word| word == fact);
        let is_up = is("ActiveState=active") || is("ActiveState=activating");
        // `ExecMainCode` is CLD_KILLED, and the signal's number is the status.
        let what = if is_up && is("ExecMainCode=0") {
            "taken"
        } else if is("ExecMainCode=2") && is("ExecMainStatus=1") {
            "killed"
        } else {
            "ended"
        };
        *found.entry(what).or_default() += 1;
    }
    assert_eq!(found.values().sum::<u32>(), TRIES, "{unit}: {said}");
    (found, said)
}

fn quoted(script: &str) -> String {
    script.replace('\'', r"'\''")
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn reloads_at_random_times_find_no_outcome_that_race_did_not_list() {
    let container = BOOKWORM.boot();
    let mut harmed = 0;
    for (unit, most) in UNITS {
        let raced = race_for(&container, unit, &["--settle", "300ms", "--quiet-time", "1s"]);
        let listed = |all: bool| -> Vec<&str> {
            let main = raced.all().filter(|it| it["main"] == true && (all || it["counts"] == true));
            main.map(|it| it["outcome"].as_str().unwrap()).collect()
        };
        for (how, listed) in [("reload", listed(false)), ("kill", listed(true))] {
            let (found, said) = hit(&container, unit, most, how);
            println!("{unit}: {how}: {found:?}, listed: {listed:?}");
            for (what, times) in &found {
                let is_listed = match *what {
                    "taken" => true,
                    what => listed.contains(&what),
                };
                assert!(
                    is_listed,
                    "{unit}: {how}: {what} {times} times: {:?}\n{said}",
                    raced.outcomes()
                );
                harmed += if *what == "taken" { 0 } else { *times };
            }
        }
    }
    assert!(harmed > 0, "some of them hit a hole");
    container.over();
}
