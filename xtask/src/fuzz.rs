//! `cargo xtask fuzz`: libFuzzer on what comes from outside, for as long as is wanted. The tests of
//! tracer/fuzz read the same in CI, with changes at random and without libFuzzer.

use std::fs;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{process, tool::install, workspace};

/// The release of cargo-fuzz.
const VERSION: &str = "0.13.2";
/// The targets, each with a corpus in tracer/fuzz/corpus.
const TARGETS: [&str; 4] = ["record", "notify", "unit", "report"];

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// What is read; all, one after the other, by default.
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each is fuzzed, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u32,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    install("cargo-fuzz", VERSION, &["--debug"])?;
    let wanted = |name: &&str| options.target.as_deref().is_none_or(|target| target == *name);
    TARGETS.into_iter().filter(wanted).try_for_each(|target| fuzz(target, options.seconds))
}

/// What is found grows beside the committed corpus, and what fails is kept there too.
fn fuzz(target: &str, seconds: u32) -> Result<()> {
    let [found, failing] = ["corpus", "artifacts"]
        .map(|kind| workspace::target().join("fuzz").join(kind).join(target));
    for directory in [&found, &failing] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let corpus = workspace::root().join("tracer/fuzz/corpus").join(target);
    process::run(
        workspace::cargo()
            // Stable Rust has the instrumentation for coverage, and no sanitizers. There is little
            // that they would find: no target has `unsafe` of its own.
            .args(["fuzz", "run", "--fuzz-dir", "tracer/fuzz", "--sanitizer", "none"])
            .args(["--features", "libfuzzer", target])
            .arg(found)
            .arg(corpus)
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", failing.display()))
            .args(["-timeout=10", "-rss_limit_mb=2048"]),
    )
    .with_context(|| format!("what failed is in {}", failing.display()))
}
