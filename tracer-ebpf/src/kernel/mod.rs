//! Typed reads of kernel structures.
//!
//! The offsets come from the running kernel's BTF: the loader finds them once and stores them
//! in [`LAYOUT`]. What is there no more, or never was, reads as zeros, and never faults.

mod cgroup;
mod pointer;
mod shared;
mod task;

use core::{ffi::c_void, hint::black_box, ptr};

use aya_ebpf::{
    Global,
    helpers::{
        bpf_probe_read_kernel_str_bytes, bpf_probe_read_user,
        generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel},
    },
};
use bytemuck::{Pod, Zeroable};
use tracer_common::{
    config::{Config, Layout, MAX_DISPOSITIONS, Syscalls},
    signal::SignalSet,
};

pub(crate) use self::task::with_current;
pub use self::{
    cgroup::Cgroup,
    pointer::{Address, Pointer, Typed},
    shared::{
        Action, Actions, Room, SIGNAL_GROUP_EXIT, SIGNAL_STOP_STOPPED, SIGNAL_UNKILLABLE, Signals,
        disposition_of,
    },
    task::Task,
};

/// Offsets of kernel struct members, set by the loader.
#[unsafe(no_mangle)]
pub static LAYOUT: Global<Layout> = Global::new(Layout::ABSENT);

/// Settings of this capture, set by the loader.
#[unsafe(no_mangle)]
pub static CONFIG: Global<Config> = Global::new(Config {
    signals: SignalSet::EMPTY,
    dispositions: SignalSet::EMPTY,
    scope: 0,
    parent: 0,
    loader: 0,
    reserved: 0,
});

/// Numbers of system calls, set by the loader.
#[unsafe(no_mangle)]
pub static SYSCALLS: Global<Syscalls> =
    Global::new(Syscalls { writev: 0, sendto: 0, sendmsg: 0, sendmmsg: 0 });

/// The signals of [`Config::dispositions`] by number, and zeros: a verifier that does not know
/// what is left of a set of bits knows these.
#[unsafe(no_mangle)]
pub static DISPOSITIONS: Global<[u64; MAX_DISPOSITIONS as usize]> =
    Global::new([0; MAX_DISPOSITIONS as usize]);

/// One of [`DISPOSITIONS`].
#[inline(always)]
pub fn disposition(index: u32) -> u64 {
    // SAFETY: callers keep the index below the length, as the verifier makes sure; volatile as
    // in `layout_word`.
    unsafe {
        ptr::read_volatile((&raw const DISPOSITIONS).cast::<u64>().wrapping_add(index as usize))
    }
}

/// One offset of [`LAYOUT`], without copying the whole table to the 512-byte stack.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::layout_word(core::mem::offset_of!(tracer_common::config::Layout, $field))
    };
}
pub(crate) use offset;

/// The word of [`LAYOUT`] at a byte offset.
#[inline(always)]
pub fn layout_word(at: usize) -> u64 {
    // SAFETY: `offset!` passes offsets of fields, all of them `u64`. `Global<T>` is
    // `repr(transparent)`; the read is volatile because the loader, not this program,
    // sets the value.
    unsafe { ptr::read_volatile((&raw const LAYOUT).cast::<u64>().add(at / size_of::<u64>())) }
}

/// The settings of this capture.
#[inline(always)]
pub fn config() -> Config {
    CONFIG.load()
}

/// The numbers of system calls.
#[inline(always)]
pub fn syscalls() -> Syscalls {
    SYSCALLS.load()
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Reads a `T` at a user address of the current process.
#[inline(always)]
pub fn read_user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails where it can't be read.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// Fills `to` with zeros: so the helper does for an address that can't be read
/// (`bpf_probe_read_kernel_common`). What the compiler makes of a large one is a loop over its
/// bytes, which takes a hundred times as long.
#[inline(always)]
pub fn zero<T: Zeroable>(to: *mut T) {
    // SAFETY: callers give the address of a `T`, and zeros are a valid one.
    unsafe { bpf_probe_read_kernel(to.cast::<c_void>(), size_of::<T>() as u32, ptr::null()) };
}

/// Copies a `T`: for a large one, as for [`zero`].
#[inline(always)]
pub fn copy<T: Pod>(from: &T, to: &mut T) {
    let from = ptr::from_ref(from).cast::<c_void>();
    // SAFETY: both are a `T` long, and bytes are all there is to one.
    unsafe {
        bpf_probe_read_kernel(ptr::from_mut(to).cast::<c_void>(), size_of::<T>() as u32, from)
    };
}

/// Copies a zero-terminated kernel string; returns its length without the zero.
#[inline(always)]
pub fn read_string(address: Address, into: &mut [u8]) -> usize {
    // SAFETY: the helper checks the address and never writes past `into`.
    unsafe { bpf_probe_read_kernel_str_bytes(address.get() as *const u8, into) }
        .map_or(0, <[u8]>::len)
}

/// 1, or 0 for zero, without a branch: for loops in which the verifier would follow both
/// ways every time. The compiler is kept from seeing the comparison in it.
#[inline(always)]
pub fn nonzero(value: u64) -> u64 {
    black_box(value | value.wrapping_neg()) >> 63
}

/// The same value by way of `place`, memory outside of the stack: what is there the verifier does
/// not know.
#[inline(always)]
pub fn forgotten<T: Pod>(value: T, place: &mut T) -> T {
    let place = ptr::from_mut(place);
    // SAFETY: a reference is valid to write and read. Volatile, so that the compiler does both.
    unsafe {
        ptr::write_volatile(place, value);
        ptr::read_volatile(place)
    }
}
