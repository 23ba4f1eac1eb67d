//! Whether the counts of a record add up.
//!
//! What happened is counted in several ways: by device, by request, by code, by second, by way through registration. Each
//! pair that must agree is held against each other when a record is closed, before seconds are put together.

use super::{Record, Series, Totals};

impl Record {
    /// Counts that do not add up, in words; empty for a sound record. What older versions did not count is not held
    /// against their records, so this is for a record that has just been made.
    #[must_use]
    pub fn find_discrepancies(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut agree = |what: &str, here: u64, there: u64| {
            if here != there {
                found.push(format!("{what}: {here} and {there}"));
            }
        };
        let totals = &self.totals;
        devices(totals, "the fleet", &mut agree);
        for cohort in &self.cohorts {
            devices(&cohort.totals, &cohort.name, &mut agree);
        }
        let of_cohorts =
            |count: fn(&Totals) -> u64| self.cohorts.iter().map(|cohort| count(&cohort.totals)).sum::<u64>();
        agree("devices of the plan and of the record", self.devices, totals.devices);
        agree("devices of the cohorts and of the fleet", of_cohorts(|all| all.devices), totals.devices);
        agree("requests of the cohorts and of the fleet", of_cohorts(|all| all.requests), totals.requests);
        self.requests(&mut agree);
        self.failures(&mut agree);
        self.seconds(&mut agree);
        self.ways(&mut agree);
        found
    }

    /// Codes beyond what a shard tells apart are counted together, and their operations are not known.
    fn tells_all_codes(&self) -> bool {
        self.codes.iter().all(|code| code.operation != "any")
    }

    fn count_codes(&self, which: impl Fn(&super::Code) -> bool) -> u64 {
        self.codes.iter().filter(|code| which(code)).map(|code| code.count).sum()
    }

    /// Everything that was sent came to an end that was counted.
    fn requests(&self, agree: &mut impl FnMut(&str, u64, u64)) {
        let totals = &self.totals;
        let timed = |phase: &str, outcome: Option<&str>| -> u64 {
            let phases = self.phases.iter().filter(|one| one.phase == phase);
            let phases = phases.filter(|one| outcome.is_none_or(|outcome| one.outcome == outcome));
            phases.map(|one| one.intended.count).sum()
        };
        let refused = timed("connect", Some("failed"));
        let ended = self.count_codes(|_| true).saturating_sub(refused);
        agree("requests, and their ends", totals.requests, ended + totals.unsent + totals.unanswered);
        agree("connections, and their times", totals.connections, timed("connect", None));
        if self.tells_all_codes() {
            for operation in ["register", "poll", "lookup"] {
                let counted = self.count_codes(|code| code.operation == operation);
                agree(&format!("ends of {operation}, and their times"), counted, timed(operation, None));
            }
            let counted = self.count_codes(|code| code.operation == "connect");
            agree("connections that failed, and their times", counted, refused);
        }
    }

    /// Each failure has a cause that was counted and led to a wait or a stop.
    fn failures(&self, agree: &mut impl FnMut(&str, u64, u64)) {
        let totals = &self.totals;
        if self.tells_all_codes() {
            let throttled = self.count_codes(|code| code.status == 429);
            let failed = self.count_codes(|code| code.status != 429 && !code.succeeded());
            agree("429s, and codes of 429", totals.throttled, throttled);
            agree("failures, and codes of failures", totals.failed, failed);
        }
        agree(
            "failures, and waits and stops after them",
            totals.throttled + totals.failed + totals.faltered,
            totals.back_offs + totals.stops,
        );
    }

    /// What is counted by second is what is counted altogether.
    fn seconds(&self, agree: &mut impl FnMut(&str, u64, u64)) {
        let (series, totals) = (&self.series, &self.totals);
        let sum = |list: fn(&Series) -> &Vec<u32>| list(series).iter().map(|count| u64::from(*count)).sum();
        agree("requests, and requests by second", totals.requests, sum(|series| &series.sent));
        agree("registers, and registers by second", totals.registers, sum(|series| &series.registers));
        agree("429s, and 429s by second", totals.throttled, sum(|series| &series.throttled));
        agree("failures, and failures by second", totals.failed, sum(|series| &series.failed));
        let ended = totals.requests.saturating_sub(totals.unsent + totals.unanswered);
        let refused = self.phases.iter().filter(|one| (&*one.phase, &*one.outcome) == ("connect", "failed"));
        let refused: u64 = refused.map(|one| one.intended.count).sum();
        agree(
            "successes by second, and requests that did not fail",
            sum(|series| &series.accepted) + totals.throttled + totals.failed,
            ended + refused,
        );
        let first: u64 = self.attempts.values().sum();
        agree("first assignments, and assignments by second", first, sum(|series| &series.assigned));
    }

    /// The ways through registration are the ends of the requests.
    fn ways(&self, agree: &mut impl FnMut(&str, u64, u64)) {
        let totals = &self.totals;
        let ways = |from: &str, to: &str| -> u64 {
            let ways = self.flow.iter().filter(|way| (from.is_empty() || way.from == from) && way.to == to);
            ways.map(|way| way.times).sum()
        };
        agree("assignments, and ways to one", totals.assignments, ways("", "assigned"));
        agree("waits, and ways to one", totals.back_offs, ways("failure", "back-off"));
        agree("stops, and ways to one", totals.stops, ways("failure", "stopped"));
        agree("429s, and ways to one", totals.throttled, ways("", "throttled"));
        agree("failures, and ways to one", totals.failed, ways("", "failed"));
    }
}

/// Every device is somewhere.
fn devices(totals: &Totals, whose: &str, agree: &mut impl FnMut(&str, u64, u64)) {
    let Totals { assigned, stopped, in_flight, without_power, unborn, .. } = *totals;
    let somewhere = assigned + stopped + in_flight + without_power + unborn;
    agree(&format!("devices of {whose}, and where they are"), totals.devices, somewhere);
    agree(&format!("devices of {whose} that booted or did not"), totals.devices, totals.booted + unborn);
    let by_cause = totals.stopped_by.values().sum();
    agree(&format!("devices of {whose} that stopped, and by what"), stopped, by_cause);
}

#[cfg(test)]
mod tests {
    use crate::Record;
    use crate::record::{Code, Passage};

    #[test]
    fn a_count_that_stands_alone_is_found() {
        let mut record = Record::empty();
        assert_eq!(record.find_discrepancies(), Vec::<String>::new());
        record.totals.requests = 1;
        let found = record.find_discrepancies();
        assert!(found.iter().any(|one| one == "requests, and their ends: 1 and 0"), "{found:?}");
        let mut record = Record::empty();
        assert_eq!(record.find_discrepancies(), Vec::<String>::new());
        record.flow.push(Passage { from: "poll".into(), to: "assigned".into(), times: 2, devices: 1 });
        assert_eq!(record.find_discrepancies(), ["assignments, and ways to one: 0 and 2"]);
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_no_success() {
        let unreadable = Code {
            operation: "register".into(),
            status: 200,
            code: 0,
            fault: "protocol".into(),
            count: 1,
            devices: 1,
            first_ns: 0,
            last_ns: 0,
            windows: Vec::new(),
            causes: Vec::new(),
        };
        assert!(!unreadable.succeeded());
        assert!(Code { fault: String::new(), ..unreadable }.succeeded());
    }
}
