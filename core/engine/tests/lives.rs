//! The life after provisioning, as real bytes and by direct calls: the same machine meets the same hubs.

use fleetstorm_engine::{Control, Plan, virtual_time, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{End, Life};
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

fn plan(text: &str) -> Plan {
    let scenario = Scenario::read(text, "test.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let registry = Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_x509::ENTRY,
    ]);
    Plan::new(scenario, &registry, Calendar::VIRTUAL).expect("the plan is sound")
}

fn both(text: &str) -> [(Record, Life); 2] {
    let runs = [
        wired::run(plan(text), &Control::default()).expect("the wired run ends"),
        virtual_time::run(plan(text), &Control::default()).expect("the simulated run ends"),
    ];
    runs.map(|record| {
        let life = record.life.clone().expect("devices live on");
        (record, life)
    })
}

/// Ways that take as long as those of a wired run.
const FAST: &str = "[network]\nconnect = { kind = \"constant\", delay = \"1ms\" }\nhop = { kind = \"constant\", \
                    delay = \"500us\" }\nservice = { kind = \"constant\", delay = \"0s\" }\n";

/// A cohort with a cache and MQTT, one without and HTTPS with certificates; a hub that fails for a second, one that
/// tells its devices to provision again, and a loss of power.
const EVENTFUL: &str = "seed = 3\nhorizon = \"90s\"\n[fleet]\ndevices = 80\narrival = { kind = \"all-at-once\", spread = \"1s\" }\n\
     [[cohort]]\nname = \"keys\"\ntransport = \"mqtt\"\n\
     life = { heartbeat = \"2s\", power_cuts = [{ at = \"50s\", off = \"1s\", spread = \"1s\" }] }\n\
     [[cohort]]\nname = \"certificates\"\nattestation = \"x509\"\n\
     life = { cache = false, heartbeat = \"2s\", power_cuts = [{ at = \"50s\", off = \"1s\", spread = \"1s\" }] }\n\
     [mock.throttle]\nprofile = \"unlimited\"\n\
     [[mock.hub]]\nhost = \"a.azure-devices.net\"\nstates = [{ at = \"30s\", state = \"failing\" }, { at = \"31s\", state = \"up\" }]\n\
     [[mock.hub]]\nhost = \"b.azure-devices.net\"\nreprovision = [{ at = \"10s\", over = \"5s\" }]\n";

#[test]
fn a_life_is_the_same_as_real_bytes_and_by_direct_calls() {
    let [(wired, ours), (simulated, theirs)] = both(&format!("{EVENTFUL}{FAST}"));
    let counts = |life: &Life| {
        let Life { online, connects, online_share, messages, .. } = life;
        assert!(online.len() >= 90 && connects.iter().any(|count| *count > 0) && *messages > 0);
        assert!((0.5..1.0).contains(online_share));
        Life { online: Vec::new(), connects: Vec::new(), online_share: 0.0, messages: 0, ..life.clone() }
    };
    assert_eq!(counts(&ours), counts(&theirs));
    assert!((ours.online_share - theirs.online_share).abs() < 0.005);
    assert!(ours.messages.abs_diff(theirs.messages) * 50 <= ours.messages, "{ours:?} {theirs:?}");
    assert_eq!(wired.totals.registers, simulated.totals.registers);
    assert_eq!(wired.totals.hubs, simulated.totals.hubs);

    assert_eq!((ours.devices, ours.ever_online, ours.online_at_end), (80, 80, 80));
    let of_b = wired.totals.hubs["b.azure-devices.net"];
    let of_a = wired.totals.hubs["a.azure-devices.net"];
    assert_eq!(ours.commands, of_b, "every device of the second hub was told");
    assert_eq!(ours.returns["command"], of_b);
    assert_eq!(ours.power_losses, 80);
    let forgetful = wired.cohorts[1].totals.devices;
    assert_eq!((ours.returns["boot"], ours.registrations_needless), (forgetful, forgetful));
    // Lost by the outage, by the command and by the cut; all came back.
    assert_eq!(ours.reconnects, of_a + of_b + 80);
    assert_eq!(ours.reconnects_cached, of_a + (80 - forgetful));
    assert_eq!(wired.totals.registers, 80 + of_b + forgetful);
    assert_eq!(wired.end, End::Horizon, "a fleet that lives on is never settled");
}

#[test]
fn two_lives_of_a_seed_leave_the_same_bytes() {
    for run in [wired::run, virtual_time::run] {
        let bytes = || {
            let record = run(plan(EVENTFUL), &Control::default()).expect("the run ends");
            record.write().expect("a record is JSON")
        };
        assert!(bytes() == bytes());
    }
}

#[test]
fn a_fleet_that_connects_at_once_takes_what_the_hubs_quota_takes() {
    let text = format!(
        "horizon = \"60s\"\n[fleet]\ndevices = 1000\n[[cohort]]\nretry = \"none\"\nlife = {{ heartbeat = \"0s\" }}\n\
         [mock]\nassignment = {{ kind = \"constant\", delay = \"1s\" }}\nretry_after_s = 1\n\
         [mock.throttle]\nprofile = \"unlimited\"\n[[mock.hub]]\nhost = \"a.azure-devices.net\"\n{FAST}"
    );
    for (record, life) in both(&text) {
        assert_eq!((life.online_at_end, life.hub_connections), (1_000, 1_000));
        let slowest =
            record.phases.iter().find(|phase| phase.phase == "hub-connect").expect("they connected");
        // S1: 100 at once, then 100 a second; the polls that precede are spread over a second.
        let last_s = slowest.intended.max_us as f64 / 1e6;
        assert!((8.0..=9.1).contains(&last_s), "{last_s}");
    }
}

#[test]
fn devices_of_a_hub_that_is_unlinked_are_at_the_other_one_in_the_end() {
    let text = format!(
        "horizon = \"3m\"\n[fleet]\ndevices = 200\n[[cohort]]\ntransport = \"mqtt\"\nlife = {{}}\n[mock.throttle]\n\
         profile = \"unlimited\"\n[[mock.hub]]\nhost = \"old.azure-devices.net\"\n\
         states = [{{ at = \"1m\", state = \"unlinked\" }}]\n[[mock.hub]]\nhost = \"new.azure-devices.net\"\n{FAST}"
    );
    for (record, life) in both(&text) {
        assert_eq!(record.totals.hubs["new.azure-devices.net"], 200);
        assert_eq!(record.totals.hubs["old.azure-devices.net"], 0);
        assert_eq!(life.online_at_end, 200);
        assert_eq!(life.moved, life.returns["refused"]);
        assert_eq!(life.refused["not-authorized"], life.moved);
        assert!((60..140).contains(&life.moved), "about a half: {}", life.moved);
        assert_eq!(life.registrations_needless, 0);
        assert_eq!(record.totals.assigned, 200);
    }
}

#[test]
fn a_hub_that_throttles_lets_nobody_in_and_keeps_those_who_are_there() {
    let text = format!(
        "horizon = \"3m\"\n[fleet]\ndevices = 60\narrival = {{ kind = \"constant\", rate = \"60/min\" }}\n[[cohort]]\n\
         life = {{}}\n[mock]\nassignment = {{ kind = \"constant\", delay = \"1s\" }}\n[mock.throttle]\nprofile = \"unlimited\"\n\
         [[mock.hub]]\nhost = \"a.azure-devices.net\"\nstates = [{{ at = \"20s\", state = \"throttled\" }}, \
         {{ at = \"40s\", state = \"up\" }}]\n{FAST}"
    );
    let [(_, wired), (_, simulated)] = both(&text);
    for life in [&wired, &simulated] {
        assert_eq!((life.online_at_end, life.reconnects), (60, 0), "{life:?}");
        assert!(life.refused["closed"] >= 20 && life.refused.len() == 1, "{:?}", life.refused);
        assert!(life.returns.is_empty(), "the cache serves: {:?}", life.returns);
    }
    assert_eq!(wired.refused, simulated.refused);
}

#[test]
fn a_fault_puts_a_hub_into_another_state_for_those_whom_it_selects() {
    let text = |state: &str, more: &str| {
        format!(
            "horizon = \"3m\"\n[fleet]\ndevices = 60\narrival = {{ kind = \"all-at-once\", spread = \"5s\" }}\n\
             [[cohort]]\nname = \"hit\"\nlife = {{}}\n[[cohort]]\nname = \"spared\"\nlife = {{}}\n\
             [mock.throttle]\nprofile = \"unlimited\"\n[[mock.hub]]\nhost = \"a.azure-devices.net\"\n\
             [[mock.hub]]\nhost = \"b.azure-devices.net\"\n\
             [[chaos]]\nname = \"hub\"\nselect = {{ cohort = \"hit\" }}\nstart = \"30s\"\nduration = \"20s\"\n\
             fault = {{ kind = \"service.hub-state\", hub = \"A.azure-devices.net\", state = \"{state}\" }}\n{more}{FAST}"
        )
    };
    for (state, fault) in [("failing", "unavailable"), ("unlinked", "not-authorized")] {
        let [(record, wired), (_, simulated)] = both(&text(state, ""));
        let at_a = wired.refused[fault];
        assert!((8..=90).contains(&at_a), "{state}: {at_a}");
        assert_eq!((&wired.refused, wired.online_at_end), (&simulated.refused, 60), "{state}");
        assert_eq!((wired.reconnects, wired.moved), (simulated.reconnects, simulated.moved), "{state}");
        // Some fifteen of the thirty that are selected were at the hub; those who are spared lost nothing.
        assert!((8..=22).contains(&wired.reconnects), "{state}: {}", wired.reconnects);
        assert_eq!(
            wired.moved > 0,
            state == "unlinked",
            "{state}: an unlinked hub's devices go to the other one"
        );
        let told = record.chaos.faults.iter().find(|fault| fault.name == "hub").unwrap();
        assert!(told.fired >= at_a, "{state}: {told:?}");
    }
    // It lets nobody in and closes nothing: who stands goes on.
    let [(_, wired), (_, simulated)] = both(&text("throttled", "min_fired = 0\n"));
    assert_eq!((wired.reconnects, wired.online_at_end), (0, 60));
    assert_eq!(wired.refused, simulated.refused);
}

#[test]
fn a_limit_of_devices_on_their_way_does_not_hold_those_that_have_arrived() {
    let text = format!(
        "horizon = \"2m\"\n[fleet]\ndevices = 60\nmax_concurrent = 10\n[[cohort]]\nlife = {{}}\n[mock.throttle]\n\
         profile = \"unlimited\"\n{FAST}"
    );
    let runs = both(&text);
    assert_eq!(runs[0].0.held_back.devices, 50, "those without a place at first");
    for (_, life) in runs {
        assert_eq!((life.online_at_end, life.reconnects), (60, 0));
    }
}

/// A fault of the network between devices and their hubs alone, in the middle of a quiet life.
fn at_the_hub(fault: &str, more: &str) -> String {
    format!(
        "seed = 3\nhorizon = \"5m\"\nprofile = \"ms-2025\"\n[fleet]\ndevices = 40\n\
         arrival = {{ kind = \"all-at-once\", spread = \"1s\" }}\n\
         [[cohort]]\ntransport = \"mqtt\"\nkeep_alive = \"10s\"\n\
         life = {{ heartbeat = \"4s\", connect_timeout = \"5s\" }}\n\
         [mock.throttle]\nprofile = \"unlimited\"\n\
         [[chaos]]\nfault = {{ kind = {fault} }}\nselect = {{ peer = \"hub\", share = 0.5 }}\n{more}{FAST}"
    )
}

#[test]
fn a_fault_on_the_way_to_a_hub_means_the_same_as_bytes_and_by_direct_calls() {
    let once = "count = { per = \"device\", first = 1 }\n";
    for (fault, refused) in [
        ("\"net.refused\"", "refused"),
        ("\"net.dns\", failure = \"no-name\"", "dns"),
        ("\"net.dns\", failure = \"timeout\"", "connect-timeout"),
        ("\"net.tls\", failure = \"expired\"", "tls-expired"),
        ("\"net.reset\", phase = \"accept\"", "closed"),
        ("\"net.reset\", phase = \"after-tls\"", "closed"),
        ("\"net.reset\", phase = \"after-request\"", "closed"),
        ("\"net.reset\", phase = \"mid-response\"", "closed"),
        ("\"net.blackhole\", phase = \"connect\"", "connect-timeout"),
        ("\"net.blackhole\", phase = \"request\"", "connect-timeout"),
        ("\"net.blackhole\", phase = \"answer\"", "connect-timeout"),
        ("\"net.latency\", delay = { kind = \"constant\", delay = \"2s\" }", ""),
    ] {
        for (record, life) in both(&at_the_hub(fault, once)) {
            let hit = record.chaos.faults[0].devices;
            assert!((10..30).contains(&hit), "{:?} {fault}: {hit} devices", record.clock);
            assert_eq!(record.chaos.faults[0].fired, hit, "{:?} {fault}", record.clock);
            let expected = if refused.is_empty() { Vec::new() } else { vec![(refused.to_owned(), hit)] };
            let seen: Vec<_> = life.refused.clone().into_iter().collect();
            assert_eq!(seen, expected, "{:?} {fault}", record.clock);
            assert_eq!((life.online_at_end, record.totals.registers), (40, 40), "{:?} {fault}", record.clock);
            assert_eq!(record.totals.failed, 0, "{:?} {fault}: DPS is left alone", record.clock);
        }
    }
}

/// A connection that stands meets a fault with its next message, and a device whose hub has fallen silent notices it
/// within two intervals of its keep-alive.
#[test]
fn a_fault_of_a_connection_that_stands_brings_its_device_back() {
    let later = "start = \"60s\"\nduration = \"6s\"\napplies_to = \"existing\"\ncount = { per = \"device\", first = 1 }\n";
    for (fault, noticed) in [
        ("\"net.reset\", phase = \"after-tls\"", 0),
        ("\"net.reset\", phase = \"after-request\"", 0),
        ("\"net.blackhole\", phase = \"request\"", 20),
        ("\"net.blackhole\", phase = \"answer\"", 20),
    ] {
        for (record, life) in both(&at_the_hub(fault, later)) {
            let hit = record.chaos.faults[0].devices;
            assert!((10..30).contains(&hit), "{:?} {fault}: {hit} devices", record.clock);
            assert_eq!((life.reconnects, life.reconnects_cached), (hit, hit), "{:?} {fault}", record.clock);
            assert_eq!((life.online_at_end, record.totals.registers), (40, 40), "{:?} {fault}", record.clock);
            let step = usize::try_from(record.series.step_s).unwrap();
            let least = |from: usize, until: usize| {
                life.online[from / step..until / step].iter().min().copied().unwrap()
            };
            assert_eq!(least(20, 60), 40, "{:?} {fault}", record.clock);
            // They are all away at some time, which comes when they have noticed.
            assert_eq!(
                least(60 + noticed / 2, 100),
                40 - u32::try_from(hit).unwrap(),
                "{:?} {fault}",
                record.clock
            );
        }
    }
}
