//! However a run ends, its faults end with it and its record is there.

use std::time::Duration;

use fleetstorm_model::chaos::{Layer, Occasion};
use fleetstorm_plugin_host::Registry;
use fleetstorm_protocol::Operation;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{End, VerdictResult};
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::{Calendar, Moment};

use crate::listen::Listener;
use crate::{Control, Plan, RunError, virtual_time, wall, wired};

fn plan(text: &str, calendar: Calendar) -> Plan {
    let scenario = Scenario::read(text, "t.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
    Plan::new(scenario, &registry, calendar).unwrap()
}

type Run = (&'static str, fn() -> Calendar, fn(Plan, &Control) -> Result<Record, RunError>);

const RUNS: [Run; 3] = [
    ("simulated", || Calendar::VIRTUAL, virtual_time::run),
    ("wired", || Calendar::VIRTUAL, wired::run),
    ("live", wall::calendar, |plan, control| wall::run(plan, wall::Machine { shards: Some(2) }, control)),
];

const STORM: &str = "horizon = \"30s\"\n[fleet]\ndevices = 20\narrival = { kind = \"constant\", rate = \"40/s\" }\n\
                     [[cohort]]\nretry = { kind = \"fixed\", base_ms = 200 }\n\
                     [[chaos]]\nfault = { kind = \"service.error\", status = 503 }\n";

#[test]
fn a_panic_heals_first_and_leaves_a_record() {
    for (name, calendar, run) in RUNS {
        let plan = plan(STORM, calendar()).listening(Listener::collapsing(13));
        let timeline = plan.chaos.clone().unwrap();
        let mut rules = timeline.rules(&[Layer::Service]);
        let mut is_hit = || {
            let now = Moment::START + fleetstorm_units::time::Span::from_secs(29);
            rules.serve(&Occasion::of(now, 1, Some(Operation::Register)), 0).refuse.is_some()
        };
        assert!(is_hit(), "{name}: until then");
        let record = run(plan, &Control::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(record.end, End::Broken { what: "the listener collapsed".to_owned() }, "{name}");
        assert_eq!((record.verdict.result, record.verdict.exit_code), (VerdictResult::Failed, 1), "{name}");
        assert!(record.verdict.sentence.contains("the tool itself failed"), "{}", record.verdict.sentence);
        assert!(
            record.chaos.faults[0].fired > 0 && record.totals.failed > 0,
            "{name}: what came before is kept"
        );
        assert_eq!(record.chaos.faults[0].windows[0].until_ns, None, "{name}: it was on to the end");
        assert!(!is_hit(), "{name}: it is healed");
    }
}

#[test]
fn an_interrupted_run_heals_and_nobody_looks_for_residue() {
    for (name, calendar, run) in RUNS {
        let plan = plan(STORM, calendar());
        let timeline = plan.chaos.clone().unwrap();
        let control = Control::default();
        control.interrupt();
        let record = run(plan, &control).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((record.end, record.chaos.residue), (End::Interrupted, None), "{name}");
        assert!(timeline.is_healed(), "{name}");
    }
}

/// The look at the steady state would take two minutes of the wall clock.
#[test]
fn an_interruption_is_heard_while_the_steady_state_is_looked_at() {
    let unsteady = "[steady_state]\ndevices = 2\nexpect = [\"assigned == 100%\"]\nwithin = \"2m\"\n[mock]\n\
                    assignment = { kind = \"constant\", delay = \"10m\" }\n";
    let plan = plan(&format!("{STORM}{unsteady}"), wall::calendar());
    let control = Control::default();
    let interrupting = control.clone();
    let began = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_secs(2));
        interrupting.interrupt();
    });
    let record = wall::run(plan, wall::Machine { shards: Some(1) }, &control).unwrap();
    began.join().unwrap();
    assert_eq!((record.end, record.verdict.exit_code), (End::Interrupted, 130));
    assert_eq!(record.chaos.steady_state, None, "it was not seen");
    assert!(record.duration_ns < 30_000_000_000, "{}", record.duration_ns);
}
