//! The reload's signal can come before the handler: nothing makes systemd wait.

use super::{Check, Finding, Place, reload_ends_it::ends};
use crate::{
    model::{document::Severity, unit::UnitFacts},
    rules::result::{Decider, End, Stage, predict},
};

pub(super) const CHECK: Check = Check {
    id: "reload-not-awaited",
    explanation: include_str!("../../../docs/lint/reload-not-awaited.md"),
    check,
};

fn check(name: &str, unit: &UnitFacts, place: &Place) -> Option<Finding> {
    let signal = unit.reload_signal.filter(|signal| !ends(*signal))?;
    let service_type = unit.service_type.as_deref()?;
    // systemd holds that these are up as soon as there is a process.
    if !["simple", "exec", "idle"].contains(&service_type) {
        return None;
    }
    let end = End::Signal { signal, core_dumped: false };
    let predicted = predict(unit, end, Stage::Started)?;
    let restart = unit.restart.as_deref().unwrap_or("no");
    let comes_back = predicted.restarts == Some(true);
    let decider = match predicted.decided_by {
        Decider::Restart => format!("Restart={restart}"),
        Decider::Prevent => "RestartPreventExitStatus=".to_owned(),
        Decider::Force => "RestartForceExitStatus=".to_owned(),
        Decider::Remain => "RemainAfterExit=".to_owned(),
    };
    let result = predicted.result.name();
    let consequence = if comes_back {
        format!("It dies (result '{result}'), and {decider} starts it again: an outage, no more.")
    } else if result == "success" {
        format!(
            "It dies (result '{result}': a clean exit), {decider} does not start it again, and \
             nothing reports a failure."
        )
    } else {
        format!("It dies (result '{result}'), and {decider} does not start it again.")
    };
    let force = if comes_back {
        String::new()
    } else {
        format!(
            "# Start it again when a reload has killed it before its handler was in.\n\
             RestartForceExitStatus=SIG{signal}\n"
        )
    };
    let text = format!(
        "[Service]\n{force}# Better, where the program sends READY=1 once its handlers are in \
         (see: sigready run):\n#Type=notify\n"
    );
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: if comes_back { Severity::Warning } else { Severity::Error },
        message: format!(
            "systemd takes a Type={service_type} service as up before its program has run: a \
             reload right after the start sends {signal} before there is a handler."
        ),
        consequence,
        mend: format!(
            "Type=notify makes systemctl reload wait, where the program sends READY=1 once its \
             handlers are in. See what it does: {}",
            place.trace(name, "--reload-during-start")
        ),
        drop_in: Some(place.drop_in(name, &text)),
    })
}
