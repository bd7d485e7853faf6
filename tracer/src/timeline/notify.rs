//! Notify messages: where a payload is parsed, and READY=1 is recognised
//! (sd_notify(3); `manager_invoke_notify_message` and `service_notify_message` of
//! systemd 252).

use crate::model::raw_name;

/// A parsed payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its lines, split at the first `=`. A line without one has an empty value. The first
    /// [`MAX_LINES`] are there, and of the others those that systemd goes by.
    pub assignments: Vec<(String, String)>,
    /// Lines that are not there.
    pub lines_left_out: u32,
    /// Why systemd throws the whole message away.
    pub malformed: Option<&'static str>,
}

impl Message {
    /// Whether it asks to be told that everything before it was taken in: `BARRIER=1`,
    /// which comes alone.
    #[must_use]
    pub fn is_barrier(&self) -> bool {
        matches!(self.assignments.as_slice(), [(key, value)] if key == "BARRIER" && value == "1")
    }
}

/// The most a message may have (`NOTIFY_BUFFER_MAX`, which is `PIPE_BUF`).
pub const MAX_LEN: u32 = 4096;

/// Lines of a message that are kept: more than anything says at a time.
pub const MAX_LINES: usize = 32;

/// Keys that systemd goes by whatever their value, the first line of each
/// (`strv_find_startswith()`).
const VALUES: [&str; 6] = [
    "MAINPID",
    "MONOTONIC_USEC",
    "NOTIFYACCESS",
    "EXTEND_TIMEOUT_USEC",
    "WATCHDOG_USEC",
    "WATCHDOG",
];
/// Whole lines that it goes by (`strv_contains()`).
const STATES: [&str; 3] = ["READY", "STOPPING", "RELOADING"];

/// Parses a payload of `length` bytes, of which `bytes` are there.
#[must_use]
pub fn parse(bytes: &[u8], length: u32) -> Message {
    let malformed = if length > MAX_LEN {
        Some("longer than 4,096 bytes: systemd ignores it")
    } else if bytes[..bytes.len().saturating_sub(1)].contains(&0) {
        // One at the very end is let through.
        Some("holds a zero byte: systemd ignores it")
    } else {
        None
    };
    let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let mut assignments = Vec::new();
    let mut lines_left_out = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if assignments.len() < MAX_LINES || decides(line, &assignments) {
            assignments.push(split(line));
        } else {
            lines_left_out += 1;
        }
    }
    Message { assignments, lines_left_out, malformed }
}

fn split(line: &[u8]) -> (String, String) {
    let line = raw_name::text(line);
    match line.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (line.into_owned(), String::new()),
    }
}

/// Whether systemd goes by this line beside those before it.
fn decides(line: &[u8], before: &[(String, String)]) -> bool {
    let Some(at) = line.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&line[..at], &line[at + 1..]);
    let is_key = |known: &&str| known.as_bytes() == key;
    if STATES.iter().any(&is_key) {
        return value == b"1" && !before.iter().any(|(k, v)| k.as_bytes() == key && v == "1");
    }
    VALUES.iter().any(is_key) && !before.iter().any(|(k, _)| k.as_bytes() == key)
}

/// Whether a payload says READY=1, as a whole line, and systemd would listen to it.
#[must_use]
pub fn says_ready(payload: &[u8]) -> bool {
    let message = parse(payload, payload.len() as u32);
    message.malformed.is_none() && meaning(&message.assignments) == Some(Meaning::Ready)
}

/// What a message says of the service's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// `STOPPING=1`
    Stopping,
    /// `READY=1`
    Ready,
    /// `RELOADING=1`
    Reloading,
}

/// The state a message announces. In one message STOPPING beats READY beats RELOADING.
#[must_use]
pub fn meaning(assignments: &[(String, String)]) -> Option<Meaning> {
    let says = |wanted: &str| assignments.iter().any(|(key, value)| key == wanted && value == "1");
    if says("STOPPING") {
        Some(Meaning::Stopping)
    } else if says("READY") {
        Some(Meaning::Ready)
    } else if says("RELOADING") {
        Some(Meaning::Reloading)
    } else {
        None
    }
}

/// Whether a datagram's destination is a notify socket: one that the service was given,
/// or one with the name that systemd and container managers give theirs.
#[must_use]
pub fn is_notify_socket<'a>(destination: &str, mut given: impl Iterator<Item = &'a str>) -> bool {
    given.any(|socket| socket == destination)
        || destination.rsplit('/').next() == Some("notify")
        || (destination.starts_with('@') && destination.contains("notify"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_line_ready_1_is_ready() {
        for (payload, ready) in [
            ("READY=1", true),
            ("READY=1\n", true),
            ("STATUS=x\nREADY=1\nMAINPID=3", true),
            ("READY=0", false),
            ("XREADY=1", false),
            ("READY=11", false),
            (" READY=1", false),
            ("STATUS=READY=1", false),
            ("READY", false),
            ("", false),
        ] {
            assert_eq!(says_ready(payload.as_bytes()), ready, "{payload:?}");
        }
    }

    #[test]
    fn of_many_lines_the_first_are_kept_and_those_that_decide() {
        let lines = |count: usize| "A=\n".repeat(count);
        let of = |text: String| parse(text.as_bytes(), text.len() as u32);
        let all = of(lines(MAX_LINES));
        assert_eq!((all.assignments.len(), all.lines_left_out), (MAX_LINES, 0));
        let more =
            of(lines(1_000) + "READY=0\nREADY=1\nREADY=1\nMAINPID=5\nMAINPID=6\nSTATUS=x\nREADY");
        let last: Vec<_> = more.assignments[MAX_LINES..].to_vec();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(last, [pair("READY", "1"), pair("MAINPID", "5")]);
        assert_eq!(more.lines_left_out, 1_000 - MAX_LINES as u32 + 5);
        assert_eq!(meaning(&more.assignments), Some(Meaning::Ready));
        // Every key at once is all there can be.
        let keys = STATES.iter().map(|key| format!("{key}=1\n"));
        let every: String = keys.chain(VALUES.iter().map(|key| format!("{key}=2\n"))).collect();
        let most = of(lines(500) + &every.repeat(20));
        assert_eq!(most.assignments.len(), MAX_LINES + STATES.len() + VALUES.len());
    }

    #[test]
    fn stopping_beats_ready_beats_reloading() {
        let of = |payload: &str| meaning(&parse(payload.as_bytes(), 0).assignments);
        assert_eq!(of("RELOADING=1\nREADY=1\nSTOPPING=1"), Some(Meaning::Stopping));
        assert_eq!(of("RELOADING=1\nREADY=1"), Some(Meaning::Ready));
        assert_eq!(of("RELOADING=1"), Some(Meaning::Reloading));
    }

    #[test]
    fn a_zero_byte_inside_spoils_the_message_and_one_at_the_end_does_not() {
        assert!(says_ready(b"READY=1\0"));
        assert!(!says_ready(b"READY=1\0STATUS=x"));
        assert!(!says_ready(b"READY=1\0\0"));
    }

    #[test]
    fn what_is_not_utf_8_is_kept_readable_and_spoils_nothing_else() {
        let message = parse(b"STATUS=\xff\xfe\nREADY=1", 17);
        assert_eq!(message.assignments[0].1, "\u{10feff}\u{10fefe}");
        assert_eq!(meaning(&message.assignments), Some(Meaning::Ready));
    }

    #[test]
    fn a_message_of_4096_bytes_counts_and_a_longer_one_does_not() {
        let mut payload = b"READY=1\nSTATUS=".to_vec();
        payload.resize(4096, b'x');
        assert_eq!(parse(&payload, 4096).malformed, None);
        assert!(parse(&payload, 4097).malformed.is_some());
    }

    #[test]
    fn the_journal_is_no_notify_socket() {
        let given = ["/tmp/a"];
        let is = |path| is_notify_socket(path, given.into_iter());
        assert!(is("/tmp/a") && is("/run/systemd/notify") && is("@/org/x/notify/1"));
        assert!(!is("/run/systemd/journal/socket") && !is("/dev/log") && !is("@log"));
    }
}
