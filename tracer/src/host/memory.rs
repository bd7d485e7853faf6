//! Memory that is not needed any more.

/// Gives what was freed back to the kernel. glibc keeps what lies below something that is still
/// in use (malloc_trim(3)); to attach takes some 15 MiB for the kernel's types and the verifier's
/// words, which a quiet trace would hold to its end.
pub fn give_back() {
    // SAFETY: it takes no pointer, and may be called at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::malloc_trim(0)
    };
}
