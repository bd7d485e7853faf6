//! `cargo xtask mutants [ROOM]`: changes the code in one place at a time, and shows which changes
//! no pure test notices. What may go unnoticed stands in
//! `.cargo/mutants.toml`.

use std::fs;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{process, tool::install, workspace};

/// The release of cargo-mutants: others find other changes to make.
const VERSION: &str = "27.1.0";

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// The room whose code is changed; all of them if not given.
    room: Option<Room>,
    /// Try one change in N, by a share that is the same each time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    one_in: u32,
}

/// Where pure code decides what people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Room {
    Probe,
    Timeline,
    Rules,
    Systemd,
}

impl Room {
    /// Its files, and the tests that are to notice a change of one.
    fn scope(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Probe => {
                (&["tracer/src/probe/decode.rs", "tracer/src/probe/layout.rs"], &["probe::"])
            }
            // Rules are tried on starts with the effects that the timeline tells.
            Self::Timeline => (&["tracer/src/timeline/**"], &["timeline::", "rules::"]),
            Self::Rules => (&["tracer/src/rules/**"], &["rules::"]),
            // What units are found to do shows in lint.
            Self::Systemd => (&["tracer/src/systemd/**"], &["systemd::", "lint::"]),
        }
    }
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    install("cargo-mutants", VERSION, &[])?;
    let rooms = match &options.room {
        Some(room) => std::slice::from_ref(room),
        None => Room::value_variants(),
    };
    rooms.iter().try_for_each(|room| try_out(*room, options.one_in))
}

/// cargo-mutants ends with an error where a change goes unnoticed.
fn try_out(room: Room, one_in: u32) -> Result<()> {
    let (files, tests) = room.scope();
    let output = workspace::target().join("mutants").join(format!("{room:?}").to_lowercase());
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let mut command = workspace::cargo();
    command
        .args(["mutants", "--package", "sigready", "--jobs", "1"])
        .args(files.iter().flat_map(|file| ["--file", file]))
        .args(["--shard", &format!("0/{one_in}"), "--sharding", "round-robin", "--output"])
        .arg(&output)
        .args(["--", "--lib", "--"])
        .args(tests)
        .env("PROPTEST_CASES", "32")
        .env("INSTA_UPDATE", "no");
    process::run(&mut command).with_context(|| {
        format!("changes that no test notices stand in {}/mutants.out/missed.txt", output.display())
    })
}
