//! Latency histograms by phase and ending.

use fleetstorm_model::phase::Phase;
use fleetstorm_units::time::Span;
use hdrhistogram::Histogram;

/// How it ended, as far as latency is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Ok,
    Throttled,
    Failed,
}

impl Ending {
    pub(super) const ALL: [Self; 3] = [Self::Ok, Self::Throttled, Self::Failed];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
        }
    }
}

/// The intended and the service times of one phase and ending, and what the intended ones would be without the generator's
/// own delays.
#[derive(Clone)]
pub(super) struct Times {
    pub(super) intended: Histogram<u64>,
    pub(super) service: Histogram<u64>,
    pub(super) undelayed: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        Self { intended: histogram(), service: histogram(), undelayed: histogram() }
    }
}

/// The samples of one phase and ending.
#[derive(Default)]
struct Samples {
    /// Those of attempts that nothing delayed: all times are the same. In virtual time all are.
    timely: Option<Box<Histogram<u64>>>,
    late: Option<Box<Times>>,
}

impl Samples {
    fn add(&mut self, intended: Span, service: Span, undelayed: Span) {
        let service_us = service.as_micros();
        if intended == service && intended == undelayed {
            self.timely.get_or_insert_with(|| Box::new(histogram())).saturating_record(service_us);
            return;
        }
        let late = self.late.get_or_insert_with(|| Box::new(Times::new()));
        late.intended.saturating_record(intended.as_micros());
        late.service.saturating_record(service_us);
        late.undelayed.saturating_record(undelayed.as_micros());
    }

    fn merge(&mut self, other: &Self) {
        if let Some(theirs) = &other.timely {
            add(self.timely.get_or_insert_with(|| Box::new(histogram())), theirs);
        }
        if let Some(theirs) = &other.late {
            let late = self.late.get_or_insert_with(|| Box::new(Times::new()));
            add(&mut late.intended, &theirs.intended);
            add(&mut late.service, &theirs.service);
            add(&mut late.undelayed, &theirs.undelayed);
        }
    }

    /// All of them; `None` if there are none.
    fn times(&self) -> Option<Times> {
        if self.timely.is_none() && self.late.is_none() {
            return None;
        }
        let mut times = self.late.as_deref().cloned().unwrap_or_else(Times::new);
        if let Some(timely) = &self.timely {
            add(&mut times.intended, timely);
            add(&mut times.service, timely);
            add(&mut times.undelayed, timely);
        }
        Some(times)
    }
}

/// What the generator made of a phase's times.
pub(crate) struct Delayed {
    pub(crate) phase: Phase,
    /// From the instant a device should have acted, over all endings.
    pub(crate) times: Histogram<u64>,
    /// The same without the generator's own delays.
    pub(crate) undelayed: Histogram<u64>,
}

/// All histograms of a shard; one exists once it has a sample.
#[derive(Default)]
pub(super) struct Latencies {
    samples: [[Samples; Ending::ALL.len()]; Phase::ALL.len()],
    lag: Option<Box<Histogram<u64>>>,
}

impl Latencies {
    /// Times that the generator did not delay but by starting late.
    pub(super) fn add(&mut self, phase: Phase, ending: Ending, intended: Span, service: Span) {
        self.add_delayed(phase, ending, (intended, service), service);
    }

    /// Times, the intended one of which would have been `undelayed` if the generator had not delayed it.
    pub(super) fn add_delayed(
        &mut self,
        phase: Phase,
        ending: Ending,
        (intended, service): (Span, Span),
        undelayed: Span,
    ) {
        self.samples[phase as usize][ending as usize].add(intended, service, undelayed);
    }

    pub(super) fn lag(&mut self, lag: Span) {
        self.lag.get_or_insert_with(|| Box::new(histogram())).saturating_record(lag.as_micros());
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.samples.iter_mut().flatten().zip(other.samples.iter().flatten()) {
            mine.merge(theirs);
        }
        if let Some(theirs) = &other.lag {
            add(self.lag.get_or_insert_with(|| Box::new(histogram())), theirs);
        }
    }

    pub(super) fn times(&self) -> impl Iterator<Item = (Phase, Ending, Times)> {
        Phase::ALL.into_iter().flat_map(move |phase| {
            Ending::ALL.into_iter().filter_map(move |ending| {
                Some((phase, ending, self.samples[phase as usize][ending as usize].times()?))
            })
        })
    }

    /// All intended times of a phase, and what they would be without the generator's own delays.
    pub(super) fn delayed(&self) -> Vec<Delayed> {
        let of = |phase: Phase| {
            let mut all: Option<Times> = None;
            for times in self.samples[phase as usize].iter().filter_map(Samples::times) {
                let Some(all) = &mut all else {
                    all = Some(times);
                    continue;
                };
                add(&mut all.intended, &times.intended);
                add(&mut all.undelayed, &times.undelayed);
            }
            all.map(|times| Delayed { phase, times: times.intended, undelayed: times.undelayed })
        };
        Phase::ALL.into_iter().filter_map(of).collect()
    }

    pub(super) fn lag_histogram(&self) -> Option<&Histogram<u64>> {
        self.lag.as_deref()
    }
}

/// Microseconds up to a day with three significant digits; longer times count as a day.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 86_400_000_000, 3).expect("the bounds are constants that the crate accepts")
}

fn add(mine: &mut Histogram<u64>, theirs: &Histogram<u64>) {
    mine.add(theirs).expect("both have the same bounds");
}
