//! `sigready explain`: a rule in full, or all of them in a line each.

use std::fmt::Write as _;

use crate::rules;

/// How far a mistyped id may be from a rule's to be taken for it.
const NEAR: usize = 3;

/// An id that no rule has.
#[derive(Debug, thiserror::Error)]
#[error("there is no rule '{id}'{}; 'sigready explain' without a rule lists them all", hint(near))]
pub struct UnknownRule {
    id: String,
    near: Vec<&'static str>,
}

fn hint(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// The page of the rule with this id, as Markdown.
pub fn text(id: &str) -> Result<String, UnknownRule> {
    match rules::find(id) {
        Some(rule) => Ok(rule.explanation().to_owned()),
        None => Err(UnknownRule { id: id.to_owned(), near: near(id) }),
    }
}

/// Every rule: id, severity and the first sentence of its page.
#[must_use]
pub fn list() -> String {
    let mut list = String::new();
    for rule in rules::ALL {
        let id = rule.id();
        let _ = writeln!(list, "{id:<22} {:<8} {}", rule.severity(), summary(rule.explanation()));
    }
    list
}

/// The line of a page that says what its rule means: the first after title and severity.
fn summary(page: &str) -> &str {
    page.lines().filter(|line| !line.is_empty()).nth(2).unwrap_or_default()
}

/// The ids that someone who typed `id` may have meant.
fn near(id: &str) -> Vec<&'static str> {
    let id = id.to_ascii_lowercase().replace('_', "-");
    let ids = || rules::ALL.iter().map(|rule| rule.id());
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
    fn a_rule_is_explained_by_its_own_page() {
        for rule in rules::ALL {
            assert_eq!(text(rule.id()).unwrap(), rule.explanation());
        }
    }

    #[test]
    fn a_mistyped_rule_is_answered_with_the_near_ones() {
        assert_eq!(
            text("reload-before-handlr").unwrap_err().to_string(),
            "there is no rule 'reload-before-handlr'; did you mean reload-before-handler?; \
             'sigready explain' without a rule lists them all"
        );
        assert_eq!(
            text("READY_").unwrap_err().near,
            ["ready-before-handler", "ready-rejected", "ready-missing"]
        );
        assert!(text("").unwrap_err().near.is_empty());
        assert!(text("oom").unwrap_err().near.is_empty());
    }

    #[test]
    fn the_list_has_a_line_of_one_terminal_width_for_each_rule() {
        let list = list();
        assert_eq!(list.lines().count(), rules::ALL.len());
        for (line, rule) in list.lines().zip(rules::ALL) {
            assert!(line.starts_with(rule.id()), "{line}");
            assert!(line.chars().count() <= 80, "too wide: {line}");
            assert!(line.ends_with('.'), "not a sentence: {line}");
        }
    }

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
