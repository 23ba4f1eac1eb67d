//! The latency distribution of a phase as HdrHistogram's own tools write it, for its plotter
//! (<https://hdrhistogram.github.io/HdrHistogram/plotFiles.html>).

use std::fmt::Write as _;

use crate::Record;
use crate::record::Phase;

/// Steps in each halving of the distance to 100 %: what HdrHistogram's tools use.
const STEPS: u32 = 5;
const MICROS_IN_MS: f64 = 1e3;

/// The distribution of a phase in milliseconds, from the instant at which its devices should have acted. `phase` is a name
/// such as `register`, of what succeeded, or `register/throttled`.
///
/// # Errors
/// The record has no such phase: which it has.
pub fn hgrm(record: &Record, phase: &str) -> Result<String, String> {
    let (name, outcome) = phase.split_once('/').unwrap_or((phase, "ok"));
    let found = record.phases.iter().find(|found| (&*found.phase, &*found.outcome) == (name, outcome));
    let Some(histogram) = found.and_then(|found| found.intended.decode()) else {
        let spelled = |phase: &Phase| match &*phase.outcome {
            "ok" => phase.phase.clone(),
            outcome => format!("{}/{outcome}", phase.phase),
        };
        let known: Vec<String> =
            record.phases.iter().filter(|phase| phase.intended.count > 0).map(spelled).collect();
        return Err(format!("the run has no latencies of `{phase}`: it has those of {}", known.join(", ")));
    };
    let ms = |micros: f64| micros / MICROS_IN_MS;
    let mut out = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    let mut total = 0;
    // Writing to a text cannot fail.
    for step in histogram.iter_quantiles(STEPS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (ms(step.value_iterated_to() as f64), step.quantile_iterated_to());
        let _ = write!(out, "{value:12.3} {quantile:14.12} {total:10}");
        let _ = match quantile < 1.0 {
            true => writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(out),
        };
    }
    let (mean, deviation) = (ms(histogram.mean()), ms(histogram.stdev()));
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(
        out,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        ms(histogram.max() as f64),
        histogram.len()
    );
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), 2_048);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::record::Distribution;

    #[test]
    fn a_phase_is_written_as_the_plotter_reads_it() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1_000u64).for_each(|ms| histogram.record(ms * 1_000).unwrap());
        let mut record = Record::empty();
        let phase = |name: &str, outcome: &str| Phase {
            phase: name.into(),
            outcome: outcome.into(),
            intended: Distribution::from_histogram(&histogram),
            service: Distribution::default(),
        };
        record.phases = vec![phase("register", "ok"), phase("register", "throttled")];
        let text = hgrm(&record, "register/throttled").unwrap();
        let lines: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        for line in &lines {
            let [value, quantile, total] = line[..3] else { panic!("{line:?}") };
            // Of the numbers from 1 to 1,000, as many are at most `value` as it is itself, to three digits.
            assert!((total - value).abs() <= 1.0, "{line:?}");
            assert!(total >= (quantile * 1_000.0).floor(), "{line:?}");
            let odds = line.get(3).copied();
            assert_eq!(odds.is_none(), quantile == 1.0);
            assert!(odds.is_none_or(|odds| (odds - 1.0 / (1.0 - quantile)).abs() < 0.01), "{line:?}");
        }
        assert!(lines.len() > 30 && lines[0][1] == 0.0, "{text}");
        assert!(text.contains("Total count    =         1000]"), "{text}");

        let refused = hgrm(&record, "poll").unwrap_err();
        assert!(refused.ends_with("it has those of register, register/throttled"), "{refused}");
    }
}
