//! The language runtimes, virtual machines and shells that have handlers of their own: the one
//! table that says what each does on each signal before the program or script has asked for
//! anything. `docs/runtimes.md` shows it, and `tests/all/runtimes.rs` holds it against the real
//! ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::signal::Signal;

/// A language runtime whose own handlers must not be taken for the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// One handler for nearly every signal, in a program whose executable could not be read:
    /// Go's runtime has such a one, and bash for a trap on EXIT. It kills the process by the
    /// signal until the program asks for it.
    CatchAll,
    /// A runtime's that passes some signals on to the program. Whether this one is among
    /// them can't be told until one comes.
    Forwarding,
    /// The Java virtual machine's: it shuts the program down and exits with 128 and the
    /// signal's number, until the program asks for the signal.
    Jvm,
    /// Ruby's: it ends the program by the signal, until that sets a trap.
    Ruby,
    /// Go's: it kills the process by the signal until the program asks for it.
    Go,
    /// bash's, for a trap on EXIT and where it waits for what it has started: it ends the
    /// script by the signal.
    Bash,
    /// Node.js's: on USR1 it starts its debugger; INT and TERM end it.
    Node,
    /// Python's: INT raises KeyboardInterrupt.
    Python,
    /// That of PHP's command line: it ends the script by the signal.
    Php,
    /// zsh's: HUP ends the script with exit code 1.
    Zsh,
    /// The MirBSD Korn shell's. It has the same handler for the script's traps.
    Mksh,
    /// That of Erlang's virtual machine: INT, QUIT, TERM and USR1 end it.
    Erlang,
    /// Mono's: QUIT prints its threads.
    Mono,
    /// That of the R language: INT, USR1, USR2 and PIPE end the script.
    R,
    /// Steel Bank Common Lisp's: INT and TERM end the program.
    Sbcl,
    /// Guile's.
    Guile,
    /// Lua's: INT ends the script.
    Lua,
    /// Tcl's, which has none.
    Tcl,
    /// Perl's, which has none.
    Perl,
    /// dash's, while it waits for what it has started.
    Dash,
    /// BusyBox's, while its shell waits for what it has started.
    Busybox,
    /// The Korn shell's (ksh93).
    Ksh,
    /// yash's.
    Yash,
    /// fish's.
    Fish,
    /// .NET's.
    Dotnet,
    /// An interpreter's that is not in the table.
    Unlisted,
}

/// What comes of a signal that a runtime's own handler takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process dies of the signal: the handler sets the default action and sends it again.
    Dies,
    /// The process exits with this code.
    Exits(u8),
    /// The process goes on, and the program does not see the signal.
    Spares,
    /// That can't be told: the runtime has the same handler for what the program asks for.
    Unknown,
}

/// What tells a runtime's own handler from one that the program has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// The first handler after the exec is the runtime's. Once the program asks for the signal
    /// the runtime sets one again.
    BySecond {
        /// Whether it sets its own where the signal was ignored from the start, as by nohup(1).
        even_ignored: bool,
    },
    /// One handler is the runtime's for nearly all signals; a trap has another.
    ByShared,
    /// The same, and a thread that is set aside shows that the program asks for some of them.
    ByForwarder,
    /// Nothing tells them apart until a signal comes.
    ByNothing,
}

/// What one runtime does by itself.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The runtime.
    pub runtime: Runtime,
    /// Its name.
    pub name: &'static str,
    /// How its handlers are told from the program's.
    pub criterion: Criterion,
    /// The signals it has handlers for, with what they do.
    pub handles: &'static [(Signal, Action)],
}

/// Where the first handler is the runtime's, unless the signal was ignored from the start.
const UNLESS_IGNORED: Criterion = Criterion::BySecond { even_ignored: false };
/// Where it is in any case.
const ALWAYS: Criterion = Criterion::BySecond { even_ignored: true };

/// What each runtime does by itself. A signal that is not listed is the program's alone.
pub const ROWS: [Row; 22] = {
    use Action::{Dies, Exits, Spares, Unknown};
    use Signal as S;
    [
        Row {
            runtime: Runtime::Go,
            name: "Go",
            criterion: Criterion::ByForwarder,
            handles: &[
                (S::HUP, Dies),
                (S::INT, Dies),
                (S::QUIT, Exits(2)),
                (S::ABRT, Exits(2)),
                (S::TERM, Dies),
                (S::STKFLT, Exits(2)),
                (S::USR1, Spares),
                (S::USR2, Spares),
                (S::ALRM, Spares),
                (S::PIPE, Spares),
                (S::CHLD, Spares),
                (S::URG, Spares),
                (S::WINCH, Spares),
            ],
        },
        Row {
            runtime: Runtime::Jvm,
            name: "the Java virtual machine",
            criterion: UNLESS_IGNORED,
            handles: &[
                (S::HUP, Exits(129)),
                (S::INT, Exits(130)),
                (S::TERM, Exits(143)),
                (S::QUIT, Spares),
                (S::USR2, Spares),
                (S::PIPE, Spares),
                (S::XFSZ, Spares),
            ],
        },
        Row {
            runtime: Runtime::Ruby,
            name: "Ruby",
            criterion: ALWAYS,
            handles: &[
                (S::HUP, Dies),
                (S::INT, Dies),
                (S::QUIT, Dies),
                (S::TERM, Dies),
                (S::USR1, Dies),
                (S::USR2, Dies),
                (S::ALRM, Dies),
                (S::PIPE, Spares),
                (S::CHLD, Spares),
                (S::VTALRM, Spares),
            ],
        },
        Row {
            runtime: Runtime::Node,
            name: "Node.js",
            criterion: ALWAYS,
            handles: &[(S::INT, Dies), (S::TERM, Dies), (S::USR1, Spares)],
        },
        Row {
            runtime: Runtime::Python,
            name: "Python",
            criterion: UNLESS_IGNORED,
            handles: &[(S::INT, Dies)],
        },
        Row {
            runtime: Runtime::Php,
            name: "PHP",
            criterion: ALWAYS,
            handles: &[
                (S::HUP, Dies),
                (S::INT, Dies),
                (S::QUIT, Dies),
                (S::TERM, Dies),
                (S::USR1, Dies),
                (S::USR2, Dies),
                (S::PROF, Exits(255)),
            ],
        },
        Row {
            runtime: Runtime::Bash,
            name: "bash",
            criterion: Criterion::ByShared,
            handles: &[
                (S::HUP, Dies),
                (S::INT, Unknown),
                (S::TERM, Dies),
                (S::USR1, Dies),
                (S::USR2, Dies),
                (S::ALRM, Dies),
                (S::PIPE, Dies),
                (S::XCPU, Dies),
                (S::XFSZ, Dies),
                (S::VTALRM, Dies),
                (S::CHLD, Spares),
            ],
        },
        Row {
            runtime: Runtime::Zsh,
            name: "zsh",
            criterion: UNLESS_IGNORED,
            handles: &[(S::HUP, Exits(1)), (S::CHLD, Spares), (S::WINCH, Spares)],
        },
        Row {
            runtime: Runtime::Mksh,
            name: "mksh",
            criterion: Criterion::ByNothing,
            handles: &[
                (S::HUP, Exits(129)),
                (S::INT, Dies),
                (S::QUIT, Exits(131)),
                (S::TERM, Dies),
                (S::ALRM, Spares),
                (S::CHLD, Spares),
                (S::WINCH, Spares),
            ],
        },
        Row {
            runtime: Runtime::Erlang,
            name: "Erlang",
            criterion: ALWAYS,
            handles: &[
                (S::INT, Exits(0)),
                (S::QUIT, Exits(0)),
                (S::TERM, Exits(0)),
                (S::USR1, Exits(1)),
            ],
        },
        Row {
            runtime: Runtime::Mono,
            name: "Mono",
            criterion: ALWAYS,
            handles: &[(S::QUIT, Spares), (S::ABRT, Dies)],
        },
        Row {
            runtime: Runtime::R,
            name: "R",
            criterion: ALWAYS,
            handles: &[
                (S::INT, Exits(1)),
                (S::USR1, Exits(2)),
                (S::USR2, Exits(0)),
                (S::PIPE, Exits(1)),
            ],
        },
        Row {
            runtime: Runtime::Sbcl,
            name: "SBCL",
            criterion: ALWAYS,
            handles: &[
                (S::INT, Exits(1)),
                (S::ABRT, Exits(1)),
                (S::TERM, Exits(0)),
                (S::USR2, Spares),
                (S::ALRM, Spares),
                (S::CHLD, Spares),
                (S::URG, Spares),
            ],
        },
        Row {
            runtime: Runtime::Guile,
            name: "Guile",
            criterion: ALWAYS,
            handles: &[(S::XCPU, Unknown), (S::PWR, Spares)],
        },
        Row {
            runtime: Runtime::Lua,
            name: "Lua",
            criterion: ALWAYS,
            handles: &[(S::INT, Exits(1))],
        },
        Row { runtime: Runtime::Tcl, name: "Tcl", criterion: ALWAYS, handles: &[] },
        Row { runtime: Runtime::Perl, name: "Perl", criterion: ALWAYS, handles: &[] },
        Row {
            runtime: Runtime::Dash,
            name: "dash",
            criterion: Criterion::ByNothing,
            handles: &[(S::INT, Dies), (S::CHLD, Spares)],
        },
        Row {
            runtime: Runtime::Busybox,
            name: "BusyBox",
            criterion: Criterion::ByNothing,
            handles: &[(S::INT, Dies), (S::CHLD, Spares)],
        },
        Row {
            runtime: Runtime::Ksh,
            name: "ksh93",
            criterion: Criterion::ByNothing,
            handles: &[(S::ALRM, Spares), (S::CHLD, Spares), (S::WINCH, Spares)],
        },
        Row {
            runtime: Runtime::Yash,
            name: "yash",
            criterion: Criterion::ByNothing,
            handles: &[(S::CHLD, Spares)],
        },
        Row {
            runtime: Runtime::Fish,
            name: "fish",
            criterion: Criterion::ByNothing,
            handles: &[(S::INT, Exits(0)), (S::CHLD, Spares)],
        },
    ]
};

impl Runtime {
    /// Its row in the table; none where it can't be told which runtime it is.
    #[must_use]
    pub fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.runtime == self)
    }

    /// How it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CatchAll | Self::Forwarding => "the language runtime",
            Self::Unlisted => "the interpreter",
            Self::Dotnet => ".NET",
            _ => self.row().map_or("the language runtime", |row| row.name),
        }
    }

    /// What its own handler for a signal does; `None` if it has none.
    #[must_use]
    pub fn effect(self, signal: Signal) -> Option<Action> {
        match self {
            // Go spares the program on others, and bash ends it.
            Self::CatchAll if matches!(signal, Signal::HUP | Signal::INT | Signal::TERM) => {
                Some(Action::Dies)
            }
            Self::CatchAll | Self::Forwarding | Self::Unlisted | Self::Dotnet => {
                Some(Action::Unknown)
            }
            _ => {
                let row = self.row()?;
                let listed = row.handles.iter().find(|(listed, _)| *listed == signal);
                listed.map(|(_, effect)| *effect).or(match row.criterion {
                    // They have a handler for nearly all signals.
                    Criterion::ByForwarder => Some(Action::Spares),
                    Criterion::ByShared => Some(Action::Dies),
                    Criterion::BySecond { .. } | Criterion::ByNothing => None,
                })
            }
        }
    }

    /// The exit code of a program that its runtime has shut down on `signal`; `None` where it
    /// dies of the signal itself, or goes on.
    #[must_use]
    pub fn exit_code(self, signal: Signal) -> Option<u8> {
        match self.effect(signal)? {
            Action::Exits(code) => Some(code),
            Action::Dies | Action::Spares | Action::Unknown => None,
        }
    }

    /// Whether the signal surely ends the program.
    #[must_use]
    pub fn kills(self, signal: Signal) -> bool {
        matches!(self.effect(signal), Some(Action::Dies | Action::Exits(_)))
    }

    /// Whether the program goes on, and does not see the signal.
    #[must_use]
    pub fn spares(self, signal: Signal) -> bool {
        self.effect(signal) == Some(Action::Spares)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fmt::Write as _, fs, path::Path};

    use super::*;

    /// The table as the page shows it.
    fn page() -> String {
        let mut text = String::from(
            "| runtime | ends the program by the signal | ends it with an exit code | keeps from it | can't be told | the program's handler shows by |\n|---|---|---|---|---|---|\n",
        );
        for row in &ROWS {
            let of = |is_it: &dyn Fn(Action) -> bool| {
                let handles = row.handles.iter().filter(|(_, effect)| is_it(*effect));
                let names = handles.map(|(signal, effect)| match effect {
                    Action::Exits(code) => format!("{signal} {code}"),
                    _ => signal.to_string(),
                });
                let names: Vec<String> = names.collect();
                if names.is_empty() { "–".to_owned() } else { names.join(", ") }
            };
            let told = match row.criterion {
                Criterion::BySecond { even_ignored: true } => "its being set again",
                Criterion::BySecond { even_ignored: false } => {
                    "its being set again, or set where the signal was ignored at the start"
                }
                Criterion::ByShared => "its being shared by few signals",
                Criterion::ByForwarder => "a thread that takes signals for it, and by living on",
                Criterion::ByNothing => "living on",
            };
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {told} |",
                row.name,
                of(&|effect| effect == Action::Dies),
                of(&|effect| matches!(effect, Action::Exits(_))),
                of(&|effect| effect == Action::Spares),
                of(&|effect| effect == Action::Unknown),
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn the_page_shows_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runtimes.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("<!-- rows -->\n").unwrap();
        let (rows, after) = rest.split_once("<!-- end of rows -->\n").unwrap();
        let expected = page();
        if env::var_os("SIGREADY_UPDATE").is_some() {
            let text = format!("{before}<!-- rows -->\n{expected}<!-- end of rows -->\n{after}");
            fs::write(&path, text).unwrap();
        } else {
            assert_eq!(rows, expected, "update it with SIGREADY_UPDATE=1");
        }
    }

    #[test]
    fn gos_runtime_dies_of_few_signals_and_spares_the_program_on_the_rest() {
        assert!(Runtime::Go.kills(Signal::HUP) && Runtime::Go.kills(Signal::TERM));
        assert!(Runtime::Go.spares(Signal::USR1) && Runtime::Go.spares(Signal::USR2));
        // One that could not be read may be Go or bash, which differ there.
        assert!(Runtime::CatchAll.kills(Signal::HUP));
        assert_eq!(Runtime::CatchAll.effect(Signal::USR1), Some(Action::Unknown));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_known() {
        for runtime in [Runtime::Unlisted, Runtime::Forwarding, Runtime::Dotnet] {
            assert_eq!(runtime.effect(Signal::HUP), Some(Action::Unknown));
        }
        assert_eq!(Runtime::Perl.effect(Signal::HUP), None, "it has no handler of its own");
    }
}
