//! The commands that are printed for people to copy: in the README, the pages, and what rules,
//! findings and errors say.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files below a directory with this extension.
pub fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A line's words as a shell has them, as far as the first word that ends the command.
pub fn words(line: &str) -> Vec<String> {
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

/// Every command on a page, with that.
pub fn on_pages() -> Vec<(PathBuf, Vec<String>)> {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    files(&root().join("docs"), "md", &mut pages);
    let of = |page: PathBuf| {
        let text = fs::read_to_string(&page).unwrap();
        // Not the mere name of a command in the text.
        let commands = of_page(&text).into_iter();
        let whole = commands.filter(|words| words.len() > 2 && is_subcommand(&words[1]));
        whole.map(move |words| (page.clone(), words)).collect::<Vec<_>>()
    };
    pages.into_iter().flat_map(of).collect()
}

/// Every command with an option in a sentence of the program, with its source file. Prose may go
/// on behind the last option.
pub fn in_sentences() -> Vec<(PathBuf, Vec<String>)> {
    let mut sources = Vec::new();
    files(&root().join("tracer/src"), "rs", &mut sources);
    sources.retain(|path| !path.ends_with("cli/printed.rs"));
    let of = |source: PathBuf| {
        let text = fs::read_to_string(&source).unwrap();
        let commands = of_source(&text).into_iter();
        let whole =
            commands.filter(|words| is_subcommand(&words[1]) && last_option(words).is_some());
        whole.map(move |words| (source.clone(), words)).collect::<Vec<_>>()
    };
    sources.into_iter().flat_map(of).collect()
}

/// Where the last option of sigready itself is.
pub fn last_option(words: &[String]) -> Option<usize> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words[..end].iter().rposition(|word| word.starts_with("--"))
}

/// The commands of a page: lines of code, with what goes on after a `\`, and code in the text.
pub fn of_page(text: &str) -> Vec<Vec<String>> {
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
pub fn of_source(text: &str) -> Vec<Vec<String>> {
    let mut joined = String::new();
    // A string that goes on in the next line.
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let line = line.trim();
        joined.push_str(line.strip_suffix('\\').unwrap_or(line));
        if !line.ends_with('\\') {
            joined.push('\n');
        }
    }
    let commands = joined.match_indices("sigready ").map(|(at, _)| {
        let rest = &joined[at..];
        let end = rest.find(['"', '`', '\n', '(', ';', ':', ',']).unwrap_or(rest.len());
        words(&rest[..end])
    });
    commands.collect()
}

/// Whether a word is one of the subcommands.
pub fn is_subcommand(word: &str) -> bool {
    ["run", "trace", "race", "lint", "report", "doctor", "explain"].contains(&word)
}
