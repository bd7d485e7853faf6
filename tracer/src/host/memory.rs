//! Memory that is not needed any more.

use nix::libc;

/// Gives back to the kernel what the start has used. glibc keeps what lies below something that is
/// still in use (malloc_trim(3)); to attach takes some 15 MiB for the kernel's types and the
/// verifier's words, which a quiet trace would hold to its end. And half of the program's own
/// file has been read by then, most of it for the last time.
pub fn give_back() {
    // SAFETY: it takes no pointer, and may be called at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
    // SAFETY: the function is as dl_iterate_phdr(3) wants it, and looks at no data.
    unsafe { libc::dl_iterate_phdr(Some(give_back_file), std::ptr::null_mut()) };
}

/// Lets go of the pages of an object's file that nobody can have written to: they are read again,
/// from the page cache, if they are needed again (madvise(2)). Ends with the first object, which
/// is the program.
unsafe extern "C" fn give_back_file(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: as above.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = usize::try_from(page) else { return 1 };
    // SAFETY: the C library gives a valid description, whose headers stay where they are.
    let (base, segments) = unsafe {
        let object = &*object;
        (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    // What is made read-only later lies in a segment that can be written to.
    let files =
        segments.iter().filter(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W == 0);
    for segment in files {
        // Whole pages only: others may be mapped at its ends.
        let start = (base + segment.p_vaddr) as usize;
        let end = (start + segment.p_filesz as usize) / page * page;
        let start = start.next_multiple_of(page);
        if start < end {
            // SAFETY: the pages are of a private mapping of a file and as they are in that.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
    1
}
