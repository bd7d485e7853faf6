//! Units as they are named on the command line.

use sigready::{
    model::{glob::Glob, text::Outside},
    systemd::user::User,
    timeline::MainPattern,
};

use super::fault::Fault;

/// A unit's name, `.service` unless it says otherwise.
fn with_suffix(name: &str) -> String {
    if name.ends_with('*') || stands_for(name, SERVICE, false) {
        name.to_owned()
    } else {
        format!("{name}.{SERVICE}")
    }
}

/// Whether the suffix of a name or glob is this kind of units, or may be.
fn stands_for(name: &str, kind: &str, ignores_case: bool) -> bool {
    let is_kind = |suffix: &str| {
        let glob = if ignores_case { Glob::ignoring_case(suffix) } else { Glob::new(suffix) };
        glob.is_ok_and(|glob| glob.is_match(kind))
    };
    suffixes(name).into_iter().any(is_kind)
}

/// The suffixes of a name or glob: several, where alternatives have one each.
fn suffixes(name: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut last = None;
    for (at, c) in name.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            '.' if depth == 0 => last = Some(&name[at + 1..]),
            _ => {}
        }
    }
    let alternatives = name.split(['{', ',', '}']).filter_map(|piece| piece.rsplit_once('.'));
    last.into_iter().chain(alternatives.map(|(_, suffix)| suffix)).collect()
}

/// The most bytes of a unit's name (`UNIT_NAME_MAX`).
const MAX_NAME: usize = 255;
/// Kinds of units that have no processes of their own, or are no services (systemd.unit(5)).
const OTHER_KINDS: [&str; 9] =
    ["socket", "timer", "target", "path", "mount", "automount", "swap", "device", "slice"];
/// The kind that is traced.
const SERVICE: &str = "service";

/// A name or glob of services, with its suffix; other units are never traced or examined.
pub fn service(given: &str) -> Result<String, Fault> {
    let refused = |why: &str| Err(Fault::usage(format_args!("'{}' {why}", Outside::new(given))));
    if given.is_empty() || given.starts_with('.') {
        return refused("is not the name of a unit");
    }
    let too_long = "is longer than the name of a unit can be: 255 bytes";
    if given.len() > MAX_NAME {
        return refused(too_long);
    }
    let unit = with_suffix(given);
    if unit.len() > MAX_NAME {
        return refused(too_long);
    }
    if unit != given {
        check_kind(given)?;
    }
    // As unit_name_is_valid() has it, and what globs are made of.
    let glob = if is_glob(given) { "*?[]{},!^" } else { "" };
    let is_valid = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c) || glob.contains(c);
    if !unit.chars().all(is_valid) {
        return refused("is not the name of a unit: it has letters, digits and ':-_.\\@'");
    }
    Ok(unit)
}

/// Refuses the name or glob of units that are no services.
fn check_kind(given: &str) -> Result<(), Fault> {
    let shown = Outside::new(given);
    if stands_for(given, SERVICE, true) {
        return Err(Fault::usage(format_args!(
            "'{shown}' stands for no unit: names of services end in '.service', in small letters"
        )));
    }
    if stands_for(given, "scope", true) {
        return Err(Fault::usage(format_args!(
            "'{shown}' is a scope, which is no service: trace it by its cgroup, with --cgroup"
        )));
    }
    let Some(kind) = OTHER_KINDS.into_iter().find(|kind| stands_for(given, kind, true)) else {
        return Ok(());
    };
    let article = if kind.starts_with('a') { "an" } else { "a" };
    let is = if is_glob(given) { "stands for" } else { "is" };
    Err(Fault::usage(format_args!(
        "'{shown}' {is} {article} {kind} unit, which has no processes of its own: name the \
         service instead"
    )))
}

/// Whether it stands for many.
pub fn is_glob(unit: &str) -> bool {
    unit.contains(['*', '?', '[', '{'])
}

/// A glob over unit names, with a backslash meaning itself: escaped names have them.
pub fn matcher(unit: &str) -> Result<Glob, Fault> {
    Glob::new(unit).map_err(|why| {
        let unit = Outside::new(unit);
        Fault::usage(format_args!("'{unit}' is not a unit name or glob: {why}"))
    })
}

/// What the main process is said to be.
pub fn main_pattern(pattern: Option<&str>) -> Result<Option<MainPattern>, Fault> {
    if pattern.is_some_and(|pattern| pattern.trim().is_empty()) {
        return Err(Fault::usage("--main '' fits no process: give a glob such as '*/bin/daemon*'"));
    }
    let pattern = pattern.map(|pattern| {
        MainPattern::new(pattern).map_err(|why| {
            let pattern = Outside::new(pattern);
            Fault::usage(format_args!("--main '{pattern}' is not a glob: {why}"))
        })
    });
    pattern.transpose()
}

/// A user who was named.
pub fn user(name: &str) -> Result<User, Fault> {
    User::find(name)
        .ok_or_else(|| Fault::usage(format_args!("there is no user '{}'", Outside::new(name))))
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
        assert!(refused("home.automount").contains("is an automount unit"));
        assert!(refused("docker-1.scope").contains("--cgroup"));
        for (given, kind) in [
            ("*.[st]ocket", "a socket"),
            ("*.{socket,timer}", "a socket"),
            ("{a.timer,b.timer}", "a timer"),
            ("a?.*t", "a socket"),
            ("x.Mount", "a mount"),
        ] {
            assert!(refused(given).contains(kind), "{given}: {}", refused(given));
        }
        for given in ["x.Service", "*.SERVICE", "x.{Service,socket}"] {
            assert!(refused(given).contains("in small letters"), "{given}: {}", refused(given));
        }
        assert!(refused(&"a".repeat(100_000)).chars().count() < 300);
        for given in
            ["", ".", "..", "/", "../x", "a b", "x\u{1b}]0;p\u{7}", "größe", "a\nb", "a!b", "a}"]
        {
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
        assert_eq!(service("x.socket.service").unwrap(), "x.socket.service");
        for as_it_is in ["web.a*", "*.{service,socket}", "x.s?rvice", "{a.service,b.timer}"] {
            assert_eq!(service(as_it_is).unwrap(), as_it_is);
        }
    }

    #[test]
    fn an_empty_pattern_is_refused() {
        assert!(main_pattern(Some("*bin/x*")).unwrap().is_some());
        assert!(main_pattern(None).unwrap().is_none());
        for empty in ["", " "] {
            assert!(matches!(main_pattern(Some(empty)), Err(Fault::Usage(_))), "{empty:?}");
        }
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
