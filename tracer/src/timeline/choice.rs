//! Which process is the service, where somebody said so: a supervisor may be in between.

use globset::{GlobBuilder, GlobMatcher};

use crate::observation::Fact;

/// What the main process is called: a pattern of its name, its program's path, or its command
/// line.
#[derive(Clone, Debug)]
pub struct MainPattern {
    text: String,
    glob: GlobMatcher,
}

impl MainPattern {
    /// A glob, in which `*` stands for any text, and a backslash for itself.
    ///
    /// # Errors
    /// If it is no glob.
    pub fn new(text: &str) -> Result<Self, globset::Error> {
        let glob = GlobBuilder::new(text).backslash_escape(false).build()?.compile_matcher();
        Ok(Self { text: text.to_owned(), glob })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a fact shows that the process it is about is such a one.
    #[must_use]
    pub fn matches(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Exec { task, exe, filename, .. } => {
                [&task.comm, exe, filename].into_iter().any(|text| self.glob.is_match(text))
            }
            Fact::Found { task, exe, .. } => {
                self.glob.is_match(&task.comm)
                    || exe.as_ref().is_some_and(|exe| self.glob.is_match(exe))
            }
            Fact::CommandLine { line, .. } => self.glob.is_match(line),
            _ => false,
        }
    }
}
