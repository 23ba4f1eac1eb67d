//! A house for the tests of the doors.

use std::rc::Rc;
use std::time::Duration;

use fleetstorm_model::random::Seed;
use fleetstorm_model::scenario::MockFile;
use fleetstorm_model::service::Service;
use fleetstorm_model::time::Calendar;

use super::House;
use crate::clock::Clock;
use crate::identity::FleetIdentity;

/// The demo's house, without a log and without webhooks.
pub(crate) fn house() -> Rc<House> {
    let file = MockFile::default();
    let fleet = FleetIdentity::from_seed(0).unwrap();
    let mut config = crate::mock::resolve(&file, &fleet, Calendar::VIRTUAL).unwrap();
    config.seed = Seed(1);
    House::new(Service::new(config).unwrap(), Clock::start(), Duration::ZERO, file.mqtt, None, None)
}
