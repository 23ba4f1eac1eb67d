//! Every fault of the protocol over sockets: it hits each device once, what the devices see of it is counted, and all of
//! them have their hub in the end.

use fleetstorm_reports::Record;

use crate::harness::Bench;

const DEVICES: u64 = 20;

/// Devices that come back at once from whatever happened, and assignments that take long enough to be polled often.
fn scenario(cohort: &str, assignment: &str) -> String {
    format!(
        "horizon = \"5m\"\nobjectives = [\"assigned == 100%\", \"stopped == 0\"]\n\
         [fleet]\ndevices = {DEVICES}\narrival = {{ kind = \"all-at-once\", spread = \"1s\" }}\n\
         [[cohort]]\nconnect_timeout = \"2s\"\nrequest_timeout = \"2s\"\npoll_interval = \"500ms\"\npoll_jitter = \"0s\"\n\
         park = \"1s\"\nretry = \"immediate\"\n{cohort}\n\
         [mock]\noverlap = \"reuse\"\nretry_after_s = 1\nassignment = {{ kind = \"constant\", delay = \"{assignment}\" }}\n\
         [mock.throttle]\nprofile = \"unlimited\"\n"
    )
}

/// Runs a fleet whose devices meet each of these faults once, in this order, by `operation`.
fn run(transport: &str, faults: &[(&str, &str)], scenario: &str) -> Record {
    let bench = Bench::new();
    let lines: Vec<String> = faults
        .iter()
        .map(|(operation, fault)| format!("{operation} @0s first 1/device -> {fault}"))
        .collect();
    let mut arguments = vec!["--transport", transport];
    arguments.extend(lines.iter().flat_map(|line| ["--chaos", line]));
    let ended = bench.run(scenario, &arguments);
    ended.passed();
    let record = bench.record();
    assert_eq!(
        (record.totals.assigned, record.totals.stopped),
        (DEVICES, 0),
        "{transport}: {:?}",
        record.codes
    );
    let hits = record.chaos.faults.iter().map(|fault| (&*fault.name, fault.fired, fault.devices));
    let missed: Vec<_> =
        hits.filter(|(_, fired, devices)| (*fired, *devices) != (DEVICES, DEVICES)).collect();
    assert!(missed.is_empty(), "{transport}: {missed:?} {:?}", record.codes);
    record
}

/// How often, for each device, an operation ended in one of these ways: by a fault or by a status. A connection that ends as
/// a request sets out may have ended before or after it.
fn ended(record: &Record, operation: &str, ways: &[&str]) -> f64 {
    let is_meant = |code: &&fleetstorm_reports::record::Code| {
        code.operation == operation
            && ways.iter().any(|way| code.fault == *way || code.status.to_string() == *way)
    };
    let count: u64 = record.codes.iter().filter(is_meant).map(|code| code.count).sum();
    count as f64 / DEVICES as f64
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
    let once = ["502", "307"].map(|status| ended(&record, "register", &[status]));
    assert_eq!(once, [1.0, 1.0], "{:?}", record.codes);
}

fn mqtt_misbehaves(transport: &str) {
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
    let ended = |operation, ways: &[&str]| ended(&record, operation, ways);
    let connecting = ["unavailable", "protocol", "closed"].map(|fault| ended("connect", &[fault]));
    assert_eq!(connecting, [1.0, 1.0, 1.0], "{transport}: {:?}", record.codes);
    // The door ends the connection after the SUBACK, after a request, and as another client takes the name.
    let ends = [ended("register", &["lost", "closed"]), ended("poll", &["lost", "closed"])];
    assert_eq!(ends, [3.0, 1.0], "{transport}: {:?}", record.codes);
    // A busy machine may be slow beside that.
    let silences = [
        ended("connect", &["connect-timeout"]),
        ended("register", &["timeout"]),
        ended("poll", &["timeout"]),
    ];
    assert!(silences.iter().all(|silences| *silences >= 2.0), "{transport}: {:?}", record.codes);
}

#[test]
fn the_mqtt_door_misbehaves_over_sockets() {
    mqtt_misbehaves("mqtt");
}

#[test]
fn the_mqtt_door_misbehaves_over_websockets() {
    mqtt_misbehaves("mqtt-ws");
}

fn amqp_misbehaves(transport: &str) {
    let faults = [
        ("any", "amqp.sasl(2)"),
        ("any", "amqp.drop(sasl-outcome)"),
        ("any", "amqp.drop(open)"),
        ("any", "amqp.drop(begin)"),
        ("any", "amqp.drop(attach)"),
        ("any", "amqp.credit"),
        ("any", "amqp.disconnect(sasl)"),
        ("any", "amqp.disconnect(open)"),
        ("any", "amqp.disconnect(begin, condition=amqp:connection:forced)"),
        ("any", "amqp.disconnect(attach)"),
        ("any", "amqp.detach(attach)"),
        ("register", "amqp.disconnect(request)"),
        ("register", "amqp.detach(request, condition=amqp:resource-limit-exceeded)"),
        ("register", "amqp.release(released)"),
        ("register", "amqp.release(modified)"),
        ("register", "amqp.reject(amqp:internal-error)"),
        ("register", "amqp.frame(malformed)"),
        ("register", "amqp.frame(oversized)"),
        ("register", "amqp.frame(short)"),
        ("register", "amqp.frame(other-channel)"),
        ("register", "amqp.correlation(wrong)"),
        ("register", "amqp.correlation(missing)"),
        ("register", "amqp.drop(answer)"),
        ("poll", "amqp.correlation(reused)"),
        ("poll", "amqp.duplicate"),
        ("poll", "amqp.order"),
        ("poll", "amqp.drop(disposition)"),
        ("poll", "amqp.retry-after(lower)"),
        ("poll", "amqp.retry-after(capital)"),
        ("poll", "amqp.retry-after(text)"),
        ("poll", "amqp.retry-after(long)"),
    ];
    let record = run(transport, &faults, &scenario("", "24s"));
    let ended = |operation, ways: &[&str]| ended(&record, operation, ways);
    let connecting = ["unavailable", "closed"].map(|fault| ended("connect", &[fault]));
    assert_eq!(connecting, [1.0, 3.0], "{transport}: {:?}", record.codes);
    let asking = ["protocol", "500"].map(|end| ended("register", &[end]));
    assert_eq!(asking, [4.0, 1.0], "{transport}: {:?}", record.codes);
    // The door ends the connection or the link before and after a request, and gives two requests back.
    assert_eq!(ended("register", &["lost", "closed"]), 6.0, "{transport}: {:?}", record.codes);
    // A busy machine may be slow beside that.
    let silences = [ended("connect", &["connect-timeout"]), ended("register", &["timeout"])];
    assert!(silences[0] >= 5.0 && silences[1] >= 3.0, "{transport}: {:?}", record.codes);
}

#[test]
fn the_amqp_door_misbehaves_over_sockets() {
    amqp_misbehaves("amqp");
}

#[test]
fn the_amqp_door_misbehaves_over_websockets() {
    amqp_misbehaves("amqp-ws");
}

/// A device that hears nothing while it waits gives its connection up and comes back on another one.
#[test]
fn a_door_without_a_sign_of_life_is_given_up_over_sockets() {
    for (transport, fault) in [("mqtt", "mqtt.drop(pingresp)"), ("amqp", "amqp.drop(heartbeat)")] {
        let quiet = scenario("keep_alive = \"1s\"", "12s").replace("retry_after_s = 1", "retry_after_s = 5");
        let bench = Bench::new();
        let line = format!("any @0s -> {fault}");
        bench.run(&quiet, &["--transport", transport, "--chaos", &line]).passed();
        let totals = bench.record().totals;
        assert!(totals.connections >= 2 * DEVICES, "{transport}: {totals:?}");
    }
}
