//! Two kinds of pointers into the kernel's memory, and how each is read through.
//!
//! Of a [`Typed`] one the verifier knows to what structure it points, and lets a program load
//! through it: an instruction. Of an [`Address`] it knows nothing: what is there is read by a
//! helper, which takes some twenty times as long. Either way what can't be read gives zeros.
//!
//! A typed pointer comes from an argument of a BTF tracepoint or of a hooked function, from
//! `bpf_get_current_task_btf`, or was loaded through another one. It stays typed as long as
//! only constants are added, which the offsets in the loader's table are for the verifier
//! (`bpf_map_direct_read` in kernel/bpf/verifier.c: the table is frozen). Elements of arrays at
//! an index that is not constant, nodes of lists and whole arrays need an address.
//!
//! To follow a typed pointer costs the start of a trace: for each pointer that is loaded through
//! an argument or the current task, verifiers since 6.3 search all the kernel's types by name
//! (`btf_nested_type_is_trusted`), for most of a millisecond. So chains that only some events go
//! along are read by the helper, and numbers are loaded.

use core::{
    ffi::c_void,
    mem::MaybeUninit,
    ops::{Add, Sub},
    ptr,
};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use bytemuck::Zeroable;
use tracer_common::config::ABSENT;

/// What one load can read.
pub trait Word: Zeroable + Copy {}

impl Word for u16 {}
impl Word for i32 {}
impl Word for u32 {}
impl Word for u64 {}

/// A pointer into the kernel's memory. Offsets are those of [`offset!`](super::offset).
pub trait Pointer: Copy {
    /// The word at `offset`; 0 where it can't be read, or this kernel has no such member.
    fn read<T: Word>(self, offset: u64) -> T;

    /// Two words that follow each other at `offset`.
    fn read_pair(self, offset: u64) -> [u64; 2];

    /// The pointer at `offset`, of the same kind; `None` for null.
    fn follow(self, offset: u64) -> Option<Self>;

    /// The same without a look whether it is null, through which all reads are zeros: in a loop
    /// the verifier would follow both ways every time.
    fn step(self, offset: u64) -> Self;

    /// Where the member at `offset` is, for a helper. Nothing is to be added to it.
    fn member(self, offset: u64) -> Address;

    /// The pointer at `offset`, as an address that anything can be added to.
    #[inline(always)]
    fn follow_address(self, offset: u64) -> Option<Address> {
        self.member(offset).follow(0)
    }
}

/// A pointer whose structure the verifier knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Typed(u64);

impl Typed {
    /// What the kernel handed to this program as a pointer to a structure.
    #[inline(always)]
    pub fn new(pointer: u64) -> Self {
        Self(pointer)
    }
}

impl Pointer for Typed {
    #[inline(always)]
    fn read<T: Word>(self, offset: u64) -> T {
        if offset == ABSENT {
            return T::zeroed();
        }
        // SAFETY: the verifier refuses the program if there is no such member; where the
        // pointer leads nowhere the kernel puts a zero in place (`BPF_PROBE_MEM`). Volatile, as
        // the compiler does not know who changes it.
        unsafe { ptr::read_volatile((self.0 + offset) as *const T) }
    }

    #[inline(always)]
    fn read_pair(self, offset: u64) -> [u64; 2] {
        if offset == ABSENT {
            return [0; 2];
        }
        [self.read(offset), self.read(offset + size_of::<u64>() as u64)]
    }

    #[inline(always)]
    fn follow(self, offset: u64) -> Option<Self> {
        Some(self.read::<u64>(offset)).filter(|pointer| *pointer != 0).map(Self)
    }

    #[inline(always)]
    fn step(self, offset: u64) -> Self {
        Self(self.read(offset))
    }

    #[inline(always)]
    fn member(self, offset: u64) -> Address {
        if offset == ABSENT { Address(0) } else { Address(self.0 + offset) }
    }
}

/// A pointer of which the verifier knows nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address(u64);

impl Address {
    /// Any number.
    #[inline(always)]
    pub fn new(address: u64) -> Self {
        Self(address)
    }

    /// The number.
    #[inline(always)]
    pub fn get(self) -> u64 {
        self.0
    }

    /// Reads a `T` there; zeros where that can't be read. That is what the helper itself
    /// leaves then, and asking it whether it did would double the ways the verifier has to
    /// follow.
    #[inline(always)]
    pub fn read_all<T: Zeroable>(self) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper fills all of `value`, with zeros on failure
        // (`bpf_probe_read_kernel_common`), and zeros are a valid `T`.
        unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast::<c_void>(),
                size_of::<T>() as u32,
                self.0 as *const c_void,
            );
            value.assume_init()
        }
    }
}

impl Pointer for Address {
    #[inline(always)]
    fn read<T: Word>(self, offset: u64) -> T {
        // An absent member is at an address that can't be read.
        (self + offset).read_all()
    }

    #[inline(always)]
    fn read_pair(self, offset: u64) -> [u64; 2] {
        (self + offset).read_all()
    }

    #[inline(always)]
    fn follow(self, offset: u64) -> Option<Self> {
        Some(self.read::<u64>(offset)).filter(|pointer| *pointer != 0).map(Self)
    }

    #[inline(always)]
    fn step(self, offset: u64) -> Self {
        Self(self.read(offset))
    }

    #[inline(always)]
    fn member(self, offset: u64) -> Address {
        self + offset
    }
}

impl Add<u64> for Address {
    type Output = Self;

    #[inline(always)]
    fn add(self, offset: u64) -> Self {
        Self(self.0 + offset)
    }
}

impl Sub<u64> for Address {
    type Output = Self;

    #[inline(always)]
    fn sub(self, offset: u64) -> Self {
        Self(self.0 - offset)
    }
}
