//! From what was found to a record with a verdict.
//!
//! Objectives are judged on the finished record alone, so a record that is read again later is judged the same, and
//! so are forecasts and comparisons.

mod alert;
mod chaos;
mod life;
mod measure;
mod objective;
mod practice;
mod verdict;
mod worst;

use fleetstorm_model::chaos::HubState;
use fleetstorm_model::service::metrics::Metrics;
use fleetstorm_net::governor::Halt;
use fleetstorm_reports::record::{
    Audit, Chaos, Clock, Cohort, Completion, End, Guardrail, Machine, Outage, Practice, Residue, ServiceLog,
    Target, Totals, VERSION, Verdict, VerdictResult,
};
use fleetstorm_reports::{Record, sentence};
use fleetstorm_scenario::{MockFile, Scenario};
use fleetstorm_units::time::Moment;

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
        question: plan.scenario.question.clone(),
        seed: plan.scenario.seed,
        clock: outcome.clock,
        target: outcome.target,
        scenario: plan.scenario.published(),
        profile: Some(plan.profile.clone()),
        plugins: plan.plugins(),
        end,
        duration_ns: ended.as_nanos(),
        devices: u64::from(plan.scenario.fleet.devices),
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
        outages: Vec::new(),
        discrepancies: Vec::new(),
        verdict: Verdict { result: VerdictResult::Passed, sentence: String::new(), exit_code: 0 },
        path: String::new(),
    };
    // Until the end of the second in which the run ended.
    let seconds = outcome.now.since(Moment::START).as_nanos().div_ceil(1_000_000_000);
    record.metrics = alert::series(&outcome.metrics, &plan.hubs(), seconds);
    record.alerts =
        plan.scenario.alerts.iter().map(|rule| alert::judge(rule, &record.metrics, seconds)).collect();
    record.chaos.steady_state.clone_from(&plan.steady_state);
    record.chaos.guardrails = guardrails(plan, &outcome.halt, outcome.now);
    if let Some(timeline) = &plan.chaos {
        record.chaos.faults =
            chaos::faults(timeline, &record, outcome.now, outcome.registrations, &findings.struck);
    }
    record.chaos.residue = outcome.residue;
    if record.target.kind == "mock" {
        record.outages = outages(&plan.scenario.mock, outcome.now);
    }
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
    record.objectives = plan
        .scenario
        .parsed_objectives()
        .iter()
        .map(|objective| objective::judge(&record, objective))
        .collect();
    record.discrepancies = record.find_discrepancies();
    (record.verdict.result, record.verdict.exit_code) = verdict::verdict(&record);
    record.verdict.sentence = sentence(&record);
    // What judges is exact to the second; what is kept of a run of hours need not be.
    record.coarsen();
    record
}

/// The record of a run of which nothing is known but that it broke, and by what: the process that held the rest is gone.
pub fn broken_run(scenario: &Scenario, clock: Clock, what: String) -> Record {
    let cohort = |(cohort, devices): (&fleetstorm_scenario::Cohort, u32)| Cohort {
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
        question: scenario.question.clone(),
        seed: scenario.seed,
        clock,
        scenario: scenario.published(),
        end: End::Broken { what },
        devices: u64::from(scenario.fleet.devices),
        totals: Totals { devices: u64::from(scenario.fleet.devices), ..Totals::default() },
        cohorts: scenario.cohorts.iter().zip(scenario.cohort_sizes()).map(cohort).collect(),
        ..Record::empty()
    };
    record.target.address = scenario.target.address.clone().unwrap_or_default();
    record.totals.unborn = record.totals.devices;
    record.objectives =
        scenario.parsed_objectives().iter().map(|objective| objective::judge(&record, objective)).collect();
    (record.verdict.result, record.verdict.exit_code) = verdict::verdict(&record);
    record.verdict.sentence = sentence(&record);
    record
}

/// When the mock and its hubs were out of order, as far as a run that ended at `now` got.
fn outages(mock: &MockFile, now: Moment) -> Vec<Outage> {
    let seen = |name: String, from: Moment, until: Option<Moment>| {
        let until_ns = until.filter(|until| *until < now).map(Moment::as_nanos);
        (from < now).then_some(Outage { name, from_ns: from.as_nanos(), until_ns })
    };
    let service = mock.outages.iter().filter_map(|file| {
        let outage = file.resolved();
        seen(format!("service answers {}", file.status), outage.from, Some(outage.until))
    });
    let hubs = mock.hubs.iter().flat_map(|hub| {
        let host = hub.host.split('.').next().unwrap_or(&hub.host);
        let ends = hub.states.iter().skip(1).map(|next| Some(Moment::START + next.at.0)).chain([None]);
        hub.states.iter().zip(ends).filter_map(move |(change, until)| {
            let how = match change.state {
                HubState::Up => return None,
                HubState::Throttled => "throttled",
                HubState::Failing => "failing",
                HubState::Unlinked => "unlinked",
            };
            seen(format!("{host} {how}"), Moment::START + change.at.0, until)
        })
    });
    service.chain(hubs).collect()
}

fn guardrails(plan: &Plan, halt: &Halt, now: Moment) -> Vec<Guardrail> {
    let breached = |rule: &str| *halt == Halt::Guardrail(rule.to_owned());
    let told = |rule: String| {
        let breached_ns = breached(&rule).then_some(now.as_nanos());
        Guardrail { rule, breached_ns }
    };
    plan.scenario.guardrails.iter().map(|rule| told(rule.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_outages_are_kept_as_far_as_the_run_got() {
        let text = "[[mock.outage]]\nat = \"5s\"\nfor = \"10s\"\nstatus = 500\n\
                    [[mock.hub]]\nhost = \"hub-1.azure-devices.net\"\n\
                    states = [{ at = \"20s\", state = \"failing\" }, { at = \"40s\", state = \"up\" }, \
                    { at = \"50s\", state = \"unlinked\" }]\n";
        let scenario = Scenario::read(text, "x.toml", &[]).unwrap_or_else(|why| panic!("{why}"));
        let told = |secs: u64| -> Vec<(String, u64, Option<u64>)> {
            let found = outages(&scenario.mock, Moment::from_nanos(secs * 1_000_000_000));
            let s = |ns: u64| ns / 1_000_000_000;
            found.into_iter().map(|one| (one.name, s(one.from_ns), one.until_ns.map(s))).collect()
        };
        let service = ("service answers 500".to_owned(), 5, Some(15));
        assert_eq!(told(4), []);
        assert_eq!(told(30), [service.clone(), ("hub-1 failing".to_owned(), 20, None)]);
        let all =
            [service, ("hub-1 failing".to_owned(), 20, Some(40)), ("hub-1 unlinked".to_owned(), 50, None)];
        assert_eq!(told(60), all);
    }
}
