//! Progress of a study: runs made of runs planned, and what is known so far.

use std::io::IsTerminal as _;
use std::time::Duration;

use fleetstorm_engine::{Control, Progress};
use fleetstorm_net::clock::Clock;
use fleetstorm_units::time::{Moment, Span};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{JSON_EVERY, PLAIN_EVERY};
use crate::arguments::run::ProgressChoice;
use crate::supervise::Watch;
use crate::terminal::QuietKeys;

/// Characters of what is known that are shown.
const TEXT_MAX: usize = 240;

/// Shows a study while it lives.
pub(crate) struct StudyDisplay {
    form: Form,
    title: String,
    clock: Clock,
    /// When the last line was written, and what it said.
    last: Option<(Span, Progress)>,
}

enum Form {
    Live { bar: ProgressBar, _keys: QuietKeys },
    Plain,
    Json,
    Silent,
}

impl StudyDisplay {
    /// `what` is done, such as `comparing`, of the scenario of that name.
    pub(crate) fn new(choice: ProgressChoice, what: &str, name: &str) -> Self {
        let form = match choice {
            ProgressChoice::Auto if std::io::stderr().is_terminal() => live(what),
            ProgressChoice::Auto | ProgressChoice::Plain => Form::Plain,
            ProgressChoice::Json => Form::Json,
            ProgressChoice::None => Form::Silent,
        };
        Self { form, title: format!("{}: {what}", printable(name)), clock: Clock::start(), last: None }
    }

    fn at(&self) -> Span {
        self.clock.now().since(Moment::START)
    }

    fn write(&mut self, now: &Progress, event: &str) {
        let at = self.at();
        match &self.form {
            Form::Plain => eprintln!("{}", line(at, now)),
            Form::Json => eprintln!("{}", object(event, at, now)),
            Form::Live { .. } | Form::Silent => {}
        }
        self.last = Some((at, now.clone()));
    }
}

impl Watch for StudyDisplay {
    fn begin(&self) {
        if matches!(self.form, Form::Plain) {
            eprintln!("{}", self.title);
        }
    }

    fn look(&mut self, control: &Control) {
        let Some(now) = control.progress() else { return };
        if let Form::Live { bar, .. } = &self.form {
            bar.set_length(now.of.max(now.done));
            bar.set_position(now.done);
            bar.set_message(printable(&now.known));
            return;
        }
        let every = if matches!(self.form, Form::Json) { JSON_EVERY } else { PLAIN_EVERY };
        let at = self.at();
        let is_due = match &self.last {
            None => true,
            Some((last, told)) => *told != now && at.saturating_sub(*last) >= every,
        };
        if is_due {
            self.write(&now, "progress");
        }
    }

    fn note(&self, text: &str) {
        match &self.form {
            Form::Live { bar, .. } => bar.println(text),
            Form::Plain => eprintln!("{text}"),
            Form::Json => eprintln!("{}", serde_json::json!({ "event": "note", "text": text })),
            Form::Silent => {}
        }
    }

    fn abandon(&mut self) {
        self.form = Form::Silent;
    }

    fn finish(mut self, control: &Control) {
        if let Form::Live { bar, .. } = &self.form {
            bar.finish_and_clear();
        }
        if let Some(now) = control.progress() {
            self.write(&now, "finished");
        }
    }
}

/// Without what a hostile name could do to a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

fn live(what: &str) -> Form {
    let style = ProgressStyle::with_template(
        "{prefix:16!.bold} {bar:16.green} {human_pos} of {human_len} runs  {elapsed:>3}  {wide_msg:.dim}",
    );
    let style = style.expect("the template is a constant that parses").progress_chars("━╸─");
    let bar = ProgressBar::new(0).with_style(style).with_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    Form::Live { bar, _keys: QuietKeys::new() }
}

fn line(at: Span, now: &Progress) -> String {
    let known = if now.known.is_empty() { String::new() } else { format!("  {}", printable(&now.known)) };
    format!("[{:>4} s] {} of {} runs{known}", at.as_secs(), HumanCount(now.done), HumanCount(now.of))
}

fn object(event: &str, at: Span, now: &Progress) -> serde_json::Value {
    serde_json::json!({
        "event": event,
        "elapsed_s": (at.as_secs_f64() * 10.0).round() / 10.0,
        "runs": now.done,
        "runs_max": now.of,
        "known": now.known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_many_of_how_many_and_what_is_known() {
        let now = Progress { done: 12, of: 1_360, known: "holds at 5\u{1b}[31m".into() };
        assert_eq!(line(Span::from_secs(7), &now), "[   7 s] 12 of 1,360 runs  holds at 5[31m");
        let told = object("progress", Span::from_millis(7_250), &now);
        assert_eq!((told["runs"].as_u64(), told["elapsed_s"].as_f64()), (Some(12), Some(7.3)));
    }
}
