//! What runs in a process, told by its executable: Go's build information, the names that a
//! program shares with its libraries, and what shells say of themselves.
//!
//! A file may never be read: a program may answer for its file system, and never do it. What is
//! not on a file system of the kernel's own is read by a process of its own
//! ([`crate::host::opener`]), and all this is asked through [`crate::host::bounded`].

use std::{
    cell::Cell,
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    io,
    ops::Range,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use object::{
    Endianness,
    elf::{ELFCLASS64, FileHeader32, FileHeader64},
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader, SectionHeader as _},
    },
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, open, statx};

use crate::{
    host::{
        mounts,
        opener::{Answer, Question, text, wait_for},
        procfs,
        read::maps,
    },
    model::{raw_name, runtime::Runtime},
    observation::{ProcessId, Program},
};

/// The most that is read at once: the names of a program with an interpreter linked in are some
/// 10 MiB.
const MAX_READ: u64 = 16 << 20;
/// The most that is read of one file.
const MAX_ALL: u64 = 32 << 20;
/// The longest name of a section: `ReadCache` reads no more of one.
const MAX_NAME: u64 = 4_096;
/// The most constants that are searched for what a shell says of itself.
const MAX_CONSTANTS: u64 = 2 << 20;
/// What a process that opens is asked for here.
const QUESTION: &str = "executable";
/// Where that finds the file, which is not open to be read.
const STDIN: &str = "/proc/self/fd/0";
/// Executables that are remembered.
const MAX_KNOWN: usize = 256;

/// What stands among the names for dynamic linking of a runtime's own program alone: a symbol
/// that it defines or has from the runtime's library, or the name of that.
const NAMES: [(&[u8], Runtime); 20] = [
    (b"Py_BytesMain\0", Runtime::Python),
    (b"ruby_run_node\0", Runtime::Ruby),
    (b"napi_module_register\0", Runtime::Node),
    (b"libnode.so.", Runtime::Node),
    (b"libjli.so\0", Runtime::Jvm),
    (b"libjvm.so\0", Runtime::Jvm),
    (b"enif_make_atom\0", Runtime::Erlang),
    (b"mono_jit_init\0", Runtime::Mono),
    (b"libmonosgen-2.0.so", Runtime::Mono),
    (b"DotNetRuntimeInfo\0", Runtime::Dotnet),
    (b"libcoreclr", Runtime::Dotnet),
    (b"bash_argv_initialized\0", Runtime::Bash),
    (b"zshcalloc\0", Runtime::Zsh),
    (b"php_request_startup\0", Runtime::Php),
    (b"Tcl_MainEx\0", Runtime::Tcl),
    (b"Rf_mainloop\0", Runtime::R),
    (b"lisp_startup", Runtime::Sbcl),
    (b"scm_shell\0", Runtime::Guile),
    (b"luaL_openlibs\0", Runtime::Lua),
    (b"perl_run\0", Runtime::Perl),
];
/// What shells say of themselves, or hold for their scripts. Other programs may hold the same,
/// so that it counts only in a program of one of these names. dash has nothing that others have
/// not, and so comes last.
const CONSTANTS: [(&[u8], &[&str], Runtime); 6] = [
    (b"@(#)MIRBSD KSH R", &["mksh", "lksh", "ksh", "sh"], Runtime::Mksh),
    (b"@(#)$Id: Version AJM 93", &["ksh", "rksh", "shcomp", "sh"], Runtime::Ksh),
    (b"BusyBox v", &["busybox", "static-sh", "ash", "sh"], Runtime::Busybox),
    (b"__fish_print_help", &["fish"], Runtime::Fish),
    (b"$YASH_", &["yash", "sh"], Runtime::Yash),
    (b"PS4=+ \0", &["dash", "ash", "sh"], Runtime::Dash),
];
/// Virtual machines that programs load as they run.
const LOADED: [(&[u8], Runtime); 3] = [
    (b"/libjvm.so", Runtime::Jvm),
    (b"/libcoreclr.so", Runtime::Dotnet),
    (b"/libmonosgen-2.0.so", Runtime::Mono),
];
/// Where Go's linker keeps what it was built with (`debug/buildinfo`).
const GO_SECTION: &[u8] = b".go.buildinfo";
/// What that begins with, for files without names of sections.
const GO_MAGIC: &[u8] = b"\xff Go buildinf:";
/// How much of the first writable segment may be before it.
const GO_BEFORE: u64 = 1 << 20;

/// An executable that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its name without directories.
    pub name: String,
    /// What it is.
    pub program: Program,
}

/// Reads executables, and remembers those it has read.
#[derive(Clone, Debug)]
pub struct Reader {
    known: Arc<Mutex<HashMap<Identity, Program>>>,
    /// Reads one that a program may answer for.
    elsewhere: fn(&Executable) -> Option<Program>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { known: Arc::default(), elsewhere: read_elsewhere }
    }
}

/// A file as it was when it was read: device (major, minor), inode, size, and the time of the last
/// change (s, ns).
type Identity = (u32, u32, u64, u64, i64, u32);

/// An executable that is not opened yet: nothing was asked of its file system.
struct Executable {
    /// It can be opened through this (`O_PATH`).
    file: File,
    /// Without directories.
    name: String,
    identity: Identity,
    /// The id of its mount.
    mount: u64,
}

impl Executable {
    /// What a process runs; `None` if another has the pid.
    fn of(id: ProcessId) -> Option<Self> {
        let executable = Self::at(Path::new(&format!("/proc/{}/exe", id.pid)))?;
        (procfs::id(id.pid) == Some(id)).then_some(executable)
    }

    /// Follows a path. A file system is asked for the way alone, and not for the file
    /// (`AT_STATX_DONT_SYNC`: `fuse_update_get_attr` in fs/fuse/dir.c).
    fn at(path: &Path) -> Option<Self> {
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let path = raw_name::os_text(&path);
        let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let about = statx(&file, "", flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID).ok()?;
        let identity = (
            about.stx_dev_major,
            about.stx_dev_minor,
            about.stx_ino,
            about.stx_size,
            about.stx_mtime.tv_sec,
            about.stx_mtime.tv_nsec,
        );
        let is_file = FileType::from_raw_mode(about.stx_mode.into()) == FileType::RegularFile;
        is_file.then(|| Self { file: file.into(), name, identity, mount: about.stx_mnt_id })
    }

    /// Opens it to be read, which asks its file system.
    fn open(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

impl Reader {
    /// What a process runs now; may wait for the process. `None` if that can't be read, or another
    /// process has the pid.
    #[must_use]
    pub fn read(&self, id: ProcessId) -> Option<Read> {
        let executable = Executable::of(id)?;
        // It may be none that this process has: then it is read elsewhere.
        let process = PathBuf::from(format!("/proc/{}", id.pid));
        let is_at_hand = || mounts::is_of_the_kernel(&process, executable.mount);
        let program = self.program(&executable, is_at_hand)?;
        Some(Read { name: executable.name, program })
    }

    fn program(
        &self,
        executable: &Executable,
        is_at_hand: impl FnOnce() -> bool,
    ) -> Option<Program> {
        let identity = executable.identity;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = known().get(&identity) {
            return Some(*program);
        }
        let program = if is_at_hand() {
            of(executable.open().ok()?, &executable.name)?
        } else {
            (self.elsewhere)(executable)?
        };
        let mut known = known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(identity, program);
        Some(program)
    }
}

/// What a process of its own says of it.
fn read_elsewhere(executable: &Executable) -> Option<Program> {
    let (major, minor, ..) = executable.identity;
    // It is the file system that may not answer.
    let about = (PathBuf::from(format!("device {major}:{minor}")), None);
    let name = raw_name::of(&executable.name);
    let words = [QUESTION.as_ref(), &*name];
    let input = Some(executable.file.try_clone().ok()?);
    let question = Question { input, ..Question::new(about, &words) };
    serde_json::from_slice(&wait_for(text(question)).ok()?).ok()?
}

/// Answers what is asked above.
#[must_use]
pub fn answer(words: &[&OsStr]) -> Option<io::Result<Answer>> {
    let [question, name] = *words else { return None };
    (question == QUESTION).then(|| {
        let program = of(File::open(STDIN)?, &raw_name::os_text(&name));
        Ok(Answer::Text(serde_json::to_vec(&program)?))
    })
}

/// The virtual machine that a process has loaded; may wait for the process.
#[must_use]
pub fn loaded(id: ProcessId) -> Option<Runtime> {
    let maps = maps(format!("/proc/{}/maps", id.pid)).ok()?;
    if procfs::id(id.pid) != Some(id) {
        return None;
    }
    let has = |name: &[u8]| maps.split(|byte| *byte == b'\n').any(|line| line.ends_with(name));
    LOADED.iter().find(|(name, _)| has(name)).map(|(_, runtime)| *runtime)
}

/// What an executable is; `None` if it can't be told from what may be read of it.
fn of(file: File, name: &str) -> Option<Program> {
    let file = Limited::new(file);
    let [class] = (&file).read_bytes_at(4, 1).ok()? else { return None };
    let evidence = if *class == ELFCLASS64 {
        Evidence::of::<FileHeader64<Endianness>>(&file)
    } else {
        Evidence::of::<FileHeader32<Endianness>>(&file)
    };
    evidence.map(|evidence| evidence.program(name))
}

/// What of an executable tells which runtime it has.
struct Evidence<'a> {
    is_go: bool,
    /// The strings for dynamic linking: names of symbols and libraries.
    names: &'a [u8],
    /// Constants, if there are not too many.
    constants: &'a [u8],
}

impl<'a> Evidence<'a> {
    fn of<H: FileHeader<Endian = Endianness>>(file: &'a Limited) -> Option<Self> {
        let header = H::parse(file).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, file).ok()?;
        let section = |name: &[u8]| sections.section_by_name(endian, name).map(|(_, it)| it);
        let data = |name: &[u8]| section(name).and_then(|it| it.data(endian, file).ok());
        if section(GO_SECTION).is_some() {
            return Some(Self { is_go: true, names: &[], constants: &[] });
        }
        if sections.is_empty() {
            // Stripped of its sections, or packed.
            return has_go_magic::<H>(header, endian, file).then_some(Self {
                is_go: true,
                names: &[],
                constants: &[],
            });
        }
        // A program that is linked statically has no such names.
        let names = match section(b".dynstr") {
            Some(section) => section.data(endian, file).ok()?,
            None => &[],
        };
        let is_short = section(b".rodata")
            .is_some_and(|it| Into::<u64>::into(it.sh_size(endian)) <= MAX_CONSTANTS);
        let constants = is_short.then(|| data(b".rodata")).flatten().unwrap_or_default();
        Some(Self { is_go: false, names, constants })
    }

    fn program(&self, name: &str) -> Program {
        if self.is_go {
            return Program::Of(Runtime::Go);
        }
        let has = |haystack: &[u8], text: &[u8]| memchr::memmem::find(haystack, text).is_some();
        let names = NAMES.iter().filter(|(text, _)| has(self.names, text));
        let names = names.map(|(_, runtime)| *runtime);
        let constants = CONSTANTS.iter().filter(|(text, of, _)| {
            of.iter().any(|it| name.starts_with(it)) && has(self.constants, text)
        });
        let found = names.chain(constants.map(|(_, _, runtime)| *runtime)).next();
        match found {
            // PHP's process manager has handlers of its own, and so has what embeds Lua.
            Some(Runtime::Php) if name.starts_with("php-fpm") => Program::Plain,
            Some(Runtime::Lua) if !name.starts_with("lua") => Program::Plain,
            Some(runtime) => Program::Of(runtime),
            None => Program::Plain,
        }
    }
}

fn has_go_magic<H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
    file: &Limited,
) -> bool {
    use object::{
        elf::{PF_W, PT_LOAD},
        read::elf::ProgramHeader as _,
    };
    let Ok(segments) = header.program_headers(endian, file) else { return false };
    let writable = segments
        .iter()
        .find(|segment| segment.p_type(endian) == PT_LOAD && segment.p_flags(endian) & PF_W != 0);
    writable.is_some_and(|segment| {
        let (start, size) = segment.file_range(endian);
        let data = file.read_bytes_at(start, size.min(GO_BEFORE));
        data.is_ok_and(|data| memchr::memmem::find(data, GO_MAGIC).is_some())
    })
}

/// A file of which no more is read than is allowed.
struct Limited {
    cache: ReadCache<File>,
    left: Cell<u64>,
}

impl Limited {
    fn new(file: File) -> Self {
        Self { cache: ReadCache::new(file), left: Cell::new(MAX_ALL) }
    }
}

impl<'a> ReadRef<'a> for &'a Limited {
    fn len(self) -> Result<u64, ()> {
        (&self.cache).len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        let left = self.left.get().checked_sub(size).filter(|_| size <= MAX_READ).ok_or(())?;
        self.left.set(left);
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let left = self.left.get();
        if left < MAX_NAME {
            return Err(());
        }
        let bytes = self.cache.read_bytes_at_until(range, delimiter)?;
        self.left.set(left - bytes.len() as u64);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::Write as _,
        os::unix::fs::FileExt as _,
        process::{Command, Stdio},
        time::{Duration, SystemTime},
    };

    use tempfile::TempDir;

    use super::*;
    use crate::host::opener::in_memory;

    /// One that reads all itself.
    fn reader() -> Reader {
        let elsewhere = |it: &Executable| of(it.open().ok()?, &it.name);
        Reader { elsewhere, ..Reader::default() }
    }

    fn read(path: impl AsRef<Path>, name: &str) -> Option<Program> {
        of(File::open(path).unwrap(), name)
    }

    #[test]
    fn interpreters_tell_what_they_are_whatever_they_are_called() {
        for (path, expected) in [
            ("/usr/bin/python3", Program::Of(Runtime::Python)),
            ("/usr/bin/perl", Program::Of(Runtime::Perl)),
            ("/bin/bash", Program::Of(Runtime::Bash)),
            ("/bin/sleep", Program::Plain),
        ] {
            assert_eq!(read(path, "x"), Some(expected), "{path}");
        }
        assert_eq!(read("/bin/sleep", "python3.11"), Some(Program::Plain));
        assert_eq!(read(env::current_exe().unwrap(), "x"), Some(Program::Plain));
    }

    #[test]
    fn of_too_many_executables_all_are_read_again() {
        let reader = reader();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sleep");
        fs::copy("/bin/sleep", &path).unwrap();
        let known = (0..=MAX_KNOWN as u64).map(|second| {
            // It is another file when it has changed.
            let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
            let executable = Executable::at(&path).unwrap();
            assert_eq!(reader.program(&executable, || true), Some(Program::Plain));
            reader.known.lock().unwrap().len()
        });
        let known: Vec<usize> = known.collect();
        assert_eq!(known[MAX_KNOWN - 2..], [MAX_KNOWN - 1, MAX_KNOWN, 1]);
    }

    /// Go's linker writes this section; its other contents do not matter here.
    #[test]
    fn gos_build_information_is_found_with_sections_and_without() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("go.c");
        let program = directory.path().join("go");
        let text = r#"
            __attribute__((section(".go.buildinfo"), used)) char info[64] = "\xff Go buildinf:";
            int main(void) { return 0; }"#;
        File::create(&source).unwrap().write_all(text.as_bytes()).unwrap();
        let built = Command::new("cc").arg("-o").args([&program, &source]).status().unwrap();
        assert!(built.success());
        assert_eq!(read(&program, "x"), Some(Program::Of(Runtime::Go)));
        // Without its section headers: e_shoff, and e_shnum with e_shstrndx.
        let file = File::options().write(true).open(&program).unwrap();
        file.write_all_at(&[0; 8], 40).unwrap();
        file.write_all_at(&[0; 4], 60).unwrap();
        assert_eq!(read(&program, "x"), Some(Program::Of(Runtime::Go)));
    }

    #[test]
    fn what_is_no_executable_or_claims_too_much_is_not_known() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(read(file.path(), "x"), None, "empty");
        file.write_all(b"#!/bin/sh\n").unwrap();
        assert_eq!(read(file.path(), "x"), None, "a script");
        let sleep = fs::read("/bin/sleep").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&sleep, 0).unwrap();
        // As many section headers as can be said, in a file that seems to have them all.
        file.as_file().write_all_at(&[0xff; 2], 60).unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        let program = read(file.path(), "x");
        assert!(matches!(program, None | Some(Program::Plain)), "{program:?}");
    }

    /// What the assembler makes of some text.
    fn assembled(text: &str) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (source, object) = (directory.path().join("a.s"), directory.path().join("a.o"));
        fs::write(&source, text).unwrap();
        let built = Command::new("cc")
            .args(["-c", "-Wa,--no-warn", "-o"])
            .args([&object, &source])
            .status();
        assert!(built.unwrap().success());
        (directory, object)
    }

    #[test]
    fn names_and_constants_are_read_if_they_are_not_too_long() {
        // What a section says at its end, and how long it is.
        let program = |section: &str, says: &str, length: u64| {
            let filler = length - says.len() as u64 - 1;
            let (_directory, object) = assembled(&format!(
                ".section {section},\"a\",@progbits\n.zero {filler}\n.asciz \"{says}\"\n"
            ));
            read(object, "busybox")
        };
        let names = |length| program(".dynstr", "perl_run", length);
        assert_eq!(names(MAX_READ), Some(Program::Of(Runtime::Perl)));
        assert_eq!(names(MAX_READ + 1), None);
        let constants = |length| program(".rodata", "BusyBox v", length);
        assert_eq!(constants(MAX_CONSTANTS), Some(Program::Of(Runtime::Busybox)));
        assert_eq!(constants(MAX_CONSTANTS + 1), Some(Program::Plain));
    }

    #[test]
    fn of_a_file_no_more_is_read_than_is_allowed() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let limited = || Limited::new(file.try_clone().unwrap());
        let file = &limited();
        assert_eq!(file.read_bytes_at(0, MAX_READ + 1), Err(()));
        for begin in 0..MAX_ALL / MAX_READ {
            let read = file.read_bytes_at(begin * MAX_READ, MAX_READ).unwrap();
            assert_eq!(read.len() as u64, MAX_READ);
        }
        assert_eq!(file.read_bytes_at(1 << 39, 1), Err(()));
    }

    #[test]
    fn the_names_of_sections_count_too() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[b'a'; MAX_NAME as usize - 1], 0).unwrap();
        file.set_len(1 << 40).unwrap();
        let file = &Limited::new(file);
        let name = || file.read_bytes_at_until(0..1 << 39, 0).map(|name| name.len() as u64);
        assert_eq!(file.read_bytes_at(MAX_NAME, MAX_READ).map(drop), Ok(()));
        for _ in 0..=MAX_READ / MAX_NAME {
            assert_eq!(name(), Ok(MAX_NAME - 1));
        }
        // A longest name has no room any more.
        assert_eq!((name(), file.left.get()), (Err(()), 1));
    }

    #[test]
    fn what_a_program_may_answer_for_is_read_elsewhere_and_remembered() {
        let memory = in_memory(&fs::read("/bin/sleep").unwrap()).unwrap();
        // No process has the mount that such a file is on.
        let mut child = Command::new(format!("/proc/self/fd/{}", memory.as_raw_fd()))
            .arg("60")
            .spawn()
            .unwrap();
        let id = procfs::id(child.id()).unwrap();
        let program = |elsewhere: fn(&Executable) -> Option<Program>, known: &Reader| {
            Reader { elsewhere, ..known.clone() }.read(id).map(|read| read.program)
        };
        let reader = Reader::default();
        assert_eq!(program(|_| None, &reader), None);
        let expected = Some(Program::Of(Runtime::Lua));
        assert_eq!(program(|_| Some(Program::Of(Runtime::Lua)), &reader), expected);
        assert_eq!(program(|_| None, &reader), expected);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn another_question_is_not_answered() {
        assert!(answer(&[OsStr::new("other"), OsStr::new("a")]).is_none());
        assert!(answer(&[OsStr::new(QUESTION)]).is_none());
    }

    #[test]
    fn a_process_is_read_by_its_pid_though_its_file_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("python");
        fs::copy("/bin/bash", &path).unwrap();
        let mut child =
            Command::new(&path).args(["-c", "read; :"]).stdin(Stdio::piped()).spawn().unwrap();
        fs::remove_file(&path).unwrap();
        let id = procfs::id(child.id()).unwrap();
        let reader = reader();
        let expected = Read { name: "python".to_owned(), program: Program::Of(Runtime::Bash) };
        assert_eq!(reader.read(id), Some(expected));
        let other = ProcessId { start_ticks: id.start_ticks + 1, ..id };
        assert_eq!(reader.read(other), None);
        assert_eq!(loaded(id), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_program_whose_path_is_no_text_is_opened_and_told_by_its_bytes() {
        use std::os::unix::ffi::OsStrExt as _;

        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join(OsStr::from_bytes(b"d\xff"));
        fs::create_dir(&below).unwrap();
        let path = below.join(OsStr::from_bytes(b"shell\xfe"));
        fs::copy("/bin/bash", &path).unwrap();
        let mut child =
            Command::new(&path).args(["-c", "read; :"]).stdin(Stdio::piped()).spawn().unwrap();
        let read = reader().read(procfs::id(child.id()).unwrap()).unwrap();
        assert_eq!(raw_name::of(&read.name).as_bytes(), b"shell\xfe");
        assert_eq!(read.program, Program::Of(Runtime::Bash));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
