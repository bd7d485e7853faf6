//! Names of the kernel as text. A comm, a path and a command line are bytes, and need not be
//! UTF-8. As text each byte that is no part of UTF-8 is a character of its own, `U+10FE00` and
//! its value, at the end of a plane that Unicode leaves to private use. So two names never become
//! one, and the bytes can be had back. [`super::text::escaped`] shows such a character as the byte
//! that it stands for: `\xff`.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

/// The character of byte 0. Those of the bytes that are ASCII are never used.
const FIRST: u32 = 0x10_fe00;

/// What the UTF-8 of each of these characters, and of few others, begins with.
const LEAD: u8 = 0xf4;

/// The byte that a character stands for, if it stands for one.
#[must_use]
pub fn byte(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(FIRST)?).ok().filter(|byte| !byte.is_ascii())
}

/// A name as text. A name that is UTF-8 is the same as text, unless it holds one of the
/// characters that stand for bytes: those are taken for the bytes that they consist of.
#[must_use]
pub fn text(name: &[u8]) -> Cow<'_, str> {
    let stays =
        |text: &str| memchr::memchr(LEAD, text.as_bytes()).is_none() || !text.contains(is_byte);
    match str::from_utf8(name) {
        Ok(text) if stays(text) => Cow::Borrowed(text),
        _ => Cow::Owned(with_bytes_apart(name)),
    }
}

/// The same of a name as the standard library has it.
#[must_use]
pub fn os_text(name: &(impl AsRef<OsStr> + ?Sized)) -> Cow<'_, str> {
    text(name.as_ref().as_bytes())
}

/// The name that became a text.
#[must_use]
pub fn of(text: &str) -> Cow<'_, OsStr> {
    if memchr::memchr(LEAD, text.as_bytes()).is_none() {
        return Cow::Borrowed(OsStr::new(text));
    }
    let mut name = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte(character) {
            Some(byte) => name.push(byte),
            None => name.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(OsString::from_vec(name))
}

fn is_byte(character: char) -> bool {
    byte(character).is_some()
}

fn with_bytes_apart(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len() + 16);
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_byte(character) {
                text.extend(character.encode_utf8(&mut [0; 4]).bytes().map(stands_for));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stands_for));
    }
    text
}

/// The character that stands for a byte.
fn stands_for(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_utf8_is_the_same_as_text() {
        for plain in ["", "cron", "Größe", "データ", "🦀", "\u{10fdff}", "\u{10ff00}", "a\\xff"]
        {
            assert!(matches!(text(plain.as_bytes()), Cow::Borrowed(same) if same == plain));
            assert_eq!(&*of(plain), plain);
        }
    }

    #[test]
    fn a_byte_that_is_no_text_is_a_character_of_its_own() {
        // A letter of two bytes that is cut after the first.
        assert_eq!(text(b"Gr\xc3"), "Gr\u{10fec3}");
        assert_eq!(text(b"\xff\xfe"), "\u{10feff}\u{10fefe}");
        assert_ne!(text(b"a\xff"), text(b"a\xfe"));
        assert_eq!(byte('\u{10feff}'), Some(0xff));
        assert_eq!(byte('\u{10fe7f}'), None);
        assert_eq!(byte('\u{10ff00}'), None);
    }

    #[test]
    fn who_writes_such_a_character_gets_its_bytes() {
        let claimed = "\u{10feff}".as_bytes();
        assert_eq!(text(claimed).chars().filter_map(byte).collect::<Vec<_>>(), claimed);
        assert_ne!(text(claimed), text(b"\xff"));
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            any::<Vec<u8>>(),
            any::<String>().prop_map(String::into_bytes),
            (0x10_fdf0_u32..0x10_ff10)
                .prop_filter_map("a character", char::from_u32)
                .prop_map(|character| character.to_string().into_bytes()),
        ];
        prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn every_name_can_be_had_back_from_its_text(raw in names()) {
            let text = text(&raw);
            let back = of(&text);
            prop_assert_eq!(back.as_bytes(), &raw[..]);
        }
    }
}
