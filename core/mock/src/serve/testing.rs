//! A house for the tests of the doors.

use std::rc::Rc;
use std::time::Duration;

use fleetstorm_model::chaos::Layer;
use fleetstorm_model::service::Service;
use fleetstorm_net::clock::Clock;
use fleetstorm_scenario::{MockFile, Scenario};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::Calendar;

use super::{House, Limits};
use crate::identity::FleetIdentity;

/// The demo's house, without a log and without webhooks.
pub fn house() -> Rc<House> {
    house_with(|_| ())
}

/// The same with other limits.
pub fn house_with(change: impl FnOnce(&mut Limits)) -> Rc<House> {
    let mut limits = Limits::from(MockFile::default().limits);
    change(&mut limits);
    let file = MockFile::default();
    let fleet = FleetIdentity::from_seed(0).unwrap();
    let mut config = crate::resolve(&file, &fleet, Calendar::VIRTUAL).unwrap();
    config.seed = Seed(1);
    House::new(Service::new(config).unwrap(), Clock::start(), Duration::ZERO, (file.mqtt, limits), None, None)
}

/// The demo's house whose service gives everybody the same answer, and which is under a fault of the protocol, both in the
/// words of a scenario: `"mqtt.duplicate"`.
pub fn house_under(answer: &str, fault: &str) -> Rc<House> {
    let entry = |kind: &str| format!("[[chaos]]\nfault = {{ kind = {kind} }}\n");
    let text = format!("[fleet]\ndevices = 10\n{}{}", entry(answer), entry(fault));
    let scenario = Scenario::read(&text, "t.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let timeline = scenario.timeline(&[0; 10]).unwrap();
    let house = house();
    house.service.borrow_mut().disturb(
        timeline.rules(&[Layer::Service]),
        fleetstorm_model::chaos::Naming::Fleet("dev-".to_owned()),
    );
    house.arm(&timeline, fleetstorm_model::chaos::Naming::Fleet("dev-".to_owned()));
    house
}
