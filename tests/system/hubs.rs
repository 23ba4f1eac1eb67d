//! Hubs at the mock's doors: what a device sees of its twin, how long its token lasts, who issued its certificate.

use serde_json::{Value, json};

use crate::harness::{Bench, Mock, Wire};
use crate::mqtt_wire::{MqttWire, Way, connect, publish, subscribe};

/// Bytes 00 to 3F, the key of the device and of the owner.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";

/// Signed with it, until 2030: for the registration, for two hubs, and for the service's host.
const DEVICE: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                      &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";
const AT_HUB: [&str; 2] = [
    "SharedAccessSignature sr=hub-1.azure-devices.net%2Fdevices%2Fdev-0001\
     &sig=Eyd0UPZvEM2MPEKSbIEvv9KcauiImV7wkvimiyNmxGI%3D&se=1900000000",
    "SharedAccessSignature sr=hub-2.azure-devices.net%2Fdevices%2Fdev-0001\
     &sig=jflffErrRB0D2m0gebNbZKfHiL%2Bq6zEUkj06JnnwaLo%3D&se=1900000000",
];
const OWNER: &str = "SharedAccessSignature sr=global.azure-devices-provisioning.net\
                     &sig=BN%2Fv5ojLA3X%2B9kb5KXnRzBD8BZv%2BUWejLDFGYCxlmas%3D&se=1900000000&skn=provisioningserviceowner";

const ENROLLMENT: &str = "/enrollments/dev-0001?api-version=2021-10-01";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// One device, at first on the first of two hubs.
const FILE: &str = r#"
id_scope = "0ne00ABCDEF"
assignment = { kind = "constant", delay = "0s" }
hub = [{ host = "hub-1.azure-devices.net" }, { host = "hub-2.azure-devices.net" }]
[throttle]
profile = "unlimited"
[[access_policy]]
name = "provisioningserviceowner"
primary_key = { file = "key" }
[[enrollment]]
registration_id = "dev-0001"
primary_key = { file = "key" }
hubs = ["hub-1.azure-devices.net"]
[enrollment.initial_twin]
tags = { floor = 3 }
properties.desired = { rate = 5, colours = ["red", "green"] }
"#;

fn registered(wire: &mut Wire) -> Value {
    let path = "/0ne00ABCDEF/registrations/dev-0001";
    let body = r#"{"registrationId":"dev-0001"}"#;
    let accepted = wire.ask("PUT", &format!("{path}/register?api-version=2019-03-31"), Some(DEVICE), body);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let operation = accepted.json()["operationId"].as_str().unwrap().to_owned();
    let poll = format!("{path}/operations/{operation}?api-version=2019-03-31");
    wire.ask("GET", &poll, Some(DEVICE), "").json()["registrationState"].clone()
}

/// What the device sees of its twin at one of the hubs.
fn twin(mock: &Mock, hub: usize) -> Value {
    let mut wire = MqttWire::open(mock, Way::Tls);
    let user = format!("hub-{}.azure-devices.net/dev-0001/?api-version=2021-04-12", hub + 1);
    wire.send(&connect(true, 0, "dev-0001", &user, Some(AT_HUB[hub])));
    wire.expect(0x20, &[0, 0]);
    wire.send(&publish(None, "$iothub/twin/GET/?$rid=early", ""));
    wire.send(&subscribe(1, "$iothub/twin/res/#", 0));
    wire.expect(0x90, &[0, 1, 0]);
    wire.send(&publish(None, "$iothub/twin/GET/?$rid=a7", ""));
    let (topic, twin) = wire.answer(0x30);
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=a7", "what was asked before it listened is lost");
    twin
}

/// Acceptance test 15: the three policies, as an operator sets them and a device meets them.
#[test]
fn provisioning_anew_moves_the_twin_starts_it_anew_or_leaves_the_device_where_it_is() {
    for (update, migrate, hub, substatus, rate) in [
        (true, true, 1, "deviceDataMigrated", 5),
        (true, false, 1, "deviceDataReset", 7),
        (false, false, 0, "initialAssignment", 5),
    ] {
        let bench = Bench::new();
        bench.file("key", KEY);
        let mock = Mock::start(&bench, FILE);
        let mut wire = Wire::open(&mock);
        assert_eq!(registered(&mut wire)["assignedHub"], "hub-1.azure-devices.net");
        assert_eq!(
            twin(&mock, 0),
            json!({ "desired": { "$version": 1, "rate": 5, "colours": ["red", "green"] }, "reported": { "$version": 1 } })
        );

        let shown = wire.request("GET", ENROLLMENT, &[JSON, ("Authorization", OWNER)], "").json();
        assert_eq!(shown["initialTwin"]["tags"]["floor"], 3);
        let mut changed = shown.clone();
        changed["iotHubs"] = json!(["hub-2.azure-devices.net"]);
        changed["initialTwin"]["properties"]["desired"]["rate"] = 7.into();
        changed["reprovisionPolicy"] = json!({ "updateHubAssignment": update, "migrateDeviceData": migrate });
        let headers = [JSON, ("Authorization", OWNER), ("If-Match", shown["etag"].as_str().unwrap())];
        assert_eq!(wire.request("PUT", ENROLLMENT, &headers, &changed.to_string()).status, 200);

        let state = registered(&mut wire);
        assert_eq!(state["assignedHub"], format!("hub-{}.azure-devices.net", hub + 1), "{substatus}");
        assert_eq!(state["substatus"], substatus);
        assert_eq!(twin(&mock, hub)["desired"]["rate"], rate, "{substatus}");
    }
}

#[test]
fn an_initial_twin_of_another_shape_is_a_mistake() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let mock = Mock::start(&bench, FILE);
    let mut wire = Wire::open(&mock);
    for twin in [json!(5), json!({ "tags": [] }), json!({ "properties": { "desired": "fast" } })] {
        let body = json!({
            "registrationId": "dev-0002", "attestation": { "type": "symmetricKey" }, "initialTwin": twin,
        });
        let target = ENROLLMENT.replace("0001", "0002");
        let refused = wire.request("PUT", &target, &[JSON, ("Authorization", OWNER)], &body.to_string());
        assert_eq!((refused.status, &refused.json()["errorCode"]), (400, &400_004.into()), "{body}");
    }
}

/// A token of five seconds, renewed when two are left or not at all.
#[test]
fn a_connection_ends_with_its_token_unless_the_device_comes_back_with_another_one_by_every_clock() {
    for (renews, clock) in [
        (true, "virtual"),
        (true, "wired"),
        (true, "wall"),
        (false, "virtual"),
        (false, "wired"),
        (false, "wall"),
    ] {
        let bench = Bench::new();
        bench.file("fast.toml", "[hub.back_off]\nfirst_wait = \"200ms\"\nwait_max = \"1s\"\n");
        let scenario = format!(
            "horizon = \"12s\"\nprofile = \"fast.toml\"\nobjectives = [\"online == 100%\"]\n[fleet]\ndevices = 20\n\
             [[cohort]]\nname = \"keys\"\ntoken_lifetime = \"5s\"\ntoken_margin = \"2s\"\n\
             life = {{ heartbeat = \"1s\", renew_token = {renews} }}\n\
             [[cohort]]\nname = \"certificates\"\nattestation = \"x509\"\ntoken_lifetime = \"5s\"\n\
             life = {{ heartbeat = \"1s\", renew_token = {renews} }}\n\
             [mock]\nretry_after_s = 1\nassignment = {{ kind = \"constant\", delay = \"500ms\" }}\n\
             [mock.throttle]\nprofile = \"unlimited\"\n"
        );
        bench.run(&scenario, &["--clock", clock]).passed();
        let record = bench.record();
        let life = record.life.unwrap();
        let keys = record.cohorts.iter().find(|cohort| cohort.name == "keys").unwrap().totals.devices;
        assert!((1..20).contains(&keys));
        assert_eq!(life.online_at_end, 20, "{renews} {clock}");
        assert!(life.returns.is_empty(), "DPS has nothing to do with it: {:?}", life.returns);
        assert_eq!(life.reconnects, life.reconnects_cached, "{renews} {clock}");
        match renews {
            true => {
                assert_eq!(life.token_renewals, life.reconnects, "nobody was disconnected: {clock}");
                assert!((2 * keys..=4 * keys).contains(&life.token_renewals), "{clock}: {life:?}");
            }
            false => {
                assert_eq!(life.token_renewals, 0, "{clock}");
                assert!((keys..=3 * keys).contains(&life.reconnects), "{clock}: {life:?}");
            }
        }
    }
}

/// A fault on the timeline, by all three drivers; a hub is up unless something befalls it, and changes at a time.
#[test]
fn a_hub_that_a_fault_puts_out_of_order_loses_its_devices_and_gets_them_back_by_every_clock() {
    let bench = Bench::new();
    bench.file("fast.toml", "[hub.back_off]\nfirst_wait = \"200ms\"\nwait_max = \"1s\"\n");
    let scenario = |start: &str, state: &str| {
        format!(
            "horizon = \"12s\"\nprofile = \"fast.toml\"\nobjectives = [\"online == 100%\"]\n[fleet]\ndevices = 20\n[[cohort]]\n\
             life = {{ heartbeat = \"1s\" }}\n[mock]\nretry_after_s = 1\nassignment = {{ kind = \"constant\", delay = \"500ms\" }}\n\
             [[mock.hub]]\nhost = \"a.azure-devices.net\"\n[[chaos]]\nname = \"down\"\nstart = {start}\nduration = \"2s\"\n\
             fault = {{ kind = \"service.hub-state\", hub = \"a.azure-devices.net\", state = \"{state}\" }}\n"
        )
    };
    for clock in ["virtual", "wired", "wall"] {
        bench.run(&scenario("\"6s\"", "failing"), &["--clock", clock]).passed();
        let life = bench.record().life.unwrap();
        assert_eq!((life.online_at_end, life.reconnects, life.reconnects_cached), (20, 20, 20), "{clock}");
        assert!(life.refused["unavailable"] >= 20 && life.refused.len() == 1, "{clock}: {:?}", life.refused);
    }
    for (start, state, words) in [
        ("\"6s\"", "up", "a hub that is up is no fault"),
        ("\"assigned >= 50%\"", "failing", "changes at a time"),
        ("\"6s\"", "tired", "unknown value `tired`"),
    ] {
        bench.file("a.toml", &scenario(start, state));
        bench.fleetstorm(&["scenario", "check", "a.toml"]).refused(2, &["a.toml:", words]);
    }
}

/// A fleet whose group trusts a CA that the instance holds by name.
#[test]
fn devices_chain_to_a_ca_that_an_enrollment_refers_to_by_name_by_every_clock() {
    let bench = Bench::new();
    let [ca, other] = ["factory", "other"].map(|name| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    });
    bench.file("factory.pem", &ca.0);
    bench.file("factory.key", &ca.1);
    bench.file("other.pem", &other.0);
    let scenario = |referred: &str| {
        format!(
            "horizon = \"20s\"\nobjectives = [\"assigned == 100%\"]\n[target]\ndevice_ca_file = \"factory.pem\"\ndevice_ca_key = {{ file = \"factory.key\" }}\n\
             [fleet]\ndevices = 12\n[[cohort]]\nattestation = \"x509\"\n\
             [mock]\nretry_after_s = 1\nassignment = {{ kind = \"constant\", delay = \"200ms\" }}\n\
             [[mock.certificate]]\nname = \"Factory\"\nfile = \"factory.pem\"\n\
             [[mock.certificate]]\nname = \"other\"\nfile = \"other.pem\"\n\
             [[mock.enrollment]]\nregistration_id = \"dev-000003\"\n{referred}\n\
             [[mock.enrollment_group]]\nid = \"line-1\"\n{referred}\n"
        )
    };
    for clock in ["virtual", "wired", "wall"] {
        for (referred, assigned) in [
            ("primary_ca = \"factory\"", 12),
            ("primary_ca = \"other\"\nsecondary_ca = \"factory\"", 12),
            ("primary_ca = \"other\"", 0),
        ] {
            let ended = bench.run(&scenario(referred), &["--clock", clock]);
            if assigned > 0 {
                ended.passed();
            } else {
                // By the wall clock a busy machine may not be trusted.
                assert!([10, 12].contains(&ended.code), "{clock} {referred}: {ended:?}");
            }
            assert_eq!(bench.record().totals.assigned, assigned, "{clock} {referred}");
        }
    }
    bench.file("scenario.toml", &scenario("primary_ca = \"absent\""));
    bench
        .fleetstorm(&["run", "scenario.toml", "--out", "out", "--clock", "virtual"])
        .refused(2, &["`dev-000003`", "CA certificate `absent`"]);
}

#[test]
fn the_enrollment_api_takes_and_shows_references_to_cas_that_the_instance_holds() {
    let bench = Bench::new();
    bench.file("key", KEY);
    let key = rcgen::KeyPair::generate().unwrap();
    bench.file("ca.pem", &rcgen::CertificateParams::default().self_signed(&key).unwrap().pem());
    let mock = Mock::start(&bench, &format!("{FILE}\n[[certificate]]\nname = \"ca-1\"\nfile = \"ca.pem\"\n"));
    let mut wire = Wire::open(&mock);
    let mut put = |target: &str, id: &str, x509: Value| {
        let body = json!({ id: "line-1", "attestation": { "type": "x509", "x509": x509 } }).to_string();
        wire.request("PUT", target, &[JSON, ("Authorization", OWNER), ("If-Match", "*")], &body)
    };
    for (target, id) in
        [("/enrollmentGroups/line-1", "enrollmentGroupId"), ("/enrollments/line-1", "registrationId")]
    {
        let target = format!("{target}?api-version=2021-10-01");
        let reference = json!({ "caReferences": { "primary": "ca-1", "secondary": "CA-1" } });
        let made = put(&target, id, reference.clone());
        assert_eq!((made.status, &made.json()["attestation"]["x509"]), (200, &reference));
        for wrong in [
            json!({ "caReferences": { "primary": "ca-2" } }),
            json!({ "caReferences": { "primary": "ca-1", "secondary": "ca-2" } }),
            json!({ "caReferences": { "secondary": "ca-1" } }),
            json!({ "caReferences": { "primary": { "certificate": "ca-1" } } }),
            json!({ "caReferences": "ca-1" }),
            json!({ "caReferences": { "primary": "ca-1" }, "signingCertificates": {} }),
            json!({}),
        ] {
            let refused = put(&target, id, wrong.clone());
            assert_eq!((refused.status, &refused.json()["errorCode"]), (400, &400_004.into()), "{wrong}");
        }
    }
}
