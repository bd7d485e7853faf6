//! Globs over names and command lines: `*`, `?`, `[…]` and `{a,b}`, none of which minds a slash.

use std::borrow::Cow;

use globset::GlobBuilder;
use regex_lite::Regex;

/// What globset writes first: that its expressions go over bytes, as this does with all of them.
const OVER_BYTES: &str = "(?-u)";

/// The longest glob, bytes. Others' arguments of systemctl are taken for globs too.
const LONGEST: usize = 4096;
/// The most alternatives `{…}`: globset goes down one level of the stack for each that is in another.
const MAX_BRACES: usize = 40;

/// Why a text is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoGlob(String);

/// A glob that can be matched.
///
/// globset makes an expression of it, and regex-lite matches that: globset's own engine is the
/// tenth part of a program, for what matches a name now and then.
#[derive(Clone, Debug)]
pub struct Glob {
    expression: Regex,
}

impl Glob {
    /// A glob in which a backslash stands for itself: escaped names of units have them.
    ///
    /// # Errors
    /// If it is no glob: a bracket or brace is not closed, a range ends before it begins; or it is
    /// too long, or has too many braces.
    pub fn new(glob: &str) -> Result<Self, NoGlob> {
        Self::of(glob, GlobBuilder::new(glob).backslash_escape(false))
    }

    /// A glob that takes small letters for large ones too, and the other way round.
    ///
    /// # Errors
    /// As [`Glob::new`].
    pub fn ignoring_case(glob: &str) -> Result<Self, NoGlob> {
        Self::of(glob, GlobBuilder::new(glob).backslash_escape(false).case_insensitive(true))
    }

    /// A glob in which a backslash makes the next character stand for itself, as in fnmatch(3).
    ///
    /// # Errors
    /// As [`Glob::new`], and if nothing follows a backslash.
    pub fn with_escapes(glob: &str) -> Result<Self, NoGlob> {
        Self::of(glob, GlobBuilder::new(glob).backslash_escape(true))
    }

    /// What matches this name alone, whatever is in it.
    ///
    /// # Errors
    /// None that is known of.
    pub fn only(name: &str) -> Result<Self, NoGlob> {
        Self::new(&globset::escape(name))
    }

    fn of(text: &str, glob: &GlobBuilder<'_>) -> Result<Self, NoGlob> {
        if text.len() > LONGEST {
            return Err(NoGlob(format!("it is longer than {LONGEST} bytes")));
        }
        if text.bytes().filter(|byte| *byte == b'{').count() > MAX_BRACES {
            return Err(NoGlob(format!("it has more than {MAX_BRACES} alternatives in braces")));
        }
        let glob = glob.build().map_err(|error| NoGlob(error.kind().to_string()))?;
        let expression = glob.regex();
        let expression = expression.strip_prefix(OVER_BYTES).unwrap_or(expression);
        let expression = Regex::new(&format!("(?s){expression}"));
        Ok(Self { expression: expression.map_err(|error| NoGlob(error.to_string()))? })
    }

    /// Whether the whole text is one of those that it stands for.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.expression.is_match(&bytes(text))
    }
}

/// A text whose characters are the bytes of this one: globset names bytes by their numbers.
fn bytes(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.bytes().map(char::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(glob: &str, text: &str) -> bool {
        Glob::new(glob).unwrap().is_match(text)
    }

    #[test]
    fn a_star_stands_for_any_text_and_a_question_mark_for_one_byte() {
        assert!(fits("*", "") && fits("*", "a/b\nc"));
        assert!(fits("a?c", "abc") && fits("a?c", "a/c") && !fits("a?c", "ac"));
        assert!(fits("*/bin/x*", "/usr/bin/x -y") && !fits("*/bin/x", "/usr/bin/x -y"));
        assert!(fits("a**b", "a/x/b") && fits("**", "a/b"));
    }

    #[test]
    fn classes_and_alternatives_are_what_they_are_in_a_shell() {
        assert!(fits("[a-c]x", "bx") && !fits("[!a-c]x", "bx") && fits("[^a-c]x", "dx"));
        assert!(fits("{web,db}*.service", "db2.service") && !fits("{web,db}", "web,db"));
        assert!(fits("{a,{b,c}}", "c"));
    }

    #[test]
    fn what_an_expression_would_take_for_its_own_is_text() {
        for text in ["a.b", "a+b", "(a|b)", "a$", "^a", r"foo\x2dbar", "a#b&c~d", r"\", "a-b"] {
            assert!(fits(text, text), "{text}");
        }
        assert!(!fits("a.b", "axb") && !fits("a+", "aa"));
    }

    #[test]
    fn a_character_of_several_bytes_is_itself() {
        assert!(fits("größe", "größe") && fits("gr*e", "größe") && fits("gr??*", "größe"));
        assert!(!fits("größe", "grö") && !fits("Ã¶", "ö"));
        assert!(!Glob::ignoring_case("ö").unwrap().is_match("Ö"));
    }

    #[test]
    fn case_and_backslashes_are_as_asked_for() {
        assert!(Glob::ignoring_case("[st]ervice").unwrap().is_match("SERVICE"));
        assert!(!fits("service", "Service"));
        assert!(Glob::with_escapes(r"a\*").unwrap().is_match("a*"));
        assert!(!Glob::with_escapes(r"a\*").unwrap().is_match("ab"));
        assert!(Glob::with_escapes(r"a\").is_err());
    }

    #[test]
    fn what_is_no_glob_is_refused_with_a_reason() {
        for (glob, why) in [("a[", "class"), ("{a", "'{'"), ("a}", "'}'"), ("[b-a]", "range")] {
            let refused = Glob::new(glob).unwrap_err().to_string();
            assert!(refused.contains(why), "{glob}: {refused}");
        }
    }

    #[test]
    fn braces_and_the_length_have_a_bound() {
        let nested = |depth: usize| format!("{}x{}", "{".repeat(depth), "}".repeat(depth));
        assert!(fits(&nested(MAX_BRACES), "x"));
        for depth in [MAX_BRACES + 1, 2_000, 100_000] {
            assert!(Glob::new(&nested(depth)).is_err(), "{depth}");
            assert!(Glob::new(&"{".repeat(depth)).is_err(), "{depth}");
            // A brace that closes in brackets closes nothing.
            assert!(Glob::new(&("{[}]".repeat(depth) + &"}".repeat(depth))).is_err(), "{depth}");
        }
        assert!(fits(&"{a,b}".repeat(MAX_BRACES), &"ab".repeat(MAX_BRACES / 2)));
        assert!(fits(&"a".repeat(LONGEST), &"a".repeat(LONGEST)));
        assert!(Glob::new(&"a".repeat(LONGEST + 1)).is_err());
    }

    proptest! {
        #[test]
        fn a_name_alone_matches_itself_and_no_other(name in any::<String>(), other in any::<String>()) {
            let glob = Glob::only(&name).unwrap();
            prop_assert!(glob.is_match(&name));
            prop_assert_eq!(glob.is_match(&other), name == other);
        }

        #[test]
        fn it_matches_what_globset_itself_would(
            glob in "[ab.*?{,}\\[\\]!^ö/\\\\-]{0,9}",
            text in "[abö./\\\\-]{0,7}",
        ) {
            let theirs = GlobBuilder::new(&glob).backslash_escape(false).build();
            let ours = Glob::new(&glob);
            if let Ok(theirs) = theirs {
                match (ours, std::panic::catch_unwind(|| theirs.compile_matcher())) {
                    (Ok(ours), Ok(theirs)) => {
                        prop_assert_eq!(ours.is_match(&text), theirs.is_match(&text));
                    }
                    (ours, theirs) => prop_assert!(ours.is_err() && theirs.is_err(), "{}", glob),
                }
            } else {
                prop_assert!(ours.is_err());
            }
        }
    }
}
