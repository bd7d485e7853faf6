//! The commands that are printed for people to copy: in the README, the pages, and what rules,
//! findings and errors say. Each is taken by the command line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;

use super::{Cli, Command};

/// The files below a directory with this extension.
fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A line's words as a shell has them, as far as the first word that ends the command.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '|' | '>' | ';' | '&' | '#') if word.is_none() => return words,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The commands of a page: lines of code, with what goes on after a `\`, and code in the text.
fn of_page(text: &str) -> Vec<Vec<String>> {
    let mut whole = String::new();
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(line) => whole.extend([line.trim_end(), " "]),
            None if whole.ends_with(' ') => whole.extend([line.trim_start(), "\n"]),
            None => whole.extend([line, "\n"]),
        }
    }
    let code = whole.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let line = line.strip_prefix("sudo ").unwrap_or(line);
        line.starts_with("sigready ").then(|| line.split("   ").next().unwrap_or(line))
    });
    let in_text = whole.split('`').skip(1).step_by(2).filter(|it| it.starts_with("sigready "));
    code.chain(in_text).map(words).collect()
}

/// The commands in the strings of a source file: from `sigready` to the end of the string, or
/// to where prose goes on.
fn of_source(text: &str) -> Vec<Vec<String>> {
    let mut joined = String::new();
    // A string that goes on in the next line.
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        match line.trim_end().strip_suffix('\\') {
            Some(line) => joined.push_str(line.trim_start()),
            None => {
                joined.push_str(line.trim_start());
                joined.push('\n');
            }
        }
    }
    let commands = joined.match_indices("sigready ").map(|(at, _)| {
        let rest = &joined[at..];
        let end = rest.find(['"', '`', '\n', '(', ';', ':']).unwrap_or(rest.len());
        words(&rest[..end])
    });
    commands.collect()
}

fn parse(words: &[String]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words)
}

/// Whether a word is one of the subcommands.
fn is_subcommand(word: &str) -> bool {
    ["run", "trace", "lint", "report", "doctor", "explain"].contains(&word)
}

#[test]
fn every_command_on_a_page_is_taken_and_what_it_explains_is_there() {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    files(&root().join("docs"), "md", &mut pages);
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for words in of_page(&text) {
            // The name of a command in the text.
            if words.len() < 3 || !is_subcommand(&words[1]) {
                continue;
            }
            count += 1;
            let parsed = parse(&words)
                .unwrap_or_else(|error| panic!("{}: {}\n{error}", page.display(), words.join(" ")));
            if let Command::Explain(_) = parsed.command
                && let Some(id) = words.get(2).filter(|id| *id != "ID")
            {
                assert!(sigready::explain::text(id).is_ok(), "{}: {id}", page.display());
            }
        }
    }
    assert!(count > 20, "{count} commands were found");
}

#[test]
fn every_command_in_a_sentence_of_the_program_is_taken() {
    let mut sources = Vec::new();
    files(&root().join("tracer/src"), "rs", &mut sources);
    let mut count = 0;
    for source in sources.iter().filter(|path| !path.ends_with("cli/printed.rs")) {
        let text = fs::read_to_string(source).unwrap();
        for words in of_source(&text) {
            let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
            let options = words[..end].iter().rposition(|word| word.starts_with("--"));
            let Some(last) = options.filter(|_| is_subcommand(&words[1])) else { continue };
            count += 1;
            // Prose may go on behind it: one of the beginnings that have all options is it.
            let taken = (last + 1..=words.len()).any(|end| parse(&words[..end]).is_ok());
            assert!(taken, "{}: {}", source.display(), words.join(" "));
        }
    }
    assert!(count >= 10, "{count} commands were found");
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
