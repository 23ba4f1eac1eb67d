//! A comparison for the terminal.

use std::fmt;

use super::{Against, Comparison, Effect, Finding, Standing};

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} devices, {} seeds, baseline {}",
            self.name, self.devices, self.seeds, self.baseline
        )?;
        if self.partial {
            writeln!(f, "  PARTIAL: interrupted; only whole seeds count")?;
        }
        for against in &self.throttles {
            table(against, f)?;
        }
        writeln!(f, "\n* on the Pareto front of T99, amplification and retry peak.")?;
        writeln!(
            f,
            "T99: change against the baseline, median of paired runs with a 95 % bootstrap interval; \"=\" is no\n\
             clear difference (Holm-adjusted, margin {:.0} %). Numbers are the model's, medians over the runs.",
            self.margin * 100.0
        )
    }
}

fn table(against: &Against, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\n{}", against.throttle)?;
    writeln!(
        f,
        "    {:<34}{:>9}{:>9}{:>7}{:>8}{:>9}{:>7}{:>7}  T99 against the baseline",
        "strategy", "T50", "T99", "eff.", "ampl.", "r.peak", "sync", "gave up"
    )?;
    for standing in &against.strategies {
        row(standing, f)?;
    }
    Ok(())
}

fn row(standing: &Standing, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let median = &standing.median;
    let number =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let name: String = standing.strategy.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let name: String = if name.chars().count() > 33 {
        name.chars().take(32).chain(std::iter::once('…')).collect()
    } else {
        name
    };
    let effect = standing.effects.iter().find(|effect| effect.metric == "t99_s");
    write!(
        f,
        "  {} {name:<34}{:>9}{:>9}{:>7}{:>8}{:>9}{:>7}{:>7}  {}",
        if standing.pareto { '*' } else { ' ' },
        number(median.t50_s, 1),
        number(median.t99_s, 1),
        number(median.efficiency, 2),
        number(median.amplification, 2),
        number(median.retry_peak, 1),
        number(median.synchrony, 2),
        number(median.given_up, 3),
        effect.map_or("baseline".to_owned(), change),
    )?;
    if standing.unreached > 0 {
        write!(f, "  [T99 not reached in {} of {}]", standing.unreached, standing.runs.len())?;
    }
    writeln!(f)
}

fn change(effect: &Effect) -> String {
    let Effect { difference, verdict, .. } = effect;
    let word = match verdict {
        Finding::Better => "better",
        Finding::Worse => "worse ",
        Finding::NoClearDifference => "=     ",
    };
    format!("{word} {:+.1} s [{:+.1}, {:+.1}]", difference.median, difference.low, difference.high)
}
