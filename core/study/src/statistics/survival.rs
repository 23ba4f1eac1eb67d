//! How long until a device is through, with those that were not honestly counted.

/// How a device's time ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What is waited for happened.
    Event,
    /// Something else happened that rules it out, such as giving up.
    Competing,
    /// It was not seen to the end: the horizon came.
    Censored,
}

/// A step of a curve: its value from `time` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Where it starts.
    pub time: f64,
    /// Its value.
    pub value: f64,
    /// Standard error of the value, where it is known; 0 otherwise.
    pub error: f64,
}

/// At one time: how many were still waiting, and what happened to how many.
struct Tie {
    time: f64,
    at_risk: f64,
    events: f64,
    competing: f64,
}

fn ties(times: &[(f64, Ending)]) -> Vec<Tie> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut ties = Vec::new();
    let mut at = 0;
    while at < sorted.len() {
        let time = sorted[at].0;
        let group = sorted[at..].iter().take_while(|(other, _)| *other == time);
        let (mut events, mut competing, mut size) = (0, 0, 0);
        for (_, ending) in group {
            size += 1;
            events += u32::from(*ending == Ending::Event);
            competing += u32::from(*ending == Ending::Competing);
        }
        let at_risk = (sorted.len() - at) as f64;
        ties.push(Tie { time, at_risk, events: f64::from(events), competing: f64::from(competing) });
        at += size;
    }
    ties
}

/// The share that still waits, after Kaplan and Meier (1958), with Greenwood's standard error. What is competing
/// counts as censored here: use [`cumulative_incidence`] where it rules the event out.
pub fn kaplan_meier(times: &[(f64, Ending)]) -> Vec<Step> {
    let (mut survival, mut variance) = (1.0, 0.0);
    ties(times)
        .into_iter()
        .map(|tie| {
            survival *= 1.0 - tie.events / tie.at_risk;
            if tie.events > 0.0 && tie.events < tie.at_risk {
                variance += tie.events / (tie.at_risk * (tie.at_risk - tie.events));
            }
            Step { time: tie.time, value: survival, error: survival * f64::sqrt(variance) }
        })
        .collect()
}

/// The share to which the event has happened where something else can rule it out, after Aalen and Johansen (1978).
pub fn cumulative_incidence(times: &[(f64, Ending)]) -> Vec<Step> {
    let (mut unharmed, mut incidence) = (1.0, 0.0);
    ties(times)
        .into_iter()
        .map(|tie| {
            incidence += unharmed * tie.events / tie.at_risk;
            unharmed *= 1.0 - (tie.events + tie.competing) / tie.at_risk;
            Step { time: tie.time, value: incidence, error: 0.0 }
        })
        .collect()
}

/// The mean time up to `limit`: the area under a survival curve. Unlike a mean it needs no end of the wait.
pub fn restricted_mean(survival: &[Step], limit: f64) -> f64 {
    let (mut area, mut from, mut height) = (0.0, 0.0, 1.0);
    for step in survival.iter().take_while(|step| step.time < limit) {
        area += height * (step.time - from);
        (from, height) = (step.time, step.value);
    }
    area + height * (limit - from).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<(f64, Ending)> {
        use Ending::{Censored, Competing, Event};
        [
            (6.0, Event),
            (6.0, Event),
            (6.0, Competing),
            (6.0, Censored),
            (7.0, Event),
            (9.0, Censored),
            (10.0, Event),
            (10.0, Competing),
            (11.0, Censored),
            (13.0, Event),
            (16.0, Event),
            (17.0, Competing),
            (19.0, Censored),
            (20.0, Event),
        ]
        .to_vec()
    }

    /// tests/fixtures/statistics.py: lifelines' `KaplanMeierFitter`, and `restricted_mean_survival_time`.
    #[test]
    fn survival_is_that_of_lifelines() {
        let curve = kaplan_meier(&sample());
        let expected = include!("../../tests/fixtures/kaplan_meier.in");
        assert_eq!(curve.len(), expected.len());
        for (step, (time, value, error)) in curve.iter().zip(expected) {
            assert_eq!(step.time, time);
            assert!((step.value - value).abs() < 1e-9, "{step:?}");
            assert!((step.error - error).abs() < 1e-9, "{step:?} {error}");
        }
        assert!((restricted_mean(&curve, 15.0) - include!("../../tests/fixtures/rmst.in")).abs() < 1e-9);
    }

    /// The same script: lifelines' `AalenJohansenFitter`, which wants times apart.
    #[test]
    fn incidence_is_that_of_lifelines() {
        let apart: Vec<_> = sample()
            .into_iter()
            .zip(0..)
            .map(|((time, ending), n)| (time + f64::from(n) / 8.0, ending))
            .collect();
        let curve = cumulative_incidence(&apart);
        let expected = include!("../../tests/fixtures/aalen_johansen.in");
        assert_eq!(curve.len(), expected.len());
        for (step, (time, value)) in curve.iter().zip(expected) {
            assert!((step.time - time).abs() < 1e-9 && (step.value - value).abs() < 1e-9, "{step:?} {value}");
        }
    }

    #[test]
    fn without_competition_incidence_and_survival_add_up_to_all() {
        let times: Vec<_> = sample()
            .into_iter()
            .map(|(time, ending)| (time, if ending == Ending::Competing { Ending::Censored } else { ending }))
            .collect();
        for (a, b) in kaplan_meier(&times).iter().zip(cumulative_incidence(&times)) {
            assert!((a.value + b.value - 1.0).abs() < 1e-12);
        }
        assert!(kaplan_meier(&[]).is_empty());
        assert_eq!(restricted_mean(&[], 5.0), 5.0);
    }
}
