//! Answers of a service that is out of order: the two rows of the troubleshooting table that no request can provoke,
//! 500 and 403.

use fleetstorm_protocol::code;
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::Moment;

use super::machine::Service;

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

impl Service {
    /// The code that the request in hand is answered with instead of what it deserves.
    pub(super) fn struck(&self, now: Moment) -> Option<u32> {
        let under_way = |outage: &&Outage| (outage.from..outage.until).contains(&now);
        let outage = self.config.outages.iter().find(under_way)?;
        let draw = self.config.seed.fraction(Purpose::Outage, 0, self.answers());
        (draw < outage.share).then_some(outage.failure.code())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SCOPE, Signed, config};
    use super::super::{Call, Request};
    use super::*;
    use fleetstorm_protocol::Status;
    use fleetstorm_protocol::Submission;
    use fleetstorm_units::time::Span;

    #[test]
    fn a_share_of_the_requests_fails_for_as_long_as_it_lasts() {
        let at = |secs| Moment::START + Span::from_secs(secs);
        let outage = Outage { from: at(10), until: at(20), failure: Failure::Internal, share: 0.25 };
        let mut config = config();
        config.outages.push(outage);
        config.throttle = crate::service::throttle::profile("unlimited").unwrap();
        let mut service = Service::new(config).unwrap();
        let mut failed = |now: Moment, requests: u32| {
            (0..requests)
                .filter(|number| {
                    let id = format!("dev-{}-{number}", now.as_nanos());
                    let submission = Submission::Read { registration_id: None, csr: false, payload: None };
                    let request = Request {
                        api_version: Some("2019-03-31"),
                        id_scope: SCOPE,
                        registration_id: &id,
                        call: Call::Register(submission),
                    };
                    let resource = format!("{SCOPE}/registrations/{id}");
                    let evidence = Signed { resource, policy: "", key: b"group".to_vec(), expires: u64::MAX };
                    let status = service.handle(now, &request, &evidence).reply.status;
                    assert!(matches!(status, Status::ACCEPTED | Status::INTERNAL_ERROR), "{status:?}");
                    status == Status::INTERNAL_ERROR
                })
                .count()
        };
        assert_eq!(failed(at(9), 200), 0);
        let within = failed(at(10), 4_000);
        // Four standard deviations of a binomial.
        assert!(within.abs_diff(1_000) < 110, "{within}");
        assert_eq!(failed(at(20), 200), 0);
    }
}
