//! An examination as tables for a person.

use std::fmt;

use super::conduct::Repeats;
use super::{Examination, Verdict, told};

impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.sha256.as_deref().map_or("built in".to_owned(), |hash| format!("sha256 {hash}"));
        writeln!(f, "{} {} ({source})", self.id, self.version)?;
        let traits = [
            (self.coordinated, "coordinated"),
            (!self.coordinated, "local"),
            (self.informed, "informed"),
            (self.model, "a model of other software"),
        ];
        let traits: Vec<&str> = traits.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name).collect();
        writeln!(f, "{}; parameters {}", traits.join(", "), self.parameters)?;

        writeln!(f, "\n{:<18} {:<8} finding", "check", "verdict")?;
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Pass => "pass",
                Verdict::NotApplicable => "-",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            writeln!(f, "{:<18} {verdict:<8} {}", check.name, check.finding)?;
        }

        writeln!(f, "\n10,000 devices that failed together")?;
        let heads = ["retry", "told", "gives up", "fullest 100 ms", "slots", "least", "median", "most"];
        row(f, &heads.map(str::to_owned))?;
        for herd in &self.herd {
            row(
                f,
                &[
                    herd.retry.to_string(),
                    herd.told_s.map_or("-".to_owned(), |secs| format!("{secs} s")),
                    format!("{:.0} %", herd.gives_up * 100.0),
                    format!("{:.2} %", herd.fullest_share * 100.0),
                    herd.slots.to_string(),
                    told(herd.least_ns),
                    told(herd.median_ns),
                    told(herd.most_ns),
                ],
            )?;
        }

        writeln!(f, "\n{:<16} {:>12} {:>12}", "Retry-After", "least wait", "most wait")?;
        for given in &self.retry_after {
            let wait = |ns: Option<u64>| ns.map_or("gives up".to_owned(), told);
            let mark = if given.too_early { "  too early" } else { "" };
            let (least, most) = (wait(given.least_ns), wait(given.most_ns));
            writeln!(f, "{:<16} {least:>12} {most:>12}{mark}", given.given)?;
        }

        writeln!(f, "\n{:<22} {:>8}  then", "terminal failure", "retries")?;
        for terminal in &self.terminal {
            let retries = match terminal.retries {
                Repeats::Times(times) => times.to_string(),
                Repeats::Endless => "endless".to_owned(),
            };
            writeln!(f, "{:<22} {retries:>8}  {}", terminal.failure, terminal.then)?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, cells: &[String; 8]) -> fmt::Result {
    const WIDTHS: [usize; 8] = [5, 6, 9, 15, 7, 9, 9, 9];
    let cells: Vec<String> =
        cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:>width$}")).collect();
    writeln!(f, "{}", cells.join(" "))
}
