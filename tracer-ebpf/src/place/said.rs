//! What a process of the command says to its notify socket.

use core::{ffi::c_void, hint::black_box, ptr};

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::map, maps::PerCpuArray};
use tracer_common::{
    event::{ADDRESS_LEN, Address as Destination},
    place::Kind,
};

use super::{Call, SEND_MESSAGE, SEND_PIECES, order};
use crate::{
    kernel::{nonzero, read_user, zero},
    notify::{self, Space},
};

/// Bytes of a message that are looked at.
const LOOKED_AT: usize = 128;
/// Room for them: a power of two above that, by which the verifier sees that they fit.
const ROOM: usize = 2 * LOOKED_AT;

/// Room for where a message goes and how it begins.
#[map]
static PLACE_MESSAGE: PerCpuArray<Message> = PerCpuArray::with_max_entries(1, 0);

/// Where a message goes and how it begins.
#[repr(C)]
struct Message {
    address: Destination,
    payload: [u8; ROOM],
    /// The last eight bytes that were looked at.
    last: u64,
    /// What the line would say that these end, if it ended with them; by bits.
    before: u64,
    /// What the lines so far have said.
    found: u64,
}

/// What was said to the notify socket, if it was sent there and changes anything.
#[inline(always)]
pub(super) fn said(call: &Call) -> Option<Kind> {
    let [fd, data, length, name, name_length] = call.words;
    let message = PLACE_MESSAGE.get_ptr_mut(0)?;
    // SAFETY: a per-CPU value that this program alone uses, which the kernel doesn't run twice
    // at a time on a CPU.
    let message = unsafe { &mut *message };
    message.address.length = 0;
    notify::peer_of(notify::socket_of(fd)?, &mut message.address)?;
    let [name, name_length, pieces] = match call.kind {
        // In the order of `struct msghdr`.
        SEND_MESSAGE => {
            let [name, name_length, pieces]: [u64; 3] = read_user(data)?;
            [name, name_length & 0xffff_ffff, pieces]
        }
        SEND_PIECES => [0, 0, data],
        _ => [name, name_length, 0],
    };
    if name != 0 {
        notify::given_address(Space::User, name, name_length, &mut message.address)?;
    }
    if !is_notify_socket(&message.address) {
        return None;
    }
    let [begin, length]: [u64; 2] = if pieces == 0 { [data, length] } else { read_user(pieces)? };
    let length = black_box(length.min(LOOKED_AT as u64)) & (ROOM as u64 - 1);
    zero(&raw mut message.payload);
    // SAFETY: the helper checks the address, and `length` is less than there is room for.
    let failed = unsafe {
        bpf_probe_read_user(
            (&raw mut message.payload).cast(),
            length as u32,
            begin as *const c_void,
        )
    };
    if failed != 0 { None } else { step_of(message) }
}

/// Whether an address is the one of the order.
#[inline(always)]
fn is_notify_socket(address: &Destination) -> bool {
    let Some(order) = order() else { return false };
    let words = ptr::from_ref(address).cast::<u64>();
    let mut difference = 0;
    for index in 0..ADDRESS_LEN / 8 {
        // SAFETY: an address is aligned to words and begins with its path of that length.
        let word = unsafe { words.add(index).read() };
        difference |= (word ^ order.notify[index]) & order.notify_mask[index];
    }
    address.length != 0 && difference == 0
}

const fn word(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes)
}

/// The step that a message is, by its lines: STOPPING=1 beats READY=1, which beats RELOADING=1.
/// What is known so far is kept in the map, so that the verifier finds the same state at each
/// byte and need not follow each way to it.
#[inline(always)]
fn step_of(message: &mut Message) -> Option<Kind> {
    const READY: u64 = word(*b"\nREADY=1");
    const STOPPING: u64 = word(*b"OPPING=1");
    const RELOADING: u64 = word(*b"OADING=1");
    let is = |value: u64, other: u64| nonzero(value ^ other) ^ 1;
    // As though a line had just ended.
    message.last = word(*b"\0\0\0\0\0\0\0\n");
    (message.before, message.found) = (0, 0);
    for index in 0..LOOKED_AT {
        let byte = u64::from(black_box(message.payload[index]));
        let ends = is(byte, 0) | is(byte, u64::from(b'\n'));
        // SAFETY: references are valid to read and to write.
        unsafe {
            let before = ptr::read_volatile(&raw const message.before);
            let found = ptr::read_volatile(&raw const message.found);
            ptr::write_volatile(&raw mut message.found, found | (before * ends));
            let last = ptr::read_volatile(&raw const message.last);
            let last = (last >> 8) | (byte << 56);
            ptr::write_volatile(&raw mut message.last, last);
            let before = is(last, READY) | (is(last, STOPPING) << 1) | (is(last, RELOADING) << 2);
            ptr::write_volatile(&raw mut message.before, before);
        }
    }
    // SAFETY: as above.
    match unsafe { ptr::read_volatile(&raw const message.found) } {
        0 => None,
        found if found & 2 != 0 => Some(Kind::Stopping),
        found if found & 1 != 0 => Some(Kind::Ready),
        _ => Some(Kind::Reloading),
    }
}
