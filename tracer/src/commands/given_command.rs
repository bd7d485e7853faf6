//! The command after `--`, as text.

use std::{ffi::OsString, path::Path};

use sigready::model::raw_name;

/// What it is called: its file name.
pub fn name(command: &[OsString]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    program.map_or_else(|| "command".to_owned(), |name| raw_name::os_text(name).into_owned())
}

/// Its words.
pub fn words(command: &[OsString]) -> Vec<String> {
    command.iter().map(|word| raw_name::os_text(word).into_owned()).collect()
}
