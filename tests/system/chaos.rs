//! Faults through the command: the plan, the short form, and every shipped scenario with the verdict that it announces.

use crate::harness::{Bench, scenarios};

/// The exit code of the verdict that a scenario's comment announces.
fn expected(text: &str) -> Option<i32> {
    let line = text.lines().find_map(|line| line.strip_prefix("# Expected verdict: "))?;
    Some(match line.trim() {
        "passed" => 0,
        "failed" => 10,
        "vacuous" => 11,
        "unknown" => 12,
        other => panic!("`{other}` is no verdict"),
    })
}

/// The scenarios that are shipped, each with what makes it small enough for the wall clock: a fleet and times of seconds,
/// and the verdict that it comes to all the same.
const SMALL: [(&str, &[&str]); 11] = [
    (
        "throttle-storm",
        &[
            "fleet.devices=40",
            "fleet.arrival.spread=6s",
            "chaos.0.start=1s",
            "chaos.0.duration=3s",
            "chaos.0.min_fired=5",
            "chaos.0.fault.retry_after=[\"none\", \"1\"]",
            "steady_state.devices=3",
            "cohort.0.retry.base_ms=300",
            "cohort.0.retry.cap_ms=2000",
            "objectives=[\"assigned >= 99.9%\", \"stopped == 0\", \"rate(429) < 30% after 8s\"]",
        ],
    ),
    (
        "power-outage",
        &[
            "fleet.devices=40",
            "fleet.arrival.rate=20/s",
            "chaos.0.start=5s",
            "chaos.0.duration=3s",
            "chaos.0.fault.off=3s",
            "chaos.0.fault.reboot_spread=1s",
            "chaos.0.min_fired=5",
        ],
    ),
    // Five of a hundred hammer: 50 rejections a second against 40 that the quota bears.
    (
        "bad-firmware-cohort",
        &[
            "fleet.devices=100",
            "fleet.arrival.spread=500ms",
            "horizon=12s",
            "mock.throttle.rate=48/min",
            "mock.throttle.burst=5",
            "cohort.0.retry.base_ms=1000",
            "cohort.0.retry.cap_ms=3000",
        ],
    ),
    (
        "metastable-lockup",
        &[
            "fleet.devices=60",
            "fleet.arrival.spread=2s",
            "horizon=15s",
            "mock.throttle.rate=60/min",
            "mock.throttle.burst=5",
            "chaos.0.start=1s",
            "chaos.0.duration=4s",
        ],
    ),
    (
        "hub-failover",
        &[
            "fleet.devices=60",
            "fleet.arrival.rate=6/s",
            "chaos.0.start=2s",
            "chaos.0.duration=5s",
            "chaos.0.min_fired=5",
            "chaos.1.start=2s",
            "chaos.1.duration=5s",
            "chaos.1.ramp.down=1s",
            "chaos.2.start=2s",
            "chaos.2.duration=3s",
        ],
    ),
    (
        "key-rotation",
        &[
            "fleet.devices=40",
            "fleet.arrival.rate=8/s",
            "horizon=12s",
            "chaos.0.start=2s",
            "chaos.0.min_fired=5",
        ],
    ),
    (
        "flaky-network",
        &[
            "fleet.devices=60",
            "fleet.arrival.rate=12/s",
            "horizon=2m",
            "cohort.0.request_timeout=2s",
            "chaos.0.duration=4s",
            "chaos.1.duration=4s",
            "chaos.2.duration=4s",
            "chaos.3.duration=4s",
            "chaos.4.duration=4s",
            "chaos.4.min_fired=0",
            "chaos.1.probability=0.1",
            "chaos.2.probability=0.15",
            "chaos.3.probability=0.1",
            "chaos.5.start=1s",
            "chaos.5.duration=1s",
            "chaos.5.repeat.every=2s",
            "chaos.5.repeat.jitter=0s",
            "chaos.5.repeat.times=2",
        ],
    ),
    (
        "mqtt-misbehaviour",
        &[
            "fleet.devices=120",
            "fleet.arrival.rate=24/s",
            "cohort.0.request_timeout=2s",
            "cohort.0.connect_timeout=2s",
        ],
    ),
    ("tpm-challenge", &["fleet.devices=40", "fleet.arrival.rate=8/s", "cohort.0.retry.base_ms=300"]),
    (
        "clock-1970",
        &[
            "fleet.devices=30",
            "fleet.arrival.rate=10/s",
            "cohort.0.park=5s",
            "chaos.0.duration=2s",
            "chaos.0.min_fired=3",
        ],
    ),
    (
        "retry-after-garbage",
        &["fleet.devices=40", "fleet.arrival.rate=10/s", "chaos.0.duration=5s", "chaos.1.duration=5s"],
    ),
];

/// A scenario's file and its text.
fn shipped(name: &str) -> (String, String) {
    let path = scenarios().join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path.to_str().unwrap().to_owned(), text)
}

#[test]
fn every_shipped_chaos_scenario_ends_as_it_announces() {
    let bench = Bench::new();
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(scenarios()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if !text.contains("[[chaos]]") || path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let code = expected(&text).unwrap_or_else(|| panic!("{} announces no verdict", path.display()));
        seen.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        let path = path.to_str().unwrap();
        let clock = if text.contains("\n# Clock: wired\n") { "wired" } else { "virtual" };
        let ended = bench.fleetstorm(&["run", path, "--clock", clock, "--progress", "none"]);
        assert_eq!(ended.code, code, "{path}: {ended:?}");
    }
    for (name, _) in SMALL {
        assert!(seen.iter().any(|seen| seen == name), "{name} is not shipped");
    }
}

/// Over sockets and TLS, in some seconds each; at once, because most of the time is waiting.
#[test]
fn every_named_chaos_scenario_ends_the_same_on_the_wall_clock() {
    std::thread::scope(|scope| {
        for (name, changes) in SMALL {
            scope.spawn(move || {
                let bench = Bench::new();
                let (path, text) = shipped(name);
                let mut arguments =
                    vec!["run", &path, "--clock", "wall", "--progress", "none", "--out", "out"];
                for change in changes {
                    arguments.extend(["--set", change]);
                }
                let ended = bench.fleetstorm(&arguments);
                let code = expected(&text).unwrap();
                // A busy machine may have been the limit; what was counted stands all the same.
                assert!([code, 12].contains(&ended.code), "{name}: {ended:?}");
                let record = bench.record();
                for fault in &record.chaos.faults {
                    assert!(fault.fired >= fault.min_fired.min(1), "{name}: {fault:?}");
                }
                let lost = record.devices - record.totals.assigned;
                assert_eq!(lost > 0, code == 10, "{name}: {lost} without a hub, {}", record.verdict.sentence);
            });
        }
    });
}

/// The tipping point lies between one and five per cent.
#[test]
fn one_bad_device_in_a_hundred_is_borne() {
    let bench = Bench::new();
    let path = scenarios().join("bad-firmware-cohort.toml");
    let path = path.to_str().unwrap();
    let few = ["--set", "cohort.0.share=0.99", "--set", "cohort.1.share=0.01"];
    let arguments = ["run", path, "--clock", "virtual", "--progress", "none"];
    let ended = bench.fleetstorm(&[&arguments[..], &few[..]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_retry_after_that_cannot_be_read_is_seen_and_judged() {
    use fleetstorm_reports::record::CheckStatus;

    let bench = Bench::new();
    let path = scenarios().join("retry-after-garbage.toml");
    let run = |more: &[&str]| {
        let arguments =
            ["run", path.to_str().unwrap(), "--clock", "virtual", "--progress", "none", "--out", "out"];
        bench.fleetstorm(&[&arguments, more].concat());
        let checks = bench.record().practice.checks;
        checks.into_iter().find(|check| check.id == "retry-after-unreadable").unwrap()
    };
    let kept = run(&[]);
    assert!(kept.status == CheckStatus::Passed && kept.exercised > 100, "{kept:?}");
    let broken = run(&["--set", "fleet.devices=300", "--set", "cohort.0.retry.kind=immediate"]);
    assert_eq!(broken.status, CheckStatus::Failed, "{broken:?}");
    assert!(broken.first.unwrap().what.contains("Retry-After that cannot be read"));
}

#[test]
fn a_plan_is_told_before_anything_runs() {
    let bench = Bench::new();
    let path = scenarios().join("flaky-network.toml");
    let path = path.to_str().unwrap();
    let added = "register @60s..105s 5%/request x20 -> 429(retry-after=30)";
    let ended = bench.fleetstorm(&["chaos", "plan", path, "--chaos", added]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in ["no-name #5", "service.throttle", "at most 20 times", "of 3,000 devices", "1 m 45 s"] {
        assert!(ended.stdout.contains(words), "`{words}` is not in {}", ended.stdout);
    }
    let json = bench.fleetstorm(&["chaos", "plan", path, "--json"]).stdout;
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plan["faults"][5]["occurrences"].as_array().unwrap().len(), 5);
    assert_eq!(plan["faults"][0]["layer"], "network");

    let wrong = bench.fleetstorm(&["run", path, "--chaos", "register @60s..105s 5% -> 429"]);
    wrong.refused(2, &["/device, /connection, /request or /packet was expected", "--chaos:1:"]);
    bench.file("real.toml", "[target]\nkind = \"endpoint\"\naddress = \"https://127.0.0.1:1\"\n");
    let real = bench.fleetstorm(&["run", "real.toml", "--chaos", "any @1s -> 503"]);
    real.refused(2, &["service.error needs the embedded mock"]);
}

#[test]
fn faults_act_over_sockets() {
    let bench = Bench::new();
    bench.file(
        "small.toml",
        "horizon = \"60s\"\nobjectives = [\"assigned == 100%\", \"count(503) == 20\", \"count(lost) == 20\"]\n\
         [fleet]\ndevices = 20\n[[cohort]]\npoll_interval = \"1s\"\nretry = { kind = \"fixed\", base_ms = 300 }\n\
         [mock]\nretry_after_s = 1\n",
    );
    let faults = [
        "--chaos",
        "register @0s first 1/device -> 503",
        "--chaos",
        "poll @0s first 1/device -> reset(mid-response)",
    ];
    let ended = bench.fleetstorm(&[&["run", "small.toml", "--progress", "none"][..], &faults[..]].concat());
    // A busy machine may have been the limit; what was counted stands all the same.
    ended.passed();
    let record = std::fs::read_to_string(bench.path("fleetstorm-out/small/run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    for fault in record["chaos"]["faults"].as_array().unwrap() {
        assert_eq!((&fault["fired"], &fault["devices"]), (&20.into(), &20.into()), "{fault}");
    }
}

/// Every kind of misbehaviour at the HTTPS door hits, and the fleet comes online all the same.
#[test]
fn a_fleet_survives_a_door_that_misbehaves() {
    let bench = Bench::new();
    let mut text =
        "horizon = \"1h\"\nobjectives = [\"assigned == 100%\", \"stopped == 0\"]\n[fleet]\ndevices = 60\n"
            .to_owned();
    let faults = [
        "http.body\", damage = \"malformed-json",
        "http.body\", damage = \"truncated",
        "http.body\", damage = \"empty",
        "http.body\", damage = \"huge",
        "http.body\", damage = \"bad-chunk",
        "http.redirect\", to = \"other.invalid",
        "http.close-reuse",
    ];
    for (index, fault) in faults.iter().enumerate() {
        text += &format!(
            "[[chaos]]\nname = \"f{index}\"\nfault = {{ kind = \"{fault}\" }}\nduration = \"2m\"\nprobability = 0.1\n\
             unit = \"request\"\n"
        );
    }
    bench.file("doors.toml", &text);
    let ended = bench.fleetstorm(&["run", "doors.toml", "--clock", "wired", "--progress", "none"]);
    assert_eq!(ended.code, 0, "{ended:?}");

    let simulated = bench.fleetstorm(&["run", "doors.toml", "--clock", "virtual", "--progress", "none"]);
    assert_ne!(simulated.code, 0, "{simulated:?}");
    assert!(simulated.stderr.contains("use --clock wired"), "{simulated:?}");
    let target = "[target]\nkind = \"endpoint\"\naddress = \"https://127.0.0.1:1\"\n";
    bench.file("real.toml", &format!("{target}[[chaos]]\nfault = {{ kind = \"mqtt.duplicate\" }}\n"));
    let real = bench.fleetstorm(&["run", "real.toml"]);
    real.refused(2, &["mqtt.duplicate needs the embedded mock"]);
}

/// Devices crash, reboot in mid-flow, forget their hub and share their ids; the service is slow, fails over and changes its
/// mind. On every clock each fault hits, the fleet comes online, and nothing stays behind.
#[test]
fn a_fleet_that_crashes_and_forgets_comes_back_on_every_clock() {
    let bench = Bench::new();
    let mut text = "horizon = \"2m\"\nobjectives = [\"assigned == 100%\", \"stopped == 0\"]\n[fleet]\ndevices = 30\n\
                    arrival = { kind = \"constant\", rate = \"10/s\" }\n[[cohort]]\npoll_interval = \"1s\"\n\
                    retry = { kind = \"fixed\", base_ms = 500 }\n[mock]\nretry_after_s = 1\n\
                    assignment = { kind = \"constant\", delay = \"500ms\" }\n[mock.throttle]\nprofile = \"unlimited\"\n\
                    [[mock.hub]]\nhost = \"west.azure-devices.net\"\n[[mock.hub]]\nhost = \"east.azure-devices.net\"\n"
        .to_owned();
    let first = "count = { per = \"device\", first = 1 }\n";
    for (fault, more) in [
        ("fleet.reboot\", off = \"1s", format!("{first}select = {{ share = 0.5 }}\n")),
        ("fleet.duplicate-ids", "duration = \"3s\"\n".to_owned()),
        ("service.duplicate-race", format!("{first}select = {{ share = 0.5 }}\n")),
        ("fleet.firmware-loop\", every = \"3s", "start = \"5s\"\nduration = \"7s\"\n".to_owned()),
        ("fleet.cache-loss\", spread = \"1s", "start = \"15s\"\nduration = \"5s\"\n".to_owned()),
        ("service.flip", "start = \"15s\"\nduration = \"5s\"\n".to_owned()),
        ("service.failover", "start = \"16s\"\nduration = \"5s\"\n".to_owned()),
        (
            "service.allocation-slow\", delay = { kind = \"constant\", delay = \"1s\" }, x = \"",
            first.to_owned(),
        ),
    ] {
        let fault = fault.replace(", x = \"", "");
        let quote = if fault.ends_with('}') { "" } else { "\"" };
        text += &format!("[[chaos]]\nfault = {{ kind = \"{fault}{quote} }}\n{more}");
    }
    bench.file("crashing.toml", &text);
    for clock in ["virtual", "wired", "wall"] {
        let run = ["run", "crashing.toml", "--clock", clock, "--progress", "none", "--out", "out"];
        bench.fleetstorm(&run).passed();
        let record = bench.record();
        assert_eq!(record.totals.assigned, 30, "{clock}: {}", record.verdict.sentence);
        for fault in &record.chaos.faults {
            assert!(fault.fired > 0, "{clock}: {fault:?}");
        }
        let residue = record.chaos.residue.as_ref().expect("somebody looked");
        assert!(residue.clean, "{clock}: {residue:?}");
        assert!(
            record.chaos.faults[3].exercised.iter().any(|met| met.check == "one-registration"),
            "{clock}"
        );
        let page = std::fs::read_to_string(bench.path("out/report.html")).unwrap();
        assert!(page.contains("No residue") && page.contains("exercised "), "{clock}");
    }
}
