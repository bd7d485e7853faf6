//! start-stop-daemon(8).

use super::{Sender, Signals, named, pid::by_pid, sent_signal};
use crate::systemd::commands::{
    sent::{Match, Target},
    word::Word,
};

/// start-stop-daemon(8) of dpkg and of OpenRC.
pub(super) fn start_stop_daemon(arguments: &[Word], sender: Sender<'_>) -> Signals {
    let mut chosen = None;
    let mut target = Target::Unknown("start-stop-daemon".to_owned());
    let mut starts = false;
    let mut stops = false;
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let start = word.start();
        let value = |rest: &mut std::slice::Iter<'_, Word>, long: &str| {
            word.strip(&format!("{long}=")).or_else(|| rest.next().cloned())
        };
        match start.split('=').next().unwrap_or(start) {
            "--" => break,
            "-S" | "--start" => starts = true,
            "-K" | "--stop" => stops = true,
            "-t" | "--test" | "-T" | "--status" => return Some(Vec::new()),
            "-s" | "--signal" => chosen = value(&mut rest, "--signal"),
            "-p" | "--pidfile" => {
                value(&mut rest, "--pidfile");
                target = Target::PidFile;
            }
            "--pid" => {
                let pid = value(&mut rest, "--pid")?;
                target = by_pid(&pid, sender);
            }
            option @ ("-x" | "--exec" | "-n" | "--name" | "-u" | "--user") => {
                let name = value(&mut rest, option)?;
                let how = match option {
                    "-x" | "--exec" => Match::Program,
                    "-n" | "--name" => Match::Whole,
                    _ => Match::Other,
                };
                if matches!(target, Target::Unknown(_)) {
                    target = named(name.shown(), how);
                }
            }
            // The first step of its schedule.
            option @ ("-R" | "--retry") => {
                let schedule = value(&mut rest, option)?;
                let first = schedule.known().and_then(|it| it.split('/').next());
                let named = first.map(|it| it.trim_start_matches('-'));
                if let Some(named) = named.filter(|it| it.parse::<u32>().is_err()) {
                    chosen = Some(Word::text(named));
                }
            }
            _ => {}
        }
    }
    if starts || !(stops || chosen.is_some()) {
        return None;
    }
    let Some(sent) = sent_signal(chosen.as_ref()) else { return Some(Vec::new()) };
    Some(vec![(sent, target)])
}
