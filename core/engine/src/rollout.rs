//! How fast a fleet may be rolled out: the inverse of a forecast, by the documented limits alone.

use std::fmt::{self, Write as _};

use fleetstorm_model::time::Span;
use fleetstorm_reports::Record;
use serde::Serialize;

/// The documented limits (`dps-protocol` 11.1 and 11.3).
const INSTANCES_MAX: u32 = 10;
const RECORDS_MAX: u32 = 1_000_000;
const HUBS_MAX: u32 = 50;
const HUB_DEVICES_MAX: u32 = 1_000_000;
/// New connections a second of a hub of S1 units: the higher of the two.
const HUB_CONNECTS_PER_S: f64 = 100.0;
const UNIT_CONNECTS_PER_S: f64 = 12.0;
/// Share of the quota that a plan uses: at the quota itself every jitter meets 429.
const LOAD: f64 = 0.9;

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
}

/// A staggered schedule and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rollout {
    /// Devices.
    pub devices: u32,
    /// DPS instances.
    pub instances: u32,
    /// Devices that boot in each interval, over all instances.
    pub batch: u32,
    /// From one batch to the next, in seconds; a batch is spread over it.
    pub interval_s: f64,
    /// Batches.
    pub batches: u32,
    /// From the first slot to the end of the last one, in seconds: the smallest window with these instances.
    pub window_s: f64,
    /// S1 hubs behind the instances.
    pub hubs: u32,
    /// S1 units of each hub.
    pub units: u32,
    /// Registrations billed if nobody is throttled: one a device.
    pub billed: u32,
    /// The arithmetic, one step a line.
    pub because: Vec<String>,
    /// What came of it in virtual time, if it was tried.
    pub tried: Option<Tried>,
}

/// A run of one instance's share of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The retry strategy.
    pub strategy: String,
    /// Devices of the share.
    pub devices: u64,
    /// Those that had their hub in the end.
    pub assigned: u64,
    /// When 99 % of them had it, in seconds.
    pub t99_s: Option<f64>,
    /// Registrations a device: 1 if nobody was throttled.
    pub registers_per_device: f64,
}

impl Tried {
    /// What a record of the plan's scenario says.
    pub fn of(record: &Record, strategy: &str) -> Self {
        Self {
            strategy: strategy.to_owned(),
            devices: record.devices,
            assigned: record.totals.assigned,
            t99_s: record.completion.t99_ns.map(|ns| ns as f64 / 1e9),
            registers_per_device: record.totals.registers as f64 / record.devices.max(1) as f64,
        }
    }
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
    let Wish { devices, within, quota_per_minute, interval } = wish;
    if devices == 0 || !(quota_per_minute > 0.0 && quota_per_minute.is_finite()) {
        return impossible("there must be devices, and a quota above 0".to_owned());
    }
    if interval == Span::ZERO || interval > within {
        return impossible(format!("an interval of {interval} does not fit into {within}"));
    }
    let share = LOAD * quota_per_minute / 60.0 * interval.as_secs_f64();
    // Rounding must not turn 900 into 899.
    let batch_each = (share * (1.0 + 1e-12)).floor();
    if batch_each < 1.0 {
        return impossible(format!(
            "{:.0} % of {quota_per_minute}/min are {share:.2} devices in {interval}: take a longer interval",
            LOAD * 100.0
        ));
    }
    let slots = (within.as_secs_f64() / interval.as_secs_f64() * (1.0 + 1e-12)).floor();
    let for_time = (f64::from(devices) / (batch_each * slots)).ceil();
    let for_records = devices.div_ceil(RECORDS_MAX);
    let mut because = vec![
        format!(
            "{:.0} % of {quota_per_minute}/min are {batch_each} devices each {interval} and instance",
            LOAD * 100.0
        ),
        format!(
            "{within} are {slots} intervals: {devices} / ({batch_each} x {slots}) = {for_time} instances for the time"
        ),
        format!("{devices} records at {RECORDS_MAX} an instance: {for_records} instances for the records"),
    ];
    let needed = for_time.max(f64::from(for_records));
    if needed > f64::from(INSTANCES_MAX) {
        return impossible(format!(
            "{}; a subscription has {INSTANCES_MAX} instances: with all of them the fleet takes {}",
            because.join("; "),
            Span::from_secs_f64(
                (f64::from(devices) / (batch_each * f64::from(INSTANCES_MAX))).ceil()
                    * interval.as_secs_f64()
            )
        ));
    }
    let instances = needed as u32;
    let batch = (batch_each * f64::from(instances)).min(f64::from(devices)) as u32;
    let batches = devices.div_ceil(batch);
    let per_s = f64::from(batch) / interval.as_secs_f64();
    let (hubs, units) = hubs(devices, per_s, instances, &mut because)?;
    because.push(format!(
        "{batches} batches of {batch}: the window is {}",
        Span::from_secs_f64(f64::from(batches) * interval.as_secs_f64())
    ));
    Ok(Rollout {
        devices,
        instances,
        batch,
        interval_s: interval.as_secs_f64(),
        batches,
        window_s: f64::from(batches) * interval.as_secs_f64(),
        hubs,
        units,
        billed: devices,
        because,
        tried: None,
    })
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

impl Rollout {
    /// The schedule as CSV: device, seconds from the start, instance. Devices of a batch are spread evenly over its
    /// interval, and the instances take turns.
    pub fn schedule_csv(&self) -> String {
        let mut csv = String::from("device,t_s,instance\n");
        for device in 0..self.devices {
            let at_s = f64::from(device) * self.interval_s / f64::from(self.batch);
            let _ = writeln!(csv, "{device},{at_s:.3},{}", device % self.instances);
        }
        csv
    }

    /// A scenario of one instance and its share of the fleet, which reproduces the schedule. `strategy` is the devices'
    /// retry strategy: its name, or a TOML table.
    pub fn scenario_toml(&self, quota_per_minute: f64, strategy: &str) -> String {
        let strategy = strategy.trim();
        let strategy = if strategy.starts_with('{') { strategy.to_owned() } else { format!("{strategy:?}") };
        let devices = self.devices.div_ceil(self.instances);
        let rate = f64::from(self.batch) / f64::from(self.instances) / self.interval_s * 60.0;
        format!(
            "# One of {} DPS instances and its share of {} devices: does the planned stagger keep below the quota?\n\n\
             horizon = \"{}s\"\nobjectives = [\"assigned == 100%\", \"registers_per_device <= 1\"]\n\n[fleet]\ndevices = {devices}\n\
             arrival = {{ kind = \"constant\", rate = \"{rate}/min\" }}\n\n[[cohort]]\nretry = {strategy}\n\n[mock.throttle]\nprofile = \"dps-smooth\"\n\
             rate = \"{quota_per_minute}/min\"\n",
            self.instances,
            self.devices,
            self.window_s as u64 + 600,
        )
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} devices in {}: {} DPS instance(s), batches of {} each {}, {} S1 hub(s) of {} unit(s), {} registrations billed",
            self.devices,
            Span::from_secs_f64(self.window_s),
            self.instances,
            self.batch,
            Span::from_secs_f64(self.interval_s),
            self.hubs,
            self.units,
            self.billed
        )?;
        self.because.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        let Some(tried) = &self.tried else { return Ok(()) };
        write!(
            f,
            "Tried in virtual time with {}: {} of {} devices assigned, {:.2} registrations a device",
            tried.strategy, tried.assigned, tried.devices, tried.registers_per_device
        )?;
        match tried.t99_s {
            Some(t99_s) => writeln!(f, ", 99 % of them within {}", Span::from_secs_f64(t99_s.ceil())),
            None => writeln!(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_model::scenario::Scenario;

    use super::*;

    fn wish(devices: u32, within_s: u64) -> Wish {
        Wish {
            devices,
            within: Span::from_secs(within_s),
            quota_per_minute: 1_000.0,
            interval: Span::from_secs(60),
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
        for hopeless in [
            wish(0, 60),
            wish(5, 10),
            Wish { quota_per_minute: 0.0, ..wish(5, 60) },
            Wish { quota_per_minute: f64::NAN, ..wish(5, 60) },
            Wish { quota_per_minute: 0.5, ..wish(5, 600) },
        ] {
            assert!(plan(hopeless).is_err(), "{hopeless:?}");
        }
    }

    #[test]
    fn the_schedule_and_the_scenario_are_the_plan() {
        let rollout = plan(wish(2_000, 600)).unwrap();
        let csv = rollout.schedule_csv();
        assert_eq!(csv.lines().count(), 2_001);
        assert_eq!(csv.lines().nth(901), Some("900,60.000,0"));
        let scenario = Scenario::read(&rollout.scenario_toml(1_000.0, "slots"), "plan.toml", &[]).unwrap();
        let arrivals = scenario.fleet.arrival.schedule(2_000, fleetstorm_model::random::Seed(1));
        assert!((arrivals[900].as_secs_f64() - 60.0).abs() < 1e-6);
    }
}
