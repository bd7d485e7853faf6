//! `sigready explain`: an alert or a finding in full, or all of them in a line each.

use std::fmt::Write as _;

use crate::{lint, model::text::Outside, rules};

/// How far a mistyped id may be from another to be taken for it.
const NEAR: usize = 3;

/// An id that nothing has.
#[derive(Debug, thiserror::Error)]
#[error("there is no alert '{id}'{}; 'sigready explain' without one lists them all", hint(near))]
pub struct Unknown {
    id: Outside,
    near: Vec<&'static str>,
}

fn hint(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// A page of the documentation.
#[derive(Clone, Copy)]
struct Page {
    id: &'static str,
    text: &'static str,
}

impl Page {
    /// The line that says what it is about: the first after title and severity.
    fn summary(self) -> &'static str {
        self.lines().nth(2).unwrap_or_default()
    }

    /// `error` or `warning`, whichever is said first.
    fn severity(self) -> &'static str {
        let line = self.lines().nth(1).and_then(|line| line.strip_prefix("Severity: "));
        line.and_then(|line| line.split(';').next()).unwrap_or_default()
    }

    fn lines(self) -> impl Iterator<Item = &'static str> {
        self.text.lines().filter(|line| !line.is_empty())
    }
}

fn alerts() -> impl Iterator<Item = Page> {
    rules::ALL.iter().map(|rule| Page { id: rule.id, text: rule.explanation })
}

fn findings() -> impl Iterator<Item = Page> {
    lint::ALL.iter().map(|check| Page { id: check.id, text: check.explanation })
}

/// The page of the alert or finding with this id, as Markdown.
pub fn text(id: &str) -> Result<String, Unknown> {
    match alerts().chain(findings()).find(|page| page.id == id) {
        Some(page) => Ok(page.text.to_owned()),
        None => Err(Unknown { id: Outside::new(id), near: near(id) }),
    }
}

/// Every alert and finding: id, severity and the first sentence of its page.
#[must_use]
pub fn list() -> String {
    let mut list = String::new();
    let mut add = |title: &str, pages: &mut dyn Iterator<Item = Page>| {
        let _ = writeln!(list, "{title}");
        for page in pages {
            let (id, severity, summary) = (page.id, page.severity(), page.summary());
            let _ = writeln!(list, "  {id:<21} {severity:<7} {summary}");
        }
    };
    add("Alerts of run and trace:", &mut alerts());
    add("Findings of lint:", &mut findings());
    list
}

/// The ids that someone who typed `id` may have meant.
fn near(id: &str) -> Vec<&'static str> {
    let id = id.to_ascii_lowercase().replace('_', "-");
    let ids = || alerts().chain(findings()).map(|page| page.id);
    let part: Vec<_> = ids().filter(|known| id.len() > 2 && known.contains(&id)).collect();
    if part.is_empty() {
        ids().filter(|known| distance(known, &id) <= NEAR).collect()
    } else {
        part
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_or_finding_is_explained_by_its_own_page() {
        for rule in &rules::ALL {
            assert_eq!(text(rule.id).unwrap(), rule.explanation);
        }
        for check in &lint::ALL {
            assert_eq!(text(check.id).unwrap(), check.explanation);
        }
    }

    #[test]
    fn a_mistyped_one_is_answered_with_the_near_ones() {
        assert_eq!(
            text("reload-before-handlr").unwrap_err().to_string(),
            "there is no alert 'reload-before-handlr'; did you mean reload-before-handler?; \
             'sigready explain' without one lists them all"
        );
        assert_eq!(
            text("READY_").unwrap_err().near,
            ["ready-before-handler", "ready-rejected", "ready-missing"]
        );
        assert!(text("").unwrap_err().near.is_empty());
        assert!(text("oom").unwrap_err().near.is_empty());
    }

    #[test]
    fn the_list_has_a_line_of_one_terminal_width_for_each() {
        let list = list();
        let lines: Vec<&str> = list.lines().filter(|line| line.starts_with("  ")).collect();
        let pages: Vec<Page> = alerts().chain(findings()).collect();
        assert_eq!(lines.len(), pages.len());
        for (line, page) in lines.iter().zip(pages) {
            assert!(line.trim_start().starts_with(page.id), "{line}");
            let severity = line.split_whitespace().nth(1).unwrap();
            assert!(["error", "warning"].contains(&severity), "{line}");
            assert!(line.chars().count() <= 80, "too wide: {line}");
            assert!(line.ends_with('.'), "not a sentence: {line}");
        }
    }

    #[test]
    fn every_finding_has_a_page_of_its_own_that_fits_a_terminal() {
        for check in &lint::ALL {
            let page = check.explanation;
            assert!(page.starts_with(&format!("# {}\n\nSeverity: ", check.id)), "{}", check.id);
            for section in ["## Consequence", "## Mend", "## When it is no problem"] {
                assert!(page.contains(section), "{} lacks '{section}'", check.id);
            }
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{}: too wide: {line}", check.id);
            }
        }
    }

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
