//! The `Result=` of a service whose main process ended, and what Restart= does on
//! it: `service_sigchld_event()` and `service_shall_restart()` in systemd's
//! src/core/service.c, and the table under Restart= in systemd.service(5).

use crate::signal::Signal;

/// systemd's `Result=` of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceResult {
    Success,
    ExitCode,
    Signal,
    CoreDump,
    Protocol,
    Timeout,
}

impl ServiceResult {
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
        }
    }

    /// Whether `Restart=setting` restarts a service with this result; `None` if
    /// there is no such setting.
    pub fn restarts(self, setting: &str) -> Option<bool> {
        Some(match setting {
            "no" | "on-watchdog" => false,
            "always" => true,
            "on-success" => self == Self::Success,
            "on-failure" => self != Self::Success,
            "on-abnormal" => !matches!(self, Self::Success | Self::ExitCode),
            "on-abort" => matches!(self, Self::Signal | Self::CoreDump),
            _ => return None,
        })
    }
}

/// How a main process ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Signal { signal: Signal, core_dumped: bool },
    Code(u8),
}

impl End {
    /// Whether a long-running service may end so.
    pub fn is_clean(self) -> bool {
        match self {
            Self::Signal { signal, .. } => {
                [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE].contains(&signal)
            }
            Self::Code(code) => code == 0,
        }
    }

    pub fn unclean_result(self) -> ServiceResult {
        match self {
            Self::Signal { core_dumped: true, .. } => ServiceResult::CoreDump,
            Self::Signal { .. } => ServiceResult::Signal,
            Self::Code(_) => ServiceResult::ExitCode,
        }
    }
}

/// The result when the main process of a `Type=` ends; `None` for a type that is
/// not known, or whose result depends on more than that.
pub(super) fn result(service_type: &str, end: End, ready: bool) -> Option<ServiceResult> {
    let by_signal = matches!(end, End::Signal { .. });
    let clean = match service_type {
        "notify" | "notify-reload" if end.is_clean() && !ready => {
            return Some(ServiceResult::Protocol);
        }
        // Until ExecStart= has returned its process is a control process, which has
        // no clean signals; the daemon it leaves behind is a main process.
        "forking" if by_signal && end.is_clean() => return None,
        // No signal is a clean end for what is to finish by itself.
        "oneshot" => !by_signal && end.is_clean(),
        "simple" | "exec" | "idle" | "dbus" | "forking" | "notify" | "notify-reload" => {
            end.is_clean()
        }
        _ => return None,
    };
    Some(if clean { ServiceResult::Success } else { end.unclean_result() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(name: &str) -> End {
        End::Signal { signal: name.parse().unwrap(), core_dumped: false }
    }

    #[test]
    fn the_result_follows_type_and_signal_as_in_systemd() {
        use ServiceResult as R;
        let core = End::Signal { signal: "QUIT".parse().unwrap(), core_dumped: true };
        #[rustfmt::skip]
        let matrix = [
            // Type=          end               ready  result
            ("simple",        signal("HUP"),    false, Some(R::Success)),
            ("simple",        signal("INT"),    false, Some(R::Success)),
            ("simple",        signal("TERM"),   false, Some(R::Success)),
            ("simple",        signal("PIPE"),   false, Some(R::Success)),
            ("simple",        signal("USR1"),   false, Some(R::Signal)),
            ("simple",        signal("USR2"),   false, Some(R::Signal)),
            ("simple",        signal("KILL"),   false, Some(R::Signal)),
            ("simple",        core,             false, Some(R::CoreDump)),
            ("simple",        End::Code(0),     false, Some(R::Success)),
            ("simple",        End::Code(129),   false, Some(R::ExitCode)),
            ("exec",          signal("HUP"),    false, Some(R::Success)),
            ("idle",          signal("HUP"),    false, Some(R::Success)),
            ("dbus",          signal("HUP"),    false, Some(R::Success)),
            ("dbus",          signal("USR1"),   false, Some(R::Signal)),
            ("notify",        signal("HUP"),    false, Some(R::Protocol)),
            ("notify",        signal("HUP"),    true,  Some(R::Success)),
            ("notify",        signal("USR1"),   false, Some(R::Signal)),
            ("notify",        signal("USR1"),   true,  Some(R::Signal)),
            ("notify",        End::Code(0),     false, Some(R::Protocol)),
            ("notify",        End::Code(1),     false, Some(R::ExitCode)),
            ("notify-reload", signal("HUP"),    false, Some(R::Protocol)),
            ("notify-reload", signal("HUP"),    true,  Some(R::Success)),
            ("oneshot",       signal("HUP"),    false, Some(R::Signal)),
            ("oneshot",       signal("TERM"),   false, Some(R::Signal)),
            ("oneshot",       End::Code(0),     false, Some(R::Success)),
            ("forking",       signal("HUP"),    false, None),
            ("forking",       signal("USR1"),   false, Some(R::Signal)),
            ("forking",       End::Code(0),     false, Some(R::Success)),
            ("of tomorrow",   signal("HUP"),    false, None),
        ];
        for (service_type, end, ready, expected) in matrix {
            assert_eq!(result(service_type, end, ready), expected, "{service_type}, {ready}");
        }
    }

    #[test]
    fn restart_follows_the_result_as_in_systemd() {
        use ServiceResult as R;
        let settings =
            ["no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"];
        #[rustfmt::skip]
        let matrix = [
            (R::Success,  [false, true, true,  false, false, false, false]),
            (R::ExitCode, [false, true, false, true,  false, false, false]),
            (R::Signal,   [false, true, false, true,  true,  true,  false]),
            (R::CoreDump, [false, true, false, true,  true,  true,  false]),
            (R::Protocol, [false, true, false, true,  true,  false, false]),
            (R::Timeout,  [false, true, false, true,  true,  false, false]),
        ];
        for (result, row) in matrix {
            for (setting, expected) in settings.into_iter().zip(row) {
                assert_eq!(result.restarts(setting), Some(expected), "{result:?}, {setting}");
            }
            assert_eq!(result.restarts("on-whim"), None);
        }
    }
}
