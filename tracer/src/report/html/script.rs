//! The script of the page: it filters events by a text, and shows the box for it. Without it the
//! page has all but that.

/// It all. There is no `<` before a letter or `/` in it, so that it ends where its element does.
pub const SCRIPT: &str = include_str!("filter.js");

/// What the page's policy knows it by.
pub const HASH: &str = "sha256-0duZABZul9Yw8+q6F7ZzpeaI06ocArpBRxIjpRd+7J8=";

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Base64 (RFC 4648), of three bytes four characters.
    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let group = |group: &[u8]| {
            let bits = (0..3).fold(0, |bits, index| {
                bits << 8 | usize::from(group.get(index).copied().unwrap_or(0))
            });
            let letter = |index: usize| match index {
                index if index > group.len() => '=',
                index => char::from(LETTERS[bits >> (18 - 6 * index) & 63]),
            };
            (0..4).map(letter).collect::<String>()
        };
        bytes.chunks(3).map(group).collect()
    }

    #[test]
    fn the_policy_knows_the_script_by_its_hash() {
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(HASH, format!("sha256-{}", base64(&Sha256::digest(SCRIPT))));
    }

    #[test]
    fn nothing_in_the_script_ends_its_element() {
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!"), "{SCRIPT}");
    }
}
