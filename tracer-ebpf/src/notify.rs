//! Notify messages: datagrams to named AF_UNIX sockets, and connections to such that fail.
//!
//! Which of them go to a notify socket is told in user space, where the
//! environments of the senders are known; here only the sockets of the journal
//! and syslog are left out, for they are busy.

use core::{ffi::c_void, hint::black_box, ptr};

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user},
    macros::map,
    maps::PerCpuArray,
};
use bytemuck::Zeroable;
use tracer_common::event::{
    ADDRESS_LEN, Address as Destination, HAS_CREDENTIALS, Header, Kind, NOT_CONNECTED, Notify,
    PAYLOAD_LEN, PAYLOAD_UNREADABLE,
};

use crate::{
    emit, entered,
    kernel::{
        Address, Pointer, Task, copy, forgotten, nonzero, offset, read_user, with_current, zero,
    },
    pairs::Program,
};

/// Pieces of a message that are put together; more than any notify library uses.
const MAX_PIECES: u64 = 16;
/// Control messages looked at for credentials.
const MAX_CONTROLS: usize = 3;
const AF_UNIX: u16 = 1;
const SOCK_DGRAM: u16 = 2;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const SOL_SOCKET: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// `sizeof(sa_family_t)`: where `sun_path` begins.
const FAMILY_LEN: u32 = 2;
/// How the destinations begin that are never notify sockets, by words: comparing bytes
/// in a loop would cost the verifier more than the rest of the program.
const JOURNAL: [u64; 2] = [word(*b"/run/sys"), word(*b"temd/jou")];
const SYSLOG: u64 = word(*b"/dev/log");

const fn word(bytes: [u8; 8]) -> u64 {
    u64::from_ne_bytes(bytes)
}

/// The record that is being put together on this CPU. The slack after it lets the
/// verifier see that a piece of [`TAKE_MASK`] bytes at any offset stays inside.
#[repr(C)]
pub struct Scratch {
    record: Notify,
    slack: [u8; 2 * PAYLOAD_LEN],
    /// Address and length (`struct iovec`), as many as [`PIECES_MASK`] lets be read.
    pieces: [[u64; 2]; 2 * MAX_PIECES as usize],
    /// How many of these there are.
    count: u64,
    /// Bytes of them all.
    total: u64,
    /// [`Message::words`], so that the verifier finds one state, whoever sent the message and how.
    words: [u64; 5],
}

/// The bits of a length up to [`PAYLOAD_LEN`].
const TAKE_MASK: u64 = 2 * PAYLOAD_LEN as u64 - 1;
/// The length of an address is 32 bits wide; the rest of its register is not defined.
pub const LENGTH_MASK: u64 = 0xffff_ffff;
/// The bits of the length of up to [`MAX_PIECES`] pieces.
const PIECES_MASK: u64 = 2 * 16 * MAX_PIECES - 1;

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(ROOMS, 0);

/// Where a program puts a record together: programs that may preempt each other have each their
/// own.
#[derive(Clone, Copy)]
pub enum Room {
    /// The first program at the end of a send.
    First,
    /// The second one.
    Second,
    /// That at the end of `connect`.
    Connect,
    /// That at the end of `sendto`, whatever the socket.
    Sendto,
    /// That at the end of `sendmsg`, whatever the socket.
    Sendmsg,
}

/// How many there are.
pub const ROOMS: u32 = 5;

impl From<Program> for Room {
    #[inline(always)]
    fn from(program: Program) -> Self {
        match program {
            Program::First => Self::First,
            Program::Second => Self::Second,
        }
    }
}

/// Whose memory an address is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The current process's.
    User,
    /// The kernel's.
    Kernel,
}

impl Space {
    /// Reads a `T` there.
    #[inline(always)]
    fn read<T: Zeroable>(self, address: u64) -> Option<T> {
        match self {
            Self::User => read_user(address),
            Self::Kernel => Some(Address::new(address).read_all()),
        }
    }
}

/// Where the bytes of a message lie. They themselves are in user memory.
#[derive(Clone, Copy)]
pub enum Payload {
    /// In one piece: address and length.
    Flat(u64, u64),
    /// In pieces: where the array of `struct iovec` is, and its length.
    Pieces(u64, u64),
    /// Where this program doesn't look: their number.
    Unreadable(u64),
}

/// One datagram that was sent, or was to be.
pub struct Message {
    /// What the send returned: bytes or a negative errno.
    pub result: i64,
    /// Its bytes.
    pub payload: Payload,
    /// Where the array of its pieces is, and its control messages are.
    pub space: Space,
    /// The address of these.
    pub control: u64,
    /// Bytes of them.
    pub control_length: u64,
}

/// The kinds of [`Payload`], as numbers.
const FLAT: u64 = 0;
const PIECES: u64 = 1;
const UNREADABLE: u64 = 2;

impl Message {
    /// The kind of the payload and its two numbers, and where the control messages are.
    #[inline(always)]
    fn words(&self) -> [u64; 5] {
        let [kind, from, length] = match self.payload {
            Payload::Flat(from, length) => [FLAT, from, length],
            Payload::Pieces(array, count) => [PIECES, array, count],
            Payload::Unreadable(length) => [UNREADABLE, 0, length],
        };
        [kind, from, length, self.control, self.control_length]
    }
}

/// The `struct socket` behind a file descriptor of the current process.
#[inline(always)]
pub fn socket_of(fd: u64) -> Option<Address> {
    with_current!(|task| socket_of_task(task, fd))
}

#[inline(always)]
fn socket_of_task(task: Task<impl Pointer>, fd: u64) -> Option<Address> {
    let table = task.0.follow(offset!(task_files))?.follow(offset!(files_fdt))?;
    let limit: u32 = table.read(offset!(fdtable_max_fds));
    if fd >= u64::from(limit) {
        return None;
    }
    let file = (table.follow_address(offset!(fdtable_fd))? + fd * 8).follow(0)?;
    let mode: u16 = file.follow(offset!(file_inode))?.read(offset!(inode_mode));
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    file.follow(offset!(file_private_data))
}

/// The connected peer's address if `socket` is an AF_UNIX datagram socket: `None` if it
/// is anything else; `into` stays as it is without a peer.
#[inline(always)]
pub fn peer_of(socket: impl Pointer, into: &mut Destination) -> Option<()> {
    if let Some(peer) = datagrams(socket)?.follow(offset!(unix_sock_peer)) {
        bound_address(peer, into);
    }
    Some(())
}

/// The `struct unix_sock` of an AF_UNIX datagram socket: `None` if it is anything else.
#[inline(always)]
pub fn datagrams(socket: impl Pointer) -> Option<Address> {
    let kind: u16 = socket.read(offset!(socket_type));
    // Also what a `struct unix_sock` begins with, whose type the pointer does not tell.
    let sock = socket.follow_address(offset!(socket_sk))?;
    let family: u16 = sock.read(offset!(sock_family));
    (kind == SOCK_DGRAM && family == AF_UNIX).then_some(sock)
}

/// Whether what a sender gave as an address is one of AF_UNIX.
#[inline(always)]
pub fn is_unix(name: u64) -> bool {
    name != 0 && read_user::<u16>(name) == Some(AF_UNIX)
}

/// The address a `struct unix_sock` is bound to.
#[inline(always)]
fn bound_address(sock: Address, into: &mut Destination) -> Option<()> {
    let address = sock.follow(offset!(unix_sock_addr))?;
    let length: u32 = address.read(offset!(unix_address_len));
    into.path = (address + offset!(unix_address_name) + u64::from(FAMILY_LEN)).read_all();
    into.length = length.saturating_sub(FAMILY_LEN).min(ADDRESS_LEN as u32);
    Some(())
}

/// The address a sender gave: a `struct sockaddr_un`.
#[inline(always)]
pub fn given_address(space: Space, name: u64, length: u64, into: &mut Destination) -> Option<()> {
    let family: u16 = space.read(name)?;
    if family != AF_UNIX || length <= u64::from(FAMILY_LEN) {
        return None;
    }
    let used = (length - u64::from(FAMILY_LEN)).min(ADDRESS_LEN as u64);
    let used = black_box(used) & 0x7f;
    if used > ADDRESS_LEN as u64 {
        return None;
    }
    zero(&raw mut into.path);
    let (to, from) = (into.path.as_mut_ptr(), name + u64::from(FAMILY_LEN));
    match space {
        Space::User => copy_user(to, used, from)?,
        Space::Kernel => copy_kernel(to, used, from),
    }
    into.length = used as u32;
    Some(())
}

#[inline(always)]
fn copy_kernel(to: *mut u8, length: u64, from: u64) {
    // SAFETY: as for `copy_user`.
    unsafe { bpf_probe_read_kernel(to.cast::<c_void>(), length as u32, from as *const c_void) };
}

#[inline(always)]
fn copy_user(to: *mut u8, length: u64, from: u64) -> Option<()> {
    // SAFETY: callers keep `length` within what `to` points to, and the verifier
    // checks that they do; the helper checks `from`.
    let status =
        unsafe { bpf_probe_read_user(to.cast::<c_void>(), length as u32, from as *const c_void) };
    (status == 0).then_some(())
}

/// Whether there is an address, and it is not one of the sockets for logs.
#[inline(always)]
pub fn may_be_notify_socket(address: &Destination) -> bool {
    let path = ptr::from_ref(address).cast::<[u64; 2]>();
    // SAFETY: an address is aligned to words and begins with its path, longer than two.
    let [first, second] = unsafe { path.read() };
    address.length != 0 && first != SYSLOG && [first, second] != JOURNAL
}

/// What the records of a send that began at `at_ns` have in common: to be called before [`sent`].
#[inline(always)]
pub fn begin(at_ns: u64, room: Room) {
    if let Some(scratch) = SCRATCH.get_ptr_mut(room as u32) {
        // SAFETY: as in `record`.
        unsafe {
            (*scratch).record.header = Header { at_ns, ..emit::header_of_current(Kind::Notify) };
        }
    }
}

/// Sends a record after [`begin`], to which `fill` adds what was said. There is none for the
/// sockets of logs.
#[inline(always)]
fn record(result: i64, address: &Destination, room: Room, fill: impl FnOnce(&mut Scratch)) {
    if !may_be_notify_socket(address) {
        return;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(room as u32) else {
        return emit::lost(Kind::Notify);
    };
    // SAFETY: a per-CPU value that only one program uses, which the kernel doesn't run twice at
    // a time on a CPU.
    let made = unsafe { &mut *scratch };
    made.record.result = result as i32;
    made.record.flags = 0;
    made.record.length = 0;
    made.record.stored = 0;
    made.record.claimed_pid = 0;
    made.record.reserved = 0;
    copy(address, &mut made.record.address);
    fill(made);
    let at_ns = made.record.header.at_ns;
    let size = core::mem::offset_of!(Notify, payload) + stored(&made.record) as usize;
    // SAFETY: `size` is at most that of the record.
    let bytes = unsafe { core::slice::from_raw_parts(scratch.cast::<u8>(), size) };
    emit::bytes(Kind::Notify, at_ns, bytes);
}

/// The current thread has sent `message` to `address`.
#[inline(always)]
pub fn sent(message: &Message, address: &Destination, room: Room) {
    record(
        message.result,
        address,
        room,
        |Scratch { record, pieces, count, total, words, .. }| {
            let [kind, from, length, control, control_length] = forgotten(message.words(), words);
            if let Some(pid) = claimed_pid(message.space, control, control_length) {
                record.claimed_pid = pid;
                record.flags |= HAS_CREDENTIALS;
            }
            *total = 0;
            let listed = match kind {
                FLAT => {
                    pieces[0] = [from, length];
                    1
                }
                PIECES => gather(record, message.space, from, length, pieces),
                _ => {
                    *total = capped(length);
                    record.flags |= PAYLOAD_UNREADABLE;
                    0
                }
            };
            // So that the verifier finds one state here, whatever kind of payload it is.
            let count = forgotten(listed, count);
            for index in 0..MAX_PIECES {
                if index >= count {
                    break;
                }
                append(record, total, pieces[index as usize]);
            }
            // SAFETY: a reference is valid to read.
            let total = unsafe { ptr::read_volatile(total) };
            record.length = total.min(u64::from(u32::MAX)) as u32;
        },
    );
}

/// The current thread could not connect a socket to the address at `name`: `result` is the
/// negative errno. What it would have sent is not known.
#[inline(always)]
pub fn not_connected(at_ns: u64, result: i64, [name, length]: [u64; 2]) {
    let room = Room::Connect;
    let Some(address) = entered::new_address(room) else {
        return;
    };
    if given_address(Space::User, name, length & LENGTH_MASK, address).is_some() {
        begin(at_ns, room);
        record(result, address, room, |made| made.record.flags = NOT_CONNECTED);
    }
}

/// Lists where the pieces of a payload lie, by the array of them; gives their number.
#[inline(always)]
fn gather(
    record: &mut Notify,
    space: Space,
    array: u64,
    count: u64,
    pieces: &mut [[u64; 2]; 2 * MAX_PIECES as usize],
) -> u64 {
    let used = count.min(MAX_PIECES);
    let length = black_box(used * 16) & PIECES_MASK;
    let into = pieces.as_mut_ptr().cast::<u8>();
    let copied = match space {
        Space::User => copy_user(into, length, array),
        Space::Kernel => {
            copy_kernel(into, length, array);
            Some(())
        }
    };
    if copied.is_none() || count > MAX_PIECES {
        record.flags |= PAYLOAD_UNREADABLE;
    }
    if copied.is_some() { used } else { 0 }
}

/// How much of the payload is stored. Read back from the record, so that the verifier
/// finds the same state after every piece and need not follow each way to it.
#[inline(always)]
fn stored(record: &Notify) -> u64 {
    // SAFETY: a reference is valid to read.
    let stored = unsafe { ptr::read_volatile(&raw const record.stored) };
    u64::from(stored).min(PAYLOAD_LEN as u64)
}

/// Adds a piece of user memory to the payload, as far as it fits, and its length to `total`.
/// Without a branch, for it is done in a loop.
#[inline(always)]
fn append(record: &mut Notify, total: &mut u64, [from, length]: [u64; 2]) {
    let length = capped(length);
    *total += length;
    let stored = u64::from(record.stored);
    let take = smaller(length, PAYLOAD_LEN as u64 - stored) & TAKE_MASK;
    let at = (black_box(stored) & 0xfff) as usize;
    // SAFETY: `at` is below the payload's length, and what the helper writes stays within it and
    // the slack. The helper checks `from`; nothing is read where `take` is 0.
    let status = unsafe {
        let to = (&raw mut record.payload).cast::<u8>().add(at);
        bpf_probe_read_user(to.cast::<c_void>(), take as u32, from as *const c_void)
    };
    let failed = nonzero(status as u64);
    record.flags |= failed as u32 * PAYLOAD_UNREADABLE;
    record.stored = (stored + take * (failed ^ 1)) as u32;
}

/// A length, or the most that is counted, a GiB.
#[inline(always)]
fn capped(length: u64) -> u64 {
    let is_more = nonzero(length >> 30);
    (length & ((1 << 30) - 1) & is_more.wrapping_sub(1)) | (is_more << 30)
}

/// The smaller one of two numbers below 2^63.
#[inline(always)]
fn smaller(one: u64, other: u64) -> u64 {
    let difference = black_box(one.wrapping_sub(other));
    other.wrapping_add(difference & (difference.cast_signed() >> 63).cast_unsigned())
}

/// The pid in an `SCM_CREDENTIALS` control message (`cmsg(3)`).
#[inline(always)]
fn claimed_pid(space: Space, control: u64, length: u64) -> Option<u32> {
    let mut at = 0;
    for _ in 0..MAX_CONTROLS {
        // `struct cmsghdr` and, for credentials, the pid that `struct ucred` begins with.
        if control == 0 || at + 20 > length {
            return None;
        }
        let size: u64 = space.read(control + at)?;
        let [level, kind]: [u32; 2] = space.read(control + at + 8)?;
        if level == SOL_SOCKET && kind == SCM_CREDENTIALS {
            return space.read(control + at + 16);
        }
        at += (size + 7) & !7;
    }
    None
}
