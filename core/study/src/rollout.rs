//! How fast a fleet may be rolled out: the inverse of a forecast, by the documented limits alone.

use std::fmt::Write as _;

use fleetstorm_reports::analysis::{Conclusion, Rollout};
use fleetstorm_scenario::Arrival;
use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;

/// The documented limits (`dps` 11.1 and 11.3).
const INSTANCES_MAX: u32 = 10;
const RECORDS_MAX: u32 = 1_000_000;
const HUBS_MAX: u32 = 50;
const HUB_DEVICES_MAX: u32 = 1_000_000;
/// New connections a second of a hub of S1 units: the higher of the two.
const HUB_CONNECTS_PER_S: f64 = 100.0;
const UNIT_CONNECTS_PER_S: f64 = 12.0;
/// What is to be rolled out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// Devices.
    pub devices: u32,
    /// All of them must have had their slot within this.
    pub within: Span,
    /// Registrations a minute of one DPS instance.
    pub quota_per_minute: f64,
    /// From one batch to the next.
    pub interval: Span,
    /// Over how long the devices of a batch boot, one after the other.
    pub spread: Span,
    /// Share of the quota that is planned with: at the quota itself every jitter meets 429.
    pub load: f64,
}

/// Why a wish cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("impossible, because {0}")]
pub struct Impossible(String);

/// Finds the smallest number of instances, and with them the smallest window, that the limits allow.
///
/// # Errors
/// The limits do not allow it, with the arithmetic.
pub fn plan(wish: Wish) -> Result<Rollout, Impossible> {
    let impossible = |why: String| Err(Impossible(why));
    let Wish { devices, within, quota_per_minute, interval, spread, load } = wish;
    if devices == 0 || !(quota_per_minute > 0.0 && quota_per_minute.is_finite()) {
        return impossible("there must be devices, and a quota above 0".to_owned());
    }
    if !(load > 0.0 && load <= 1.0) {
        return impossible(format!("a load of {load} is no share of the quota: it is above 0 and at most 1"));
    }
    if interval == Span::ZERO || interval > within {
        return impossible(format!("an interval of {interval} does not fit into {within}"));
    }
    if spread > interval {
        return impossible(format!(
            "a batch that is spread over {spread} is not over when the next one starts after {interval}"
        ));
    }
    // Rounding must not turn 900 into 899.
    let share = |load: f64| load * quota_per_minute / 60.0 * interval.as_secs_f64() * (1.0 + 1e-12);
    let batch_each = share(load).floor();
    let planned = format!("{} % of {quota_per_minute}/min", trimmed(load * 100.0));
    if batch_each < 1.0 {
        return impossible(format!(
            "{planned} are {:.2} devices in {interval}: take a longer interval",
            share(load)
        ));
    }
    let slots = (within.as_secs_f64() / interval.as_secs_f64() * (1.0 + 1e-12)).floor();
    let for_time = (f64::from(devices) / (batch_each * slots)).ceil();
    let for_records = devices.div_ceil(RECORDS_MAX);
    let mut because = vec![
        format!(
            "{planned} are {batch_each} devices each {interval} and instance (the share is a choice: --load)"
        ),
        format!(
            "{within} are {slots} intervals: {devices} / ({batch_each} x {slots}) = {for_time} instances for the time"
        ),
        format!("{devices} records at {RECORDS_MAX} an instance: {for_records} instances for the records"),
    ];
    if for_records > INSTANCES_MAX {
        return impossible(format!(
            "{}; a subscription has {INSTANCES_MAX} instances, which hold {} records: the fleet does not fit, however long \
             it may take",
            because.join("; "),
            u64::from(RECORDS_MAX) * u64::from(INSTANCES_MAX)
        ));
    }
    let needed = for_time.max(f64::from(for_records));
    if needed > f64::from(INSTANCES_MAX) {
        // The batches with all instances, each but the last of which takes an interval.
        let takes = |batch_each: f64| {
            let batches = (f64::from(devices) / (batch_each * f64::from(INSTANCES_MAX))).ceil();
            Span::from_secs_f64(batches * interval.as_secs_f64())
        };
        let mut why = format!(
            "{}; a subscription has {INSTANCES_MAX} instances: with all of them the fleet takes {}",
            because.join("; "),
            takes(batch_each)
        );
        let at_full = takes(share(1.0).floor());
        if load < 1.0 {
            let _ = write!(why, " at this load, and {at_full} at the full quota");
            let fits =
                |load: &f64| share(*load).floor() * slots * f64::from(INSTANCES_MAX) >= f64::from(devices);
            if let Some(enough) = (1..=100).map(|percent| f64::from(percent) / 100.0).find(fits) {
                let _ = write!(why, ", which does fit: plan with --load {}", trimmed(enough));
            }
        }
        return impossible(why);
    }
    let instances = needed as u32;
    let batch = (batch_each * f64::from(instances)).min(f64::from(devices)) as u32;
    // An instance takes its part of each batch: a part more or less for some of them.
    let batches = devices.div_ceil(instances).div_ceil(batch.div_ceil(instances));
    let per_s = f64::from(batch) / spread.as_secs_f64().max(1.0);
    let (hubs, units) = hubs(devices, per_s, instances, &mut because)?;
    let window_s = f64::from(batches) * interval.as_secs_f64();
    because.push(format!("{batches} batches of {batch}: the window is {}", Span::from_secs_f64(window_s)));
    Ok(Rollout {
        devices,
        instances,
        batch,
        interval_s: interval.as_secs_f64(),
        spread_s: spread.as_secs_f64(),
        batches,
        window_s,
        hubs,
        units,
        billed: devices,
        load,
        transport: String::new(),
        because,
        tried: None,
        conclusion: Conclusion::default(),
    })
}

/// A number without zeros behind its point.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Hubs and S1 units that take the devices and their connections.
fn hubs(
    devices: u32,
    per_s: f64,
    instances: u32,
    because: &mut Vec<String>,
) -> Result<(u32, u32), Impossible> {
    let hubs = devices.div_ceil(HUB_DEVICES_MAX).max(instances.min(devices));
    if hubs > HUBS_MAX * instances {
        return Err(Impossible(format!(
            "{hubs} hubs are more than {HUBS_MAX} for each of {instances} instances"
        )));
    }
    let each = per_s / f64::from(hubs);
    let units = if each <= HUB_CONNECTS_PER_S { 1 } else { (each / UNIT_CONNECTS_PER_S).ceil() as u32 };
    because.push(format!(
        "{per_s:.1} devices a second connect to {hubs} hubs, {each:.1} each: {units} S1 units a hub ({HUB_CONNECTS_PER_S}/s, \
         or {UNIT_CONNECTS_PER_S}/s a unit)"
    ));
    Ok((hubs, units))
}

/// The share of the fleet that the first instance takes, and of each batch: no other one takes more.
fn share(plan: &Rollout) -> (u32, u32) {
    (plan.devices.div_ceil(plan.instances), plan.batch.div_ceil(plan.instances))
}

/// When the devices of one instance boot.
fn arrival(plan: &Rollout) -> Arrival {
    Arrival::Batches {
        size: share(plan).1,
        interval: Duration(Span::from_secs_f64(plan.interval_s)),
        spread: Duration(Span::from_secs_f64(plan.spread_s)),
        even: true,
    }
}

/// The schedule as CSV: device, seconds from the start, instance. The instances take turns, and each runs the very
/// schedule that is tried.
pub fn schedule_csv(plan: &Rollout) -> String {
    let (devices, _) = share(plan);
    let instants = arrival(plan).schedule(devices, fleetstorm_units::random::Seed(0));
    let mut csv = String::from("device,t_s,instance\n");
    for device in 0..plan.devices {
        let at_s = instants[(device / plan.instances) as usize].as_secs_f64();
        let _ = writeln!(csv, "{device},{at_s:.3},{}", device % plan.instances);
    }
    csv
}

/// A scenario of one instance and its share of the fleet, which is the schedule. `strategy` is the devices' retry
/// strategy: its name, or a TOML table.
pub fn scenario_toml(plan: &Rollout, quota_per_minute: f64, strategy: &str) -> String {
    let strategy = strategy.trim();
    let strategy = if strategy.starts_with('{') { strategy.to_owned() } else { format!("{strategy:?}") };
    let (devices, size) = share(plan);
    let duration = |secs: f64| match secs.fract() == 0.0 {
        true => format!("{secs:.0}s"),
        false => format!("{:.0}us", secs * 1e6),
    };
    let (interval, spread) = (duration(plan.interval_s), duration(plan.spread_s));
    format!(
        "# One of {} DPS instances and its share of {} devices: does the planned stagger keep below the quota?\n\n\
         horizon = \"{}s\"\nobjectives = [\"assigned == 100%\", \"registers_per_device <= {REGISTERS_MAX}\"]\n\n[fleet]\n\
         devices = {devices}\narrival = {{ kind = \"batches\", size = {size}, interval = \"{interval}\", spread = \"{spread}\", \
         even = true }}\n\n[[cohort]]\ntransport = {:?}\nretry = {strategy}\n\n[mock.throttle]\nprofile = \"dps-smooth\"\n\
         rate = \"{quota_per_minute}/min\"\n",
        plan.instances,
        plan.devices,
        plan.window_s as u64 + 600,
        plan.transport,
    )
}

/// Registrations a device that a plan promises at most: nobody is throttled.
const REGISTERS_MAX: u32 = 1;

#[cfg(test)]
mod tests {
    use fleetstorm_scenario::Scenario;

    use super::*;

    fn wish(devices: u32, within_s: u64) -> Wish {
        Wish {
            devices,
            within: Span::from_secs(within_s),
            quota_per_minute: 1_000.0,
            interval: Span::from_secs(60),
            spread: Span::from_secs(60),
            load: 0.9,
        }
    }

    #[test]
    fn the_documented_quota_takes_what_it_takes() {
        let one = plan(wish(27_000, 1_800)).unwrap();
        assert_eq!((one.instances, one.batch, one.batches, one.window_s), (1, 900, 30, 1_800.0));
        let two = plan(wish(27_001, 1_800)).unwrap();
        assert_eq!((two.instances, two.batch, two.batches), (2, 1_800, 16));
        let slow = plan(wish(1_800, 36_000)).unwrap();
        assert_eq!(
            (slow.window_s, slow.billed),
            (120.0, 1_800),
            "the smallest window, not the longest allowed"
        );
        let many = plan(wish(2_500_000, 40 * 86_400)).unwrap();
        assert_eq!((many.instances, many.hubs), (3, 3), "records bind, not time");
    }

    #[test]
    fn what_cannot_be_is_told_with_its_arithmetic() {
        let why = plan(wish(1_000_000, 1_800)).unwrap_err().to_string();
        assert!(why.contains("= 38 instances for the time") && why.contains("1 h 52 m"), "{why}");
        assert!(why.contains("1 h 40 m at the full quota") && !why.contains("does fit"), "{why}");
        // Ten instances at the full quota are done in 1 h 40 min: the load is a choice, and the way out is named.
        let near = wish(1_000_000, 111 * 60);
        let why = plan(near).unwrap_err().to_string();
        assert!(why.contains("90 % of 1000/min") && why.contains("plan with --load 0.91"), "{why}");
        assert_eq!(plan(Wish { load: 0.91, ..near }).unwrap().instances, 10);
        let full = plan(Wish { load: 1.0, ..wish(1_000_000, 100 * 60) }).unwrap();
        assert_eq!((full.instances, full.batches, full.window_s), (10, 100, 6_000.0));
        assert!(plan(Wish { load: 1.0, ..wish(1_000_000, 99 * 60) }).is_err());
        // Records that do not fit do not fit in any time.
        let why = plan(wish(10_000_001, 400 * 86_400)).unwrap_err().to_string();
        assert!(why.contains("does not fit, however long") && !why.contains("the fleet takes"), "{why}");
        assert_eq!(plan(wish(10_000_000, 400 * 86_400)).unwrap().instances, 10);
        for hopeless in [
            wish(0, 60),
            wish(5, 10),
            Wish { quota_per_minute: 0.0, ..wish(5, 60) },
            Wish { quota_per_minute: f64::NAN, ..wish(5, 60) },
            Wish { quota_per_minute: 0.5, ..wish(5, 600) },
            Wish { load: 0.0, ..wish(5, 600) },
            Wish { load: 1.01, ..wish(5, 600) },
            Wish { load: f64::NAN, ..wish(5, 600) },
            Wish { spread: Span::from_secs(61), ..wish(5, 600) },
        ] {
            assert!(plan(hopeless).is_err(), "{hopeless:?}");
        }
    }

    #[test]
    fn the_schedule_and_the_scenario_are_the_plan() {
        let two_each = Wish { spread: Span::from_secs(6), ..wish(27_001, 1_800) };
        for (wish, transport) in [(wish(2_000, 600), "https"), (two_each, "mqtt-ws")] {
            let mut rollout = plan(wish).unwrap();
            rollout.transport = transport.to_owned();
            let text = scenario_toml(&rollout, 1_000.0, "slots");
            let scenario = Scenario::read(&text, "plan.toml", &[]).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(scenario.cohorts[0].transport.name(), transport);
            assert_eq!(scenario.fleet.arrival, arrival(&rollout));
            let csv = schedule_csv(&rollout);
            assert_eq!(csv.lines().count() as u32, wish.devices + 1);
            // What one instance runs is what the schedule says of it, worked out by hand.
            let own = csv.lines().skip(1).filter(|line| line.ends_with(",0"));
            let size = f64::from(rollout.batch / rollout.instances);
            for (n, line) in own.enumerate() {
                let at_s: f64 = line.split(',').nth(1).unwrap().parse().unwrap();
                let (batch, place) = ((n as f64 / size).floor(), n as f64 % size);
                let expected = batch * 60.0 + place / size * wish.spread.as_secs_f64();
                assert!((at_s - expected).abs() < 2e-3, "{line}: {expected}");
            }
            assert!(rollout.to_string().contains("spread evenly over"), "{rollout}");
        }
    }
}
