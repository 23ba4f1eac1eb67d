//! Faults mean the same on every clock: one scenario, in a simulation, as bytes over pipes, and over sockets.

use std::collections::BTreeSet;

use fleetstorm_engine::{Control, Plan, virtual_time, wall, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

fn plan(text: &str, calendar: Calendar) -> Plan {
    let scenario = Scenario::read(text, "test.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let registry = Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_x509::ENTRY,
    ]);
    Plan::new(scenario, &registry, calendar).expect("the plan is sound")
}

fn simulated(text: &str) -> Record {
    virtual_time::run(plan(text, Calendar::VIRTUAL), &Control::default()).expect("the run ends")
}

fn wired(text: &str) -> Record {
    wired::run(plan(text, Calendar::VIRTUAL), &Control::default()).expect("the run ends")
}

fn lived(text: &str) -> Record {
    let machine = wall::Machine { shards: Some(1) };
    wall::run(plan(text, wall::calendar()), machine, &Control::default()).expect("the run ends")
}

/// How attempts ended, connecting apart, with how often.
fn ends(record: &Record) -> BTreeSet<(String, u16, u32, String, u64)> {
    record
        .codes
        .iter()
        .map(|code| (code.operation.clone(), code.status, code.code, code.fault.clone(), code.count))
        .collect()
}

/// 40 devices without haste, whose strategy waits 10 s after every failure.
fn fleet(transport: &str, chaos: &str) -> String {
    format!(
        "horizon = \"10m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 40\narrival = {{ kind = \"constant\", rate = \"4/s\" }}\n\
         [[cohort]]\ntransport = \"{transport}\"\nconnect_timeout = \"3s\"\nrequest_timeout = \"3s\"\npark = \"20s\"\n\
         poll_interval = \"1s\"\npoll_jitter = \"0s\"\nretry = {{ kind = \"fixed\", base_ms = 10000 }}\n\
         [mock]\nassignment = {{ kind = \"constant\", delay = \"500ms\" }}\nretry_after_s = 1\n\
         [mock.throttle]\nprofile = \"unlimited\"\n{chaos}"
    )
}

/// Every fault hits the first attempt of half of the devices: how attempts end, and how often, is the same with and
/// without bytes.
#[test]
fn a_fault_means_the_same_in_a_simulation_and_as_bytes() {
    let half = "probability = 0.5\nunit = \"device\"\ncount = { per = \"device\", first = 1 }\n";
    for fault in [
        "{ kind = \"net.refused\" }",
        "{ kind = \"net.dns\", failure = \"no-name\" }",
        "{ kind = \"net.dns\", failure = \"timeout\" }",
        "{ kind = \"net.tls\", failure = \"expired\" }",
        "{ kind = \"net.tls\", failure = \"alert\" }",
        "{ kind = \"net.reset\", phase = \"accept\" }",
        "{ kind = \"net.reset\", phase = \"after-tls\" }",
        "{ kind = \"net.reset\", phase = \"after-request\" }",
        "{ kind = \"net.reset\", phase = \"mid-response\" }",
        "{ kind = \"net.blackhole\", phase = \"connect\" }",
        "{ kind = \"net.blackhole\", phase = \"request\" }",
        "{ kind = \"net.blackhole\", phase = \"answer\" }",
        "{ kind = \"net.latency\", delay = { kind = \"constant\", delay = \"1s\" } }",
        "{ kind = \"service.throttle\", retry_after = [\"5\"] }",
        "{ kind = \"service.error\", status = 503 }",
        "{ kind = \"service.brownout\", delay = { kind = \"constant\", delay = \"1s\" } }",
        "{ kind = \"service.brownout\", delay = { kind = \"constant\", delay = \"0s\" }, lost = 1.0 }",
        "{ kind = \"service.stuck\", held = \"5s\" }",
        "{ kind = \"service.operation-lost\" }",
        "{ kind = \"service.key-rotation\" }",
        "{ kind = \"service.clock\", offset = \"3h\" }",
        "{ kind = \"service.allocation-slow\", delay = { kind = \"constant\", delay = \"4s\" } }",
        "{ kind = \"service.duplicate-race\" }",
        "{ kind = \"fleet.reboot\", off = \"5s\" }",
    ] {
        for transport in ["https", "mqtt", "amqp"] {
            let text = fleet(transport, &format!("[[chaos]]\nfault = {fault}\n{half}"));
            let (simulated, wired) = (simulated(&text), wired(&text));
            // Devices that the fault makes park are at rest, and the run does not wait for them.
            let parks = ["expired", "rotation", "clock"].iter().any(|word| fault.contains(word));
            assert!(parks || simulated.totals.assigned == 40, "{transport} {fault}: {:?}", simulated.codes);
            assert_eq!(simulated.totals.assigned, wired.totals.assigned, "{transport} {fault}");
            assert_eq!(ends(&simulated), ends(&wired), "{transport} {fault}");
        }
    }
}

#[test]
fn bytes_that_drip_or_come_in_slices_are_read_all_the_same() {
    for fault in [
        "{ kind = \"net.slice\", bytes = 7 }",
        "{ kind = \"net.drip\", bytes = 40, every = \"10ms\" }",
        "{ kind = \"net.bandwidth\", bytes_per_s = 2000 }",
    ] {
        for transport in ["https", "mqtt", "mqtt-ws", "amqp"] {
            let plain = wired(&fleet(transport, ""));
            let slow = wired(&fleet(transport, &format!("[[chaos]]\nfault = {fault}\n")));
            assert_eq!(
                (slow.totals.assigned, slow.totals.failed),
                (40, 0),
                "{transport} {fault}: {:?}",
                slow.codes
            );
            let register = |record: &Record| {
                record.phases.iter().find(|phase| phase.phase == "register").map(|phase| phase.service.p50_us)
            };
            if !fault.contains("slice") {
                assert!(register(&slow) > register(&plain), "{transport} {fault}");
            }
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_lost_and_asked_for_again() {
    let limit = "[[chaos]]\nfault = { kind = \"net.limit\", bytes = 20 }\nselect = { share = 0.5 }\n\
                 count = { per = \"device\", first = 1 }\n";
    for transport in ["https", "mqtt", "mqtt-ws", "amqp"] {
        let record = wired(&fleet(transport, limit));
        let hit = record.chaos.faults[0].devices;
        let lost: u64 = record.codes.iter().filter(|code| code.fault == "lost").map(|code| code.count).sum();
        assert_eq!((record.totals.assigned, lost), (40, hit), "{transport}: {:?}", record.codes);
    }
}

#[test]
fn over_sockets_faults_do_what_they_do_in_memory() {
    let chaos = "[[chaos]]\nfault = { kind = \"net.reset\", phase = \"after-request\" }\n\
                 count = { per = \"device\", first = 1 }\nselect = { share = 0.5 }\n\
                 [[chaos]]\nfault = { kind = \"service.error\", status = 503 }\n\
                 count = { per = \"device\", skip = 1, first = 1 }\n\
                 [[chaos]]\nfault = { kind = \"net.slice\", bytes = 100 }\n";
    let text = fleet("https", chaos).replace("base_ms = 10000", "base_ms = 200").replace("4/s", "40/s");
    let (lived, wired) = (lived(&text), wired(&text));
    assert_eq!(lived.totals.assigned, 40, "{:?}", lived.codes);
    assert_eq!(ends(&lived), ends(&wired));
    let fired = |record: &Record| record.chaos.faults.iter().map(|fault| fault.devices).collect::<Vec<_>>();
    assert_eq!(fired(&lived)[..2], fired(&wired)[..2], "the same devices are hit");
}

#[test]
fn power_comes_back_and_devices_that_forgot_their_hub_register_again() {
    let chaos = "[[chaos]]\nfault = { kind = \"fleet.power-outage\", off = \"30s\", reboot_spread = \"2s\", \
                 keep_cache = 0.0 }\nstart = \"60s\"\nduration = \"1s\"\n";
    let text = fleet("https", chaos);
    for record in [simulated(&text), wired(&text)] {
        assert_eq!((record.totals.assigned, record.totals.booted), (40, 40), "{:?}", record.clock);
        assert_eq!(record.totals.billable, 80, "everybody registered twice");
        let on_its_way = |second: usize| record.series.in_flight.get(second).copied().unwrap_or(0);
        assert_eq!((on_its_way(70), on_its_way(91) > 0), (0, true), "{:?}", record.clock);
        assert_eq!(record.series.assigned.iter().sum::<u32>(), 40, "first assignments are told");
    }
    let remembered = text.replace("keep_cache = 0.0", "keep_cache = 1.0");
    assert_eq!(simulated(&remembered).totals.billable, 40);
}

#[test]
fn power_fails_in_the_middle_of_a_registration_and_after_an_event() {
    let chaos = "[[chaos]]\nfault = { kind = \"fleet.power-outage\", off = \"20s\" }\nstart = \"assigned >= 50%\"\n\
                 duration = \"1s\"\n";
    let text = fleet("https", chaos);
    for record in [simulated(&text), wired(&text)] {
        assert_eq!(record.totals.assigned, 40, "{:?}", record.clock);
        let begun = record.chaos.faults[0].windows[0].from_ns;
        assert!((4_000_000_000..9_000_000_000).contains(&begun), "{begun}");
        assert!(record.totals.billable > 40, "those in the middle had to begin again");
        assert!(record.chaos.faults[0].devices > 0);
    }
}

/// What came of a fault, told of runs of both virtual clocks that have to agree.
fn on_both_clocks(text: &str) -> Record {
    let (simulated, wired) = (simulated(text), wired(text));
    assert_eq!(simulated.totals.assigned, wired.totals.assigned);
    assert_eq!(ends(&simulated), ends(&wired));
    let told = |record: &Record| {
        let faults = record.chaos.faults.iter();
        faults.map(|fault| (fault.fired, fault.devices, fault.exercised.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&simulated), told(&wired));
    let clean = |record: &Record| record.chaos.residue.as_ref().map(|residue| residue.clean);
    assert_eq!((clean(&simulated), clean(&wired)), (Some(true), Some(true)), "{:?}", wired.chaos.residue);
    assert!(wired.chaos.faults[0].fired > 0, "{:?}", wired.chaos.faults[0]);
    wired
}

#[test]
fn a_cache_is_lost_and_nobody_else_is_disturbed() {
    let text = fleet(
        "https",
        "[[chaos]]\nfault = { kind = \"fleet.cache-loss\", spread = \"3s\" }\nstart = \"5s\"\nduration = \"1s\"\n",
    );
    let record = on_both_clocks(&text);
    let lost = record.chaos.faults[0].devices;
    assert!((10..=20).contains(&lost), "about those who had a hub after 5 s: {lost}");
    assert_eq!((record.totals.assigned, record.totals.billable), (40, 40 + lost));
}

#[test]
fn a_device_that_reboots_in_mid_flow_begins_again() {
    for transport in ["https", "mqtt", "amqp"] {
        let text = fleet(
            transport,
            "[[chaos]]\nfault = { kind = \"fleet.reboot\", off = \"2s\", reboot_spread = \"2s\" }\n\
             count = { per = \"device\", first = 1 }\n",
        );
        let record = on_both_clocks(&text);
        assert_eq!((record.totals.assigned, record.totals.billable), (40, 80), "{transport}");
    }
}

#[test]
fn firmware_that_crashes_comes_back_to_the_service_until_it_is_healed() {
    let text = fleet(
        "https",
        "[[chaos]]\nfault = { kind = \"fleet.firmware-loop\", every = \"5s\" }\nstart = \"20s\"\nduration = \"30s\"\n\
         select = { share = 0.5 }\n",
    );
    let record = on_both_clocks(&text);
    let devices = record.chaos.faults[0].devices;
    assert_eq!(record.totals.assigned, 40);
    let more = record.totals.billable - 40;
    assert!((5 * devices..=7 * devices).contains(&more), "{more} registrations of {devices} devices");
    assert!(record.duration_ns > 48_000_000_000, "the run does not end between two crashes");
}

#[test]
fn a_failover_breaks_connections_and_takes_a_part_of_the_quota() {
    for transport in ["https", "mqtt", "amqp"] {
        let failover =
            "[[chaos]]\nfault = { kind = \"service.failover\" }\nstart = \"5s\"\nduration = \"10s\"\n";
        let record = on_both_clocks(&fleet(transport, failover));
        assert_eq!(record.totals.assigned, 40, "{transport}");
        assert!(record.totals.connections > 40, "{transport}: some had to connect anew");
    }
    let scarce = |chaos: &str| {
        let text = fleet("https", chaos).replace("profile = \"unlimited\"", "rate = \"240/min\"\nburst = 1");
        simulated(&text).totals.throttled
    };
    let failover = "[[chaos]]\nfault = { kind = \"service.failover\", quota = 0.5 }\n";
    assert!(scarce(failover) > 2 * scarce("") + 10, "half of the quota is gone");
}

#[test]
fn copies_of_a_device_come_under_its_name() {
    let copies = "[[chaos]]\nfault = { kind = \"fleet.duplicate-ids\" }\n";
    // The door of MQTT closes the older one of two connections of one name, which a simulation has no sessions for.
    let mqtt = wired(&fleet("mqtt", copies));
    assert!(mqtt.chaos.faults[0].fired > 20 && mqtt.totals.assigned == 40, "{:?}", mqtt.chaos.faults[0]);
    for transport in ["https", "amqp"] {
        let record = on_both_clocks(&fleet(transport, copies));
        assert_eq!((record.chaos.faults[0].devices, record.totals.assigned), (20, 40), "{transport}");
        assert!(record.chaos.faults[0].note.contains("20 registrations"), "{:?}", record.chaos.faults[0]);
    }
}

/// A device that boots again after an outage asks for a place like any other.
#[test]
fn places_are_given_in_the_order_in_which_they_are_asked_for() {
    let chaos = "[[chaos]]\nfault = { kind = \"fleet.power-outage\", off = \"10s\", keep_cache = 0.0 }\n\
                 start = \"11500ms\"\nduration = \"1s\"\n";
    let text = fleet("https", chaos).replace("devices = 40", "devices = 40\nmax_concurrent = 3");
    // As long as on a pipe, or other devices would have had their hub when the power fails.
    let quick = |part| format!("{part} = {{ kind = \"constant\", delay = \"1ms\" }}\n");
    let text = format!("{text}[network]\n{}", ["connect", "hop", "service"].map(quick).concat());
    let (simulated, wired) = (simulated(&text), wired(&text));
    assert_eq!(ends(&simulated), ends(&wired));
    assert_eq!((wired.totals.assigned, wired.totals.billable > 40), (40, true));
    let at_once = |record: &Record| record.series.in_flight.iter().copied().max();
    assert!(at_once(&simulated) <= Some(3) && at_once(&wired) <= Some(3), "{:?}", at_once(&wired));
    // Most waited twice, and are counted once. Who of those that come back at one instant is first is nobody's to say.
    for record in [&simulated, &wired] {
        assert!((37..=40).contains(&record.held_back.devices), "{:?}", record.held_back);
    }
}

#[test]
fn a_fault_tells_which_checks_it_exercised() {
    let text = fleet(
        "https",
        "[[chaos]]\nname = \"storm\"\nfault = { kind = \"service.throttle\", retry_after = [\"5\"] }\n\
         count = { per = \"device\", first = 1 }\nselect = { share = 0.5 }\n\
         [[chaos]]\nname = \"later\"\nfault = { kind = \"net.refused\" }\nstart = \"9m\"\nmin_fired = 0\n",
    );
    for record in [simulated(&text), wired(&text)] {
        let [storm, later] = &record.chaos.faults[..] else { panic!("{:?}", record.chaos) };
        let floor =
            storm.exercised.iter().find(|met| met.check == "retry-after-floor").expect("a 429 named a wait");
        assert_eq!((floor.occasions, floor.broken), (storm.devices, 0));
        let all = record.practice.checks.iter().find(|check| check.id == floor.check).unwrap();
        assert!(all.exercised >= floor.occasions);
        assert_eq!(later.exercised, []);
    }
}

#[test]
fn clean_devices_come_online_after_the_last_fault() {
    let storm = "[[chaos]]\nfault = { kind = \"service.throttle\" }\nduration = \"20s\"\n";
    for transport in ["https", "mqtt"] {
        let text = fleet(transport, storm).replace("base_ms = 10000", "base_ms = 300");
        for record in
            [simulated(&text), wired(&text), lived(&text.replace("20s", "2s").replace("4/s", "40/s"))]
        {
            let residue = record.chaos.residue.as_ref().expect("somebody looked");
            assert!(residue.clean && residue.note.contains("3 of 3"), "{residue:?}");
            assert_eq!(
                (record.totals.devices, record.totals.assigned),
                (40, 40),
                "canaries are not the fleet's"
            );
        }
    }
    assert_eq!(simulated(&fleet("https", "")).chaos.residue, None, "nothing was to stay behind");
}

#[test]
fn firmware_faults_change_what_devices_decide() {
    let storm = "[[chaos]]\nname = \"storm\"\nfault = { kind = \"service.throttle\", retry_after = [\"30\"] }\n\
                 duration = \"20s\"\n";
    let calm = simulated(&fleet("https", storm)).totals.requests;
    let hot = "[[chaos]]\nfault = { kind = \"fleet.no-back-off\", wait = \"100ms\" }\n";
    let hot = fleet("https", &format!("{storm}{hot}"));
    let requests = [simulated(&hot), wired(&hot)].map(|record| record.totals.requests);
    assert!(requests.iter().all(|requests| *requests > 10 * calm), "{calm} {requests:?}");

    let jitter = |more: &str| {
        let text = fleet("https", &format!("{storm}{more}"));
        let text = text.replace("{ kind = \"fixed\", base_ms = 10000 }", "\"full-jitter\"");
        let text = text.replace("retry_after = [\"30\"]", "retry_after = []");
        let record = simulated(&text.replace("rate = \"4/s\"", "rate = \"4000/s\""));
        record.series.registers.iter().skip(2).copied().max().unwrap_or(0)
    };
    let (spread, lockstep) = (jitter(""), jitter("[[chaos]]\nfault = { kind = \"fleet.equal-seeds\" }\n"));
    assert!(lockstep >= 2 * spread, "in the fullest second {lockstep} against {spread}");

    let clock = "[[chaos]]\nfault = { kind = \"fleet.clock\", offset = \"-490000h\" }\nduration = \"20s\"\n";
    // Parked devices wake while others still boot.
    let slow = fleet("https", clock).replace("rate = \"4/s\"", "rate = \"1/s\"");
    for record in [simulated(&slow), wired(&slow)] {
        assert!(record.codes.iter().any(|code| code.status == 401), "tokens of 1970: {:?}", record.codes);
        assert_eq!(record.totals.assigned, 40, "and mended with the clock: {:?}", record.totals.stopped_by);
    }
}

#[test]
fn a_fault_that_never_fired_is_no_pass() {
    let record =
        simulated(&fleet("https", "[[chaos]]\nfault = { kind = \"net.refused\" }\nstart = \"9m\"\n"));
    assert_eq!((record.chaos.faults[0].fired, record.verdict.exit_code), (0, 11));
    assert!(record.verdict.sentence.contains("net.refused"), "{}", record.verdict.sentence);
}

#[test]
fn a_run_under_faults_is_the_same_byte_for_byte() {
    let chaos = "[[chaos]]\nname = \"a\"\nfault = { kind = \"net.reset\", phase = \"after-request\" }\nprobability = 0.2\n\
                 unit = \"request\"\n[[chaos]]\nname = \"b\"\nfault = { kind = \"service.throttle\" }\nprobability = 0.3\n\
                 unit = \"request\"\n[[chaos]]\nfault = { kind = \"fleet.power-outage\", off = \"5s\", keep_cache = 0.5 }\n\
                 start = \"6s\"\nduration = \"1s\"\nrepeat = { every = \"20s\", jitter = \"3s\", times = 3 }\n";
    let text = fleet("https", chaos);
    let json = |record: &Record| serde_json::to_string(record).expect("a record is JSON");
    assert_eq!(json(&simulated(&text)), json(&simulated(&text)));
    assert_eq!(json(&wired(&text)), json(&wired(&text)));
}

#[test]
fn a_run_that_goes_too_far_is_aborted_and_proves_nothing() {
    let storm = "[[guardrail]]\nmeasure = \"wrong-share\"\nmax = 0.5\nfor = \"5s\"\n\
                 [[chaos]]\nfault = { kind = \"service.throttle\" }\nstart = \"2s\"\n";
    for record in [simulated(&fleet("https", storm)), wired(&fleet("https", storm))] {
        assert_eq!(record.verdict.exit_code, 12, "{:?}", record.verdict);
        let breached_s = record.chaos.guardrails[0].breached_ns.map(|ns| ns / 1_000_000_000);
        assert!((6..12).contains(&breached_s.expect("it was breached")), "{breached_s:?}");
        assert!(record.verdict.sentence.contains("wrong share <= 0.5 for 5s"), "{}", record.verdict.sentence);
    }
}

#[test]
fn a_run_whose_steady_state_does_not_hold_does_not_start() {
    let chaos = "[[chaos]]\nfault = { kind = \"service.error\", status = 500 }\nduration = \"3s\"\n";
    let sound =
        format!("[steady_state]\ndevices = 5\nexpect = [\"assigned == 100%\", \"count(500) == 0\"]\n{chaos}");
    for record in [simulated(&fleet("https", &sound)), wired(&fleet("https", &sound))] {
        let steady = record.chaos.steady_state.as_ref().expect("it was looked at");
        assert_eq!((steady.devices, steady.objectives.len()), (5, 2));
        assert!(record.chaos.faults[0].fired > 0 && record.totals.devices == 40);
    }
    let unsound = sound.replace("assigned == 100%", "p99(register) < 1ns");
    let error = virtual_time::run(plan(&fleet("https", &unsound), Calendar::VIRTUAL), &Control::default())
        .unwrap_err();
    assert_eq!(error.exit_code(), 14);
    assert!(error.to_string().contains("p99(register)"), "{error}");
}

/// A herd that was throttled for a while has drained in the time that the quota needs for it; one that never backs off, against a
/// service that lets rejected requests pay, does not.
#[test]
fn a_fleet_that_comes_back_is_told_from_one_that_locks_up() {
    let text = |retry: &str, throttle: &str| {
        format!(
            "horizon = \"30m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 1500\narrival = {{ kind = \"all-at-once\", spread = \"10s\" }}\n\
             [[cohort]]\nretry = {retry}\n[mock.throttle]\n{throttle}\n\
             [[chaos]]\nfault = {{ kind = \"service.throttle\" }}\nstart = \"5s\"\nduration = \"60s\"\n"
        )
    };
    let calm = "profile = \"dps-doc\"\nburst = 100";
    let record = simulated(&text("{ kind = \"full-jitter\", base_ms = 1000, cap_ms = 30000 }", calm));
    let window = &record.chaos.faults[0].windows[0];
    let back_s = window.recovered_after_ns.map(|ns| ns / 1_000_000_000);
    assert!(back_s.is_some_and(|s| (60..180).contains(&s)), "1,400 devices at 1,000 a minute: {window:?}");
    assert!(window.detected_after_ns.is_some_and(|ns| ns <= 1_000_000_000), "{window:?}");
    assert_eq!((window.locked_up, record.verdict.exit_code), (false, 0), "{}", record.verdict.sentence);

    let penalising = "profile = \"dps-penalising\"\nburst = 100";
    let record = simulated(&text("{ kind = \"fixed\", base_ms = 500 }", penalising));
    assert!(record.chaos.faults[0].windows[0].locked_up, "{:?}", record.chaos.faults[0]);
    assert_eq!(record.verdict.exit_code, 10);
}

/// Faults of the AMQP door hit the first occasion of half of the devices: what each of those sees is what its end of the
/// protocol makes of it, and all of them have their hub in the end.
#[test]
fn a_device_comes_back_from_every_fault_of_the_amqp_door() {
    let once = "probability = 0.5\nunit = \"device\"\ncount = { per = \"device\", first = 1 }\n";
    for (fault, end) in [
        ("\"amqp.sasl\", code = 2", "unavailable"),
        ("\"amqp.drop\", frame = \"sasl-outcome\"", "connect-timeout"),
        ("\"amqp.drop\", frame = \"open\"", "connect-timeout"),
        ("\"amqp.drop\", frame = \"begin\"", "connect-timeout"),
        ("\"amqp.drop\", frame = \"attach\"", "connect-timeout"),
        ("\"amqp.credit\"", "connect-timeout"),
        ("\"amqp.drop\", frame = \"answer\"", "timeout"),
        ("\"amqp.drop\", frame = \"disposition\"", ""),
        ("\"amqp.disconnect\", after = \"sasl\"", "closed"),
        ("\"amqp.disconnect\", after = \"open\", condition = \"amqp:connection:forced\"", "closed"),
        ("\"amqp.disconnect\", after = \"begin\", condition = \"amqp:not-allowed\"", "not-authorized"),
        ("\"amqp.disconnect\", after = \"request\"", "lost"),
        ("\"amqp.detach\", after = \"attach\"", "closed"),
        ("\"amqp.detach\", after = \"request\", condition = \"amqp:resource-limit-exceeded\"", "lost"),
        ("\"amqp.duplicate\"", ""),
        ("\"amqp.correlation\", form = \"wrong\"", "timeout"),
        ("\"amqp.correlation\", form = \"missing\"", "timeout"),
        ("\"amqp.correlation\", form = \"reused\"", "timeout"),
        ("\"amqp.order\"", ""),
        ("\"amqp.release\", form = \"released\"", "closed"),
        ("\"amqp.release\", form = \"modified\"", "closed"),
        ("\"amqp.retry-after\", form = \"text\"", ""),
        ("\"amqp.frame\", form = \"malformed\"", "protocol"),
        ("\"amqp.frame\", form = \"oversized\"", "protocol"),
    ] {
        for transport in ["amqp", "amqp-ws"] {
            let record =
                wired(&fleet(transport, &format!("[[chaos]]\nfault = {{ kind = {fault} }}\n{once}")));
            let hit = record.chaos.faults[0].devices;
            assert!((10..30).contains(&hit), "{transport} {fault}: {hit} devices");
            assert_eq!(record.totals.assigned, 40, "{transport} {fault}: {:?}", record.codes);
            let seen = record.codes.iter().filter(|code| !code.fault.is_empty());
            let seen: Vec<_> = seen.map(|code| (&*code.fault, code.count)).collect();
            let expected = if end.is_empty() { Vec::new() } else { vec![(end, hit)] };
            assert_eq!(seen, expected, "{transport} {fault}");
        }
    }
    let rejected = "\"amqp.reject\", condition = \"amqp:resource-limit-exceeded\"";
    let record = wired(&fleet("amqp", &format!("[[chaos]]\nfault = {{ kind = {rejected} }}\n{once}")));
    let throttled: u64 = record.codes.iter().filter(|code| code.status == 429).map(|code| code.count).sum();
    assert_eq!(
        (record.totals.assigned, throttled),
        (40, record.chaos.faults[0].devices),
        "{:?}",
        record.codes
    );
}

#[test]
fn over_sockets_the_amqp_door_misbehaves_as_it_does_in_memory() {
    let nth = |name: &str, fault: &str, skip: u32| {
        format!(
            "[[chaos]]\nname = \"{name}\"\nfault = {{ kind = {fault} }}\nselect = {{ share = 0.7 }}\n\
             count = {{ per = \"device\", skip = {skip}, first = 1 }}\n"
        )
    };
    let chaos = [
        nth("sasl", "\"amqp.sasl\", code = 4", 0),
        nth("cut", "\"amqp.disconnect\", after = \"request\", condition = \"amqp:connection:forced\"", 0),
        nth("back", "\"amqp.release\", form = \"released\"", 1),
        nth("frame", "\"amqp.frame\", form = \"oversized\"", 0),
        nth("twice", "\"amqp.duplicate\"", 1),
    ];
    let text = fleet("amqp", &chaos.concat()).replace("base_ms = 10000", "base_ms = 200");
    let text = text.replace("4/s", "40/s");
    let (lived, wired) = (lived(&text), wired(&text));
    assert_eq!(lived.totals.assigned, 40, "{:?}", lived.codes);
    assert_eq!(ends(&lived), ends(&wired));
    let fired = |record: &Record| record.chaos.faults.iter().map(|fault| fault.devices).collect::<Vec<_>>();
    assert_eq!(fired(&lived), fired(&wired), "the same devices are hit");
    assert!(fired(&lived).iter().all(|devices| *devices > 0), "{:?}", fired(&lived));
}
