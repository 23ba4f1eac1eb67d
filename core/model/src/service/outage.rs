//! Answers of a service that is out of order: the two rows of the troubleshooting table that no request can provoke,
//! 500 and 403.

use fleetstorm_protocol::code;
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::Moment;

/// A time during which the service answers with an error whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// When it begins.
    pub from: Moment,
    /// When it is over.
    pub until: Moment,
    /// What it answers.
    pub failure: Failure,
    /// The share of requests that meet it.
    pub share: f64,
}

/// What a service that is out of order answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 500.
    Internal,
    /// 403.
    Forbidden,
}

impl Failure {
    const fn code(self) -> u32 {
        match self {
            Self::Internal => code::INTERNAL_ERROR,
            Self::Forbidden => code::FORBIDDEN,
        }
    }
}

/// The times at which an instance is out of order.
#[derive(Debug)]
pub(super) struct Outages {
    planned: Vec<Outage>,
    seed: Seed,
}

impl Outages {
    pub(super) const fn new(planned: Vec<Outage>, seed: Seed) -> Self {
        Self { planned, seed }
    }

    /// The code that the request of this number is answered with instead of what it deserves.
    pub(super) fn struck(&self, now: Moment, number: u32) -> Option<u32> {
        let under_way = |outage: &&Outage| (outage.from..outage.until).contains(&now);
        let outage = self.planned.iter().find(under_way)?;
        let draw = self.seed.fraction(Purpose::Outage, 0, number);
        (draw < outage.share).then_some(outage.failure.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetstorm_units::time::Span;

    #[test]
    fn a_share_of_the_requests_fails_for_as_long_as_it_lasts() {
        let at = |secs| Moment::START + Span::from_secs(secs);
        let outage = Outage { from: at(10), until: at(20), failure: Failure::Internal, share: 0.25 };
        let outages = Outages::new(vec![outage], Seed(1));
        let failed = |now: Moment, requests: u32| {
            let codes = (0..requests).filter_map(|number| outages.struck(now, number));
            codes.inspect(|code| assert_eq!(*code, code::INTERNAL_ERROR)).count()
        };
        assert_eq!(failed(at(9), 200), 0);
        let within = failed(at(10), 4_000);
        // Four standard deviations of a binomial.
        assert!(within.abs_diff(1_000) < 110, "{within}");
        assert_eq!(failed(at(20), 200), 0);
    }
}
