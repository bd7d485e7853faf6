//! What a person at a terminal gets: colours where they are wanted, silence where it is
//! asked for.

use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;

use crate::support::{file, sigready};

/// What `sigready run -- true` writes to a terminal.
fn on_a_terminal(options: &str, environment: &[(&str, &str)]) -> String {
    let command =
        format!("{} {options} run --type simple -- /bin/true", cargo_bin("sigready").display());
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("exited with code 0"), "{text:?}");
    text
}

/// Whether a text has colours (select graphic rendition). The progress line moves the
/// cursor by other sequences.
fn is_painted(text: &str) -> bool {
    text.split("\u{1b}[").skip(1).any(|rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
    })
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_terminal_gets_colours_unless_no_color_or_its_kind_forbids_them() {
    assert!(is_painted(&on_a_terminal("", &[])));
    assert!(is_painted(&on_a_terminal("", &[("NO_COLOR", "")])), "set but empty forbids nothing");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let text = on_a_terminal("", &[environment]);
        assert!(!is_painted(&text), "{environment:?}: {text:?}");
    }
    assert!(!is_painted(&on_a_terminal("--color never", &[])));
    assert!(is_painted(&on_a_terminal("--color always", &[("NO_COLOR", "1")])), "asked for");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn quiet_says_nothing_where_all_went_well() {
    let directory = tempfile::tempdir().unwrap();
    let report = file(directory.path(), "report.json", "");
    let arguments = |quiet| {
        let report = report.to_str().unwrap();
        [quiet, "run", "--type", "simple", "--send", "CONT@50ms", "--output", report, "--"]
            .into_iter()
            .chain(["/usr/bin/sleep", "0.3"])
            .collect::<Vec<_>>()
    };
    let quiet = sigready(&arguments("--quiet"));
    assert_eq!(String::from_utf8(quiet.stderr).unwrap(), "");
    assert!(quiet.stdout.is_empty());
    assert!(
        std::fs::read(&report).unwrap().starts_with(b"{"),
        "the report is written all the same"
    );
    let loud = sigready(&arguments("--color=never"));
    assert!(String::from_utf8(loud.stderr).unwrap().contains("will send CONT to process"));
}

#[test]
fn quiet_still_tells_errors() {
    let output = sigready(&["--quiet", "run", "--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/no/such/program"));
}

#[test]
fn a_command_line_that_is_refused_is_harmless_for_the_terminal_it_is_told_on() {
    let hostile = "x\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{202e}txt\u{200b}\u{2028}";
    let option = format!("--{hostile}");
    for arguments in [
        &["trace", "--pid", hostile][..],
        &["trace", "--pid", "1", "--duration", hostile],
        &["run", "--signal", hostile, "--", "true"],
        &["run", "--send", hostile, "--", "true"],
        &["run", "--format", hostile, "--", "true"],
        &["doctor", &option],
        &[hostile],
    ] {
        let script = "exec script --quiet --return --command '\"$SIGREADY\" \"$A\" \"$B\" \"$C\" \"$D\" \"$E\"' /dev/null";
        let argument = |n: usize| arguments.get(n).copied().unwrap_or("--quiet");
        let names = ["A", "B", "C", "D", "E"];
        let output = Command::new("/bin/sh")
            .args(["-c", script])
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .env("SIGREADY", cargo_bin("sigready"))
            .envs(names.iter().enumerate().map(|(n, name)| (name, argument(n))))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text:?}");
        assert!(is_painted(&text), "clap's colours stay: {text:?}");
        assert!(text.contains(r"x\x1b]0;owned\x07\x1b[2J"), "{text:?}");
        for raw in ["\x1b]", "\x07", "\x1b[2J", "\u{9b}", "\u{202e}", "\u{200b}", "\u{2028}"] {
            assert!(!text.contains(raw), "{raw:?}: {text:?}");
        }
    }
    let output = Command::new(cargo_bin("sigready"))
        .args(["run", "--", "true"])
        .env("SIGREADY_BACKEND", hostile)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text:?}");
    assert!(text.contains(r"x\x1b]0;owned\x07") && !text.contains('\u{9b}'), "{text:?}");
}
