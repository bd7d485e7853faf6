//! Units as they are named on the command line.

use globset::GlobBuilder;
use sigready::systemd::user::User;

use super::fault::Fault;

/// A unit's name, `.service` unless it says otherwise.
pub fn with_suffix(name: &str) -> String {
    const SUFFIXES: [&str; 4] = [".service", ".scope", ".socket", ".slice"];
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) || name.ends_with('*') {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
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
