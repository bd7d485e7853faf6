//! What was found in unit files, for people.

use super::{
    Style,
    alerts::block,
    escape,
    headline::counted,
    paint::{Ink, Paint},
    text,
};
use crate::{
    lint::{Finding, LintReport, Unit},
    model::document::Severity,
};

/// Text this wide reads well.
const WIDEST: usize = 100;

/// The findings, the worst first, with the drop-ins ready to paste.
#[must_use]
pub fn table(lint: &LintReport, style: Style) -> String {
    let width = usize::from(style.width).clamp(60, WIDEST);
    let paint = Paint::colors(style.color);
    let mut lines = Vec::new();
    for unit in &lint.units {
        lines.extend(unit_lines(unit, width, paint));
        lines.push(String::new());
    }
    lines.extend(unknown_lines(lint, width, paint));
    lines.extend(text::wrap(&summary(lint), width));
    lines.join("\n") + "\n"
}

/// The same for scripts.
pub fn json(lint: &LintReport) -> serde_json::Result<String> {
    Ok(escape::json(&serde_json::to_string_pretty(lint)?).into_owned() + "\n")
}

fn unit_lines(unit: &Unit, width: usize, paint: Paint) -> Vec<String> {
    let facts = &unit.unit;
    let settings = [
        ("Type", &facts.service_type),
        ("NotifyAccess", &facts.notify_access),
        ("Restart", &facts.restart),
    ];
    let settings = settings.iter().filter_map(|(name, value)| {
        value.as_deref().map(|value| format!("{name}={}", escape::text(value)))
    });
    let reloads = facts.exec_reload.iter().flatten();
    let reloads = reloads.map(|line| format!("ExecReload={}", escape::text(line)));
    let about = settings.chain(reloads).collect::<Vec<_>>().join(", ");
    let mut lines = vec![paint.ink(Ink::Title, &escape::text(&unit.name))];
    let about = text::wrap(&about, width - 2);
    lines.extend(about.iter().map(|line| format!("  {}", paint.ink(Ink::Faint, line))));
    for finding in &unit.findings {
        lines.extend(finding_lines(finding, width, paint));
    }
    lines
}

fn finding_lines(finding: &Finding, width: usize, paint: Paint) -> Vec<String> {
    let name = format!("{}[{}]", finding.severity, finding.id);
    let headline = format!("{name}: {}", escape::text(&finding.message));
    let parts = [("consequence", &*finding.consequence), ("mend", &*finding.mend)];
    let mut lines = block(finding.severity, &name, &headline, &parts, width, paint);
    if let Some(drop_in) = &finding.drop_in {
        lines.push(format!("  = drop-in: {}", escape::text(&drop_in.path)));
        lines.extend(drop_in.text.lines().map(|line| format!("      {}", escape::text(line))));
    }
    lines
}

/// What is not known of which units.
fn unknown_lines(lint: &LintReport, width: usize, paint: Paint) -> Vec<String> {
    if lint.unknown.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![paint.ink(Ink::Title, "The text of these units does not tell")];
    for unknown in &lint.unknown {
        let sentence = format!("{}: {}", unknown.unit, unknown.what);
        lines.extend(
            text::wrap(&escape::text(&sentence), width - 2).iter().map(|line| format!("  {line}")),
        );
    }
    lines.push(String::new());
    lines
}

fn summary(lint: &LintReport) -> String {
    let count = |severity| lint.findings().filter(|it| it.severity == severity).count();
    format!(
        "{} examined, {} with findings: {}, {}.",
        counted(lint.examined, "service"),
        lint.units.len(),
        counted(count(Severity::Error), "error"),
        counted(count(Severity::Warning), "warning"),
    )
}
