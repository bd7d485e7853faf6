//! Programs that run another one: env(1), timeout(1), sudo(8), …

use super::{
    base_name,
    initial::{Action, Change, Which},
    waiting::Waiting,
    word::Word,
};
use crate::model::signal::Signal;

/// How a program runs the one it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It executes it in its own place.
    InPlace,
    /// It waits for it.
    Waits,
    /// As the main process of a service it leaves it behind and ends: a group's leader can't
    /// make a session (setsid(1)).
    Leaves,
    /// That depends on how it was built or set up.
    Unknown,
}

/// A program that was found to run another.
#[derive(Debug)]
pub(super) struct Wrapped {
    /// The command line it runs.
    pub words: Vec<Word>,
    /// How.
    pub way: Way,
    /// What it does itself with signals, where it waits.
    pub waiting: Waiting,
    /// How it changes what signals do to that, in order.
    pub changes: Vec<Change>,
    /// Whether the rest of the command line comes from its input.
    pub reads_operands: bool,
}

/// How a program's own arguments are told from the command.
struct Wrapper {
    names: &'static [&'static str],
    way: Way,
    /// Letters of options that have a value.
    short: &'static str,
    /// Long options that have a value in the next word.
    long: &'static [&'static str],
    /// How many words come before the command.
    operands: usize,
}

const fn wrapper(
    names: &'static [&'static str],
    way: Way,
    short: &'static str,
    long: &'static [&'static str],
    operands: usize,
) -> Wrapper {
    Wrapper { names, way, short, long, operands }
}

/// The options are those of coreutils 9, util-linux 2.38, sudo 1.9, procps 4.
#[rustfmt::skip]
static WRAPPERS: [Wrapper; 37] = [
    wrapper(&["env"], Way::InPlace, "uCS", &["unset", "chdir", "split-string"], 0),
    wrapper(&["nohup", "command", "builtin"], Way::InPlace, "", &[], 0),
    wrapper(&["exec"], Way::InPlace, "a", &[], 0),
    wrapper(&["nice"], Way::InPlace, "n", &["adjustment"], 0),
    wrapper(&["ionice"], Way::InPlace, "cn", &["class", "classdata"], 0),
    wrapper(&["chrt"], Way::InPlace, "TPD", &["sched-runtime", "sched-period", "sched-deadline"], 1),
    wrapper(&["taskset"], Way::InPlace, "", &[], 1),
    wrapper(&["stdbuf"], Way::InPlace, "ioe", &["input", "output", "error"], 0),
    wrapper(&["numactl"], Way::InPlace, "imNCpPw",
        &["interleave", "membind", "cpunodebind", "physcpubind", "preferred"], 0),
    wrapper(&["prlimit", "setarch", "linux64", "catchsegv", "eatmydata"], Way::InPlace, "", &[], 0),
    wrapper(&["setpriv"], Way::InPlace, "",
        &["reuid", "regid", "ruid", "euid", "rgid", "egid", "groups", "inh-caps",
          "ambient-caps", "bounding-set", "securebits", "selinux-label", "apparmor-profile"], 0),
    wrapper(&["chroot"], Way::InPlace, "", &["userspec", "groups"], 1),
    wrapper(&["systemd-cat"], Way::InPlace, "tp",
        &["identifier", "priority", "stderr-priority", "level-prefix", "namespace"], 0),
    wrapper(&["gosu", "su-exec", "setuidgid", "s6-setuidgid"], Way::InPlace, "", &[], 1),
    wrapper(&["chpst"], Way::InPlace, "uUeb/ndmofcptrP", &[], 0),
    wrapper(&["busybox"], Way::InPlace, "", &[], 0),
    wrapper(&["timeout"], Way::Waits, "ks", &["kill-after", "signal"], 1),
    wrapper(&["tini", "tini-static"], Way::Waits, "ep", &[], 0),
    wrapper(&["dumb-init"], Way::Waits, "r", &["rewrite"], 0),
    wrapper(&["catatonit"], Way::Waits, "", &[], 0),
    wrapper(&["setsid"], Way::Leaves, "", &[], 0),
    wrapper(&["flock"], Way::Waits, "wE", &["timeout", "wait", "conflict-exit-code"], 1),
    wrapper(&["time"], Way::Waits, "fo", &["format", "output"], 0),
    wrapper(&["strace"], Way::Waits, "abeEIoOpPsSuUX",
        &["output", "trace", "env", "user", "string-limit", "interruptible", "columns"], 0),
    wrapper(&["xargs"], Way::Waits, "adEILnPs",
        &["arg-file", "delimiter", "replace", "max-lines", "max-args", "max-procs", "max-chars"], 0),
    wrapper(&["ltrace", "chronic", "unbuffer", "xvfb-run", "watch"],
        Way::Waits, "foeEpsnILPd", &["format", "output"], 0),
    wrapper(&["dbus-run-session"], Way::Waits, "", &["config-file", "dbus-daemon"], 0),
    wrapper(&["script"], Way::Waits, "cEomTIOB",
        &["command", "echo", "output-limit", "logging-format", "log-timing", "log-in", "log-out",
          "log-io"], 0),
    wrapper(&["choom"], Way::InPlace, "n", &["adjust"], 0),
    wrapper(&["runuser"], Way::Waits, "ugGsw",
        &["user", "group", "supp-group", "shell", "whitelist-environment"], 0),
    wrapper(&["su"], Way::Waits, "cgGsw",
        &["command", "group", "supp-group", "shell", "whitelist-environment"], 0),
    wrapper(&["sudo"], Way::Unknown, "ugpCDRrtThU",
        &["user", "group", "prompt", "close-from", "chdir", "chroot", "role", "type",
          "command-timeout", "host", "other-user"], 0),
    wrapper(&["doas"], Way::InPlace, "uC", &[], 0),
    wrapper(&["unshare"], Way::InPlace, "SGRwl",
        &["root", "wd", "setuid", "setgid", "propagation", "setgroups"], 0),
    wrapper(&["nsenter"], Way::Unknown, "tSG", &["target", "setuid", "setgid"], 0),
    wrapper(&["systemd-inhibit"], Way::Waits, "", &["what", "who", "why", "mode"], 0),
    wrapper(&["cgexec"], Way::InPlace, "g", &[], 0),
];

/// What a command line runs by another program; `None` if it does not begin with one that is
/// known to do so, or that has nothing to run.
pub(super) fn inner(words: &[Word]) -> Option<Wrapped> {
    let name = base_name(words.first()?.known()?);
    let wrapper = WRAPPERS.iter().find(|it| it.names.contains(&name))?;
    let (options, operands) = wrapper.split(&words[1..]);
    let has = |names: &[&str]| {
        let known = options.iter().filter_map(|(option, _)| option.known());
        known.into_iter().any(|option| names.contains(&option))
    };
    // Of `-c`, whose letter may be the last of several.
    let script = || {
        let is_it = |it: &str| it == "--command" || !it.starts_with("--") && it.ends_with('c');
        options.iter().find(|(option, _)| option.known().is_some_and(is_it))?.1
    };
    let shell = |script: &Word| vec![Word::text("/bin/sh"), Word::text("-c"), script.clone()];
    // Letters stand together, up to the first that has a value.
    let has_letter = |letter: char| {
        let known = options.iter().filter_map(|(option, _)| option.known());
        known.filter(|option| !option.starts_with("--")).any(|option| {
            let letters: String = option[1..]
                .chars()
                .take_while(|c| *c == letter || !wrapper.short.contains(*c))
                .collect();
            letters.contains(letter)
        })
    };
    let mut way = wrapper.way;
    let mut changes = Vec::new();
    let mut command = operands.get(wrapper.operands..)?.to_vec();
    match name {
        "env" => {
            let is_value = |word: &&Word| word.start().contains('=');
            // A dash alone is -i.
            let dash = usize::from(command.first().and_then(Word::known) == Some("-"));
            let values = command[dash..].iter().take_while(is_value).count();
            command.drain(..dash + values);
            changes = options.iter().filter_map(|(option, _)| of_env(option.known()?)).collect();
        }
        "nohup" => changes.push((Action::Ignored, Which::These(vec![Signal::HUP]))),
        // `command -v` only asks.
        "command" if has(&["-v", "-V"]) => return None,
        "su" | "runuser" => {
            let is_direct = name == "runuser" && has(&["-u", "--user"]);
            let script = script().cloned().or_else(|| {
                // It may stand after the user.
                let command: &[Word] = if is_direct { &[] } else { &command };
                let at = command.iter().position(|word| {
                    matches!(word.known(), Some("-c" | "--command" | "--session-command"))
                })?;
                command.get(at + 1).cloned()
            });
            if let Some(script) = script {
                command = shell(&script);
            } else if !is_direct {
                return None;
            }
        }
        "flock" => {
            // With -o too it refuses to run.
            if (has_letter('F') || has(&["--no-fork"])) && !(has_letter('o') || has(&["--close"])) {
                way = Way::InPlace;
            }
            // It stands after the file.
            if matches!(command.first().and_then(Word::known), Some("-c" | "--command")) {
                command = shell(command.get(1)?);
            }
        }
        "script" => command = shell(script()?),
        // The tracer is a child of the program then.
        "strace" if has_letter('D') || has(&["--daemonize"]) => way = Way::InPlace,
        "setsid" if has_letter('w') || has(&["--wait"]) => way = Way::Waits,
        "unshare" if has_letter('f') || has(&["--fork"]) => way = Way::Waits,
        "setarch" => {
            command.drain(..1.min(command.len()));
        }
        _ => {}
    }
    let in_foreground = has_letter('f') || has(&["--foreground"]);
    (!command.is_empty()).then(|| Wrapped {
        words: command,
        way,
        waiting: Waiting::of(name, in_foreground),
        changes,
        reads_operands: name == "xargs",
    })
}

/// What an option of env(1) changes: of coreutils from 8.31 on. What is set to its default is
/// unblocked too (`parse_signal_action_params` and `parse_block_signal_params` in src/env.c).
fn of_env(option: &str) -> Option<Change> {
    let (name, list) = option.split_once('=').map_or((option, None), |(name, it)| (name, Some(it)));
    let action = match name {
        "--default-signal" => Action::Default,
        "--ignore-signal" => Action::Ignored,
        "--block-signal" => Action::Blocked,
        _ => return None,
    };
    Some((
        action,
        match list {
            Some(list) => Which::These(list.split(',').flat_map(str::parse).collect()),
            None => Which::All,
        },
    ))
}

impl Wrapper {
    /// The options, each with the value in the next word, and what comes after them.
    fn split<'a>(&self, words: &'a [Word]) -> (Vec<(Word, Option<&'a Word>)>, &'a [Word]) {
        let mut options = Vec::new();
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let option = word.start();
            if option == "--" && word.known().is_some() {
                at += 1;
                break;
            }
            if !option.starts_with('-') || word.known() == Some("-") {
                break;
            }
            at += 1;
            let takes_next = if let Some(long) = option.strip_prefix("--") {
                self.long.contains(&long)
            } else {
                // The value may be the rest of the word.
                let letter = option[1..].chars().position(|c| self.short.contains(c));
                letter.is_some_and(|letter| letter + 2 == option.chars().count())
                    && word.known().is_some()
            };
            let value = if takes_next { words.get(at) } else { None };
            at += usize::from(value.is_some());
            options.push((word.clone(), value));
        }
        (options, words.get(at..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::commands::commands;

    fn of(line: &str) -> Option<(String, Way)> {
        let command = commands(&[line.to_owned()], str::to_owned).remove(0);
        let words: Vec<Word> = command.argv.iter().map(|word| Word::text(word)).collect();
        let found = inner(&words)?;
        let words: Vec<String> = found.words.iter().map(Word::shown).collect();
        Some((words.join(" "), found.way))
    }

    #[test]
    fn the_command_is_told_from_the_options_before_it() {
        for (line, command, way) in [
            ("/usr/bin/env A=1 -u B", "-u B", Way::InPlace),
            ("env -i -u B A=1 C=2 prog -x", "prog -x", Way::InPlace),
            ("nohup prog", "prog", Way::InPlace),
            ("nice -n 5 prog", "prog", Way::InPlace),
            ("nice -n5 prog", "prog", Way::InPlace),
            ("nice -10 prog", "prog", Way::InPlace),
            ("nice --adjustment=5 prog", "prog", Way::InPlace),
            ("ionice -c 2 -n 7 prog a", "prog a", Way::InPlace),
            ("ionice -c2 -n7 prog", "prog", Way::InPlace),
            ("chrt -f 10 prog", "prog", Way::InPlace),
            ("taskset -c 0-3 prog", "prog", Way::InPlace),
            ("timeout -k 5 --signal=TERM 30s prog -x", "prog -x", Way::Waits),
            ("setsid prog", "prog", Way::Leaves),
            ("setsid --wait prog", "prog", Way::Waits),
            ("sudo -u web -- prog", "prog", Way::Unknown),
            ("runuser -u web -- prog -c x", "prog -c x", Way::Waits),
            ("runuser web -c 'prog x'", "/bin/sh -c prog x", Way::Waits),
            ("su - web -c 'prog x'", "/bin/sh -c prog x", Way::Waits),
            ("su -s /bin/sh -c prog web", "/bin/sh -c prog", Way::Waits),
            ("flock -n /run/lock prog", "prog", Way::Waits),
            ("flock -F -n /run/lock prog", "prog", Way::InPlace),
            ("flock -nF /run/lock prog", "prog", Way::InPlace),
            ("flock -w5 --no-fork /run/lock prog", "prog", Way::InPlace),
            ("flock -nw 5 /run/lock prog", "prog", Way::Waits),
            ("strace -fo /x prog", "prog", Way::Waits),
            ("strace -D -f -o /x prog", "prog", Way::InPlace),
            ("strace -fDo /x prog", "prog", Way::InPlace),
            ("strace -oD prog", "prog", Way::Waits),
            ("dbus-run-session --config-file /x -- prog a", "prog a", Way::Waits),
            ("script -qc 'prog x' /dev/null", "/bin/sh -c prog x", Way::Waits),
            ("script --command 'prog x' /x", "/bin/sh -c prog x", Way::Waits),
            ("choom -n 100 -- prog", "prog", Way::InPlace),
            ("unshare -pf prog", "prog", Way::Waits),
            ("unshare -p prog", "prog", Way::InPlace),
            ("setsid -cw prog", "prog", Way::Waits),
            ("xargs -r kill -s HUP", "kill -s HUP", Way::Waits),
            ("busybox sh -c prog", "sh -c prog", Way::InPlace),
            ("chroot --userspec=a:b /srv prog", "prog", Way::InPlace),
            ("unshare -f prog", "prog", Way::Waits),
            ("unshare -n prog", "prog", Way::InPlace),
            ("setarch i386 prog", "prog", Way::InPlace),
            ("linux64 prog", "prog", Way::InPlace),
            ("flock -o /run/lock prog", "prog", Way::Waits),
            ("flock -o -F /run/lock prog", "prog", Way::Waits),
            ("flock /run/lock -c 'prog x'", "/bin/sh -c prog x", Way::Waits),
            ("flock /run/lock --command 'prog x'", "/bin/sh -c prog x", Way::Waits),
            ("su --sync -c 'prog x' web", "/bin/sh -c prog x", Way::Waits),
            ("runuser -u web prog", "prog", Way::Waits),
            ("su web --session-command 'prog x'", "/bin/sh -c prog x", Way::Waits),
            ("nice -n -5 -- prog", "prog", Way::InPlace),
            ("env - A=1 prog", "prog", Way::InPlace),
            ("exec -a name prog", "prog", Way::InPlace),
        ] {
            assert_eq!(of(line), Some((command.to_owned(), way)), "{line}");
        }
        for line in
            ["prog a", "env", "exec", "command -v prog", "timeout 5", "su -", "script /x", "xargs"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
