//! Which process is the service, where somebody said so: a supervisor may be in between.

use crate::{
    model::glob::{Glob, NoGlob},
    observation::Fact,
};

/// What the main process is called: a pattern of its name, its program's path or that of the
/// script which it runs, or its command line.
#[derive(Clone, Debug)]
pub struct MainPattern {
    text: String,
    glob: Glob,
}

impl MainPattern {
    /// A glob, in which `*` stands for any text, and a backslash for itself.
    ///
    /// # Errors
    /// If it is no glob.
    pub fn new(text: &str) -> Result<Self, NoGlob> {
        Ok(Self { text: text.to_owned(), glob: Glob::new(text)? })
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
                [task.comm.as_str(), exe, filename].into_iter().any(|text| self.glob.is_match(text))
            }
            Fact::Found { task, exe, .. } => {
                self.glob.is_match(&task.comm)
                    || exe.as_ref().is_some_and(|exe| self.glob.is_match(exe))
            }
            Fact::CommandLine { line, script, .. } => {
                self.matches_command(line)
                    || script.as_deref().is_some_and(|script| self.matches_script(script))
            }
            _ => false,
        }
    }

    /// A unit names its program by the whole path, and a shell by its name: both fit.
    fn matches_command(&self, line: &str) -> bool {
        let program = line.split(' ').next().unwrap_or_default();
        let directory = program.rfind('/').map_or(0, |slash| slash + 1);
        self.glob.is_match(line) || self.glob.is_match(&line[directory..])
    }

    /// A script is known as a program is: by its path, its name, and either with its arguments.
    fn matches_script(&self, line: &str) -> bool {
        let script = line.split(' ').next().unwrap_or_default();
        self.matches_command(line) || self.matches_command(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_fits_with_and_without_the_directory_of_its_program() {
        let fits =
            |pattern: &str, line: &str| MainPattern::new(pattern).unwrap().matches_command(line);
        let pattern = "python3 *app.py*";
        assert!(fits(pattern, "python3 /srv/app.py"));
        assert!(fits(pattern, "/usr/bin/python3 /srv/app.py --port 1"));
        assert!(fits("/usr/bin/python3 *", "/usr/bin/python3 /srv/app.py"));
        assert!(!fits(pattern, "sh -c python3 /srv/app.py"));
        assert!(!fits(pattern, "/bin/sh -c /usr/bin/python3 /srv/app.py"));
        assert!(!fits(pattern, ""));
    }

    #[test]
    fn a_script_fits_by_its_path_and_its_name_with_and_without_its_arguments() {
        let fits =
            |pattern: &str, line: &str| MainPattern::new(pattern).unwrap().matches_script(line);
        let line = "/usr/bin/patroni /etc/patroni.yml";
        for pattern in ["patroni", "/usr/bin/patroni", "patroni *.yml", "/usr/bin/patroni *"] {
            assert!(fits(pattern, line), "{pattern}");
        }
        assert!(fits("gunicorn", "gunicorn app:app"));
        assert!(!fits("patron", line));
        assert!(!fits("patroni.yml", line));
    }
}
