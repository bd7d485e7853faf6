//! The committed corpus, as it is and changed at random: what `cargo xtask fuzz` begins with, on
//! stable Rust and in seconds.

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use sigready_fuzz::{TARGETS, Target};

/// The files of a target's corpus.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(&directory).unwrap().map(|file| fs::read(file.unwrap().path()));
    let files: Vec<Vec<u8>> = files.map(Result::unwrap).collect();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files
}

/// One way to change bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Remove(Index, Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Remove(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let size = bytes.len() + 1;
        let range = |from: &Index, to: &Index| {
            let (from, to) = (from.index(size), to.index(size));
            from.min(to)..from.max(to)
        };
        match change {
            Change::Set(at, byte) => {
                if let Some(old) = bytes.get_mut(at.index(size)) {
                    *old = *byte;
                }
            }
            Change::Remove(from, to) => drop(bytes.drain(range(from, to))),
            Change::Repeat(from, to) => {
                let part = bytes[range(from, to)].to_vec();
                let end = range(from, to).end;
                bytes.splice(end..end, part);
            }
            Change::Insert(at, part) => {
                let at = at.index(size);
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
    bytes
}

fn each_is_read(name: &str) {
    let (_, target): Target = *TARGETS.iter().find(|(it, _)| *it == name).unwrap();
    let files = corpus(name);
    for bytes in &files {
        target(bytes);
    }
    let changes = prop::collection::vec(change(), 1..6);
    let strategy = (prop::sample::select(files), changes)
        .prop_map(|(bytes, changes)| changed(bytes, &changes));
    let mut runner = TestRunner::new(ProptestConfig { cases: 2_000, ..ProptestConfig::default() });
    runner
        .run(&strategy, |bytes| {
            target(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn records_of_the_kernel_side() {
    each_is_read("record");
}

#[test]
fn messages_to_the_notify_socket() {
    each_is_read("notify");
}

#[test]
fn unit_files() {
    each_is_read("unit");
}

#[test]
fn saved_reports() {
    each_is_read("report");
}
