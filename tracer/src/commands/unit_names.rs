//! Units as they are named on the command line.

use globset::GlobBuilder;
use sigready::{model::text::Outside, systemd::user::User, timeline::MainPattern};

use super::fault::Fault;

/// A unit's name, `.service` unless it says otherwise.
pub fn with_suffix(name: &str) -> String {
    if name.ends_with(".service") || name.ends_with('*') {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

/// The most bytes of a unit's name (`UNIT_NAME_MAX`).
const MAX_NAME: usize = 255;
/// Kinds of units that have no processes of their own, or are no services (systemd.unit(5)).
const OTHER_KINDS: [&str; 9] =
    ["socket", "timer", "target", "path", "mount", "automount", "swap", "device", "slice"];

/// A name or glob of services, with its suffix; other units are never traced.
pub fn service(given: &str) -> Result<String, Fault> {
    let refused = |why: &str| Err(Fault::usage(format_args!("'{given}' {why}")));
    let unit = with_suffix(given);
    if given.is_empty() || unit.starts_with('.') {
        return refused("is not the name of a unit");
    }
    if unit.len() > MAX_NAME {
        return refused("is longer than the name of a unit can be: 255 bytes");
    }
    let kind = given.rsplit_once('.').map_or("", |(_, kind)| kind);
    if OTHER_KINDS.contains(&kind) {
        return refused(&format!(
            "is a {kind} unit, which has no processes of its own: name the service instead"
        ));
    }
    if kind == "scope" {
        return refused("is a scope: trace it by its cgroup, with --cgroup");
    }
    // As unit_name_is_valid() has it, and what globs are made of.
    let is_valid = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@*?[]{},!^".contains(c);
    if !unit.chars().all(is_valid) {
        return refused("is not the name of a unit: it has letters, digits and ':-_.\\@'");
    }
    Ok(unit)
}

/// Whether it stands for many.
pub fn is_glob(unit: &str) -> bool {
    unit.contains(['*', '?', '['])
}

/// A glob over unit names, with a backslash meaning itself: escaped names have them.
pub fn matcher(unit: &str) -> Result<globset::GlobMatcher, Fault> {
    GlobBuilder::new(unit)
        .backslash_escape(false)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| Fault::usage(format_args!("'{unit}' is not a unit name or glob: {error}")))
}

/// What the main process is said to be.
pub fn main_pattern(pattern: Option<&str>) -> Result<Option<MainPattern>, Fault> {
    let pattern = pattern.map(|pattern| {
        MainPattern::new(pattern).map_err(|error| {
            let pattern = Outside::new(pattern);
            Fault::usage(format_args!("--main '{pattern}' is not a glob: {}", error.kind()))
        })
    });
    pattern.transpose()
}

/// A user who was named.
pub fn user(name: &str) -> Result<User, Fault> {
    User::find(name).ok_or_else(|| Fault::usage(format_args!("there is no user '{name}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_of_a_service_may_be_left_out() {
        assert_eq!(with_suffix("nginx"), "nginx.service");
        assert_eq!(with_suffix("nginx.service"), "nginx.service");
        assert_eq!(with_suffix("postgresql@*"), "postgresql@*");
    }

    #[test]
    fn what_is_never_traced_is_refused_with_what_to_name_instead() {
        let refused = |given: &str| match service(given) {
            Err(Fault::Usage(sentence)) => sentence,
            other => panic!("{given}: {other:?}"),
        };
        assert!(refused("foo.socket").contains("name the service"), "{}", refused("foo.socket"));
        assert!(refused("foo@*.timer").contains("timer unit"));
        assert!(refused("docker-1.scope").contains("--cgroup"));
        for given in ["", ".", "..", "/", "../x", "a b", "x\u{1b}]0;p\u{7}", "größe", "a\nb"] {
            assert!(refused(given).contains("is not the name of a unit"), "{given}");
        }
        assert!(refused(&"a".repeat(300)).contains("255"));
    }

    #[test]
    fn names_and_globs_of_services_are_taken() {
        for given in ["nginx", "a@b.service", r"foo\x2dbar", "post*", "[a-c]?", "{a,b}.service"] {
            assert!(service(given).is_ok(), "{given}");
        }
        assert_eq!(service("web.app").unwrap(), "web.app.service");
    }

    #[test]
    fn a_backslash_in_a_unit_name_is_a_backslash() {
        let matcher = matcher(r"foo\x2dbar@a-b.service").unwrap();
        assert!(matcher.is_match(r"foo\x2dbar@a-b.service"));
        assert!(!matcher.is_match("foox2dbar@a-b.service"));
    }

    #[test]
    fn a_glob_that_is_not_one_is_refused_with_a_reason() {
        let Err(Fault::Usage(sentence)) = matcher("foo[.service") else {
            panic!("accepted");
        };
        assert!(sentence.contains("foo[.service"), "{sentence}");
    }
}
