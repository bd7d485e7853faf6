//! Where messages go. A pipe that nobody empties, or a terminal whose output is stopped, does not
//! keep a trace from going on: what can't be written in time is left out, and counted.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write, stderr},
    mem,
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a message waits for room, unless the one before has waited in vain.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a pipe with room takes without waiting (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4_096;

/// Messages that are kept while a screen is shown.
const KEPT: usize = 200;

/// What has been left out of a stream of messages.
#[derive(Default)]
struct Room {
    /// Whether the last message found none.
    is_full: bool,
    /// Messages that were left out and not told of.
    left_out: u64,
}

static ROOM: Mutex<Room> = Mutex::new(Room { is_full: false, left_out: 0 });

/// The messages that came while a screen is shown on the terminal that they would go to.
static HELD: Mutex<Option<VecDeque<Vec<u8>>>> = Mutex::new(None);

/// Messages are kept back until this is dropped, the last of them where there are too many.
pub struct Holding(());

impl Holding {
    /// Keeps them back from now on, if they go to a terminal.
    pub fn begin() -> Self {
        if stderr().is_terminal() {
            *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(VecDeque::new());
        }
        Self(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        for message in held.unwrap_or_default() {
            let _ = Messages.write_all(&message);
        }
    }
}

/// Keeps a message back, if any are.
fn keep(bytes: &[u8]) -> bool {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(held) = held.as_mut() else { return false };
    if add(held, bytes) {
        ROOM.lock().unwrap_or_else(PoisonError::into_inner).left_out += 1;
    }
    true
}

/// Adds a message to those that are kept. Whether the oldest gives way to it.
fn add(held: &mut VecDeque<Vec<u8>>, bytes: &[u8]) -> bool {
    let is_full = held.len() >= KEPT;
    if is_full {
        held.pop_front();
    }
    held.push_back(bytes.to_vec());
    is_full
}

/// stderr, for messages alone.
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if keep(bytes) {
            return Ok(bytes.len());
        }
        let mut room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
        room.write(bytes, &mut stderr(), is_ready)
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

impl Room {
    /// Writes a message to `out`, as far as that takes it in time. `is_ready` waits for so long
    /// until it does, and says whether it does.
    fn write(
        &mut self,
        bytes: &[u8],
        out: &mut impl Write,
        mut is_ready: impl FnMut(Duration) -> bool,
    ) -> io::Result<usize> {
        let patience = if self.is_full { Duration::ZERO } else { PATIENCE };
        self.is_full = !is_ready(patience);
        if self.is_full {
            self.left_out += 1;
            return Ok(bytes.len());
        }
        let left_out = mem::take(&mut self.left_out);
        if left_out > 0 {
            let line = format!("sigready: {left_out} messages are left out: there was no room\n");
            out.write_all(line.as_bytes())?;
        }
        for piece in bytes.chunks(PIECE) {
            self.is_full = !is_ready(PATIENCE);
            if self.is_full {
                break;
            }
            out.write_all(piece)?;
        }
        Ok(bytes.len())
    }
}

/// Whether stderr takes something without waiting, after `patience` at the longest. One that is
/// closed does: it refuses at once.
pub fn is_ready(patience: Duration) -> bool {
    let stderr = stderr();
    let mut descriptor = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    poll(&mut descriptor, patience) != Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a message where there is room or not. Gives what was written, and how long room
    /// was waited for at each look.
    fn written(room: &mut Room, message: &[u8], has_room: &[bool]) -> (Vec<u8>, Vec<u128>) {
        let (mut out, mut waits, mut looks) = (Vec::new(), Vec::new(), has_room.iter());
        let is_ready = |patience: Duration| {
            waits.push(patience.as_millis());
            *looks.next().expect("one look more than there is an answer for")
        };
        assert_eq!(room.write(message, &mut out, is_ready).unwrap(), message.len());
        (out, waits)
    }

    #[test]
    fn only_the_first_message_that_finds_no_room_waits_and_the_rest_are_counted() {
        let mut room = Room::default();
        assert_eq!(written(&mut room, b"a", &[true, true]), (b"a".to_vec(), vec![100, 100]));
        assert_eq!(written(&mut room, b"b", &[false]), (Vec::new(), vec![100]));
        for _ in 0..1_000 {
            assert_eq!(written(&mut room, b"c", &[false]), (Vec::new(), vec![0]));
        }
        let told = b"sigready: 1001 messages are left out: there was no room\nd".to_vec();
        assert_eq!(written(&mut room, b"d", &[true, true]), (told, vec![0, 100]));
        assert_eq!(written(&mut room, b"e", &[true, true]), (b"e".to_vec(), vec![100, 100]));
    }

    #[test]
    fn of_too_many_messages_behind_a_screen_the_oldest_give_way() {
        let mut held = VecDeque::new();
        let gone = (0..=u8::MAX).filter(|number| add(&mut held, &[*number])).count();
        assert_eq!((held.len(), gone), (KEPT, 256 - KEPT));
        assert_eq!((held[0][0], held[KEPT - 1][0]), ((256 - KEPT) as u8, u8::MAX));
    }

    #[test]
    fn no_more_of_a_long_message_is_written_at_once_than_a_pipe_with_room_takes() {
        let mut room = Room::default();
        let long = vec![b'x'; 3 * PIECE];
        let (out, waits) = written(&mut room, &long, &[true, true, true, false]);
        assert_eq!((out.len(), waits), (2 * PIECE, vec![100; 4]));
        assert_eq!(written(&mut room, b"y", &[false]), (Vec::new(), vec![0]), "it is full");
    }
}
