//! Where the members of kernel structs are, read from BTF.
//!
//! aya does not tell member offsets, and the crate that does is under the LGPL, so
//! this is a reader of its own for the little that is needed
//! (Documentation/bpf/btf.rst).

use std::{
    ffi::c_void,
    fs::File,
    io::{self, Read as _},
    iter::repeat_n,
    num::NonZeroUsize,
    ops::Deref,
    ptr::NonNull,
    slice,
};

use anyhow::{Context as _, Result};
use aya::{Btf as AyaBtf, Endianness};
use aya_obj::btf::{BtfType, Func, FuncLinkage};
use hashbrown::{HashMap, HashSet};
use memchr::memchr;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The running kernel's types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// The directory they are in, and those of modules.
pub const FOLDER: &str = "/sys/kernel/btf";

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// `magic`, `version`, `flags`, `hdr_len`, then offset and length of the types and of the
/// strings. Later headers are longer, and what is in them counts from their end.
const HEADER_LEN: usize = 24;
/// The same with the layout section (seen in 2026): for each kind of type, in the order of
/// their numbers, the bytes that follow it once and for each of its elements.
const HEADER_LEN_WITH_LAYOUT: usize = 32;
/// `struct btf_layout`: two bytes for these, and two without a meaning.
const LAYOUT_LEN: usize = 4;
const TYPE_LEN: usize = 12;
/// Less than a type takes on average, with what follows it.
const USUAL_LEN: usize = 16;

const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// The running kernel's types, to be parsed: some megabytes.
pub enum Bytes {
    /// Where the kernel has them. Address, and length in bytes.
    Mapped(NonNull<c_void>, NonZeroUsize),
    /// A copy.
    Read(Vec<u8>),
}

impl Bytes {
    /// Those in a file, if it can be mapped: the kernel's own can since 6.16
    /// (`btf_sysfs_vmlinux_mmap`), which spares reading it by pages of 4 KiB.
    fn mapped(file: &File) -> Option<Self> {
        let length = NonZeroUsize::new(usize::try_from(file.metadata().ok()?.len()).ok()?)?;
        let (access, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping, which is this value's alone.
        let address = unsafe { mmap(None, length, access, flags, file, 0) }.ok()?;
        Some(Self::Mapped(address, length))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            // SAFETY: mapped for as long as this value is, to be read; the kernel never changes it.
            Self::Mapped(address, length) => unsafe {
                slice::from_raw_parts(address.as_ptr().cast(), length.get())
            },
            Self::Read(bytes) => bytes,
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Self::Mapped(address, length) = self {
            // SAFETY: what was mapped, and nobody has a slice of it any more.
            let _ = unsafe { munmap(*address, length.get()) };
        }
    }
}

/// Reads the running kernel's types.
pub fn read() -> Result<Bytes> {
    let read = || -> io::Result<Bytes> {
        let mut file = File::open(VMLINUX)?;
        if let Some(mapped) = Bytes::mapped(&file) {
            return Ok(mapped);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Bytes::Read(bytes))
    };
    read().with_context(|| {
        format!(
            "cannot read the kernel's type information ({VMLINUX}): sigready needs a kernel \
             built with CONFIG_DEBUG_INFO_BTF=y, and the right to read that file"
        )
    })
}

/// BTF that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// It is not BTF, or cut off.
    #[error("the kernel's type information is malformed: {0}")]
    Malformed(&'static str),
    /// It has a kind of type that came later, and does not say how long that is.
    #[error(
        "the kernel's type information has types of kind {0}, which this version of sigready \
         doesn't know: please use a newer one"
    )]
    UnknownKind(u32),
}

/// The types of a kernel. Each is read again as it is asked for: few are, of some 150,000.
pub struct Btf<'a> {
    strings: &'a [u8],
    body: &'a [u8],
    /// Where each type begins in the body; the first one has the id 1.
    starts: Vec<u32>,
    /// The ids of the structs, and of the enumerations, by name.
    structs: HashMap<&'a [u8], u32>,
    enums: HashMap<&'a [u8], u32>,
    /// The functions and typedefs that were asked for, with their ids, in the order of these.
    named: Vec<(u32, &'a str)>,
}

/// Names that are looked for among tens of thousands.
struct Names<'n> {
    /// How they begin.
    beginnings: Vec<[u8; 4]>,
    whole: HashSet<&'n [u8]>,
}

impl<'n> Names<'n> {
    fn new(names: &[&'n str]) -> Self {
        let mut beginnings: Vec<_> = names.iter().map(|name| beginning(name.as_bytes())).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        Self { beginnings, whole: names.iter().map(|name| name.as_bytes()).collect() }
    }

    /// The one at `offset`, if it is one of them: most begin otherwise.
    fn at<'a>(&self, strings: &'a [u8], offset: u32) -> Option<&'a str> {
        let begins = beginning(strings.get(offset as usize..)?);
        if !self.beginnings.contains(&begins) {
            return None;
        }
        let name = string(strings, offset);
        self.whole.contains(name).then(|| str::from_utf8(name).ok()).flatten()
    }
}

/// The first bytes of a name, with zeros behind a shorter one.
fn beginning(name: &[u8]) -> [u8; 4] {
    let mut bytes = name.iter().copied().take_while(|byte| *byte != 0);
    [(); 4].map(|()| bytes.next().unwrap_or_default())
}

/// One type: its fixed part without the name, and the members, elements or parameters after it.
struct Type<'a> {
    info: u32,
    /// A size in bytes, or the id of another type.
    size_or_id: u32,
    extra: &'a [u8],
}

impl Type<'_> {
    fn kind(&self) -> u32 {
        kind(self.info)
    }
}

/// `BTF_INFO_KIND`: up to 2026 it had five bits, and the two above were zero.
fn kind(info: u32) -> u32 {
    (info >> 24) & 0x7f
}

/// `BTF_INFO_VLEN`: up to 2026 it had 16 bits, and the eight above were zero.
fn count(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    bytes
        .get(at..at + 4)
        .and_then(|word| word.try_into().ok())
        .map(u32::from_ne_bytes)
        .ok_or(BtfError::Malformed("it ends in the middle of a type"))
}

/// The section whose offset from the end of the header, and length, stand at `at`.
fn section(bytes: &[u8], header_len: usize, at: usize) -> Result<&[u8], BtfError> {
    let (offset, length) = (word(bytes, at)?, word(bytes, at + 4)?);
    let start = header_len + offset as usize;
    bytes
        .get(start..start + length as usize)
        .ok_or(BtfError::Malformed("a section lies outside of it"))
}

/// The text at `offset`, up to its zero.
fn string(strings: &[u8], offset: u32) -> &[u8] {
    let rest = strings.get(offset as usize..).unwrap_or_default();
    let end = memchr(0, rest).unwrap_or(rest.len());
    &rest[..end]
}

impl<'a> Btf<'a> {
    /// Reads the types in `bytes`, as in `/sys/kernel/btf/vmlinux`; of functions and typedefs,
    /// those with one of these names.
    pub fn parse(bytes: &'a [u8], names: &[&str]) -> Result<Self, BtfError> {
        if bytes.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(BtfError::Malformed("it does not begin with BTF's magic number"));
        }
        let header_len = word(bytes, 4)? as usize;
        if header_len < HEADER_LEN {
            return Err(BtfError::Malformed("its header is too short"));
        }
        let body = section(bytes, header_len, 8)?;
        let strings = section(bytes, header_len, 16)?;
        let layout =
            if header_len < HEADER_LEN_WITH_LAYOUT { &[] } else { section(bytes, header_len, 24)? };
        let mut btf = Self {
            strings,
            body,
            starts: Vec::with_capacity(body.len() / USUAL_LEN),
            structs: HashMap::new(),
            enums: HashMap::new(),
            named: Vec::new(),
        };
        let names = Names::new(names);
        let mut at = 0;
        while at < body.len() {
            let info = word(body, at + 4)?;
            let start = u32::try_from(at).map_err(|_| BtfError::Malformed("it is too long"))?;
            btf.starts.push(start);
            let (id, name) = (btf.starts.len() as u32, word(body, at)?);
            let compounds = match kind(info) {
                STRUCT => Some(&mut btf.structs),
                ENUM => Some(&mut btf.enums),
                FUNC | TYPEDEF => {
                    btf.named.extend(names.at(strings, name).map(|name| (id, name)));
                    None
                }
                _ => None,
            };
            if let Some(compounds) = compounds {
                let name = string(strings, name);
                if !name.is_empty() {
                    compounds.entry(name).or_insert(id);
                }
            }
            at += TYPE_LEN + extra_len(info, layout)?;
            if at > body.len() {
                return Err(BtfError::Malformed("it ends in the middle of a type"));
            }
        }
        Ok(btf)
    }

    /// The type with an id: void, whose id is 0, is none.
    fn get(&self, id: u32) -> Option<Type<'a>> {
        let index = (id as usize).checked_sub(1)?;
        let start = *self.starts.get(index)? as usize;
        let end = self.starts.get(index + 1).map_or(self.body.len(), |end| *end as usize);
        let (fixed, extra) = self.body.get(start..end)?.split_at_checked(TYPE_LEN)?;
        let [info, size_or_id] = [4, 8].map(|at| word(fixed, at).unwrap_or_default());
        Some(Type { info, size_or_id, extra })
    }

    /// What programs are attached by, for aya: the functions and typedefs that were asked for. In
    /// the place of each other type is one that is nothing, so that these keep their ids.
    ///
    /// # Errors
    ///
    /// If aya takes none of it.
    pub fn hooks(&self) -> Result<AyaBtf> {
        let named = self.named.iter();
        let wanted: Vec<_> =
            named.filter_map(|(id, name)| Some((*id, *name, self.get(*id)?))).collect();
        // aya makes a typedef of bytes alone, which takes long. They come first in a kernel's types.
        let is_typedef = |(_, _, it): &(_, _, Type<'_>)| it.kind() == TYPEDEF;
        let functions = wanted.iter().rposition(is_typedef).map_or(0, |last| last + 1);
        let (first, functions) = wanted.split_at(functions);
        let (mut body, mut strings) = (Vec::new(), vec![0]);
        let mut next = 1;
        for (id, name, it) in first {
            body.extend(repeat_n([0; TYPE_LEN], (id - next) as usize).flatten());
            let words = [strings.len() as u32, it.info, it.size_or_id];
            body.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
            strings.extend(name.bytes().chain([0]));
            next = id + 1;
        }
        let [body_len, strings_len] = [body.len() as u32, strings.len() as u32];
        let header = [HEADER_LEN as u32, 0, body_len, body_len, strings_len];
        let mut bytes = [&MAGIC.to_ne_bytes()[..], &[VERSION, 0]].concat();
        bytes.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(&body);
        bytes.extend(&strings);
        let mut hooks = AyaBtf::parse(&bytes, Endianness::default())
            .context("cannot parse the kernel's type information")?;
        for (id, name, it) in functions {
            for _ in next..*id {
                hooks.add_type(BtfType::Unknown);
            }
            let name = hooks.add_string(name);
            hooks.add_type(BtfType::Func(Func::new(name, it.size_or_id, FuncLinkage::Static)));
            next = id + 1;
        }
        Ok(hooks)
    }

    /// Byte offset of `path` (members joined by dots) in `struct name`. Members of
    /// anonymous structs and unions are found as if they were the struct's own. A member that
    /// is an array may be followed by the number of an element, as in `regs[1]`.
    #[must_use]
    pub fn member(&self, name: &str, path: &str) -> Option<u32> {
        let mut inside = *self.structs.get(name.as_bytes())?;
        let mut offset = 0;
        for step in path.split('.') {
            let (member, index) = match step.strip_suffix(']') {
                Some(step) => step.split_once('[').map(|(member, index)| (member, Some(index)))?,
                None => (step, None),
            };
            let (bits, member_type) = self.find(inside, member.as_bytes())?;
            offset += bits / 8;
            inside = self.resolve(member_type)?;
            if let Some(index) = index {
                let (element, size) = self.array_of(inside)?;
                offset += index.parse::<u32>().ok()?.checked_mul(size)?;
                inside = element;
            }
        }
        Some(offset)
    }

    /// The type of an array's elements, and their size in bytes.
    fn array_of(&self, id: u32) -> Option<(u32, u32)> {
        let array = self.get(id)?;
        if array.kind() != ARRAY {
            return None;
        }
        let element = self.resolve(word(array.extra, 0).ok()?)?;
        let size = self.get(element)?;
        matches!(size.kind(), INT | STRUCT | UNION).then_some((element, size.size_or_id))
    }

    /// Whether the kernel has a function, one that was asked for.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.has(FUNC, name)
    }

    /// Whether the kernel's sources use `typedef … name`, one that was asked for.
    #[must_use]
    pub fn has_typedef(&self, name: &str) -> bool {
        self.has(TYPEDEF, name)
    }

    fn has(&self, kind: u32, name: &str) -> bool {
        let is_kind = |id| self.get(id).is_some_and(|it| it.kind() == kind);
        self.named.iter().any(|(id, it)| *it == name && is_kind(*id))
    }

    /// Value of an element of `enum name`.
    #[must_use]
    pub fn element(&self, name: &str, element: &str) -> Option<u32> {
        let elements = self.get(*self.enums.get(name.as_bytes())?)?.extra;
        let entry = elements.chunks_exact(8).find(|entry| {
            word(entry, 0).is_ok_and(|name| self.string(name) == element.as_bytes())
        })?;
        word(entry, 4).ok()
    }

    /// Size in bytes of `struct name`.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u32> {
        Some(self.get(*self.structs.get(name.as_bytes())?)?.size_or_id)
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        string(self.strings, offset)
    }

    /// Bit offset and type of a member.
    fn find(&self, inside: u32, member: &[u8]) -> Option<(u32, u32)> {
        let compound = self.get(inside)?;
        if !matches!(compound.kind(), STRUCT | UNION) {
            return None;
        }
        // With `kind_flag`, the upper byte of an offset is the size of a bit field.
        let bits = if compound.info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        for entry in compound.extra.chunks_exact(12) {
            let name = self.string(word(entry, 0).ok()?);
            let (member_type, offset) = (word(entry, 4).ok()?, word(entry, 8).ok()? & bits);
            if name == member {
                return Some((offset, member_type));
            }
            if name.is_empty()
                && let Some(anonymous) = self.resolve(member_type)
                && let Some((inner, inner_type)) = self.find(anonymous, member)
            {
                return Some((offset + inner, inner_type));
            }
        }
        None
    }

    /// The id of the type behind typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<u32> {
        let mut id = id;
        // A chain as long as this would be a loop.
        for _ in 0..32 {
            let found = self.get(id)?;
            if !matches!(found.kind(), TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) {
                return Some(id);
            }
            id = found.size_or_id;
        }
        None
    }
}

/// Bytes that follow a type of this kind: those of later kinds are looked up in the layout.
fn extra_len(info: u32, layout: &[u8]) -> Result<usize, BtfError> {
    let count = count(info);
    Ok(match kind(info) {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
        ENUM | FUNC_PROTO => 8 * count,
        0..=TYPE_TAG => 0,
        later => match layout.chunks_exact(LAYOUT_LEN).nth(later as usize) {
            Some([once, each, ..]) => usize::from(*once) + usize::from(*each) * count,
            _ => return Err(BtfError::UnknownKind(later)),
        },
    })
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;

    fn vmlinux() -> Bytes {
        read().expect("the kernel these tests run on has BTF")
    }

    #[test]
    fn the_running_kernel_tells_where_its_members_are() {
        let bytes = vmlinux();
        let btf = Btf::parse(&bytes, &[]).unwrap();
        assert!(btf.member("task_struct", "tgid").unwrap() > 0);
        assert_eq!(
            btf.member("k_sigaction", "sa.sa_handler"),
            Some(0),
            "the handler comes first on every architecture with SA_RESTORER"
        );
        assert!(btf.size("task_struct").unwrap() > 1000);
    }

    #[test]
    fn what_is_mapped_is_what_would_be_read() {
        assert!(*vmlinux() == std::fs::read(VMLINUX).unwrap());
        let file = tempfile::tempfile().unwrap();
        assert!(Bytes::mapped(&file).is_none(), "an empty file can't be");
    }

    #[test]
    fn members_of_anonymous_unions_are_found_from_outside() {
        let bytes = vmlinux();
        let btf = Btf::parse(&bytes, &[]).unwrap();
        assert_eq!(btf.member("kernel_siginfo", "si_code"), Some(8));
        assert_eq!(btf.member("kernel_siginfo", "_sifields._kill._pid"), Some(16));
    }

    #[test]
    fn a_function_is_found_by_its_whole_name() {
        let bytes = vmlinux();
        let names = ["bpf_trace_run1", "bpf_trace_run", "task_struct"];
        let btf = Btf::parse(&bytes, &names).unwrap();
        assert!(btf.has_function("bpf_trace_run1"));
        assert!(!btf.has_function("bpf_trace_run"));
        assert!(!btf.has_function("task_struct"));
    }

    #[test]
    fn what_is_wanted_keeps_its_id_where_aya_reads_it() {
        let proto: &[u32] = &[0, info(FUNC_PROTO, 1), 0, 9, 1];
        let function = |name| [name, info(FUNC, 0), 3];
        let [late, field, s] = [15, 3, 1].map(function);
        let tracepoint: &[u32] = &[20, info(TYPEDEF, 0), 1];
        let typedef: &[u32] = &[9, info(TYPEDEF, 0), 1];
        let int = BIT_FIELDS[0];
        let types = [int, &late, proto, tracepoint, &s, typedef, BIT_FIELDS[1], &field, int];
        let bytes = made(24, &types, b"");
        let names = ["late", "field", "btf_trace_x"];
        let hooks = Btf::parse(&bytes, &names).unwrap().hooks().unwrap();
        // aya finds the same in all of them.
        let all = AyaBtf::parse(&bytes, Endianness::default()).unwrap();
        for (name, kind, id) in [
            ("late", BtfKind::Func, 2),
            ("btf_trace_x", BtfKind::Typedef, 4),
            ("field", BtfKind::Func, 8),
        ] {
            assert_eq!(all.id_by_type_name_kind(name, kind).unwrap(), id, "{name}");
            assert_eq!(hooks.id_by_type_name_kind(name, kind).unwrap(), id, "{name}");
        }
        for (name, kind) in [("s", BtfKind::Func), ("flags", BtfKind::Typedef)] {
            assert!(hooks.id_by_type_name_kind(name, kind).is_err(), "{name}");
        }
    }

    #[test]
    fn a_typedef_is_found_by_its_whole_name() {
        let bytes = vmlinux();
        let btf = Btf::parse(&bytes, &["pid_t", "pid", "task_struct"]).unwrap();
        assert!(btf.has_typedef("pid_t"));
        assert!(!btf.has_typedef("pid"));
        assert!(!btf.has_typedef("task_struct"));
    }

    #[test]
    fn the_values_of_an_enumeration_are_found() {
        let bytes = vmlinux();
        let btf = Btf::parse(&bytes, &[]).unwrap();
        assert_eq!(btf.element("pid_type", "PIDTYPE_PID"), Some(0));
        assert_eq!(btf.element("pid_type", "PIDTYPE_TGID"), Some(1));
        assert_eq!(btf.element("pid_type", "PIDTYPE_NONE"), None);
    }

    #[test]
    fn an_element_of_an_array_lies_behind_those_before_it() {
        let bytes = vmlinux();
        let btf = Btf::parse(&bytes, &[]).unwrap();
        let offset = |path| btf.member("sighand_struct", path);
        let size = btf.size("k_sigaction").unwrap();
        assert_eq!(offset("action[0]"), offset("action"));
        assert_eq!(offset("action[3]"), Some(offset("action").unwrap() + 3 * size));
        assert_eq!(offset("action[3].sa.sa_handler"), offset("action[3]"));
        assert_eq!(offset("count[1]"), None, "it is no array");
        assert_eq!(offset("action[x]"), None);
        assert_eq!(offset("action]"), None);
    }

    #[test]
    fn an_unknown_member_is_none() {
        let bytes = vmlinux();
        let btf = Btf::parse(&bytes, &[]).unwrap();
        assert_eq!(btf.member("task_struct", "no_such_member"), None);
        assert_eq!(btf.member("no_such_struct", "tgid"), None);
        assert_eq!(btf.member("task_struct", "tgid.deeper"), None);
    }

    #[test]
    fn btf_cut_off_anywhere_is_an_error_or_lacks_the_member_but_never_panics() {
        let bytes = vmlinux();
        for length in [0, 1, 2, 23, 24, 36, 1000, bytes.len() / 2, bytes.len() - 1] {
            assert!(Btf::parse(&bytes[..length], &[]).is_err(), "{length} bytes");
        }
    }

    /// Types, each as its words, with the strings `"", "s", "field", "flags", "late",
    /// "btf_trace_x"` at 0, 1, 3, 9, 15 and 20.
    fn made(header_len: u32, types: &[&[u32]], layout: &[u8]) -> Vec<u8> {
        let strings = b"\0s\0field\0flags\0late\0btf_trace_x\0";
        let body: Vec<u8> = types
            .iter()
            .flat_map(|words| words.iter().flat_map(|word| word.to_ne_bytes()))
            .collect();
        let lengths = [body.len(), strings.len(), layout.len()].map(|length| length as u32);
        let mut bytes = [&MAGIC.to_ne_bytes()[..], &[1, 0]].concat();
        let words = [
            header_len,
            0,
            lengths[0],
            lengths[0],
            lengths[1],
            lengths[0] + lengths[1],
            lengths[2],
            7,
            7,
        ];
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.truncate(header_len as usize);
        [&bytes[..], &body, strings, layout].concat()
    }

    const fn info(kind: u32, count: u32) -> u32 {
        kind << 24 | count
    }

    /// `struct s { int field : 5 at bit 8; int late at bit 64; }`, and its `int`.
    const BIT_FIELDS: [&[u32]; 2] = [
        &[0, info(INT, 0), 4, 32],
        &[1, info(STRUCT, 2) | 1 << 31, 16, 3, 1, 5 << 24 | 8, 15, 1, 64],
    ];

    #[test]
    fn the_size_of_a_bit_field_is_no_part_of_its_place() {
        let bytes = made(24, &BIT_FIELDS, b"");
        let btf = Btf::parse(&bytes, &[]).unwrap();
        assert_eq!((btf.member("s", "field"), btf.member("s", "late")), (Some(1), Some(8)));
        // Without the flag, all of it is the place.
        let plain: &[u32] = &[1, info(STRUCT, 1), 16, 3, 1, 5 << 24 | 8];
        let bytes = made(24, &[BIT_FIELDS[0], plain], b"");
        let place = Btf::parse(&bytes, &[]).unwrap().member("s", "field");
        assert_eq!(place, Some((5 << 24 | 8) / 8));
    }

    #[test]
    fn a_header_that_has_grown_is_read_to_its_own_end() {
        for header_len in [24, 32, 40] {
            let bytes = made(header_len, &BIT_FIELDS, b"");
            assert_eq!(
                Btf::parse(&bytes, &[]).unwrap().member("s", "late"),
                Some(8),
                "{header_len}"
            );
        }
        let short = made(24, &BIT_FIELDS, b"");
        let short = [&short[..4], &20_u32.to_ne_bytes(), &short[8..]].concat();
        assert!(Btf::parse(&short, &[]).is_err());
    }

    #[test]
    fn a_kind_of_type_that_came_later_is_passed_over_by_the_layout_or_named() {
        // Kind 20 has a word, and one for each of its three elements.
        let later: &[u32] = &[0, info(20, 3), 0, 1, 2, 3, 4];
        let types = [later, BIT_FIELDS[0], BIT_FIELDS[1]];
        let mut layout = vec![0; 21 * LAYOUT_LEN];
        layout[20 * LAYOUT_LEN..][..2].copy_from_slice(&[4, 4]);
        let bytes = made(32, &types, &layout);
        // The struct's members are of type 1, which is no struct; it is found all the same.
        assert_eq!(Btf::parse(&bytes, &[]).unwrap().member("s", "late"), Some(8));
        for without in [made(24, &types, b""), made(32, &types, &layout[..20 * LAYOUT_LEN])] {
            let error = Btf::parse(&without, &[]).err().unwrap().to_string();
            assert!(error.contains("kind 20, which this version of sigready doesn't know"));
        }
        let beyond_five_bits: &[u32] = &[0, info(0x44, 0), 0];
        let error = Btf::parse(&made(24, &[beyond_five_bits], b""), &[]).err().unwrap();
        assert!(matches!(error, BtfError::UnknownKind(0x44)));
    }
}
