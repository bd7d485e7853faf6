//! What a bus may send. zbus reads lines of any length while it authenticates, panics at an
//! empty one, and reads messages of up to 128 MiB. Whoever is at the other end may be no
//! systemd, so each of these ends the connection before zbus sees it; and what comes is read
//! no faster than it has to be.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use zbus::{
    conn::Socket,
    connection::socket::{ReadHalf, Split},
};

/// The longest message that is read, bytes. systemd's longest are all properties of one
/// unit, some 30 KiB, and more where a unit has hundreds of paths or variables.
pub const MAX_MESSAGE: usize = 1 << 20;
/// The longest line of the authentication, bytes. The longest that is needed is `OK` and a
/// GUID of 32 digits (D-Bus specification, "Authentication Protocol").
const MAX_LINE: usize = 1_024;
/// The most lines of the authentication.
const MAX_LINES: usize = 16;
/// What may be read at once after a pause, bytes.
const BURST: usize = 32 << 20;
/// What may be read for long, bytes a millisecond. A bus that sends more waits.
const PER_MS: usize = 8 << 10;
/// How long it pauses when that is used up.
const PAUSE: Duration = Duration::from_millis(10);

/// A socket of which no more is read.
#[derive(Debug)]
pub struct Limited<S>(pub S);

/// Its reading half.
#[derive(Debug)]
pub struct Reader<R> {
    half: R,
    frames: Frames,
    pace: Pace,
}

impl<S: Socket> Socket for Limited<S> {
    type ReadHalf = Reader<S::ReadHalf>;
    type WriteHalf = S::WriteHalf;

    fn split(self) -> Split<Self::ReadHalf, Self::WriteHalf> {
        let (half, write) = self.0.split().take();
        let pace = Pace::new(BURST, PER_MS);
        Split::new(Reader { half, frames: Frames::default(), pace }, write)
    }
}

#[async_trait::async_trait]
impl<R: ReadHalf> ReadHalf for Reader<R> {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let room = self.pace.wait().await.min(buffer.len());
        let (length, _descriptors) = self.half.recvmsg(&mut buffer[..room]).await?;
        self.pace.take(length);
        self.frames.take(&buffer[..length])?;
        // No message that is asked for has descriptors.
        Ok((length, Vec::new()))
    }
}

/// Where in the stream of bytes the next one is.
#[derive(Debug, Default)]
struct Frames {
    at: Reading,
    /// Lines so far; no more come after the first message.
    lines: usize,
    in_messages: bool,
}

#[derive(Debug, Default)]
enum Reading {
    /// Between two lines or messages.
    #[default]
    Between,
    /// In a line of which so much was read.
    Line(usize),
    /// In a message's fixed header, which has so much of it.
    Header([u8; Frames::HEADER], usize),
    /// In a message of which so much is left.
    Rest(usize),
}

impl Frames {
    /// The fixed part of a message (D-Bus specification, "Message Format"): byte order, type,
    /// flags, version, length of the body, serial number, length of the header's fields.
    const HEADER: usize = 16;

    /// Follows what was read.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            self.at = match std::mem::take(&mut self.at) {
                Reading::Between => self.begin(*first)?,
                Reading::Line(length) => {
                    bytes = rest;
                    match *first {
                        b'\n' => Reading::Between,
                        _ if length >= MAX_LINE => {
                            return refuse(&format!("a line of more than {MAX_LINE} bytes"));
                        }
                        _ => Reading::Line(length + 1),
                    }
                }
                Reading::Header(mut header, had) => {
                    bytes = rest;
                    header[had] = *first;
                    match had + 1 {
                        Self::HEADER => Reading::Rest(left(&header)?),
                        had => Reading::Header(header, had),
                    }
                }
                Reading::Rest(left) => {
                    let here = left.min(bytes.len());
                    bytes = &bytes[here..];
                    if left == here { Reading::Between } else { Reading::Rest(left - here) }
                }
            };
        }
        // A message without fields or body is over with its header.
        if matches!(self.at, Reading::Rest(0)) {
            self.at = Reading::Between;
        }
        Ok(())
    }

    /// What begins with this byte: a message with its byte order, a line with its command.
    fn begin(&mut self, first: u8) -> io::Result<Reading> {
        match first {
            b'l' | b'B' => {
                self.in_messages = true;
                Ok(Reading::Header([0; Self::HEADER], 0))
            }
            b'A'..=b'Z' if !self.in_messages && self.lines < MAX_LINES => {
                self.lines += 1;
                Ok(Reading::Line(0))
            }
            b'A'..=b'Z' if !self.in_messages => {
                refuse(&format!("more than {MAX_LINES} lines before its first message"))
            }
            _ => refuse("what is not D-Bus"),
        }
    }
}

/// What of a message comes after its fixed header.
fn left(header: &[u8; Frames::HEADER]) -> io::Result<usize> {
    let number = |at: usize| {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let number =
            if header[0] == b'l' { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        number as usize
    };
    let (body, fields) = (number(4), number(12));
    let length = fields.next_multiple_of(8).saturating_add(body);
    if length > MAX_MESSAGE - Frames::HEADER {
        return refuse(&format!(
            "a message of {length} bytes, and no more than {MAX_MESSAGE} are read"
        ));
    }
    Ok(length)
}

fn refuse<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it sent {what}")))
}

/// How much may come for long, and at once after a pause.
#[derive(Debug)]
pub struct Pace {
    burst: usize,
    per_ms: usize,
    room: usize,
    since: Instant,
}

impl Pace {
    /// So much at once, and so much a millisecond.
    pub fn new(burst: usize, per_ms: usize) -> Self {
        Self { burst, per_ms, room: burst, since: Instant::now() }
    }

    /// Waits until there is room, and says how much.
    pub async fn wait(&mut self) -> usize {
        loop {
            match self.room(Instant::now()) {
                0 => sleep(PAUSE).await,
                room => return room,
            }
        }
    }

    fn room(&mut self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.since);
        let millis = usize::try_from(passed.as_millis()).unwrap_or(usize::MAX);
        if millis > 0 {
            self.since = now;
            let more = millis.saturating_mul(self.per_ms);
            self.room = self.room.saturating_add(more).min(self.burst);
        }
        self.room
    }

    /// So much has come.
    pub fn take(&mut self, length: usize) {
        self.room = self.room.saturating_sub(length);
    }
}

#[cfg(test)]
mod tests {
    use zbus::Message;

    use super::*;

    /// A message's fixed header.
    fn header(order: u8, body: u32, fields: u32) -> Vec<u8> {
        let bytes = |number: u32| {
            if order == b'l' { number.to_le_bytes() } else { number.to_be_bytes() }
        };
        [&[order, 4, 0, 1][..], &bytes(body), &bytes(1), &bytes(fields)].concat()
    }

    /// What comes of this, whole and byte by byte.
    fn taken(bytes: &[u8]) -> Result<(), String> {
        let whole = Frames::default().take(bytes).map_err(|error| error.to_string());
        let mut frames = Frames::default();
        let single = bytes.iter().try_for_each(|byte| frames.take(std::slice::from_ref(byte)));
        assert_eq!(whole, single.map_err(|error| error.to_string()));
        whole
    }

    #[test]
    fn an_authentication_and_messages_of_either_byte_order_pass() {
        let signal = Message::signal("/a", "b.c", "D").unwrap().build(&("text", 7)).unwrap();
        let lines = b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n";
        let big = [header(b'B', 3, 9), vec![0; 16 + 3]].concat();
        let bare = header(b'l', 0, 0);
        let all = [&lines[..], signal.data(), &big, &bare, signal.data()].concat();
        assert_eq!(taken(&all), Ok(()));
    }

    #[test]
    fn a_message_that_comes_in_two_ends_where_it_says() {
        let message = [header(b'l', 20, 0), vec![0; 20]].concat();
        for cut in 1..message.len() {
            let mut frames = Frames::default();
            let (first, second) = message.split_at(cut);
            assert!(frames.take(first).is_ok() && frames.take(second).is_ok());
            let error = frames.take(b"x").unwrap_err();
            assert_eq!(error.to_string(), "it sent what is not D-Bus", "{cut}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_refused() {
        assert_eq!(taken(&[b'A'; MAX_LINE]), Ok(()));
        assert_eq!(taken(&[b'A'; 4_096]), Err("it sent a line of more than 1024 bytes".into()));
    }

    #[test]
    fn lines_without_end_are_refused() {
        let error = Err("it sent more than 16 lines before its first message".into());
        assert_eq!(taken(&b"ERROR\r\n".repeat(17)), error);
    }

    #[test]
    fn an_empty_line_and_other_rubbish_are_refused() {
        for rubbish in [&b"\n"[..], b"OK x\r\n\r\n", b"\0", b"ok\r\n", &[0xff; 64]] {
            assert_eq!(taken(rubbish), Err("it sent what is not D-Bus".into()));
        }
        // No line comes after a message.
        let late = [header(b'l', 0, 0), b"OK x\r\n".to_vec()].concat();
        assert_eq!(taken(&late), Err("it sent what is not D-Bus".into()));
    }

    #[test]
    fn a_message_is_refused_by_the_length_it_says_before_it_is_read() {
        let largest = u32::try_from(MAX_MESSAGE - Frames::HEADER).unwrap();
        assert_eq!(taken(&header(b'l', largest, 0)), Ok(()));
        assert_eq!(taken(&header(b'B', largest - 8, 8)), Ok(()));
        for (body, fields) in
            [(largest + 1, 0), (largest, 1), (0, largest + 1), (u32::MAX, u32::MAX)]
        {
            for order in [b'l', b'B'] {
                let error = taken(&header(order, body, fields)).unwrap_err();
                assert!(error.starts_with("it sent a message of "), "{error}");
            }
        }
    }

    #[test]
    fn what_is_read_for_long_is_bounded_in_time() {
        let mut pace = Pace::new(BURST, PER_MS);
        let begun = pace.since;
        let mut read = 0;
        for millis in 0..10_000 {
            let room = pace.room(begun + Duration::from_millis(millis));
            pace.take(room);
            read += room;
        }
        assert!((BURST + 9_000 * PER_MS..=BURST + 10_000 * PER_MS).contains(&read), "{read}");
        assert_eq!(pace.room(begun + Duration::from_hours(1)), BURST);
    }

    #[test]
    fn a_socket_is_read_as_far_as_there_is_room_and_no_further_than_it_makes_sense() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, bus) = tokio::net::UnixStream::pair().unwrap();
            bus.writable().await.unwrap();
            bus.try_write(b"OK 0123456789abcdef\r\n\r\n").unwrap();
            let (mut reader, _) = Limited(ours).split().take();
            reader.pace = Pace::new(7, 1);
            let mut buffer = [0; 64];
            let (length, _) = reader.recvmsg(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"OK 0123");
            let begun = Instant::now();
            let (length, _) = reader.recvmsg(&mut buffer).await.unwrap();
            assert!(length <= 7 && begun.elapsed() >= Duration::from_millis(1), "{length}");
            assert!(b"456789abcdef".starts_with(&buffer[..length]));
            reader.pace = Pace::new(64, 1);
            let error = reader.recvmsg(&mut buffer).await.unwrap_err();
            assert_eq!(error.to_string(), "it sent what is not D-Bus");
        });
    }

    #[test]
    fn what_is_used_up_comes_back_with_time_up_to_what_may_come_at_once() {
        let mut pace = Pace::new(100, 3);
        let begun = pace.since;
        let after = |ms| begun + Duration::from_millis(ms);
        pace.take(100);
        let room: Vec<usize> = [0, 1, 11, 11, 1_000].map(|ms| pace.room(after(ms))).into();
        assert_eq!(room, [0, 3, 33, 33, 100]);
        // The clock of the last look counts, and not that of the beginning.
        pace.take(60);
        assert_eq!(pace.room(after(1_002)), 46);
        // No time is lost however often it is asked.
        pace.take(46);
        let often =
            (0..=100).map(|step| pace.room(after(1_002) + Duration::from_micros(step * 100)));
        assert_eq!(often.last(), Some(30));
    }
}
