//! What `%i` and its like stand for.

/// `%n` and its like, as far as they follow from the name. systemd.unit(5), SPECIFIERS.
pub struct Specifiers {
    name: String,
    prefix: String,
    instance: String,
}

impl Specifiers {
    /// Those of a unit of this name.
    pub fn new(name: &str) -> Self {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
        Self { name: name.to_owned(), prefix: prefix.to_owned(), instance: instance.to_owned() }
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
                Some('n') => text.push_str(&self.name),
                Some('N') => {
                    let stem = self.name.rsplit_once('.').map_or(&*self.name, |(stem, _)| stem);
                    text.push_str(stem);
                }
                Some('p') => text.push_str(&self.prefix),
                Some('i') => text.push_str(&self.instance),
                Some('P') => text.push_str(&unescape(&self.prefix)),
                Some('I') => text.push_str(&unescape(&self.instance)),
                Some('t') => text.push_str("/run"),
                Some('S') => text.push_str("/var/lib"),
                Some('%') | None => text.push('%'),
                // What depends on the host stays as it is written.
                Some(other) => text.extend(['%', other]),
            }
        }
        text
    }
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
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_unescaped_as_systemd_escapes_it() {
        assert_eq!(unescape(r"15-ma\x2din"), "15/ma-in");
        assert_eq!(unescape(r"a\xzz\"), r"a\xzz\");
    }

    #[test]
    fn what_follows_from_the_name_is_put_in_and_the_rest_stays() {
        let specifiers = Specifiers::new(r"pg@15-main.service");
        assert_eq!(
            specifiers.expand("%n %N %p %i %I"),
            "pg@15-main.service pg@15-main pg 15-main 15/main"
        );
        assert_eq!(specifiers.expand("100%% %H %"), "100% %H %");
    }
}
