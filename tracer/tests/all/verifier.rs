//! What the kernel side costs the kernel's verifier stays within its budget.

use std::collections::BTreeMap;

use nix::sys::utsname::uname;

use crate::support::{fentry_works, sigready};

/// Instructions that a kernel's verifier may go through: by its series, then by program.
const BUDGET: &str = include_str!("verifier.toml");

/// The first kernel that tells how many it went through (`verified_insns`).
const TELLS: (u32, u32) = (5, 16);

/// Characters of the verifier's log that are shown of a program that it refuses.
const LOG: usize = 8_000;

type Counts = BTreeMap<String, u64>;

/// `6.12` as numbers.
fn series(text: &str) -> (u32, u32) {
    let mut numbers = text.split(['.', '-']).map(|it| it.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The commands that load programs, each with what its result has. WINCH is placed, which does no
/// harm.
const COMMANDS: [(&[&str], &str); 2] = [
    (&["run", "--type", "simple"], "exited with code 0"),
    (
        &["race", "--type", "simple", "--quiet-time", "1ms", "--signal", "WINCH", "--sweep", "1"],
        "WINCH@fork",
    ),
];

/// How many instructions were verified, by program.
fn verified(backend: &str) -> Counts {
    let each = COMMANDS.into_iter();
    each.flat_map(|(command, result)| verified_by(command, result, backend)).collect()
}

/// There is a result where the programs were loaded. What it says is no matter here.
fn verified_by(command: &[&str], result: &str, backend: &str) -> Counts {
    let command = [&["-vv"][..], command, &["--backend", backend, "--", "/bin/true"]].concat();
    let ran = sigready(&command);
    let stderr = String::from_utf8_lossy(&ran.stderr);
    let tail = stderr.char_indices().rev().nth(LOG).map_or(0, |(at, _)| at);
    let stdout = String::from_utf8_lossy(&ran.stdout);
    // That of run is on standard error, as the other one is its command's.
    let is_there = stdout.contains(result) || stderr.contains(result);
    assert!(is_there, "{}\n{stdout}\n{}", ran.status, &stderr[tail..]);
    let counts = stderr.lines().filter_map(|line| {
        let line = line.strip_suffix(" instructions verified")?;
        let (program, count) = line.rsplit_once(": ")?;
        let program = program.rsplit(' ').next()?;
        Some((program.to_owned(), count.parse().ok()?))
    });
    counts.collect()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn the_verifier_goes_through_no_more_instructions_than_the_budget_allows() {
    let mut counts = verified("tracepoint");
    if fentry_works() {
        counts.extend(verified("fentry"));
    }
    let release = uname().unwrap().release().to_string_lossy().into_owned();
    let kernel = series(&release);
    println!("verified by {}.{}: {counts:#?}", kernel.0, kernel.1);
    if kernel < TELLS {
        assert_eq!(counts, Counts::new(), "{release} tells how many, so it has a budget");
        return;
    }
    let budgets: BTreeMap<String, Counts> = toml::from_str(BUDGET).unwrap();
    // Where a kernel has no budget for a program, that of the one before it counts, else that of
    // the next one.
    let mut kernels: Vec<_> = budgets.iter().map(|(name, budget)| (series(name), budget)).collect();
    kernels.sort_by_key(|(of, _)| *of);
    let (before, after): (Vec<_>, Vec<_>) = kernels.into_iter().partition(|(of, _)| *of <= kernel);
    let budget = |program: &str| {
        let mut nearest = before.iter().rev().chain(&after);
        let found = nearest.find_map(|(_, budget)| budget.get(program));
        *found.unwrap_or_else(|| panic!("no kernel has a budget for {program}"))
    };
    for program in ["signal_generate", "place_exit_send"] {
        assert!(counts.contains_key(program), "{program}: {counts:?}");
    }
    for (program, count) in counts {
        let most = budget(&program);
        assert!(count <= most, "{program}: {count} verified, and the budget is {most}");
    }
}
