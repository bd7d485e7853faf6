//! Whether a reload came through systemd while the process stood at the instant, or systemd held it
//! back.

use crate::model::{race::ReloadAsked, span};

/// A reload that systemd was asked for while the process stood at an instant. Times are
/// `CLOCK_BOOTTIME` ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// When it was asked for.
    pub asked: u64,
    /// Until when the process stood there.
    pub until: u64,
    /// What systemd answered by then.
    pub answer: Answer,
    /// What the job of the reload came to in the end, if that is known.
    pub job: Option<String>,
}

/// What systemd answered to a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None {
        /// It waited for the exec of the process that stood there (vfork), and did nothing else.
        waits: bool,
    },
    /// It refused.
    Refused(String),
    /// It took it; the unit's `ActiveState` then.
    State(String),
}

/// What the record of a run says of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The signal was sent while the process stood there.
    Came,
    /// systemd sent nothing as long as it stood there: why.
    Back(String),
    /// Nothing was sent, and it is not systemd that held it back: so nothing is known.
    Unknown(String),
}

impl Reload {
    /// It as the report has it; `at` takes `CLOCK_BOOTTIME` ns to the timeline of the run.
    #[must_use]
    pub fn asked(&self, sent: Option<u64>, at: impl Fn(u64) -> i64) -> ReloadAsked {
        let (state, refused) = match &self.answer {
            Answer::State(state) => (Some(state.clone()).filter(|it| !it.is_empty()), None),
            Answer::Refused(why) => (None, Some(why.clone())),
            Answer::None { .. } => (None, None),
        };
        ReloadAsked {
            asked_ns: at(self.asked),
            until_ns: at(self.until),
            state,
            refused,
            job: self.job.clone(),
            sent_ns: sent.map(at),
        }
    }

    /// What the record says; `sent` is when a signal of the reload was sent first, if one was.
    #[must_use]
    pub fn held(&self, sent: Option<u64>) -> Held {
        if sent.is_some_and(|sent| sent <= self.until) {
            return Held::Came;
        }
        let stood = span::length(self.until.saturating_sub(self.asked));
        let why = match &self.answer {
            Answer::None { waits: true } => {
                "systemd itself waited for the exec, and sent nothing".to_owned()
            }
            Answer::None { waits: false } => {
                return Held::Unknown(format!("systemd did not answer within {stood}"));
            }
            Answer::Refused(why) => format!("systemd refused the reload: {why}"),
            Answer::State(state) => match state.as_str() {
                "activating" => "systemd was still starting it, and sent nothing".to_owned(),
                "deactivating" => "systemd was stopping it, and sent nothing".to_owned(),
                "active" | "reloading" | "refreshing" | "" => {
                    return Held::Unknown(match &self.job {
                        Some(result) => format!(
                            "the reload sent the main process no such signal: its job ended with \
                             '{result}'"
                        ),
                        None => format!("the reload had sent no such signal within {stood}"),
                    });
                }
                state => format!("systemd held it for {state}, and sent nothing"),
            },
        };
        Held::Back(match (sent, &self.job) {
            (Some(sent), _) => {
                let later = span::length(sent.saturating_sub(self.until));
                format!("{why} until {later} later; then it")
            }
            (None, Some(job)) => format!("{why}, nor later: the reload's job ended with '{job}'"),
            (None, None) => format!("{why}, nor later"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn asked(answer: Answer, job: Option<&str>) -> Reload {
        Reload { asked: 10 * MS, until: 14 * MS, answer, job: job.map(str::to_owned) }
    }

    fn state(state: &str) -> Answer {
        Answer::State(state.to_owned())
    }

    #[test]
    fn what_was_sent_while_the_process_stood_there_has_come_whatever_systemd_says() {
        for answer in [state("active"), state("activating"), Answer::None { waits: false }] {
            assert_eq!(asked(answer.clone(), None).held(Some(14 * MS)), Held::Came);
            assert_ne!(asked(answer, None).held(Some(14 * MS + 1)), Held::Came);
        }
    }

    #[test]
    fn a_reload_is_held_back_where_systemd_was_about_something_else_and_sent_nothing() {
        for (answer, sent, job, expected) in [
            (state("activating"), None, Some("done"), "starting it, and sent nothing, nor later"),
            (state("activating"), Some(20 * MS), None, "until 6.00 ms later; then it"),
            (state("deactivating"), None, None, "was stopping it"),
            (state("inactive"), None, Some("invalid"), "held it for inactive"),
            (Answer::None { waits: true }, Some(15 * MS), None, "waited for the exec"),
            (Answer::Refused("no".to_owned()), None, None, "refused the reload: no"),
        ] {
            let Held::Back(why) = asked(answer.clone(), job).held(sent) else {
                panic!("{answer:?}")
            };
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn nothing_is_known_where_an_active_unit_is_sent_nothing() {
        for (answer, job, expected) in [
            (state("active"), Some("done"), "its job ended with 'done'"),
            (state("reloading"), None, "no such signal within 4.00 ms"),
            (Answer::None { waits: false }, None, "did not answer within 4.00 ms"),
        ] {
            let Held::Unknown(why) = asked(answer.clone(), job).held(None) else {
                panic!("{answer:?}")
            };
            assert!(why.contains(expected), "{why}");
        }
    }
}
