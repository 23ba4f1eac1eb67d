//! Every fault of the protocol over sockets: it hits each device once, what the devices see of it is counted, and all of
//! them have their hub in the end.

use fleetstorm_reports::Record;

use crate::harness::Bench;

const DEVICES: u64 = 20;

/// Devices that lose no time, and assignments that take long enough to be polled often.
fn scenario(cohort: &str, assignment: &str) -> String {
    format!(
        "horizon = \"5m\"\nobjectives = [\"assigned == 100%\", \"stopped == 0\"]\n\
         [fleet]\ndevices = {DEVICES}\narrival = {{ kind = \"all-at-once\", spread = \"1s\" }}\n\
         [[cohort]]\nconnect_timeout = \"2s\"\nrequest_timeout = \"2s\"\npoll_interval = \"500ms\"\npoll_jitter = \"0s\"\n\
         retry = {{ kind = \"fixed\", base_ms = 200, retry_after = \"ignore\" }}\n{cohort}\n\
         [mock]\nretry_after_s = 1\nassignment = {{ kind = \"constant\", delay = \"{assignment}\" }}\n\
         [mock.throttle]\nprofile = \"unlimited\"\n"
    )
}

/// Runs a fleet whose devices meet each of these faults once, in this order, by `operation`.
fn run(transport: &str, faults: &[(&str, &str)], scenario: &str) -> Record {
    let bench = Bench::new();
    let lines: Vec<String> =
        faults.iter().map(|(operation, fault)| format!("{operation} @0s first 1/device -> {fault}")).collect();
    let mut arguments = vec!["--transport", transport];
    arguments.extend(lines.iter().flat_map(|line| ["--chaos", line]));
    let ended = bench.run(scenario, &arguments);
    ended.passed();
    let record = bench.record();
    assert_eq!((record.totals.assigned, record.totals.stopped), (DEVICES, 0), "{transport}: {:?}", record.codes);
    let hits = record.chaos.faults.iter().map(|fault| (&*fault.name, fault.fired, fault.devices));
    let missed: Vec<_> = hits.filter(|(_, fired, devices)| (*fired, *devices) != (DEVICES, DEVICES)).collect();
    assert!(missed.is_empty(), "{transport}: {missed:?} {:?}", record.codes);
    record
}

/// How often, for each device, an operation ended so: by a fault or by a status.
fn ended(record: &Record, operation: &str, how: &str) -> u64 {
    let is_meant = |code: &&fleetstorm_reports::record::Code| {
        code.operation == operation && (code.fault == how || code.status.to_string() == how)
    };
    let count: u64 = record.codes.iter().filter(is_meant).map(|code| code.count).sum();
    assert_eq!(count % DEVICES, 0, "{operation} {how}: {:?}", record.codes);
    count / DEVICES
}

#[test]
fn the_https_door_misbehaves_over_sockets() {
    let faults = [
        ("register", "http.body(malformed-json)"),
        ("register", "http.body(truncated)"),
        ("register", "http.body(empty)"),
        ("register", "http.body(huge)"),
        ("register", "http.body(bad-chunk)"),
        ("register", "http.status(502)"),
        ("register", "http.error-200"),
        ("register", "http.redirect(other.invalid)"),
        ("poll", "http.close-reuse"),
        ("poll", "http.body(wrong-content-type)"),
        ("poll", "http.retry-after(garbage)"),
    ];
    let record = run("https", &faults, &scenario("", "8s"));
    let ended = |operation, how| ended(&record, operation, how);
    assert_eq!([ended("register", "502"), ended("register", "307")], [1, 1]);
}

/// What connects and asks, by either way of carrying MQTT.
#[test]
fn the_mqtt_door_misbehaves_over_sockets() {
    for transport in ["mqtt", "mqtt-ws"] {
        let faults = [
            ("any", "mqtt.connack(3)"),
            ("any", "mqtt.drop(connack)"),
            ("any", "mqtt.disconnect(connect)"),
            ("any", "mqtt.suback(128)"),
            ("any", "mqtt.drop(suback)"),
            ("any", "mqtt.disconnect(subscribe)"),
            ("register", "mqtt.disconnect(publish)"),
            ("register", "mqtt.takeover"),
            ("register", "mqtt.rid(wrong)"),
            ("register", "mqtt.rid(missing)"),
            ("poll", "mqtt.disconnect(publish)"),
            ("poll", "mqtt.duplicate"),
            ("poll", "mqtt.order(answer-first)"),
            ("poll", "mqtt.drop(puback)"),
            ("poll", "mqtt.topic(case)"),
            ("poll", "mqtt.topic(extra)"),
            ("poll", "mqtt.topic(reordered)"),
            ("poll", "mqtt.topic(encoded)"),
            ("any", "mqtt.suback(0)"),
            ("poll", "mqtt.rid(reused)"),
            ("poll", "mqtt.order(late)"),
        ];
        let record = run(transport, &faults, &scenario("", "20s"));
        let ended = |operation, how| ended(&record, operation, how);
        assert_eq!(ended("connect", "unavailable"), 1, "{transport}");
        assert_eq!(ended("connect", "protocol"), 1, "{transport}: no subscription, no service");
        assert!(ended("connect", "connect-timeout") >= 2, "{transport}");
        assert_eq!(ended("poll", "lost"), 1, "{transport}");
        assert_eq!(ended("register", "lost"), 2, "{transport}");
        assert!(ended("register", "timeout") >= 2 && ended("poll", "timeout") >= 2, "{transport}");
    }
}
