//! Running other programs: shown before they run, and named when they fail.

use std::{
    fmt::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The command line as a person would type it.
fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.to_string_lossy());
    }
    line
}

/// Says what is about to run.
pub fn show(command: &Command) {
    eprintln!("$ {}", shown(command));
}

/// Runs a command to its end, with its output where ours goes.
pub fn run(command: &mut Command) -> Result<()> {
    show(command);
    let line = shown(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run '{line}': is it installed?"))?;
    if !status.success() {
        bail!("'{line}' failed: {status}");
    }
    Ok(())
}

/// Runs a command and gives what it writes to stdout, trimmed.
pub fn output(command: &mut Command) -> Result<String> {
    let text = String::from_utf8(bytes(command)?)
        .with_context(|| format!("what '{}' writes is not UTF-8", shown(command)))?;
    Ok(text.trim().to_owned())
}

/// Runs a command and gives what it writes to stdout.
pub fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    let line = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run '{line}': is it installed?"))?;
    if !output.status.success() {
        bail!("'{line}' failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Where a program is in PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
}

/// Whether nothing may be left out: the machine that decides about a change sets this.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Fails with a sentence unless this process runs as root.
pub fn need_root(what: &str) -> Result<()> {
    if !is_root() {
        bail!("{what} needs root: run it as root, or with sudo -E env PATH=\"$PATH\"");
    }
    Ok(())
}
