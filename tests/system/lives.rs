//! The life after provisioning, by the built command: shipped scenarios at full size in virtual time, small fleets over
//! real sockets, and hubs of a mock in another process.

use fleetstorm_reports::record::{CheckStatus, Life, ObjectiveStatus};

use crate::harness::{Bench, Mock, scenarios};

fn shipped(bench: &Bench, name: &str, more: &[&str]) -> Life {
    let path = scenarios().join(name);
    let mut arguments = vec!["run", path.to_str().unwrap(), "--out", "out", "--progress", "none"];
    arguments.extend_from_slice(more);
    bench.fleetstorm(&arguments).passed();
    let record = bench.record();
    assert!(!record.objectives.is_empty());
    assert!(record.objectives.iter().all(|objective| objective.status == ObjectiveStatus::Passed));
    record.life.expect("devices live on")
}

/// What came of a best practice in the last run.
fn practice(bench: &Bench, id: &str) -> CheckStatus {
    let checks = bench.record().practice.checks;
    checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no practice {id}")).status
}

#[test]
fn after_an_outage_the_fleet_comes_back_by_itself_and_leaves_dps_alone() {
    let bench = Bench::new();
    let life = shipped(&bench, "reconnect-after-outage.toml", &["--clock", "virtual"]);
    assert_eq!((life.devices, life.online_at_end), (10_000, 10_000));
    assert_eq!((life.reconnects, life.reconnects_cached), (10_000, 10_000));
    assert!(life.returns.is_empty(), "{:?}", life.returns);
    assert_eq!(practice(&bench, "reconnect-first"), CheckStatus::Passed);
    let page = bench.fleetstorm(&["report", "out/run.json", "--out", "again.html"]);
    assert_eq!(page.code, 0, "{page:?}");
    let page = std::fs::read_to_string(bench.path("again.html")).unwrap();
    assert!(page.contains("Life after provisioning") && page.contains("10,000 of 10,000 reconnects"));
}

#[test]
fn devices_of_an_unlinked_hub_find_the_other_one() {
    let bench = Bench::new();
    let life = shipped(&bench, "reprovision-to-new-hub.toml", &["--clock", "virtual"]);
    assert_eq!(life.online_at_end, 2_000);
    assert_eq!(life.moved, life.returns["refused"]);
    assert!(life.commands > 800, "the devices of the old hub were told: {}", life.commands);
    let hubs = bench.record().totals.hubs;
    assert_eq!(hubs["hub-new.azure-devices.net"], 2_000);
}

#[test]
fn a_device_without_a_cache_registers_at_every_boot() {
    let bench = Bench::new();
    let life = shipped(&bench, "no-cache-devices.toml", &["--clock", "virtual"]);
    assert_eq!((life.power_losses, life.returns["boot"]), (4_000, 2_000));
    assert_eq!(life.registrations_needless, 2_000);
    assert_eq!(life.reconnects_cached, 2_000);
    assert_eq!(practice(&bench, "reconnect-first"), CheckStatus::Failed);
}

/// Everything that befalls a fleet, in twelve seconds of the wall clock.
const SHORT: &str = r#"
seed = 3
horizon = "12s"
objectives = ["online == 100%", "stopped == 0"]
profile = "fast.toml"
[fleet]
devices = 24
[[cohort]]
name = "keys"
transport = "mqtt"
life = { heartbeat = "1s", power_cuts = [{ at = "8s", off = "500ms", spread = "500ms" }] }
[[cohort]]
name = "certificates"
attestation = "x509"
life = { heartbeat = "1s", cache = false, power_cuts = [{ at = "8s", off = "500ms", spread = "500ms" }] }
[mock]
retry_after_s = 1
assignment = { kind = "constant", delay = "500ms" }
[mock.throttle]
profile = "unlimited"
[[mock.hub]]
host = "a.azure-devices.net"
states = [{ at = "5s", state = "failing" }, { at = "5500ms", state = "up" }]
[[mock.hub]]
host = "b.azure-devices.net"
states = [{ at = "6s", state = "unlinked" }]
reprovision = [{ at = "4s" }]
"#;

const FAST_PROFILE: &str = "[hub.back_off]\nfirst_wait = \"200ms\"\nwait_max = \"1s\"\n";

#[test]
fn a_fleet_lives_through_outage_command_move_and_power_cut_over_real_sockets() {
    let bench = Bench::new();
    bench.file("fast.toml", FAST_PROFILE);
    bench.run(SHORT, &[]).passed();
    let record = bench.record();
    let life = record.life.as_ref().unwrap();
    assert_eq!((life.devices, life.ever_online, life.online_at_end), (24, 24, 24));
    assert_eq!(life.power_losses, 24);
    assert_eq!(record.totals.hubs["a.azure-devices.net"], 24, "{:?}", record.totals.hubs);
    assert!(life.commands > 0 && life.returns["command"] == life.commands, "{life:?}");
    // Those that were told were the second hub's, and all of them moved when it was unlinked.
    assert!(life.moved == life.commands && life.returns["refused"] > 0, "{life:?}");
    assert!(life.returns["boot"] > 0 && life.registrations_needless > 0, "{life:?}");
    assert!(life.messages >= 24 && life.reconnects_cached > 0, "{life:?}");
}

#[test]
fn hubs_of_a_mock_in_another_process_are_behind_its_mqtt_port() {
    let bench = Bench::new();
    let mock = Mock::start(
        &bench,
        "assignment = { kind = \"constant\", delay = \"500ms\" }\nretry_after_s = 1\n[throttle]\nprofile = \"unlimited\"\n",
    );
    let scenario = format!(
        "horizon = \"5s\"\nobjectives = [\"online == 100%\"]\n[fleet]\ndevices = 20\n[[cohort]]\nlife = {{ heartbeat = \
         \"1s\" }}\n[target]\nmqtt_port = {}\n",
        mock.mqtt().port()
    );
    bench.run(&scenario, &["--target", &mock.url(), "--ca", mock.ca()]).passed();
    let life = bench.record().life.unwrap();
    assert_eq!((life.online_at_end, life.hub_connections), (20, 20));
    assert!(life.messages >= 20, "{life:?}");
}

#[test]
fn wrong_lives_are_refused_with_the_place_and_the_fix() {
    let bench = Bench::new();
    for (text, words) in [
        ("[[cohort]]\nlife = { cach = true }\n", "did you mean `cache`?"),
        (
            "[[cohort]]\n[[cohort.life.power_cuts]]\nat = \"1m\"\noff = \"1m\"\n[[cohort.life.power_cuts]]\nat = \
             \"90s\"\noff = \"1m\"\n",
            "overlap",
        ),
        ("[[mock.hub]]\nhost = \"a.b\"\nunits = 0\n", "a hub has 1 to 200"),
        (
            "[[mock.hub]]\nhost = \"a.b\"\nstates = [{ at = \"1m\", state = \"dead\" }]\n",
            "unknown value `dead`",
        ),
        ("objectives = [\"online >= 5s\"]\n", "this metric is not a time"),
    ] {
        bench.file("a.toml", text);
        bench.fleetstorm(&["scenario", "check", "a.toml"]).refused(2, &["a.toml:", words]);
    }
}

/// The network fails between devices and their hubs only: they come back with what they remember.
#[test]
fn faults_on_the_way_to_a_hub_act_over_real_sockets() {
    let bench = Bench::new();
    bench.file("fast.toml", FAST_PROFILE);
    let quiet = r#"
        horizon = "16s"
        objectives = ["online == 100%"]
        profile = "fast.toml"
        [fleet]
        devices = 20
        [[cohort]]
        transport = "amqp"
        life = { heartbeat = "500ms" }
        [mock]
        retry_after_s = 1
        assignment = { kind = "constant", delay = "200ms" }
        [mock.throttle]
        profile = "unlimited"
    "#;
    let faults =
        ["hub @0s first 1/device -> refused", "hub @8s..12s first 1/device -> net.reset(after-request)"];
    let arguments: Vec<&str> = faults.iter().flat_map(|fault| ["--chaos", fault]).collect();
    bench.run(quiet, &arguments).passed();
    let record = bench.record();
    let hits: Vec<_> = record.chaos.faults.iter().map(|fault| (fault.fired, fault.devices)).collect();
    assert_eq!(hits, [(20, 20); 2], "{:?}", record.chaos.faults);
    let life = record.life.as_ref().unwrap();
    assert_eq!(life.refused.get("refused"), Some(&20), "{life:?}");
    assert_eq!((life.reconnects, life.reconnects_cached, life.online_at_end), (20, 20, 20), "{life:?}");
    assert_eq!((record.totals.registers, record.totals.failed), (20, 0), "{:?}", record.totals);
}
