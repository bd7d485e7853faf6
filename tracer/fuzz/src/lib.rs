//! What `sigready` reads that others have written, each as a function of any bytes. None may
//! panic, and each holds what is read to what must be so whatever it is.

use std::{io::Cursor, path::PathBuf};

use sigready::{
    lint::{LintReport, Location, Subject},
    probe::decode::{self, Decoder},
    report::{self, Format, Saved, Source as _, Style, Survey},
    systemd::unit_files,
    timeline::notify,
};

/// A target: its name, which is that of its corpus, and what it does with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 4] =
    [("record", record), ("notify", notify), ("unit", unit), ("report", report)];

/// A record of the kernel side.
///
/// # Panics
///
/// Who tracks units decides whether it can be read.
pub fn record(bytes: &[u8]) {
    let without = Decoder::default().decode(bytes);
    let with = Decoder::new(Some(1)).decode(bytes);
    assert_eq!(without.is_ok(), with.is_ok(), "the hierarchy changes no more than a path");
    let _ = decode::loaded(bytes);
}

/// A datagram to a notify socket.
///
/// # Panics
///
/// Two readers of it disagree.
pub fn notify(bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let message = notify::parse(bytes, length);
    assert!(message.assignments.len() <= bytes.len() + 1, "a line has a byte, but for the last");
    let _ = message.is_barrier();
    let _ = notify::meaning(&message.assignments);
    let _ = notify::says_ready(bytes);
    let cut = notify::parse(bytes, length.saturating_add(1));
    assert!(cut.assignments.len() <= message.assignments.len().max(1), "a part has no more lines");
}

/// A unit file, up to the verdict of `lint`.
///
/// # Panics
///
/// What is printed of it could change a terminal.
pub fn unit(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some((facts, commands)) = unit_files::parse("fuzzed@one.service", &text) else { return };
    let subject = Subject {
        name: "fuzzed@one.service".to_owned(),
        files: vec!["/etc/systemd/system/fuzzed@.service".to_owned()],
        facts,
        commands,
    };
    let place =
        Location { directory: PathBuf::from("/etc/systemd/system"), options: String::new() };
    let judged = LintReport::of(vec![subject], &place);
    is_safe_to_print(&report::lint::table(&judged, Style::default()));
}

/// A saved report, as JSON or as JSON Lines, up to every way of writing it again.
///
/// # Panics
///
/// What is printed of it could change a terminal, or what is written is not read again.
pub fn report(bytes: &[u8]) {
    let Ok(mut saved) = Saved::open(Cursor::new(bytes)) else { return };
    let mut survey = Survey::default();
    if saved.each(&mut survey).is_err() {
        return;
    }
    let mut written = |format| {
        let mut text = Vec::new();
        report::write(&mut saved, &survey, format, Style::default(), &mut text)
            .expect("what was read once is read again");
        String::from_utf8(text).expect("it is text")
    };
    is_safe_to_print(&written(Format::Table));
    for format in [Format::Json, Format::Jsonl] {
        let text = written(format);
        let mut again = Saved::open(Cursor::new(text.as_bytes())).expect("it is a report");
        again.each(&mut Survey::default()).expect("all of it is");
    }
}

fn is_safe_to_print(text: &str) {
    let control = |letter: &char| letter.is_control() && *letter != '\n';
    assert_eq!(text.chars().find(control), None, "{text:?}");
}
