//! From what was found to a record with a verdict.
//!
//! Objectives are judged on the finished record alone, so a record that is read again later is judged the same, and
//! so are forecasts and comparisons.

mod alert;
mod chaos;
pub(crate) mod checks;
mod life;
mod objective;
mod worst;

use fleetstorm_model::scenario::{self, Scenario};
use fleetstorm_model::service::metrics::Metrics;
use fleetstorm_model::time::Moment;
use fleetstorm_reports::record::{
    Audit, Chaos, Clock, Cohort, Completion, End, FaultStatus, Guardrail, Machine, Objective,
    ObjectiveStatus, Practice, Residue, ServiceLog, Target, Totals, VERSION, Verdict, VerdictResult,
};
use fleetstorm_reports::{Record, sentence};

use crate::governor::Halt;
use crate::plan::Plan;
use crate::record::Findings;

/// What a driver adds to the findings.
pub(crate) struct Outcome {
    pub(crate) clock: Clock,
    pub(crate) target: Target,
    pub(crate) halt: Halt,
    /// When the run ended.
    pub(crate) now: Moment,
    pub(crate) audit: Option<Audit>,
    pub(crate) machine: Option<Machine>,
    /// The embedded mock's metrics on the run's clock.
    pub(crate) metrics: Metrics,
    pub(crate) service_log: Option<ServiceLog>,
    /// Devices that the embedded mock holds registrations of.
    pub(crate) registrations: Option<u64>,
    /// What clean devices met after the last fault.
    pub(crate) residue: Option<Residue>,
}

/// The record of a finished run.
pub(crate) fn record(plan: &Plan, findings: Findings, outcome: Outcome) -> Record {
    let end = match &outcome.halt {
        Halt::Settled => End::Settled,
        Halt::Horizon => End::Horizon,
        Halt::Interrupted => End::Interrupted,
        Halt::Guardrail(rule) => End::Guardrail { rule: rule.clone() },
        Halt::Ceiling(ceiling) => End::Ceiling { ceiling: ceiling.clone() },
        Halt::Broken(what) => End::Broken { what: what.clone() },
    };
    let ended = if end == End::Settled { findings.last_settled } else { outcome.now };
    let cohorts = plan
        .scenario
        .cohorts
        .iter()
        .zip(findings.cohorts)
        .map(|(cohort, found)| Cohort {
            name: cohort.name.clone(),
            attestation: cohort.attestation.kind.clone(),
            retry: cohort.retry.to_string(),
            transport: cohort.transport.name().to_owned(),
            totals: found.totals,
            completion: found.completion,
            assigned: found.assigned,
        })
        .collect();
    let mut record = Record {
        version: VERSION,
        tool: concat!("fleetstorm ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: plan.scenario.name.clone(),
        seed: plan.scenario.seed,
        clock: outcome.clock,
        target: outcome.target,
        scenario: plan.scenario.resolved(),
        profile: Some(plan.profile.clone()),
        plugins: plan.plugins(),
        end,
        duration_ns: ended.as_nanos(),
        devices: findings.totals.devices,
        cohorts,
        totals: findings.totals,
        completion: findings.completion,
        phases: findings.phases,
        codes: findings.codes,
        flow: findings.flow,
        series: findings.series,
        attempts: findings.attempts,
        retry_after: findings.retry_after,
        held_back: findings.held_back,
        life: findings.life,
        window_ns: findings.window_ns,
        heat: findings.heat,
        journeys: findings.journeys,
        herd: findings.herd,
        practice: Practice::default(),
        bound: plan.bound(),
        objectives: Vec::new(),
        audit: outcome.audit,
        machine: outcome.machine,
        metrics: Vec::new(),
        alerts: Vec::new(),
        service_log: outcome.service_log,
        trace: None,
        chaos: Chaos::default(),
        verdict: Verdict { result: VerdictResult::Passed, sentence: String::new(), exit_code: 0 },
        path: String::new(),
    };
    // Until the end of the second in which the run ended.
    let seconds = outcome.now.since(Moment::START).as_nanos().div_ceil(1_000_000_000);
    record.metrics = alert::series(&outcome.metrics, &plan.hubs(), seconds);
    record.alerts =
        plan.scenario.alerts.iter().map(|rule| alert::judge(rule, &record.metrics, seconds)).collect();
    record.objectives = plan
        .scenario
        .parsed_objectives()
        .iter()
        .map(|objective| objective::judge(&record, objective))
        .collect();
    record.chaos.steady_state.clone_from(&plan.steady_state);
    record.chaos.guardrails = guardrails(plan, &outcome.halt, outcome.now);
    if let Some(timeline) = &plan.chaos {
        record.chaos.faults = chaos::faults(timeline, &record, outcome.now, outcome.registrations);
    }
    record.chaos.residue = outcome.residue;
    let name = |device| plan.scenario.registration_id(device);
    for journey in &mut record.journeys {
        journey.name = name(journey.device);
    }
    if let Some(checker) = findings.checker {
        for (index, fault) in record.chaos.faults.iter_mut().enumerate() {
            fault.exercised = checker.exercised(index);
        }
        record.practice = checker.practice(&record, plan.scenario.fleet.informed, name);
    }
    (record.verdict.result, record.verdict.exit_code) = verdict(&record);
    record.verdict.sentence = sentence(&record);
    // What judges is exact to the second; what is kept of a run of hours need not be.
    record.coarsen();
    record
}

/// The record of a run of which nothing is known but that it broke, and by what: the process that held the rest is gone.
pub fn broken_run(scenario: &Scenario, clock: Clock, what: String) -> Record {
    let cohort = |(cohort, devices): (&scenario::Cohort, u32)| Cohort {
        name: cohort.name.clone(),
        attestation: cohort.attestation.kind.clone(),
        retry: cohort.retry.to_string(),
        transport: cohort.transport.name().to_owned(),
        totals: Totals { devices: u64::from(devices), ..Totals::default() },
        completion: Completion::default(),
        assigned: Vec::new(),
    };
    let mut record = Record {
        tool: concat!("fleetstorm ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: scenario.name.clone(),
        seed: scenario.seed,
        clock,
        scenario: scenario.resolved(),
        end: End::Broken { what },
        devices: u64::from(scenario.fleet.devices),
        totals: Totals { devices: u64::from(scenario.fleet.devices), ..Totals::default() },
        cohorts: scenario.cohorts.iter().zip(scenario.cohort_sizes()).map(cohort).collect(),
        ..Record::empty()
    };
    record.target.address = scenario.target.address.clone().unwrap_or_default();
    record.objectives = scenario
        .parsed_objectives()
        .iter()
        .map(|objective| Objective {
            status: ObjectiveStatus::NoData,
            ..objective::judge(&record, objective)
        })
        .collect();
    (record.verdict.result, record.verdict.exit_code) = verdict(&record);
    record.verdict.sentence = sentence(&record);
    record
}

fn guardrails(plan: &Plan, halt: &Halt, now: Moment) -> Vec<Guardrail> {
    let breached = |rule: &str| *halt == Halt::Guardrail(rule.to_owned());
    let told = |rule: String| {
        let breached_ns = breached(&rule).then_some(now.as_nanos());
        Guardrail { rule, breached_ns }
    };
    plan.scenario.guardrails.iter().map(|rule| told(rule.to_string())).collect()
}

/// Interruptions first, then what makes the numbers worthless, then the numbers: what failed goes before what had no
/// data, and that before what is unknown.
fn verdict(record: &Record) -> (VerdictResult, u8) {
    let any = |status| record.objectives.iter().any(|objective| objective.status == status);
    let fault = |status| record.chaos.faults.iter().any(|fault| fault.status == status);
    let dirty = |residue: &&Residue| !residue.clean;
    let residue = record.chaos.residue.as_ref().filter(dirty).map(|residue| residue.unknown);
    match record.end {
        End::Broken { .. } => (VerdictResult::Failed, 1),
        End::Interrupted => (VerdictResult::Interrupted, 130),
        End::Ceiling { .. } => (VerdictResult::Ceiling, 15),
        _ if record.audit.as_ref().is_some_and(|audit| !audit.untrusted.is_empty()) => {
            (VerdictResult::Untrusted, 12)
        }
        // A broken strategy must never look like a failing service, nor like a passing one.
        _ if record.totals.plugin_faults > 0 => (VerdictResult::Failed, 1),
        _ if any(ObjectiveStatus::Failed) || fault(FaultStatus::Failed) || residue == Some(false) => {
            (VerdictResult::Failed, 10)
        }
        _ if any(ObjectiveStatus::NoData) || fault(FaultStatus::Vacuous) => (VerdictResult::Vacuous, 11),
        End::Guardrail { .. } => (VerdictResult::Unknown, 12),
        _ if fault(FaultStatus::Unknown) || residue.is_some() => (VerdictResult::Unknown, 12),
        End::Settled | End::Horizon => (VerdictResult::Passed, 0),
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_reports::record::{Distribution, Fault, Objective};

    use super::*;

    fn objective(status: ObjectiveStatus) -> Objective {
        let told = String::new;
        Objective {
            expression: told(),
            status,
            observed: told(),
            value: None,
            bound: 0.0,
            margin: None,
            note: told(),
            worst: None,
        }
    }

    fn fault(status: FaultStatus) -> Fault {
        Fault {
            name: String::new(),
            kind: String::new(),
            layer: String::new(),
            eligible: 1,
            fired: 1,
            min_fired: 1,
            devices: 1,
            first_ns: None,
            last_ns: None,
            windows: Vec::new(),
            exercised: Vec::new(),
            status,
            note: String::new(),
        }
    }

    fn dirty(record: &mut Record) {
        record.chaos.residue = Some(Residue { clean: false, unknown: false, note: String::new() });
    }

    /// Something that a record can say, its exit code, and how it says so.
    type Weight = (&'static str, u8, fn(&mut Record));

    /// What comes first outweighs what comes after it.
    const WEIGHTS: [Weight; 13] = [
        ("the tool failed", 1, |record| record.end = End::Broken { what: String::new() }),
        ("interrupted", 130, |record| record.end = End::Interrupted),
        ("a ceiling", 15, |record| record.end = End::Ceiling { ceiling: String::new() }),
        ("untrusted", 12, |record| {
            record.audit = Some(Audit {
                send_lag: Distribution::default(),
                cpu_share: 1.0,
                cpu_share_worst: 1.0,
                cpu_s: 1.0,
                rss_max_bytes: 1,
                descriptors_max: 1,
                descriptors_limit: 1,
                exhausted: 0,
                shards: 1,
                untrusted: vec!["late".to_owned()],
                ..Audit::default()
            });
        }),
        ("a plugin failed", 1, |record| record.totals.plugin_faults = 1),
        ("an objective failed", 10, |record| record.objectives.push(objective(ObjectiveStatus::Failed))),
        ("a fault failed", 10, |record| record.chaos.faults.push(fault(FaultStatus::Failed))),
        ("residue", 10, dirty),
        ("no data", 11, |record| record.objectives.push(objective(ObjectiveStatus::NoData))),
        ("a fault never fired", 11, |record| record.chaos.faults.push(fault(FaultStatus::Vacuous))),
        ("a guardrail", 12, |record| record.end = End::Guardrail { rule: String::new() }),
        ("unknown", 12, |record| record.chaos.faults.push(fault(FaultStatus::Unknown))),
        ("not looked for", 12, |record| {
            record.chaos.residue = Some(Residue { clean: false, unknown: true, note: String::new() });
        }),
    ];

    #[test]
    fn the_worst_that_a_record_says_is_its_verdict() {
        let mut sound = Record::empty();
        sound.objectives.push(objective(ObjectiveStatus::Passed));
        sound.chaos.faults.push(fault(FaultStatus::Passed));
        sound.chaos.residue = Some(Residue { clean: true, unknown: false, note: String::new() });
        assert_eq!(verdict(&sound), (VerdictResult::Passed, 0));
        for (at, (name, code, apply)) in WEIGHTS.iter().enumerate() {
            let mut record = sound.clone();
            apply(&mut record);
            assert_eq!(verdict(&record).1, *code, "{name}");
            for (lesser, _, apply) in &WEIGHTS[at + 1..] {
                let mut both = record.clone();
                apply(&mut both);
                // A run ends in one way only, and leaves one kind of residue.
                let kept =
                    record.chaos.residue == sound.chaos.residue || both.chaos.residue == record.chaos.residue;
                if kept && (record.end == sound.end || both.end == record.end) {
                    assert_eq!(verdict(&both).1, *code, "{name} outweighs {lesser}");
                }
            }
        }
    }

    #[test]
    fn each_verdict_has_its_word() {
        let results = WEIGHTS.map(|(_, _, apply)| {
            let mut record = Record::empty();
            apply(&mut record);
            verdict(&record).0
        });
        use VerdictResult::{Ceiling, Failed, Interrupted, Unknown, Untrusted, Vacuous};
        let failed = [Failed, Interrupted, Ceiling, Untrusted, Failed, Failed, Failed, Failed];
        assert_eq!(results[..8], failed);
        assert_eq!(results[8..], [Vacuous, Vacuous, Unknown, Unknown, Unknown]);
    }
}
