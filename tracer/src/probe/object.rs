//! The kernel side's object, which the program has in it compressed.

use anyhow::{Result, anyhow};
use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// What `build.rs` made of the object that `cargo xtask ebpf` built.
static COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/object.z"));
/// Its length before that, bytes.
#[allow(clippy::unreadable_literal, reason = "build.rs writes it")]
const LENGTH: usize = include!(concat!(env!("OUT_DIR"), "/object.len"));

/// The object, an ELF file. It is as large as half a megabyte, so nobody is to keep it.
///
/// # Errors
/// If the program's own copy is damaged.
pub fn read() -> Result<Vec<u8>> {
    decompress_to_vec_with_limit(COMPRESSED, LENGTH)
        .ok()
        .filter(|it| it.len() == LENGTH)
        .ok_or_else(|| {
            anyhow!("the eBPF programs in sigready's own executable are damaged: install it anew")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_the_committed_one() {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/object/sigready.bpf.o");
        assert!(read().unwrap() == std::fs::read(committed).unwrap());
    }

    #[test]
    fn an_eighth_of_the_object_is_in_the_program() {
        assert!(COMPRESSED.len() * 7 < LENGTH, "{} of {LENGTH}", COMPRESSED.len());
    }
}
