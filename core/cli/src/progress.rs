//! Progress on standard error: a live display, plain lines or JSON.

mod study;

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::ValueEnum as _;
use fleetstorm_engine::{Control, Snapshot};
use fleetstorm_net::clock::Clock;
use fleetstorm_protocol::outcome::Outcome;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::number::{counted as of_number, grouped};
use fleetstorm_units::time::{Moment, Span};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

pub(crate) use study::StudyDisplay;

use crate::arguments::run::{ClockChoice, ProgressChoice};
use crate::supervise::Watch;
use crate::terminal::QuietKeys;
use crate::verbose;

/// Shows a run while it lives.
pub(crate) struct Display {
    form: Form,
    name: String,
    devices: u64,
    /// Which clock the run keeps, and when it ends at the latest by that.
    timing: ClockChoice,
    horizon: Span,
    clock: Clock,
    pace: Pace,
    /// When the last line was written.
    last: Option<Span>,
}

enum Form {
    Live {
        all: MultiProgress,
        bar: ProgressBar,
        /// One a cohort, where there are several and room for them.
        cohorts: Vec<ProgressBar>,
        counts: ProgressBar,
        /// What goes wrong most, and the devices assigned in each of the last seconds.
        troubles: ProgressBar,
        history: History,
        _keys: QuietKeys,
    },
    Plain,
    Json,
    Silent,
}

/// Seconds between plain lines.
const PLAIN_EVERY: Span = Span::from_secs(5);
/// Time between changes of the live display: numbers that jump ten times a second cannot be read.
const LIVE_EVERY: Span = Span::from_millis(500);
/// Seconds between JSON objects.
const JSON_EVERY: Span = Span::from_secs(1);

impl Display {
    pub(crate) fn new(choice: ProgressChoice, scenario: &Scenario, timing: ClockChoice) -> Self {
        let devices = u64::from(scenario.fleet.devices);
        let form = match choice {
            ProgressChoice::Auto if std::io::stderr().is_terminal() && !verbose::is_on() => live(scenario),
            ProgressChoice::Auto | ProgressChoice::Plain => Form::Plain,
            ProgressChoice::Json => Form::Json,
            ProgressChoice::None => Form::Silent,
        };
        Self {
            form,
            name: printable(&scenario.name),
            devices,
            timing,
            horizon: scenario.horizon.0,
            clock: Clock::start(),
            pace: Pace::default(),
            last: None,
        }
    }

    /// Shows the numbers of this moment; call it often.
    fn show(&mut self, now: &Snapshot) {
        let at = self.clock.now().since(Moment::START);
        self.pace.add(self.run_clock(at, now), now);
        let due = |every: Span| self.last.is_none_or(|last| at.saturating_sub(last) >= every);
        let told = self.reached(now).into_iter().chain(Some(self.pace.left(self.devices, now)));
        let told = told.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ");
        match &mut self.form {
            Form::Live { bar, cohorts, counts, troubles, history, .. } if due(LIVE_EVERY) => {
                bar.set_position(now.assigned);
                bar.set_message(told);
                for (bar, assigned) in cohorts.iter().zip(now.cohorts) {
                    bar.set_position(assigned);
                }
                history.add(at, now.assigned);
                counts.set_message(counted(now, &self.pace));
                troubles.set_message(format!("assigned/s {:>SPARKS$}   {}", history.sparkline(), top(now)));
                self.last = Some(at);
            }
            Form::Plain if due(PLAIN_EVERY) => {
                eprintln!("{}", self.line(at, now));
                self.last = Some(at);
            }
            Form::Json if due(JSON_EVERY) => {
                eprintln!("{}", self.object("progress", at, now));
                self.last = Some(at);
            }
            Form::Live { .. } | Form::Plain | Form::Json | Form::Silent => {}
        }
    }

    /// Clears the display or writes a last line.
    fn close(mut self, last: Option<&Snapshot>) {
        let at = self.clock.now().since(Moment::START);
        if let Some(now) = last {
            self.pace.add(self.run_clock(at, now), now);
        }
        match (&self.form, last) {
            (Form::Live { all, .. }, _) => {
                let _ = all.clear();
            }
            (Form::Plain, Some(now)) => eprintln!("{}", self.line(at, now)),
            (Form::Json, Some(now)) => eprintln!("{}", self.object("finished", at, now)),
            (Form::Plain | Form::Json | Form::Silent, _) => {}
        }
    }

    /// How far the run is by the clock that it keeps, when this many seconds have passed for us.
    fn run_clock(&self, at: Span, now: &Snapshot) -> Span {
        if self.timing == ClockChoice::Wall { at } else { now.now.since(Moment::START) }
    }

    /// How far a clock is that cannot be seen otherwise.
    fn reached(&self, now: &Snapshot) -> Option<String> {
        let seconds = |span: Span| Span::from_secs(span.as_secs());
        (self.timing != ClockChoice::Wall)
            .then(|| format!("{} of {}", seconds(now.now.since(Moment::START)), seconds(self.horizon)))
    }

    fn line(&self, at: Span, now: &Snapshot) -> String {
        let clock = self.reached(now).unwrap_or_else(|| format!("{:>4} s", at.as_secs()));
        format!(
            "[{clock}] assigned {}/{}  {}  {}",
            grouped(now.assigned),
            grouped(self.devices),
            counted(now, &self.pace),
            self.pace.left(self.devices, now)
        )
        .trim_end()
        .to_owned()
    }

    fn object(&self, event: &str, at: Span, now: &Snapshot) -> serde_json::Value {
        serde_json::json!({
            "event": event,
            "elapsed_s": tenths(at),
            "clock": self.timing.to_possible_value().map(|name| name.get_name().to_owned()),
            "at_s": tenths(self.run_clock(at, now)),
            "horizon_s": tenths(self.horizon),
            "devices": self.devices,
            "assigned": now.assigned,
            "stopped": now.stopped,
            "in_flight": now.in_flight,
            "sent": now.sent,
            "throttled": now.throttled,
            "failed": now.failed,
            "top": now.top.iter().flatten().map(|(how, count)| serde_json::json!({
                "code": short(*how),
                "count": count,
            })).collect::<Vec<_>>(),
        })
    }
}

fn tenths(span: Span) -> f64 {
    (span.as_secs_f64() * 10.0).round() / 10.0
}

impl Watch for Display {
    fn begin(&self) {
        if matches!(self.form, Form::Plain) {
            eprintln!("{}: preparing {}", self.name, of_number(self.devices, "device"));
        }
    }

    fn look(&mut self, control: &Control) {
        if let Some(snapshot) = control.snapshot() {
            self.show(&snapshot);
        }
    }

    fn note(&self, text: &str) {
        match &self.form {
            Form::Live { all, .. } => {
                let _ = all.println(text);
            }
            Form::Plain => eprintln!("{text}"),
            Form::Json => eprintln!("{}", serde_json::json!({ "event": "note", "text": text })),
            Form::Silent => {}
        }
    }

    fn abandon(&mut self) {
        self.form = Form::Silent;
    }

    fn finish(self, control: &Control) {
        self.close(control.snapshot().as_ref());
    }
}

/// Bars of cohorts that a terminal has room for.
const COHORTS_MAX: usize = 6;

fn live(scenario: &Scenario) -> Form {
    let devices = u64::from(scenario.fleet.devices);
    let all = MultiProgress::new();
    let style = |template: &str| {
        ProgressStyle::with_template(template).expect("the template is a constant that parses")
    };
    let bar = ProgressBar::new(devices)
        .with_style(
            style("{prefix:16!.bold} {bar:16.green} {human_pos} of {human_len}  {elapsed:>3}  {msg}")
                .progress_chars("━╸─"),
        )
        .with_prefix(printable(&scenario.name))
        .with_message(format!("preparing {}", of_number(devices, "device")));
    let bar = all.add(bar);
    let sizes = scenario.cohort_sizes();
    let cohorts = if (2..=COHORTS_MAX).contains(&sizes.len()) {
        let one = |(cohort, size): (&fleetstorm_scenario::Cohort, &u32)| {
            let cohort_bar = ProgressBar::new(u64::from(*size))
                .with_style(
                    style("{prefix:16!} {bar:16.cyan} {human_pos} of {human_len}").progress_chars("━╸─"),
                )
                .with_prefix(printable(&cohort.name));
            all.add(cohort_bar)
        };
        scenario.cohorts.iter().zip(&sizes).map(one).collect()
    } else {
        Vec::new()
    };
    let counts = all.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg:.dim}")));
    // The line is there from the start, so that nothing moves when the first code comes.
    let troubles = all.add(ProgressBar::new_spinner().with_style(style("  {wide_msg:.dim}")));
    counts.enable_steady_tick(Duration::from_millis(120));
    troubles.tick();
    Form::Live { all, bar, cohorts, counts, troubles, history: History::default(), _keys: QuietKeys::new() }
}

/// Devices assigned in each of the last seconds.
#[derive(Default)]
struct History {
    /// By second, the oldest first.
    assigned: VecDeque<u64>,
    second: u64,
    /// How many had their hub when the second began.
    before: u64,
}

/// Seconds of the sparkline.
const SPARKS: usize = 20;

impl History {
    fn add(&mut self, at: Span, assigned: u64) {
        let second = at.as_secs();
        if self.assigned.is_empty() {
            (self.second, self.before) = (second, assigned);
            self.assigned.push_back(0);
        }
        // A display that was held up for long need not fill every second in.
        for _ in 0..(second - self.second).min(SPARKS as u64) {
            self.before = self.before.max(assigned);
            self.assigned.push_back(0);
        }
        self.second = second;
        if let Some(last) = self.assigned.back_mut() {
            *last = assigned.saturating_sub(self.before);
        }
        while self.assigned.len() > SPARKS {
            self.assigned.pop_front();
        }
    }

    /// Assigned a second, one block each.
    fn sparkline(&self) -> String {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.assigned.iter().copied().max().unwrap_or(0).max(1);
        let block = |count: &u64| BLOCKS[((count * 7).div_ceil(most) as usize).min(7)];
        self.assigned.iter().map(block).collect()
    }
}

fn counted(now: &Snapshot, pace: &Pace) -> String {
    let stopped = if now.stopped > 0 { format!("  stopped {}", grouped(now.stopped)) } else { String::new() };
    format!(
        "in flight {}  throttled {}  failed {}{stopped}  sent {}/s",
        grouped(now.in_flight),
        grouped(now.throttled),
        grouped(now.failed),
        grouped(pace.per_second(|sample| sample.sent).round() as u64)
    )
}

/// What went wrong most often.
fn top(now: &Snapshot) -> String {
    let told: Vec<String> = now
        .top
        .iter()
        .flatten()
        .map(|(how, count)| format!("{} × {}", short(*how), grouped(*count)))
        .collect();
    if told.is_empty() { "nothing went wrong".to_owned() } else { told.join("  ") }
}

/// What stands for a way to go wrong: its most exact code.
fn short(how: Outcome) -> String {
    match how {
        Outcome::Answered { status, code: 0 } => status.0.to_string(),
        Outcome::Answered { code, .. } => code.to_string(),
        Outcome::Unmet { status, why } => format!("{} {}", status.0, why.name()),
        Outcome::Challenged => "challenge".to_owned(),
        Outcome::Broke(fault) => fault.name().to_owned(),
    }
}

/// Rates over the last seconds.
#[derive(Default)]
struct Pace(VecDeque<Sample>);

#[derive(Clone, Copy)]
struct Sample {
    at: Span,
    sent: u64,
    assigned: u64,
}

/// Long enough to smooth a burst, short enough to see a change.
const WINDOW: Span = Span::from_secs(5);

impl Pace {
    fn add(&mut self, at: Span, now: &Snapshot) {
        self.0.push_back(Sample { at, sent: now.sent, assigned: now.assigned });
        while self.0.len() > 2 && at.saturating_sub(self.0[1].at) >= WINDOW {
            self.0.pop_front();
        }
    }

    fn per_second(&self, count: impl Fn(&Sample) -> u64) -> f64 {
        match (self.0.front(), self.0.back()) {
            (Some(first), Some(last)) if last.at > first.at => {
                let passed = last.at.saturating_sub(first.at).as_secs_f64();
                count(last).saturating_sub(count(first)) as f64 / passed
            }
            _ => 0.0,
        }
    }

    /// When all devices will be settled, if it goes on like this.
    fn left(&self, devices: u64, now: &Snapshot) -> String {
        let open = devices.saturating_sub(now.assigned + now.stopped);
        let rate = self.per_second(|sample| sample.assigned);
        if open == 0 || rate <= 0.0 {
            return String::new();
        }
        // The end of a run is no matter of milliseconds.
        let left = Span::from_secs(((open as f64 / rate).ceil() as u64).max(1));
        format!("about {left} left")
    }
}

/// Without what a hostile name could do to a terminal.
fn printable(text: &str) -> String {
    fleetstorm_units::shown::printable(&text.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(sent: u64, assigned: u64) -> Snapshot {
        Snapshot { sent, assigned, ..Snapshot::default() }
    }

    #[test]
    fn a_sparkline_has_a_block_a_second_and_stays_short() {
        let mut history = History::default();
        for (at_ms, assigned) in [(0, 0), (500, 10), (1_000, 10), (1_900, 80), (2_000, 80), (2_500, 115)] {
            history.add(Span::from_millis(at_ms), assigned);
        }
        assert_eq!(history.assigned, [10, 70, 35]);
        assert_eq!(history.sparkline(), "▂█▅");
        for second in 3..100 {
            history.add(Span::from_secs(second), 115);
        }
        assert_eq!(history.sparkline().chars().count(), SPARKS);
        history.add(Span::from_secs(1 << 40), 115);
        assert_eq!(history.assigned.len(), SPARKS);
    }

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        for second in 0..10 {
            let sent = if second < 5 { 0 } else { (second - 5) * 100 };
            pace.add(Span::from_secs(second), &snapshot(sent, second * 10));
        }
        assert_eq!(pace.per_second(|sample| sample.sent), 80.0);
        assert_eq!(pace.left(190, &snapshot(0, 90)), "about 10 s left");
        assert_eq!(pace.left(90, &snapshot(0, 90)), "");
        assert_eq!(Pace::default().left(5, &snapshot(0, 0)), "");
    }
}
