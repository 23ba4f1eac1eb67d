//! The summary on the terminal: 80 columns that can be read and pasted.

use std::fmt::Write as _;

use crate::html::{Answer, tally};
use crate::meaning::{Meaning, said, short};
use crate::number::{Bounds, counted, grouped, nanos, share};
use crate::record::{CheckStatus, Clock, FaultStatus, ObjectiveStatus, VerdictResult};
use crate::text::{clipped, printable};
use crate::{Record, chaos, judged, practice, verdict};

/// How the summary is printed.
#[derive(Clone, Copy, Debug, Default)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    fn good(self, text: &str) -> String {
        self.code("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.code("31", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The summary of a run, ending in a line feed.
pub fn summary(record: &Record, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    let word = verdict::word(record.verdict.result).to_uppercase();
    let good = record.verdict.result == VerdictResult::Passed;
    let word = if good { paint.good(&word) } else { paint.bad(&word) };
    let _ = writeln!(out, "{}  {}", paint.bold(&word), paint.bold(&clipped(&record.name, 66)));
    let answer = Answer::of(record);
    for line in wrapped(&clipped(answer.question, 300), 78) {
        let _ = writeln!(out, "{}", paint.dim(format!("  {line}").trim_end()));
    }
    let why: Vec<String> = answer.why.iter().map(|why| clipped(why, 400)).collect();
    let next = format!("{}: {}", answer.next.why, clipped(&answer.next.command, 300));
    for (name, told) in [("why", why.join(" ")), ("broken", clipped(&answer.broken(), 400)), ("next", next)] {
        for (at, line) in wrapped(&told, 70).into_iter().filter(|line| !line.is_empty()).enumerate() {
            let _ = writeln!(out, "  {:<7} {line}", if at == 0 { name } else { "" });
        }
    }
    for line in wrapped(&printable(&record.verdict.sentence), 78) {
        let _ = writeln!(out, "  {line}");
    }
    let bounds = judged::bounds(record);
    objectives(record, paint, &mut out);
    progress(record, &bounds, paint, &mut out);
    latency(record, &bounds, paint, &mut out);
    codes(record, paint, &mut out);
    chaos(record, paint, &mut out);
    practices(record, paint, &mut out);
    out
}

/// Faults that are told although the fleet survived them; a page tells all.
const FAULTS_MAX: usize = 12;

/// What went wrong on purpose, and what the fleet made of it.
fn chaos(record: &Record, paint: Paint, out: &mut String) {
    let (told, left) = judged::faults(record, FAULTS_MAX);
    if told.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint.bold("Faults"));
    for fault in told {
        let word = format!("{:<8}", chaos::word(record, fault));
        let word = if fault.status == FaultStatus::Passed { paint.good(&word) } else { paint.bad(&word) };
        let _ = writeln!(out, "  {word}  {}", clipped(&fault.name, 66));
        for line in wrapped(&printable(&chaos::sentence(record, fault)), 66) {
            let _ = writeln!(out, "            {}", paint.dim(&line));
        }
    }
    if left > 0 {
        let _ = writeln!(out, "  and {left} more that are over");
    }
}

/// The best practices that were broken, and how many were kept.
fn practices(record: &Record, paint: Paint, out: &mut String) {
    let checks = &record.practice.checks;
    if checks.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint.bold("Best practices"));
    for line in wrapped(&tally(record), 76) {
        let _ = writeln!(out, "  {line}");
    }
    for check in checks.iter().filter(|check| check.status == CheckStatus::Failed) {
        let _ = writeln!(out, "  {}  {}", paint.bad("broken"), clipped(&check.title, 66));
        for line in wrapped(&printable(&check.evidence), 68) {
            let _ = writeln!(out, "          {}", paint.dim(&line));
        }
        let cases = practice::cases(check).map(|(which, case)| format!("{which}: {}", practice::told(case)));
        let command = practice::replay(record, check).map(|command| format!("see it: {command}"));
        for told in cases.chain(command) {
            for line in wrapped(&clipped(&told, 300), 66) {
                let _ = writeln!(out, "            {}", paint.dim(&line));
            }
        }
    }
}

fn objectives(record: &Record, paint: Paint, out: &mut String) {
    let _ = writeln!(out, "\n{}", paint.bold("Objectives"));
    if record.objectives.is_empty() {
        let _ = writeln!(out, "  {}  {}", paint.bad("none"), verdict::NO_OBJECTIVE);
        return;
    }
    let longest = record.objectives.iter().map(|objective| objective.expression.chars().count()).max();
    let width = longest.unwrap_or(0).clamp(30, 52);
    for objective in judged::objectives(record, usize::MAX).0 {
        let mark = match objective.status {
            ObjectiveStatus::Passed => paint.good("ok  "),
            ObjectiveStatus::Failed => paint.bad("FAIL"),
            ObjectiveStatus::NoData => paint.bad("none"),
            ObjectiveStatus::Undecided => paint.bad("open"),
        };
        let _ = writeln!(
            out,
            "  {mark}  {:<width$}  {}",
            clipped(&objective.expression, 51),
            clipped(&objective.observed, 40)
        );
        if !objective.note.is_empty() {
            for line in wrapped(&printable(&objective.note), 70) {
                let _ = writeln!(out, "        {}", paint.dim(&line));
            }
        }
    }
}

fn progress(record: &Record, bounds: &Bounds, paint: Paint, out: &mut String) {
    let totals = &record.totals;
    let _ = writeln!(out, "\n{}", paint.bold("Fleet"));
    let clock = match record.clock {
        Clock::Wall => "",
        Clock::Wired => "  (virtual time: latencies are the model's)",
        Clock::Virtual => "  (simulated: latencies are the model's)",
    };
    let at = |ns: Option<u64>| ns.map_or("–".to_owned(), |ns| bounds.nanos(ns));
    let completion = &record.completion;
    let _ = writeln!(
        out,
        "  assigned   {} of {} ({}){clock}",
        grouped(totals.assigned),
        grouped(record.devices),
        bounds.percent(totals.assigned, record.devices)
    );
    let _ = writeln!(
        out,
        "  share      50 % {}   90 % {}   99 % {}   all {}",
        at(completion.t50_ns),
        at(completion.t90_ns),
        at(completion.t99_ns),
        at(completion.t100_ns)
    );
    let _ = writeln!(
        out,
        "  requests   {} ({} throttled), {}",
        grouped(totals.requests),
        grouped(totals.throttled),
        counted(totals.connections, "connection")
    );
    let _ = writeln!(
        out,
        "  billed     {}, {} a device",
        counted(totals.billable, "registration"),
        bounds.ratio(totals.billable, totals.booted)
    );
    if let Some(life) = &record.life {
        let _ = writeln!(
            out,
            "  online     {} of {} ({}) at their hub, {} of the time",
            grouped(life.online_at_end),
            grouped(life.devices),
            bounds.percent(life.online_at_end, life.devices),
            share(life.online_share)
        );
        let _ = writeln!(
            out,
            "  reconnects {} ({} from the cache), {} not needed",
            grouped(life.reconnects),
            bounds.percent(life.reconnects_cached, life.reconnects),
            counted(life.registrations_needless, "registration")
        );
    }
    if record.held_back.devices > 0 {
        let _ = writeln!(
            out,
            "  held back  {} by max_concurrent, up to {}",
            counted(record.held_back.devices, "device"),
            nanos(record.held_back.longest_ns)
        );
    }
    if record.cohorts.len() > 1 {
        for cohort in &record.cohorts {
            let name: String = printable(&cohort.name).chars().take(20).collect();
            let _ = writeln!(
                out,
                "  {name:<20} {:>8} of {:<8} 99 % {}",
                grouped(cohort.totals.assigned),
                grouped(cohort.totals.devices),
                at(cohort.completion.t99_ns)
            );
        }
    }
}

fn latency(record: &Record, bounds: &Bounds, paint: Paint, out: &mut String) {
    if record.phases.is_empty() {
        return;
    }
    let head =
        format!("{:<20}{:<10}{:>9}{:>10}{:>10}{:>10}{:>10}", "Latency", "", "n", "p50", "p90", "p99", "max");
    let _ = writeln!(out, "\n{}", paint.bold(&head));
    let micros = |us: u64| bounds.nanos(us.saturating_mul(1_000));
    for phase in &record.phases {
        let times = &phase.intended;
        let _ = writeln!(
            out,
            "  {:<18}{:<10}{:>9}{:>10}{:>10}{:>10}{:>10}",
            clipped(&phase.phase, 17),
            clipped(&phase.outcome, 9),
            grouped(times.count),
            micros(times.p50_us),
            micros(times.p90_us),
            micros(times.p99_us),
            micros(times.max_us)
        );
    }
    if record.phases.iter().any(|phase| phase.phase == "time-to-assigned") {
        let told = "time-to-assigned counts from a device's boot, the shares above from the start";
        let _ = writeln!(out, "  {}", paint.dim(told));
    }
}

/// Causes of a code that a terminal has room for; the page has all that the record has.
const CAUSES_MAX: usize = 2;

fn codes(record: &Record, paint: Paint, out: &mut String) {
    let mut bad: Vec<_> = record.codes.iter().filter(|code| !code.succeeded()).collect();
    bad.sort_by_key(|code| std::cmp::Reverse(code.count));
    if bad.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint.bold("What went wrong"));
    for code in bad.iter().take(6) {
        let meaning = Meaning::of(code);
        let what = clipped(&short(code), 15);
        let title = meaning.map_or("", |known| known.title);
        let _ = writeln!(
            out,
            "  {:>8} x {what:<16} {:<9} {}  {title}",
            grouped(code.count),
            clipped(&code.operation, 9),
            counted(code.devices, "device")
        );
        if let Some(Meaning { action, .. }) = meaning {
            for line in wrapped(action, 66) {
                let _ = writeln!(out, "             {}", paint.dim(&line));
            }
        }
        for cause in said(code).take(CAUSES_MAX) {
            for line in wrapped(&format!("said: {cause}"), 66) {
                let _ = writeln!(out, "             {line}");
            }
        }
    }
    if bad.len() > 6 {
        let _ = writeln!(out, "  and {} more in the report", bad.len() - 6);
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
