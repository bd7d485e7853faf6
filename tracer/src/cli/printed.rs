//! The commands that are printed for people to copy: in the README, the pages, and what rules,
//! findings and errors say. Each is taken by the command line.

use clap::Parser as _;

use super::{Cli, Command};
use commands::{in_sentences, last_option, of_page, of_source, on_pages};

#[path = "../../tests/all/support/printed.rs"]
mod commands;

fn parse(words: &[String]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words)
}

#[test]
fn every_command_on_a_page_is_taken_and_what_it_explains_is_there() {
    let commands = on_pages();
    for (page, words) in &commands {
        let parsed = parse(words)
            .unwrap_or_else(|error| panic!("{}: {}\n{error}", page.display(), words.join(" ")));
        if let Command::Explain(_) = parsed.command
            && let Some(id) = words.get(2).filter(|id| *id != "ID")
        {
            assert!(sigready::explain::text(id).is_ok(), "{}: {id}", page.display());
        }
    }
    assert!(commands.len() > 20, "{commands:?}");
}

#[test]
fn every_command_in_a_sentence_of_the_program_is_taken() {
    let commands = in_sentences();
    for (source, words) in &commands {
        // Prose may go on behind it: one of the beginnings that have all options is it.
        let shortest = last_option(words).unwrap() + 1;
        let taken = (shortest..=words.len()).any(|end| parse(&words[..end]).is_ok());
        assert!(taken, "{}: {}", source.display(), words.join(" "));
    }
    assert!(commands.len() >= 10, "{commands:?}");
}

#[test]
fn commands_are_read_from_pages_and_sources() {
    let page =
        "text\n\n    $ sudo sigready trace 'a b' \\\n  --all   # why\nsay `sigready doctor`\n";
    assert_eq!(
        of_page(page),
        [vec!["sigready", "trace", "a b", "--all"], vec!["sigready", "doctor"]]
    );
    let source =
        "    // sigready nonsense\n    \"run sigready trace --restart UNIT has \\\n     more\"";
    let read = of_source(source);
    assert_eq!(read, [["sigready", "trace", "--restart", "UNIT", "has", "more"]]);
}
