//! What `%i` and its like stand for.

use crate::{model::raw_name, systemd::user::runtime_directory};

/// Whose units they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The system's.
    System,
    /// A user's.
    User {
        /// Their number.
        uid: u32,
    },
}

/// `%n` and its like, as far as they follow from the name. systemd.unit(5), SPECIFIERS.
pub struct Specifiers {
    name: String,
    prefix: String,
    instance: String,
    whose: Whose,
}

impl Specifiers {
    /// Those of a unit of this name.
    pub fn new(name: &str, whose: Whose) -> Self {
        let stem = stem(name);
        let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
        let (prefix, instance) = (prefix.to_owned(), instance.to_owned());
        Self { name: name.to_owned(), prefix, instance, whose }
    }

    /// The unit's own name.
    pub fn unit(&self) -> &str {
        &self.name
    }

    /// A word with what is known put in.
    pub fn expand(&self, word: &str) -> String {
        let mut text = String::new();
        let mut rest = word.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match rest.next() {
                Some('%') | None => text.push('%'),
                Some(specifier) => match self.value(specifier) {
                    Some(value) => text.push_str(&value),
                    // What depends on the host stays as it is written.
                    None => text.extend(['%', specifier]),
                },
            }
        }
        text
    }

    fn value(&self, specifier: char) -> Option<String> {
        let last = || self.prefix.rsplit('-').next().unwrap_or_default();
        Some(match (specifier, self.whose) {
            ('n', _) => self.name.clone(),
            ('N', _) => stem(&self.name).to_owned(),
            ('p', _) => self.prefix.clone(),
            ('P', _) => unescape(&self.prefix),
            // A template has none yet.
            ('i' | 'I' | 'f', _) if stem(&self.name).ends_with('@') => return None,
            ('i', _) => self.instance.clone(),
            ('I', _) => unescape(&self.instance),
            ('j', _) => last().to_owned(),
            ('J', _) => unescape(last()),
            ('f', _) => {
                let path = if self.instance.is_empty() { &self.prefix } else { &self.instance };
                format!("/{}", unescape(path).trim_start_matches('/'))
            }
            ('t', Whose::System) => "/run".to_owned(),
            ('t', Whose::User { uid }) => format!("/{}", runtime_directory(uid).display()),
            ('S', Whose::System) => "/var/lib".to_owned(),
            ('C', Whose::System) => "/var/cache".to_owned(),
            ('L', Whose::System) => "/var/log".to_owned(),
            ('E', Whose::System) => "/etc".to_owned(),
            _ => return None,
        })
    }
}

/// A unit's name without its type.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// `systemd-escape --unescape`
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .strip_prefix(b"x")
            .and_then(|tail| tail.get(..2))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (first, escaped) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            (b'-', _) => {
                bytes.push(b'/');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    raw_name::text(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_the_systems_or_the_users() {
        let all = "%t %S %C %L %E";
        let system = Specifiers::new("a.service", Whose::System);
        assert_eq!(system.expand(all), "/run /var/lib /var/cache /var/log /etc");
        let user = Specifiers::new("a.service", Whose::User { uid: 7 });
        assert_eq!(user.expand(all), "/run/user/7 %S %C %L %E");
        assert_eq!((system.unit(), user.expand("%f")), ("a.service", "/a".to_owned()));
        let dashes = Specifiers::new(r"a-b\x2dc.service", Whose::System);
        assert_eq!(dashes.expand("%j %J %p %P"), r"b\x2dc b-c a-b\x2dc a/b-c");
    }

    #[test]
    fn a_name_is_unescaped_as_systemd_escapes_it() {
        assert_eq!(unescape(r"15-ma\x2din"), "15/ma-in");
        assert_eq!(unescape(r"a\xzz\"), r"a\xzz\");
    }

    #[test]
    fn what_follows_from_the_name_is_put_in_and_the_rest_stays() {
        let specifiers = Specifiers::new(r"my-pg@15-main.service", Whose::System);
        assert_eq!(
            specifiers.expand("%n %N %p %P %i %I %j %f %t"),
            "my-pg@15-main.service my-pg@15-main my-pg my/pg 15-main 15/main pg /15/main /run"
        );
        assert_eq!(specifiers.expand("100%% %H %"), "100% %H %");
        let template = Specifiers::new("my@.service", Whose::System);
        assert_eq!(template.expand("%p %i %I %f"), "my %i %I %f");
        assert_eq!(Specifiers::new("my.service", Whose::System).expand("%i"), "");
    }
}
