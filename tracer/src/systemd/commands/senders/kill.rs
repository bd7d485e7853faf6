//! kill(1), and the kills of shells.

use super::{
    Sender, Signals,
    pid::{by_pid, is_literal},
    sent_signal, signal,
};
use crate::{
    model::signal::Signal,
    systemd::commands::{
        sent::{Nobody, SentSignal, Target},
        word::Word,
    },
};

/// The kill of dash (`killcmd` in its src/jobs.c): a signal without SIG, as `-NAME` or after `-s`,
/// then pids, of which the first that is none ends it.
pub(super) fn kill_of_dash(arguments: &[Word], sender: Sender<'_>) -> Vec<(SentSignal, Target)> {
    let refused = |sent: Option<SentSignal>, word: &Word| {
        let sent = sent.unwrap_or_else(|| SentSignal::Unknown(word.shown()));
        vec![(sent, Target::Nobody(Nobody::Refused(word.shown())))]
    };
    let is_name = |word: &Word| {
        let name = word.known().map(str::to_ascii_uppercase);
        name.is_none_or(|it| it == "0" || !it.starts_with("SIG") && it.parse::<Signal>().is_ok())
    };
    let mut rest = arguments;
    let mut chosen = None;
    if let [first, after @ ..] = rest
        && let Some(name) = first.strip("-").filter(|name| !name.0.is_empty())
        && first.known() != Some("--")
    {
        // A letter is an option, but for those of a signal.
        if is_name(&name) {
            (chosen, rest) = (Some(name), after);
        } else if first.known() == Some("-l") {
            return Vec::new();
        } else if let Some(attached) = first.strip("-s") {
            let named =
                if attached.0.is_empty() { after.first().cloned() } else { Some(attached.clone()) };
            let skipped = usize::from(attached.0.is_empty());
            let Some(named) = named.filter(is_name) else {
                return refused(None, first);
            };
            (chosen, rest) = (Some(named), after.get(skipped..).unwrap_or_default());
            match rest {
                [dashes, after @ ..] if dashes.known() == Some("--") => rest = after,
                [group, ..] if group.start().starts_with('-') => {
                    return refused(chosen.as_ref().and_then(signal), group);
                }
                _ => {}
            }
        } else {
            return refused(None, first);
        }
    } else if let [dashes, after @ ..] = rest
        && dashes.known() == Some("--")
    {
        rest = after;
    }
    let Some(sent) = sent_signal(chosen.as_ref()) else { return Vec::new() };
    if rest.is_empty() {
        return vec![(sent, Target::Nobody(Nobody::NoPid))];
    }
    let mut found = Vec::new();
    for word in rest {
        let is_pid = word.known().is_none_or(|it| {
            let id = it.strip_prefix('-').unwrap_or(it);
            id.starts_with('%') || !id.is_empty() && id.chars().all(|c| c.is_ascii_digit())
        });
        if !is_pid {
            found.extend(refused(Some(sent.clone()), word));
            break;
        }
        found.push((sent.clone(), by_pid(word, sender)));
    }
    found
}

/// kill(1) of util-linux and procps, and that of shells.
pub(super) fn kill(arguments: &[Word], sender: Sender<'_>) -> Signals {
    let mut chosen = None;
    let mut rest = arguments.iter();
    let mut targets = Vec::new();
    while let Some(word) = rest.next() {
        let start = word.start();
        match word.known() {
            Some("--") => {
                targets.extend(rest.by_ref());
            }
            // These only list or print.
            Some("-l" | "-L" | "--list" | "--table" | "-p" | "--pid") => return Some(Vec::new()),
            // A number, in bash alone.
            Some("-n") if sender.shell.is_none() => {
                let target = Target::Nobody(Nobody::Refused("-n".to_owned()));
                return Some(vec![(SentSignal::Unknown("-n".to_owned()), target)]);
            }
            Some("--signal") if sender.shell == Some("bash") => {
                let target = Target::Nobody(Nobody::Refused("--signal".to_owned()));
                return Some(vec![(SentSignal::Unknown("--signal".to_owned()), target)]);
            }
            Some("-s" | "-n" | "--signal") => chosen = Some(rest.next()?.clone()),
            Some("-q" | "--queue") => {
                rest.next();
            }
            Some("--timeout") => {
                rest.next();
                rest.next();
            }
            Some("-a" | "--all" | "--verbose" | "-r" | "--require-handler") => {}
            _ if start.starts_with("--signal=") => chosen = word.strip("--signal="),
            _ if start.starts_with("--") => {}
            // After a signal a number with a minus is a group.
            _ if start.starts_with('-') && chosen.is_none() && targets.is_empty() => {
                let attached = word.strip("-s").filter(|name| {
                    name.known().is_none_or(|it| it.parse::<Signal>().is_ok() || it == "0")
                });
                chosen = attached.filter(|name| !name.0.is_empty()).or_else(|| word.strip("-"));
            }
            _ => targets.push(word),
        }
    }
    let Some(sent) = sent_signal(chosen.as_ref()) else { return Some(Vec::new()) };
    if let SentSignal::Unknown(text) = &sent
        && sender.shell.is_none()
        && chosen.as_ref().is_some_and(|word| word.known().is_some())
        && text.contains(['$', '`'])
    {
        let target = Target::Nobody(Nobody::Literal(format!("-{text}")));
        return Some(vec![(sent, target)]);
    }
    if targets.is_empty() {
        return Some(vec![(sent, Target::Nobody(Nobody::NoPid))]);
    }
    // The words after one that is no pid belong to what is no command, or are not come to.
    let no_pid = targets.iter().position(|word| word.known().is_some_and(is_literal));
    targets.truncate(no_pid.map_or(targets.len(), |at| at + 1));
    let mut has_name = false;
    let target = |word: &Word| {
        let target = by_pid(word, sender);
        if has_name {
            return Target::Unknown(word.shown());
        }
        has_name = matches!(target, Target::Named(..));
        target
    };
    let found: Vec<Target> = targets.into_iter().map(target).collect();
    Some(found.into_iter().map(|target| (sent.clone(), target)).collect())
}
