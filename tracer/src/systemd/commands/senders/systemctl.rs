//! `systemctl kill`. systemctl(1)

use super::{Signals, is_same_unit, sent_signal};
use crate::systemd::commands::{
    sent::{Nobody, Target},
    word::Word,
};

/// `systemctl kill`. systemctl(1)
pub(super) fn systemctl(arguments: &[Word], unit: Option<&str>) -> Signals {
    let mut chosen = None;
    let mut whom = Word::text("all");
    let mut operands = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let start = word.start();
        match word.known() {
            Some("-s" | "--signal") => chosen = rest.next().cloned(),
            Some("--kill-who" | "--kill-whom") => whom = rest.next()?.clone(),
            Some("-H" | "--host" | "-M" | "--machine" | "-t" | "-p" | "-n" | "-o") => {
                rest.next();
            }
            _ if start.starts_with("--signal=") => chosen = word.strip("--signal="),
            _ if start.starts_with("--kill-who=") => whom = word.strip("--kill-who=")?,
            _ if start.starts_with("--kill-whom=") => whom = word.strip("--kill-whom=")?,
            _ if start.starts_with("-s") => chosen = word.strip("-s"),
            _ if start.starts_with('-') => {}
            _ => operands.push(word),
        }
    }
    if operands.first().and_then(|word| word.known()) != Some("kill") {
        return None;
    }
    let Some(sent) = sent_signal(chosen.as_ref()) else { return Some(Vec::new()) };
    let whole = match whom.known() {
        Some("main" | "main-fail") => Target::Main,
        Some("control" | "control-fail") => Target::Other,
        Some(_) => Target::Unit,
        None => Target::Unknown(whom.shown()),
    };
    let target = |word: &&Word| match (word.known(), unit) {
        (Some(named), Some(unit)) => {
            if is_same_unit(named, unit) {
                whole.clone()
            } else {
                Target::Other
            }
        }
        (Some(_), None) => whole.clone(),
        (None, _) => Target::Unknown(word.shown()),
    };
    if operands.len() == 1 {
        return Some(vec![(sent, Target::Nobody(Nobody::NoUnit))]);
    }
    Some(operands[1..].iter().map(target).map(|target| (sent.clone(), target)).collect())
}
