//! systemd's private socket (`/run/systemd/private`, and a user's), which is there without a
//! message bus. Its messages say that they come from `org.freedesktop.systemd1`
//! (`bus_init_private` and `sd_bus_set_sender` in systemd). A bus would put a unique name in
//! that place, and zbus takes no other: 5.19 panics, 6.2 refuses the message.

use std::{io, os::fd::OwnedFd};

use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};
use zbus::{
    conn::Socket,
    connection::socket::{ReadHalf, Split},
};

/// What comes before the sender's name in a message: the field's code, its type, its length.
const BEFORE_NAME: [u8; 8] = {
    let [a, b, c, d] = u32::to_ne_bytes(NAME.len() as u32);
    [7, 1, b's', 0, a, b, c, d]
};
const NAME: &str = "org.freedesktop.systemd1";

/// A connection to the private socket.
#[derive(Debug)]
pub struct Private(pub UnixStream);

/// Its reading half, which makes the sender's name a unique one.
#[derive(Debug)]
pub struct Reader {
    half: OwnedReadHalf,
    names: Names,
}

/// How much of [`BEFORE_NAME`] was at the end of what has been read.
#[derive(Debug, Default)]
struct Names {
    matched: usize,
}

impl Names {
    /// Puts a colon for the first letter of each.
    fn make_unique(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.matched == BEFORE_NAME.len() {
                self.matched = 0;
                if *byte == NAME.as_bytes()[0] {
                    *byte = b':';
                }
            }
            // No part of it but the whole can begin with its first byte.
            self.matched = match *byte {
                byte if byte == BEFORE_NAME[self.matched] => self.matched + 1,
                byte if byte == BEFORE_NAME[0] => 1,
                _ => 0,
            };
        }
    }
}

impl Socket for Private {
    type ReadHalf = Reader;
    type WriteHalf = OwnedWriteHalf;

    fn split(self) -> Split<Reader, OwnedWriteHalf> {
        let (half, write) = self.0.into_split();
        Split::new(Reader { half, names: Names::default() }, write)
    }
}

#[async_trait::async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let (length, descriptors) = self.half.recvmsg(buffer).await?;
        self.names.make_unique(&mut buffer[..length]);
        Ok((length, descriptors))
    }
}

#[cfg(test)]
mod tests {
    use zbus::names::UniqueName;

    use super::*;

    #[test]
    fn the_senders_name_becomes_a_unique_one_however_it_comes_in_pieces() {
        let message = [b"\x07\x01s\0\x07.\x07\x07", &BEFORE_NAME[..], NAME.as_bytes(), b"\0"];
        let message = message.concat();
        for cut in 0..message.len() {
            let mut names = Names::default();
            let mut read = message.clone();
            let (first, second) = read.split_at_mut(cut);
            names.make_unique(first);
            names.make_unique(second);
            let name = str::from_utf8(&read[16..16 + NAME.len()]).unwrap();
            assert_eq!(name, ":rg.freedesktop.systemd1");
            assert!(UniqueName::try_from(name).is_ok());
            assert_eq!(read[..16], message[..16]);
        }
    }

    #[test]
    fn what_is_no_name_of_a_sender_stays_as_it_is() {
        let made = |before: &[u8]| {
            let mut read = [before, NAME.as_bytes()].concat();
            Names::default().make_unique(&mut read);
            read[before.len()]
        };
        assert_eq!(made(&[&[BEFORE_NAME[0]], &BEFORE_NAME[..]].concat()), b':');
        assert_eq!(made(b"aaaaaaaa"), b'o');
        for at in 0..BEFORE_NAME.len() {
            let mut other = BEFORE_NAME;
            other[at] ^= 0x40;
            assert_eq!(made(&other), b'o', "{at}");
        }
    }

    #[test]
    fn what_is_read_from_the_socket_comes_from_a_unique_name() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, systemd) = UnixStream::pair().unwrap();
            let message = [&BEFORE_NAME[..], NAME.as_bytes()].concat();
            systemd.writable().await.unwrap();
            assert_eq!(systemd.try_write(&message).unwrap(), message.len());
            let (mut reader, _) = Private(ours).split().take();
            let mut buffer = [0; 256];
            let (length, _) = reader.recvmsg(&mut buffer).await.unwrap();
            let expected = [&BEFORE_NAME[..], b":rg.freedesktop.systemd1"].concat();
            assert_eq!(buffer[..length], expected);
        });
    }
}
