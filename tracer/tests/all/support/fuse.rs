//! A real file system that a program answers for, and answers no more at a moment of a test's
//! choice (fuse(4), include/uapi/linux/fuse.h).

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use super::PYTHON;

/// What a file system is asked for: its numbers in the kernel's `enum fuse_opcode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Lookup = 1,
    Rename = 12,
    Open = 14,
    Read = 15,
    Write = 16,
    Fsync = 20,
    Init = 26,
    Create = 35,
}

/// It keeps files in its root, in memory. From the n-th request of a kind on it takes all
/// requests and answers none: whoever waits can't be killed.
const SERVER: &str = r"
import ctypes, errno, os, struct, sys
point, kind, count, *files = sys.argv[1:]
kind, count = int(kind), int(count)
nodes, names = {1: None}, {}
def add(name, content, mode):
    names[name] = len(nodes) + 1
    nodes[names[name]] = [bytearray(content), mode]
    return names[name]
for file in files:
    add(os.path.basename(file).encode(), open(file, 'rb').read(), os.stat(file).st_mode)
fuse = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f'fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()
if libc.mount(b'silent', point.encode(), b'fuse', 0, options) != 0:
    sys.exit('mount: ' + os.strerror(ctypes.get_errno()))
print('mounted', flush=True)
def attributes(node):
    content, mode = nodes[node] or (b'', 0o40755)
    links = 2 if node == 1 else 1
    size = len(content)
    return struct.pack('<6Q10I', node, size, (size + 511) // 512, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)
def entry(node):
    return struct.pack('<4Q2I', node, 0, 0, 0, 0, 0) + attributes(node)
opened = struct.pack('<QII', 0, 0, 0)
# Each takes its node and what comes with the request; a number is an error.
def lookup(node, rest):
    name = rest.split(b'\0')[0]
    return entry(names[name]) if name in names else errno.ENOENT
def setattr(node, rest):
    valid, _, _, size = struct.unpack_from('<IIQQ', rest)
    if valid & 8:
        del nodes[node][0][size:]
    if valid & 1:
        nodes[node][1] = struct.unpack_from('<I', rest, 68)[0]
    return struct.pack('<QII', 0, 0, 0) + attributes(node)
def read(node, rest):
    offset, size = struct.unpack_from('<QI', rest, 8)
    return bytes(nodes[node][0][offset:offset + size])
def write(node, rest):
    offset, size = struct.unpack_from('<QI', rest, 8)
    nodes[node][0][offset:offset + size] = rest[40:40 + size]
    return struct.pack('<II', size, 0)
def create(node, rest):
    mode = struct.unpack_from('<I', rest, 4)[0]
    return entry(add(rest[16:].split(b'\0')[0], b'', mode)) + opened
def unlink(node, rest):
    return b'' if names.pop(rest.split(b'\0')[0], None) else errno.ENOENT
def rename(begin):
    def of(node, rest):
        old, new = rest[begin:].split(b'\0')[:2]
        names[new] = names.pop(old)
        return b''
    return of
does = {
    1: lookup, 3: lambda node, _: struct.pack('<QII', 0, 0, 0) + attributes(node), 4: setattr,
    10: unlink, 12: rename(8), 14: lambda *_: opened, 15: read, 16: write,
    17: lambda *_: struct.pack('<5Q10I', 1, 1, 1, 9, 9, 4096, 255, 4096, *[0] * 7), 18: lambda *_: b'',
    20: lambda *_: b'', 25: lambda *_: b'',
    26: lambda *_: struct.pack('<IIIIHHIIHHI', 7, 31, 0, 0, 0, 0, 65536, 0, 0, 0, 0) + bytes(28),
    27: lambda *_: opened, 28: lambda *_: b'', 29: lambda *_: b'', 30: lambda *_: b'',
    34: lambda *_: b'', 35: create, 45: rename(16),
}
silent = False
while True:
    request = os.read(fuse, 1 << 20)
    length, code, unique, node = struct.unpack_from('<IIQQ', request)
    if code == kind or (code == 45 and kind == 12):
        count -= 1
        if count == 0:
            silent = True
            print('silent', flush=True)
    # FORGET, BATCH_FORGET and INTERRUPT have no answer.
    if silent or code in (2, 42, 36):
        continue
    answer = does[code](node, request[40:]) if code in does else errno.ENOSYS
    error, answer = (-answer, b'') if isinstance(answer, int) else (0, answer)
    try:
        os.write(fuse, struct.pack('<IiQ', 16 + len(answer), error, unique) + answer)
    except FileNotFoundError:
        pass # who asked has gone
";

/// It is gone when dropped, and whoever waits for it waits no more.
pub struct Fuse {
    server: Child,
    said: BufReader<ChildStdout>,
    point: TempDir,
}

impl Fuse {
    /// One with copies of these files, which answers until the `nth` request of a kind, or for
    /// ever.
    pub fn new(silent: Option<(Request, u32)>, files: &[&Path]) -> Self {
        let point = tempfile::tempdir().unwrap();
        let (kind, nth) = silent.map_or((0, 0), |(request, nth)| (request as u32, nth));
        let mut server = Command::new(PYTHON)
            .args(["-c", SERVER])
            .arg(point.path())
            .args([kind.to_string(), nth.to_string()])
            .args(files)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(server.stdout.take().unwrap());
        let mut fuse = Self { server, said, point };
        assert_eq!(fuse.line(), "mounted\n");
        fuse
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.path().join(name)
    }

    /// Waits until it is silent.
    pub fn wait_until_silent(&mut self) {
        assert_eq!(self.line(), "silent\n");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = umount2(self.point.path(), MntFlags::MNT_DETACH);
    }
}
