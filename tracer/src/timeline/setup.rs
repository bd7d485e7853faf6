//! What a timeline is built with: the scope, the signals, the clocks.

use tracer_common::signal::SignalSet;

use super::{choice::MainPattern, counting::Counting, scope::Scope};
use crate::{
    model::{signal::Signal, unit::UnitFacts},
    observation::Anchor,
};

/// What a builder has to know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is observed.
    pub scope: Scope,
    /// The reload signal.
    pub reload_signal: Signal,
    /// Whether a unit's own reload signal takes its place.
    pub units_choose: bool,
    /// Whether only starts that begin during the capture count as progress.
    pub fresh: bool,
    /// Which units count as those that were asked for.
    pub counting: Counting,
    /// The signals whose dispositions the kernel side reports. It reports one more, which
    /// tells a runtime's catch-all handler.
    pub recorded: SignalSet,
    /// Those whose dispositions become events of every service. Besides, a service has
    /// its reload signal's.
    pub shown: SignalSet,
    /// The settings of the command under `run`.
    pub facts: Option<UnitFacts>,
    /// How long after a reload the service must still be there for that to be told as survived,
    /// ns.
    pub settle_ns: u64,
    /// Whether the tracer places the reload signal, which the kernel sends then.
    pub placed: bool,
    /// Which process is the service, where that was said.
    pub main: Option<MainPattern>,
    /// One instant on both clocks: everything is seen of processes started since then.
    pub anchor: Anchor,
}
