//! The services that run, for `lint --running`.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use sigready::{
    host::{
        bounded::{Bounded, Patience},
        cgroups::{self, Hierarchies},
        procfs,
        program::{self, Read, Reader},
    },
    lint::running::{Live, Running},
    model::{raw_name, runtime::Runtime},
    observation::{Fact, ProcessId, Program},
    systemd::{
        bus::{self, Bus},
        manager::Manager,
        properties::{self, Properties},
    },
};

use crate::{
    cli::Lint,
    commands::{fault::Fault, unit_names},
};

/// How long reading an executable may take.
const READING: Patience =
    Patience { each: Duration::from_millis(200), all: Duration::from_millis(200) };

/// Those of the host's systemd, or of the user's that was named, whose names match.
pub fn services(options: &Lint) -> Result<Vec<Running>, Fault> {
    let manager = match &options.user {
        Some(name) => Manager::of_user(unit_names::user(name)?.uid),
        None => Manager::host(),
    };
    let wanted = options.what.iter().map(|what| {
        let name = unit_names::service(&raw_name::os_text(what))?;
        unit_names::matcher(&name).map(|matcher| (name, matcher))
    });
    let wanted = wanted.collect::<Result<Vec<_>, Fault>>()?;
    let hierarchies = Hierarchies::find().context("cannot find the cgroups of services")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let found = runtime.block_on(async {
        let bus = Bus::connect(&manager).await?;
        let (mut found, mut programs) = (Vec::new(), Programs::default());
        for name in names(&hierarchies) {
            if wanted.is_empty() || wanted.iter().any(|(_, matcher)| matcher.is_match(&name)) {
                found.extend(service(&bus, &name, &hierarchies, &mut programs).await);
            }
        }
        anyhow::Ok(found)
    })?;
    if let Some((name, _)) = wanted
        .iter()
        .find(|(_, matcher)| !found.iter().any(|service| matcher.is_match(&service.name)))
    {
        return Err(Fault::usage(format_args!("no service '{name}' runs under this systemd")));
    }
    Ok(found)
}

/// The names of all services that have a cgroup.
fn names(hierarchies: &Hierarchies) -> BTreeSet<String> {
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let names = hierarchies.scan().into_iter().filter_map(|cgroup| name(&cgroup.path));
    names.filter(|name| name.ends_with(".service")).collect()
}

/// A service by its name, if this systemd runs it and has a main process for it.
async fn service(
    bus: &Bus,
    name: &str,
    hierarchies: &Hierarchies,
    programs: &mut Programs,
) -> Option<Running> {
    let object = bus::object(name);
    let service = bus.properties(&object, bus::SERVICE).await.ok()?;
    let pid = service.get("MainPID")?.downcast_ref::<u32>().ok().filter(|pid| *pid != 0)?;
    let unit = bus.properties(&object, bus::UNIT).await.ok()?;
    let control_group = properties::text(&service, "ControlGroup")?;
    let main = live(pid, &control_group, hierarchies, programs)?;
    Some(Running {
        name: name.to_owned(),
        files: files(&unit),
        facts: properties::facts(&unit, &service),
        state: properties::text(&unit, "ActiveState")?,
        main,
    })
}

fn files(unit: &Properties) -> Vec<String> {
    let fragment = properties::text(unit, "FragmentPath");
    let drop_ins = unit.get("DropInPaths").and_then(|paths| paths.try_clone().ok());
    let drop_ins = drop_ins.and_then(|paths| Vec::<String>::try_from(paths).ok());
    fragment.into_iter().chain(drop_ins.unwrap_or_default()).collect()
}

/// A process as it is now, if it is in the unit's cgroup: else another has its pid.
fn live(
    pid: u32,
    control_group: &str,
    hierarchies: &Hierarchies,
    programs: &mut Programs,
) -> Option<Live> {
    let id = procfs::id(pid)?;
    let cgroup = hierarchies.path_of(pid)?;
    if !cgroups::directory(&cgroup).ends_with(cgroups::directory(control_group)) {
        return None;
    }
    let Fact::Left { state, .. } = procfs::left(id)?.fact else {
        return None;
    };
    Some(Live {
        pid,
        exe: procfs::exe(id),
        ignored: state.ignored,
        caught: state.caught,
        blocked: state.blocked,
        read: procfs::reads(pid),
        is_init: procfs::is_init(pid),
        program: programs.of(id),
    })
}

/// Tells what runs in processes.
struct Programs {
    executables: Bounded<ProcessId, Option<Read>>,
    loaded: Bounded<ProcessId, Option<Runtime>>,
}

impl Default for Programs {
    fn default() -> Self {
        let reader = Reader::default();
        Self {
            executables: Bounded::new("sigready-program", move |id| reader.read(id)),
            loaded: Bounded::new("sigready-maps", program::loaded),
        }
    }
}

impl Programs {
    fn of(&mut self, id: ProcessId) -> Program {
        let program = self.executables.ask(&[id], READING).pop().flatten().flatten();
        let program = program.map_or(Program::Unread, |read| read.program);
        if let Program::Of(_) = program {
            return program;
        }
        let loaded = self.loaded.ask(&[id], READING).pop().flatten().flatten();
        loaded.map_or(program, Program::Of)
    }
}
