//! Writes man pages and completions of the command line into a directory: what
//! `cargo xtask dist` packages.

use std::{env, fs, io, path::Path};

use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

/// The program's own definitions.
#[path = "../src"]
#[allow(dead_code, unused_imports, reason = "the definitions alone are used")]
mod program {
    pub mod cli;
}

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: pages DIRECTORY"));
    };
    let directory = Path::new(&directory);
    for sub in ["man", "completions"] {
        fs::create_dir_all(directory.join(sub))?;
    }
    clap_mangen::generate_to(program::cli::Cli::command(), directory.join("man"))?;
    let shells = Shell::value_variants().iter();
    for shell in shells.filter(|shell| matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish)) {
        let mut command = program::cli::Cli::command();
        clap_complete::generate_to(
            *shell,
            &mut command,
            "sigready",
            directory.join("completions"),
        )?;
    }
    Ok(())
}
