//! How runs end: with every device accounted for, something judged, and counts that add up, on every clock.

use std::time::Duration;

use fleetstorm_engine::{Control, Plan, virtual_time, wall, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::record::{End, FaultStatus, ObjectiveStatus, VerdictResult};
use fleetstorm_reports::{Document, Form, Record};
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

fn plan(text: &str, calendar: Calendar) -> Plan {
    let scenario = Scenario::read(text, "test.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let registry = Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_x509::ENTRY,
        &fleetstorm_plugin_tpm::ENTRY,
    ]);
    Plan::new(scenario, &registry, calendar).expect("the plan is sound")
}

fn simulated(text: &str) -> Record {
    sound(virtual_time::run(plan(text, Calendar::VIRTUAL), &Control::default()).expect("the run ends"))
}

fn wired(text: &str) -> Record {
    sound(wired::run(plan(text, Calendar::VIRTUAL), &Control::default()).expect("the run ends"))
}

fn sound(record: Record) -> Record {
    assert_eq!(record.discrepancies, Vec::<String>::new(), "{}", record.verdict.sentence);
    record
}

/// In a simulation, and as bytes.
fn both(text: &str) -> [Record; 2] {
    [simulated(text), wired(text)]
}

#[test]
fn a_device_that_parks_and_will_wake_keeps_the_run_from_ending() {
    // A clock that is far behind for the first minute: refused devices park for five.
    let text = "horizon = \"20m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 60\n\
                arrival = { kind = \"all-at-once\", spread = \"10s\" }\n[[cohort]]\npark = \"5m\"\n\
                [mock.throttle]\nprofile = \"unlimited\"\n[[chaos]]\n\
                fault = { kind = \"fleet.clock\", offset = \"-490000h\" }\nduration = \"1m\"\n\
                select = { share = 0.34 }\n";
    for record in both(text) {
        assert_eq!((record.totals.assigned, &record.end), (60, &End::Settled));
        assert_eq!(record.verdict.exit_code, 0, "{}", record.verdict.sentence);
        assert!(record.duration_ns > 300_000_000_000, "they wake after five minutes");
        let back = record.chaos.faults[0].windows[0].recovered_after_ns;
        assert!(back > Some(200_000_000_000), "the fleet is not back while devices sleep: {back:?}");
    }
}

#[test]
fn a_device_that_sleeps_past_the_horizon_has_nothing_left_to_do() {
    let text = "horizon = \"20m\"\nobjectives = [\"stopped == 0\"]\n[fleet]\ndevices = 5\n[[cohort]]\n\
                enrolled = false\npark = \"1h\"\n";
    for record in both(text) {
        assert_eq!((record.totals.stopped, record.totals.parked, &record.end), (5, 5, &End::Settled));
        assert!(record.duration_ns < 60_000_000_000);
        assert_eq!(record.verdict.exit_code, 10);
    }
}

/// A scenario whose devices are all turned away, with few places.
fn turned_away(attestation: &str, park: &str, more: &str) -> String {
    format!(
        "horizon = \"30m\"\nobjectives = [\"count(599) == 0\"]\n[fleet]\ndevices = 40\nmax_concurrent = 5\n[[cohort]]\n\
         attestation = \"{attestation}\"\nenrolled = false\npark = \"{park}\"\n{more}\n[mock.throttle]\n\
         profile = \"unlimited\"\n"
    )
}

#[test]
fn a_device_that_ends_or_parks_gives_its_place_to_another_one() {
    for attestation in ["symmetric-key", "x509", "tpm"] {
        for park in ["1h", "1m"] {
            let text = turned_away(attestation, park, "").replace(" devices\"", "\"");
            for record in both(&text) {
                let told = format!("{attestation} {park} {:?}: {}", record.clock, record.verdict.sentence);
                assert_eq!((record.totals.booted, record.totals.unborn), (40, 0), "{told}");
                assert_eq!(record.verdict.exit_code, 0, "{told}");
                assert_eq!(record.held_back.devices, 35, "each is counted once: {told}");
                assert!(record.series.in_flight.iter().all(|count| *count <= 5), "{told}");
            }
        }
    }
}

#[test]
fn a_device_that_never_got_its_turn_is_no_pass() {
    // The only places are held by devices whose requests nobody answers.
    let text = "horizon = \"2m\"\nobjectives = [\"count(401) == 0\"]\n[fleet]\ndevices = 20\nmax_concurrent = 4\n\
                [[cohort]]\nrequest_timeout = \"10m\"\n[[chaos]]\n\
                fault = { kind = \"net.blackhole\", phase = \"request\" }\nduration = \"1s\"\n";
    for record in both(text) {
        assert_eq!((record.totals.booted, record.totals.unborn, record.totals.in_flight), (4, 16, 4));
        assert_eq!((record.totals.requests, record.totals.unanswered), (4, 4));
        assert_eq!((record.verdict.result, record.verdict.exit_code), (VerdictResult::Unknown, 12));
        assert!(record.verdict.sentence.contains("16 never got their turn"), "{}", record.verdict.sentence);
    }
}

#[test]
fn without_an_objective_nothing_was_judged_and_every_form_says_so() {
    for record in both("[fleet]\ndevices = 3\n[[cohort]]\nenrolled = false\n") {
        assert_eq!((record.verdict.result, record.verdict.exit_code), (VerdictResult::Vacuous, 11));
        for form in
            [Form::Text, Form::Html, Form::Markdown, Form::Junit { strict_practices: false }, Form::Csv]
        {
            let text = form.render(&Document::Run(Box::new(record.clone()))).unwrap();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains("nothing was judged"), "{form:?}: {text}");
        }
        let junit = Form::Junit { strict_practices: false }.render(&Document::Run(Box::new(record))).unwrap();
        assert!(
            junit.contains("<testsuite name=\"run\" tests=\"1\" skipped=\"0\" errors=\"0\" failures=\"1\">"),
            "{junit}"
        );
    }
}

#[test]
fn a_fault_that_is_on_to_the_end_has_not_been_survived() {
    let refused = |duration: &str| {
        format!(
            "horizon = \"3m\"\nobjectives = [\"count(401) == 0\"]\n[fleet]\ndevices = 10\n[[chaos]]\n\
             fault = {{ kind = \"net.refused\" }}\n{duration}\n"
        )
    };
    for duration in ["", "duration = \"3m\"", "duration = \"1h\"", "duration = \"179s\""] {
        for record in both(&refused(duration)) {
            let fault = &record.chaos.faults[0];
            assert_eq!(fault.status, FaultStatus::Unknown, "{duration}: {}", fault.note);
            assert_eq!((fault.unfinished, record.verdict.exit_code), (10, 12), "{duration}");
            let told = fleetstorm_reports::summary(&record, false);
            assert!(!told.contains("survived") && !told.contains("never"), "{told}");
        }
    }
    // Whoever comes through although it is on has survived it.
    let slow = "objectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 10\n[[chaos]]\n\
                fault = { kind = \"net.latency\", delay = { kind = \"constant\", delay = \"300ms\" } }\n";
    for record in both(slow) {
        let fault = &record.chaos.faults[0];
        assert_eq!((fault.status, record.verdict.exit_code), (FaultStatus::Passed, 0), "{}", fault.note);
        assert!(fleetstorm_reports::summary(&record, false).contains("on to the end of the run"));
    }
}

#[test]
fn a_fleet_is_back_when_its_backlog_is_gone() {
    let text = "horizon = \"30m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 400\n[mock.throttle]\n\
                rate = \"120/min\"\nburst = 1\n[[chaos]]\nfault = { kind = \"service.throttle\" }\nduration = \"20s\"\n";
    for record in both(text) {
        let fault = &record.chaos.faults[0];
        let back = fault.windows[0].recovered_after_ns.unwrap();
        assert!(back >= 190_000_000_000, "400 devices at 2 a second: {back}");
        assert_eq!(fault.status, FaultStatus::Passed);
    }
}

#[test]
fn devices_that_gave_up_under_a_fault_are_told() {
    let text = "horizon = \"30m\"\nobjectives = [\"count(599) == 0\"]\n[fleet]\ndevices = 10\n[[cohort]]\n\
                retry = { kind = \"fixed\", base_ms = 1000, max_attempts = 2 }\n[[chaos]]\n\
                fault = { kind = \"service.error\", status = 503 }\nduration = \"1m\"\n";
    for record in both(text) {
        let fault = &record.chaos.faults[0];
        // All have given up before its end, and the run ends with them.
        assert_eq!((fault.stopped, fault.status), (10, FaultStatus::Unknown), "{}", fault.note);
        assert!(!fleetstorm_reports::summary(&record, false).contains("survived"));
    }
}

/// Clean devices present certificates of the CA that the service of the run knows.
#[test]
fn no_residue_is_seen_where_there_is_none_whatever_devices_prove_themselves_with() {
    for attestation in ["x509", "symmetric-key", "tpm"] {
        let text = format!(
            "horizon = \"5m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 4\n[[cohort]]\n\
             attestation = \"{attestation}\"\n[[chaos]]\nfault = {{ kind = \"service.throttle\" }}\n\
             duration = \"1s\"\n"
        );
        for record in both(&text) {
            let residue = record.chaos.residue.as_ref().unwrap();
            assert!(residue.clean, "{attestation} {:?}: {}", record.clock, residue.note);
            assert_eq!(record.verdict.exit_code, 0, "{}", record.verdict.sentence);
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it waits for another thread's first request")]
fn an_interrupted_run_leaves_open_what_had_not_come() {
    let text = "horizon = \"1h\"\nobjectives = [\"assigned == 100% within 30m\", \"stopped == 0\", \"count(404) == 0\"]\n\
                [fleet]\ndevices = 20\narrival = { kind = \"constant\", rate = \"1/min\" }\n[[chaos]]\n\
                fault = { kind = \"net.refused\" }\nstart = \"30m\"\n";
    let control = Control::default();
    let machine = wall::Machine { shards: Some(1) };
    let record = std::thread::scope(|scope| {
        let running = scope.spawn(|| wall::run(plan(text, wall::calendar()), machine, &control));
        while control.snapshot().is_none_or(|now| now.sent == 0) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        control.interrupt();
        sound(running.join().unwrap().unwrap())
    });
    assert_eq!((&record.end, record.verdict.exit_code), (&End::Interrupted, 130));
    for objective in &record.objectives {
        assert_eq!(objective.status, ObjectiveStatus::Undecided, "{}", objective.expression);
    }
    assert_eq!(record.chaos.faults[0].status, FaultStatus::Unknown);
    let junit = Form::Junit { strict_practices: false }.render(&Document::Run(Box::new(record))).unwrap();
    assert!(junit.contains("<skipped") && !junit.contains("<failure"), "{junit}");
}

/// Power cuts, lost answers, closed connections, damaged bodies, patience that runs out: whatever happens, each count
/// agrees with those that count the same.
#[test]
fn counts_add_up_whatever_happens() {
    let troubles = "[[chaos]]\nfault = { kind = \"fleet.power-outage\", off = \"20s\", reboot_spread = \"5s\", \
                    keep_cache = 0.2 }\nstart = \"10s\"\nduration = \"20s\"\n\
                    [[chaos]]\nfault = { kind = \"net.reset\", phase = \"after-request\" }\nprobability = 0.2\n\
                    unit = \"request\"\nduration = \"1m\"\n\
                    [[chaos]]\nfault = { kind = \"net.refused\" }\nprobability = 0.2\nunit = \"connection\"\nduration = \"1m\"\n\
                    [[chaos]]\nfault = { kind = \"service.stuck\", held = \"5m\" }\nprobability = 0.1\n\
                    unit = \"device\"\nduration = \"1m\"\n";
    let bodies = "[[chaos]]\nfault = { kind = \"http.body\", damage = \"malformed-json\" }\nprobability = 0.2\nunit = \"request\"\n\
                  duration = \"1m\"\n[[chaos]]\nfault = { kind = \"http.close-reuse\" }\nprobability = 0.3\n\
                  unit = \"request\"\nduration = \"1m\"\n";
    let fleet = |transport: &str, more: &str| {
        format!(
            "horizon = \"4m\"\nobjectives = [\"count(599) == 0\"]\n[fleet]\ndevices = 60\nmax_concurrent = 30\n\
             arrival = {{ kind = \"constant\", rate = \"3/s\" }}\n[[cohort]]\ntransport = \"{transport}\"\npark = \"30s\"\n\
             assign_patience = \"30s\"\nrequest_timeout = \"5s\"\n[mock.throttle]\nrate = \"300/min\"\nburst = 10\n{more}"
        )
    };
    for transport in ["https", "mqtt", "amqp", "mqtt-ws", "amqp-ws"] {
        let record = wired(&fleet(transport, troubles));
        assert!(record.totals.failed > 0, "{transport}");
    }
    let record = simulated(&fleet("https", troubles));
    assert!(record.totals.faltered > 0, "{:?}", record.totals);
    let record = wired(&fleet("https", bodies));
    let unreadable = |record: &Record| {
        record.codes.iter().filter(|code| code.fault == "protocol").map(|code| code.count).sum::<u64>()
    };
    assert!(unreadable(&record) > 0, "{:?}", record.codes);
}

/// Over MQTT and AMQP, as over HTTPS: an answer of 200 that cannot be read is a failure, everywhere that failures are
/// counted and told.
#[test]
fn answers_that_cannot_be_read_are_failures_over_every_transport() {
    for transport in ["mqtt", "mqtt-ws", "amqp", "amqp-ws"] {
        let family = transport.trim_end_matches("-ws");
        for damage in ["html", "empty", "malformed-json", "truncated"] {
            let text = format!(
                "horizon = \"10m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 40\n\
                 arrival = {{ kind = \"constant\", rate = \"4/s\" }}\n[[cohort]]\ntransport = \"{transport}\"\n\
                 [mock.throttle]\nprofile = \"unlimited\"\n\
                 [[chaos]]\nfault = {{ kind = \"{family}.body\", damage = \"{damage}\" }}\nprobability = 0.3\n\
                 unit = \"request\"\nduration = \"1m\"\n"
            );
            let record = wired(&text);
            let place = format!("{transport} {damage}: {:?}", record.codes);
            let (fired, devices) = (record.chaos.faults[0].fired, record.chaos.faults[0].devices);
            assert!(fired > 20 && devices > 10, "{place}");
            let unread: u64 =
                record.codes.iter().filter(|code| !code.succeeded()).map(|code| code.count).sum();
            // Nothing else goes wrong in this run.
            assert_eq!((unread, record.totals.failed, record.totals.assigned), (fired, fired, 40), "{place}");
            assert!(record.codes.iter().all(|code| code.succeeded() || code.fault == "protocol"), "{place}");
            let text = Form::Text.render(&Document::Run(Box::new(record))).unwrap();
            let listed = text.split("What went wrong").nth(1).expect("it is told");
            assert!(listed.contains(" protocol ") && !listed.contains("Nothing."), "{place} {text}");
        }
    }
}
