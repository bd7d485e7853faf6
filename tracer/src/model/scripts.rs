//! What an interpreter or a virtual machine is to run, by its arguments.

use super::programs::{is_shell, name};

/// How an interpreter's arguments are read until its script.
struct Interpreter {
    /// Its names, without the release at their ends.
    names: &'static [&'static str],
    /// Whether the letters of `-abc` are options of their own.
    clusters: bool,
    /// Options that have a value of their own: letters alone, or whole.
    values: &'static [&'static str],
    /// Options whose value names what is run: a module, a file.
    runs: &'static [&'static str],
    /// Options after which no script is run: the program is in the arguments.
    none: &'static [&'static str],
    /// A first word that is no script: `dotnet exec app.dll`.
    verbs: &'static [&'static str],
}

const SHELL: Interpreter = Interpreter {
    names: &[],
    clusters: true,
    values: &["o", "O", "--rcfile", "--init-file"],
    runs: &[],
    none: &["c", "s"],
    verbs: &[],
};

const INTERPRETERS: [Interpreter; 11] = [
    Interpreter {
        names: &["python", "pypy"],
        clusters: true,
        values: &["W", "X", "Q", "--check-hash-based-pycs"],
        runs: &["m"],
        none: &["c"],
        verbs: &[],
    },
    Interpreter {
        names: &["perl"],
        clusters: true,
        values: &["I"],
        runs: &[],
        none: &["e", "E"],
        verbs: &[],
    },
    Interpreter {
        names: &["ruby", "jruby"],
        clusters: true,
        values: &["I", "r", "C", "E", "--encoding", "--external-encoding", "--internal-encoding"],
        runs: &[],
        none: &["e"],
        verbs: &[],
    },
    Interpreter {
        names: &["node", "nodejs"],
        clusters: false,
        values: &["-r", "--require", "--import", "--loader", "--experimental-loader", "-C"],
        runs: &[],
        none: &["-e", "--eval", "-p", "--print", "-pe"],
        verbs: &[],
    },
    Interpreter {
        names: &["deno", "bun"],
        clusters: false,
        values: &["-c", "--config", "--import-map", "--cwd"],
        runs: &[],
        none: &["-e", "--eval"],
        verbs: &["run"],
    },
    Interpreter {
        names: &["php"],
        clusters: true,
        values: &["d", "c", "z", "S", "t"],
        runs: &["f"],
        none: &["r", "B", "R"],
        verbs: &[],
    },
    Interpreter {
        names: &["java"],
        clusters: false,
        values: &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--upgrade-module-path",
            "--add-modules",
            "--limit-modules",
            "--add-reads",
            "--add-exports",
            "--add-opens",
            "--enable-native-access",
            "--source",
        ],
        runs: &["-jar", "-m", "--module"],
        none: &[],
        verbs: &[],
    },
    Interpreter {
        names: &["lua", "luajit"],
        clusters: true,
        values: &["e", "l"],
        runs: &[],
        none: &[],
        verbs: &[],
    },
    Interpreter {
        names: &["tclsh", "wish", "guile", "Rscript"],
        clusters: false,
        values: &["-encoding", "-l", "-L"],
        runs: &["-s"],
        none: &["-c", "-e"],
        verbs: &[],
    },
    Interpreter {
        names: &["mono"],
        clusters: false,
        values: &["--config"],
        runs: &[],
        none: &[],
        verbs: &[],
    },
    Interpreter {
        names: &["dotnet"],
        clusters: false,
        values: &["--depsfile", "--runtimeconfig", "--fx-version", "--additionalprobingpath"],
        runs: &[],
        none: &[],
        verbs: &["exec"],
    },
];

/// The script, module, class or archive that is run, with its own arguments, of the arguments
/// that an interpreter has. `None` where the program is no interpreter, or runs none.
#[must_use]
pub fn script<'a>(arguments: &'a [&'a str]) -> Option<Vec<&'a str>> {
    let (program, rest) = arguments.split_first()?;
    let program = name(program).trim_start_matches('-');
    let interpreter = if is_shell(program) {
        &SHELL
    } else {
        let family = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        INTERPRETERS.iter().find(|it| it.names.contains(&family))?
    };
    let found = interpreter.script(rest)?;
    // Bundler loads the program into itself.
    match found.split_first() {
        Some((bundle, ["exec", rest @ ..])) if ["bundle", "bundler"].contains(&name(bundle)) => {
            let begin = rest.iter().position(|word| !word.starts_with('-'))?;
            Some(rest[begin..].to_vec())
        }
        _ => Some(found),
    }
}

/// What an option says of the words after it.
enum Says<'a> {
    /// Nothing.
    Nothing,
    /// The next one is its value.
    TakesNext,
    /// The next one is what is run.
    RunsNext,
    /// This is what is run.
    Runs(&'a str),
    /// No script is run.
    NoScript,
}

impl Interpreter {
    fn script<'a>(&self, words: &'a [&'a str]) -> Option<Vec<&'a str>> {
        let mut verbs = self.verbs;
        let mut at = 0;
        loop {
            let word = *words.get(at)?;
            let rest = &words[at + 1..];
            let is_option = word.starts_with('-') || self.clusters && word.starts_with('+');
            if word == "-" {
                return None;
            } else if word == "--" {
                return (!rest.is_empty()).then(|| rest.to_vec());
            } else if !is_option {
                if verbs.contains(&word) {
                    verbs = &[];
                    at += 1;
                    continue;
                }
                return Some(words[at..].to_vec());
            }
            match self.option(word) {
                Says::Nothing => at += 1,
                Says::TakesNext => at += 2,
                Says::RunsNext => return (!rest.is_empty()).then(|| rest.to_vec()),
                Says::Runs(script) => return Some([&[script], rest].concat()),
                Says::NoScript => return None,
            }
        }
    }

    fn option<'a>(&self, word: &'a str) -> Says<'a> {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) if !self.clusters || word.starts_with("--") => {
                (option, Some(value))
            }
            _ => (word, None),
        };
        let one = |option: &str, value: Option<&'a str>| {
            if self.none.contains(&option) {
                Says::NoScript
            } else if self.runs.contains(&option) {
                value.map_or(Says::RunsNext, Says::Runs)
            } else if self.values.contains(&option) && value.is_none() {
                Says::TakesNext
            } else {
                Says::Nothing
            }
        };
        if !self.clusters || word.starts_with("--") {
            return one(option, value);
        }
        for (index, letter) in word.char_indices().skip(1) {
            let rest = &word[index + letter.len_utf8()..];
            let name = &word[index..index + letter.len_utf8()];
            match one(name, Some(rest).filter(|rest| !rest.is_empty())) {
                // What follows the letter is its value.
                Says::Nothing if self.values.contains(&name) => return Says::Nothing,
                Says::Nothing => {}
                says => return says,
            }
        }
        Says::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        script(&words).map(|words| words.join(" "))
    }

    #[test]
    fn an_interpreter_runs_what_its_arguments_say() {
        for (line, expected) in [
            ("/usr/bin/python3 /usr/bin/patroni /etc/p.yml", "/usr/bin/patroni /etc/p.yml"),
            ("python3.11 -u -W ignore -Xutf8 /srv/app.py -m x", "/srv/app.py -m x"),
            ("python3 -m gunicorn app:app", "gunicorn app:app"),
            ("python3 -um gunicorn app:app", "gunicorn app:app"),
            ("python3 -mgunicorn", "gunicorn"),
            ("python3 -Es -- app.py", "app.py"),
            ("/usr/bin/perl -w -T -I /lib /usr/sbin/munin-node", "/usr/sbin/munin-node"),
            ("ruby3.1 -rbundler/setup -I lib bin/app", "bin/app"),
            ("/usr/bin/ruby /usr/bin/bundle exec puma -C x.rb", "puma -C x.rb"),
            ("ruby /usr/bin/bundle exec --gemfile=G puma", "puma"),
            ("ruby /usr/bin/bundle install", "/usr/bin/bundle install"),
            ("node --max-old-space-size=100 -r dotenv server.js 1", "server.js 1"),
            ("deno run -A --config=x main.ts", "main.ts"),
            ("php -d a=b -f /srv/worker.php", "/srv/worker.php"),
            ("php8.2 -dx=1 artisan queue:work", "artisan queue:work"),
            ("java -Xmx1g -cp /a:/b -Dk=v org.apache.Main start", "org.apache.Main start"),
            ("/usr/bin/java -jar /opt/app.jar --port 1", "/opt/app.jar --port 1"),
            ("java --module-path x --module=a.b/c.D", "a.b/c.D"),
            ("/bin/sh /usr/bin/wrapper a", "/usr/bin/wrapper a"),
            ("bash -eu +o posix -o pipefail run.sh", "run.sh"),
            ("-bash run.sh", "run.sh"),
            ("lua5.4 -l socket prosody", "prosody"),
            ("dotnet exec --depsfile x app.dll", "app.dll"),
            ("mono --debug app.exe", "app.exe"),
        ] {
            assert_eq!(of(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_program_in_the_arguments_and_one_that_is_no_interpreter_run_no_script() {
        for line in [
            "sh -c patroni",
            "bash -ec patroni x",
            "python3 -c pass patroni",
            "python3 -",
            "python3",
            "python3 -m",
            "perl -we 1 patroni",
            "node -e 1 patroni",
            "java -version",
            "nginx -c /etc/nginx.conf",
            "pythonista app",
            "env python3 app",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
        assert_eq!(script(&[]), None);
    }
}
