//! What differs between the machines of two processor architectures.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::workspace;

/// An architecture that there are machines of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// Most servers.
    #[default]
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// A series of kernels, and the release of Debian that has it.
#[derive(Clone, Copy)]
pub struct Series {
    /// As in `6.12`.
    pub name: &'static str,
    /// The release's name.
    pub release: &'static str,
    /// Whether functions can be hooked. Where not, there is one backend.
    pub hooks_functions: bool,
}

const fn series(name: &'static str, release: &'static str) -> Series {
    Series { name, release, hooks_functions: true }
}

/// What the tests of x86_64 run on.
const X86_64: [Series; 4] = [
    series("5.10", "bullseye"),
    series("6.1", "bookworm"),
    series("6.12", "trixie"),
    series("7.2", "forky"),
];

/// What those of aarch64 do. Direct calls, which hooks on functions need, came to it in 6.4.
const AARCH64: [Series; 3] = [Series { hooks_functions: false, ..X86_64[1] }, X86_64[2], X86_64[3]];

impl Arch {
    /// The kernels that are tested.
    pub fn series(self) -> &'static [Series] {
        match self {
            Self::X86_64 => &X86_64,
            Self::Aarch64 => &AARCH64,
        }
    }

    /// The name that Debian's packages have.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Rust's name of what the tests are built for. Those for another architecture than the
    /// host's are static, as the program is that users install, and need no cross compiler.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Which tests are run where none are named: all, or as a filter. The root of the second has no
    /// daemons.
    pub fn tests(self) -> Option<&'static str> {
        match self {
            Self::X86_64 => None,
            Self::Aarch64 => Some(super::DIFFERENCES),
        }
    }

    /// What is put before the name of a kernel in summaries.
    pub fn label(self) -> &'static str {
        match self {
            Self::X86_64 => "",
            Self::Aarch64 => "aarch64 ",
        }
    }

    /// Packages on the machine that runs the virtual ones.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["e2fsprogs", "qemu-system-x86", "xz-utils"],
            Self::Aarch64 => &[
                "binfmt-support",
                "e2fsprogs",
                "mmdebstrap",
                "qemu-system-arm",
                "qemu-user-static",
                "xz-utils",
            ],
        }
    }

    /// Where kernels, disks and builds are kept.
    pub fn directory(self) -> PathBuf {
        let directory = workspace::target().join("vm");
        match self {
            Self::X86_64 => directory,
            Self::Aarch64 => directory.join("aarch64"),
        }
    }

    /// The emulator.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// The emulator's options for the machine and its second serial line, which is stdout.
    pub fn machine(self) -> &'static [&'static str] {
        match self {
            // Without cmpxchg16b, which QEMU 7.2 emulates wrongly now and then.
            Self::X86_64 => &["-cpu", "max,-cx16", "-serial", "stdio"],
            // One without pointer authentication, which is half of the time when it is
            // emulated. It runs 32-bit programs too.
            Self::Aarch64 => &[
                "-machine",
                "virt",
                "-cpu",
                "neoverse-n1",
                "-chardev",
                "stdio,id=results",
                "-device",
                "pci-serial,chardev=results",
            ],
        }
    }

    /// The kernel's names of the serial lines: the console, and the way back.
    pub fn lines(self) -> [&'static str; 2] {
        match self {
            Self::X86_64 => ["ttyS0", "ttyS1"],
            Self::Aarch64 => ["ttyAMA0", "ttyS0"],
        }
    }
}
