//! How shell text is read.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::parsed;
use crate::systemd::commands::{
    Budget, Word,
    shell::{self, MAX_CALLS, MAX_CHAIN, MAX_COMMANDS},
};

/// How the commands of a script are reached, by the first word of each: `?` for one that may
/// not be, `|` for one where that before it fails, `!` for one without which the script ends, `&` for one in a process of its own, `.`
/// for the last.
fn reached(script: &str) -> String {
    let read = shell::read(&Word::text(script), &mut Budget::default()).unwrap();
    let told = read.commands.iter().map(|command| {
        let when = match command.when {
            shell::When::Always => "",
            shell::When::OrEnds => "!",
            shell::When::OrElse => "|",
            shell::When::Maybe => "?",
        };
        let child = if command.in_child { "&" } else { "" };
        let last = if command.is_last { "." } else { "" };
        let redirected = if command.is_redirected { ">" } else { "" };
        format!("{}{when}{child}{redirected}{last}", command.words[0].shown())
    });
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_script_that_runs_more_commands_than_are_told_is_not_known() {
    let read = |text: &str| shell::read(&Word::text(text), &mut Budget::default());
    // Each function runs the one before it ten times.
    let functions = |levels: usize| {
        let body = |level: usize| match level {
            0 => "a".to_owned(),
            _ => vec![format!("f{}", level - 1); 10].join("; "),
        };
        let all = (0..=levels).map(|level| format!("f{level}() {{ {}; }}", body(level)));
        let all = all.collect::<Vec<_>>().join("; ");
        format!("{all}; f{levels}; b")
    };
    assert_eq!(read(&functions(3)).unwrap().commands.len(), 1_001);
    assert!(read(&functions(4)).is_none());
    let three_times = format!("{}; f3; f3", functions(3));
    let more = |count: usize| read(&format!("{three_times}{}", "; c".repeat(count)));
    assert_eq!(more(999).map(|it| it.commands.len()), Some(MAX_COMMANDS));
    assert!(more(1_000).is_none());
}

#[test]
fn a_function_that_others_call_too_deep_is_told_as_a_command() {
    let called = |depth: usize| {
        let functions = (1..depth).map(|it| format!("f{it}() {{ f{}; }}; ", it - 1));
        let script = format!("f0() {{ a; }}; {}f{}", functions.collect::<String>(), depth - 1);
        reached(&script).trim_end_matches('.').to_owned()
    };
    assert_eq!((called(MAX_CALLS), called(MAX_CALLS + 1)), ("a".to_owned(), "f0".to_owned()));
}

#[test]
fn how_a_chain_ends_is_told_as_far_as_its_links_are_followed_back() {
    let comes_to = |links: usize| reached(&format!("{}true || a", "true && ".repeat(links)));
    assert!(!comes_to(MAX_CHAIN).contains('a'), "it is known that it is not come to");
    assert!(comes_to(MAX_CHAIN + 1).ends_with("a?."), "{}", comes_to(MAX_CHAIN + 1));
}

/// What this thread has had of a processor: waiting for one does not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock").into()
}

#[test]
fn reading_a_script_of_the_largest_size_takes_no_longer_for_how_its_commands_are_linked() {
    for link in [";", "&", "|", "&&", "||", "\n", " && true;", " || false &&", "=1 && true &&"] {
        let text = format!("a{link}").repeat(((16 << 10) - 1) / (link.len() + 1));
        let began = processor_time();
        let _ = shell::read(&Word::text(&format!("{text}a")), &mut Budget::default());
        let took = processor_time().saturating_sub(began);
        assert!(took < Duration::from_millis(1500), "{link:?}: {took:?}");
    }
}

#[test]
fn how_a_script_comes_to_each_of_its_commands() {
    for (script, expected) in [
        ("a", "a."),
        ("a; b", "a b."),
        ("a\nb", "a b."),
        ("a && b", "a b!."),
        ("a || b", "a b|."),
        ("a && b\nc", "a b? c."),
        ("a && b; c", "a b? c."),
        ("a & b; c", "a& b c."),
        ("a && { b && c; }", "a b! c!"),
        ("a; b && c", "a b c!"),
        ("a && b && c", "a b? c!."),
        ("a && b || c", "a b? c?."),
        ("a && b || true", "a b! true?."),
        ("a && b || exit 0", "a b! exit?."),
        ("a && b || c || :", "a b? c? :?."),
        ("x; a && b || echo no", "x a b! echo?"),
        ("a && b || true; c", "a b? true? c."),
        ("a && b || true\nc", "a b? true? c."),
        ("a && b && true", "a b? true!."),
        ("{ a || b; }", "a b|"),
        ("x; a || b", "x a b|"),
        ("a & b", "a& b"),
        ("a; b &", "a b&"),
        ("a | b", "a& b&"),
        ("(a; b)", "a& b&"),
        ("{ a; b; }", "a b"),
        ("! a", "a"),
        ("time a", "a"),
        ("coproc a", "a&"),
        ("if a && b; then c; fi", "a b? c?"),
        ("if a; then b; else c; fi", "a b? c?"),
        ("if a; then b; fi; c", "a b? c."),
        ("if kill -0 $MAINPID; then b; else c; fi", "kill b"),
        ("if kill -s 0 $MAINPID 2>/dev/null; then b; fi", "kill> b"),
        ("if ! kill -0 $MAINPID; then b; else c; fi", "kill c"),
        ("if [ -n \"$MAINPID\" ]; then b; fi", "[ b"),
        ("if [ -z \"$MAINPID\" ]; then exit 1; fi; b", "[ b."),
        ("test -d /proc/$MAINPID && b; c", "test b c."),
        ("if [ -n \"$OTHER\" ]; then b; fi", "[ b?"),
        ("if [ -n $MAINPID -a -e x ]; then b; fi", "[ b?"),
        ("if [ $MAINPID -n ]; then b; fi", "[ b?"),
        ("if [ -z $MAINPID -a -e x ]; then b; fi", "[ b?"),
        ("if test -n $MAINPID -a -e x; then b; fi", "test b?"),
        ("if test -n $MAINPID; then b; else c; fi", "test b"),
        ("while a; do b; done", "a b?"),
        ("until a; do b; done", "a b?"),
        ("for i in 1 2; do a; done", "a?"),
        ("select i in 1; do a; done", "a?"),
        ("for ((i = 0; i < 3; i++)); do a; done", "a?"),
        ("case x in x) a;; y) b;; esac", "a? b?"),
        ("f() { a; }; b", "b."),
        ("f() { a; b; }; f; c", "a b c."),
        ("f() { a; }; f", "a"),
        ("f() { f; }; f; b", "f b."),
        ("f() { [ x ] && return; a; }; f; b", "[ return? a! b!."),
        ("f() { return; a; }; f; b", "return b!."),
        ("f() { (return); a; }; f", "return& a"),
        ("return; a", "return a!."),
        ("true && a; b", "true a b."),
        ("false && a || b", "false b."),
        ("true || a; b", "true b."),
        ("a && true || b", "a true? b?."),
        ("a || exit 1; b", "a exit? b!."),
        ("kill -0 $MAINPID && a; b", "kill a b."),
        ("a > /x", "a>."),
        ("exit 1; a", "exit"),
        ("(exit 1); a", "exit& a."),
        ("a && exit 1; b", "a exit? b!."),
        ("a && exit 1", "a exit!."),
    ] {
        assert_eq!(reached(script), expected, "{script:?}");
    }
}

#[test]
fn a_function_runs_as_if_its_body_stood_where_it_is_called() {
    for body in
        ["a", "a && b", "a || b", "a; b && c", "[ x ] && exit 1; a", "(a; b)", "a &", "a | b"]
    {
        for before in ["", "x || exit; ", "x && ", "x & "] {
            let there = reached(&format!("{before}{{ {body}; }}").replace("&;", "&"));
            let called = format!("f() {{ {body}; }}; {before}f").replace("&;", "&");
            assert_eq!(reached(&called), there, "{before}{body}");
        }
    }
    assert_eq!(reached("f() ( a ); f"), "a&");
    assert_eq!(reached("f() if a; then b; fi; f"), "a b?");
    let looks = |script: &str| {
        let read = shell::read(&Word::text(script), &mut Budget::default());
        read.unwrap().looks_again
    };
    assert!(looks("x || exit; while a; do b; done"));
    assert!(looks("f() { while a; do b; done; }; x || exit; f"));
    assert!(!looks("f() { while a; do b; done; }; f &"));
}

#[test]
fn a_shell_goes_on_beside_what_it_runs_in_the_background() {
    let background = |script: &str| {
        let read = shell::read(&Word::text(script), &mut Budget::default()).unwrap();
        read.commands.iter().map(|command| command.in_background).collect::<Vec<_>>()
    };
    assert_eq!(background("a & b"), [true, false]);
    assert_eq!(background("{ a; b; } & c"), [true, true, false]);
    assert_eq!(background("coproc a; b"), [true, false]);
    assert_eq!(background("a | b"), [false, false]);
}

/// The words of the last command of a script.
fn last_words(script: &str) -> Vec<String> {
    let read = shell::read(&Word::text(script), &mut Budget::default()).unwrap();
    read.commands.last().unwrap().words.iter().map(Word::shown).collect()
}

#[test]
fn quotes_of_a_shell_are_taken_away_and_what_it_set_is_put_in() {
    for (script, words) in [
        (r#"a 'b c' "d e" f\ g"#, vec!["a", "b c", "d e", "f g"]),
        (r#"a "b\"c" "d\e" "f\$g" "h\\i""#, vec!["a", "b\"c", "d\\e", "f$g", "h\\i"]),
        (r#"a 'b"c' "d'e'f""#, vec!["a", "b\"c", "d'e'f"]),
        ("a b\\\nc", vec!["a", "bc"]),
        (r"a $'b\tc'", vec!["a", "b\tc"]),
        ("x=1; a $x ${x}2", vec!["a", "1", "12"]),
        ("x=1; x=2; a $x", vec!["a", "…"]),
        ("for x in 1; do a $x; done", vec!["a", "1"]),
        ("for x in 1 2; do a $x; done", vec!["a", "…"]),
        ("a $x ${x:-y}", vec!["a", "$x", "…"]),
        ("a $(b c) `d`", vec!["a", "$(b c)", "$(d)"]),
        ("a $(b | c)", vec!["a", "$(b)"]),
        ("a $(< /x)", vec!["a", "$(cat /x)"]),
    ] {
        assert_eq!(last_words(script), words, "{script}");
    }
}

#[test]
fn a_shells_script_is_told_from_its_options() {
    let script = |line: &str| {
        let words: Vec<Word> = parsed(line)[0].argv.iter().map(|it| Word::text(it)).collect();
        shell::script_of(&words).map(|(name, script)| (name, script.shown()))
    };
    for line in [
        "/bin/sh -c a",
        "/bin/sh -ec a",
        "/bin/sh -e -c -- a",
        "/bin/sh -c - a",
        "/bin/sh -o errexit -c a",
        "/bin/sh +o errexit -c a",
        "/bin/sh --login --rcfile /x -c a",
    ] {
        assert_eq!(script(line), Some(("sh".to_owned(), "a".to_owned())), "{line}");
    }
    for line in [
        "/bin/sh a",
        "/bin/sh +c a",
        "/bin/sh -- a",
        "/bin/sh -- -c a",
        "/bin/sh - -c a",
        "/bin/sh -c",
        "/bin/fish -c a",
    ] {
        assert_eq!(script(line), None, "{line}");
    }
}
