//! `fleetstorm import`, from files as Azure's tools write them to a device that registers.

use serde_json::json;

use crate::harness::{Bench, Mock, Wire};

/// Bytes 00 to 3F, and a token of `dev-0001` that is signed with them until 2030.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const DEVICE: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                      &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";

fn files(bench: &Bench) {
    let service = json!({
        "name": "dps-a", "type": "Microsoft.Devices/provisioningServices",
        "properties": {
            "idScope": "0ne00ABCDEF", "allocationPolicy": "Hashed",
            "iotHubs": [{ "name": "hub-7.azure-devices.net", "connectionString": "HostName=hub-7.azure-devices.net;SharedAccessKey=****" }],
        },
    });
    let list = json!([{
        "registrationId": "dev-0001", "deviceId": "thermostat", "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY } },
    }]);
    bench.file("dps.json", &service.to_string());
    bench.file("list.json", &list.to_string());
}

#[test]
fn a_device_registers_at_a_mock_that_was_imported() {
    let bench = Bench::new();
    files(&bench);
    let ended = bench.fleetstorm(&["import", "dps.json", "list.json", "--out", "imported.toml"]);
    ended.refused(0, &["needed: keys/enrollment-dev-0001.key: the primary key"]);
    let text = std::fs::read_to_string(bench.path("imported.toml")).unwrap();
    assert!(!text.contains(KEY) && !ended.stderr.contains(KEY), "{text}");
    let again = bench.fleetstorm(&["import", "dps.json", "list.json"]);
    assert_eq!(again.stdout, text, "without --out it goes to standard output");
    let lacking = bench.fleetstorm(&["mock", "--config", "imported.toml"]);
    lacking.refused(2, &["keys/enrollment-dev-0001.key"]);

    std::fs::create_dir(bench.path("keys")).unwrap();
    bench.file("keys/enrollment-dev-0001.key", KEY);
    let mock = Mock::start(&bench, &format!("{text}\n[assignment]\nkind = \"constant\"\ndelay = \"0s\"\n"));
    let mut wire = Wire::open(&mock);
    let device = "/0ne00ABCDEF/registrations/dev-0001";
    assert_eq!(
        wire.ask("PUT", &format!("{device}/register?api-version=2021-10-01"), Some(DEVICE), "{}").status,
        202
    );
    let state = wire.ask("POST", &format!("{device}?api-version=2021-10-01"), Some(DEVICE), "{}").json();
    assert_eq!(
        (&state["assignedHub"], &state["deviceId"]),
        (&json!("hub-7.azure-devices.net"), &json!("thermostat"))
    );
}

#[test]
fn files_that_cannot_be_imported_are_told_and_nothing_is_replaced() {
    let bench = Bench::new();
    files(&bench);
    bench.fleetstorm(&["import", "none.json"]).refused(2, &["none.json cannot be read", "check the path"]);
    let large = std::fs::File::create(bench.path("large.json")).unwrap();
    large.set_len(100 << 20).unwrap();
    bench.fleetstorm(&["import", "large.json"]).refused(2, &["large.json: the file has more than 32 MiB"]);
    bench.file(
        "policies.json",
        &json!([{ "keyName": "p", "rights": "ServiceConfig" }, { "keyName": "p", "rights": "" }]).to_string(),
    );
    let both = ["two access policies `p`", "policies.json: [0]", "policies.json: [1]"];
    bench.fleetstorm(&["import", "dps.json", "policies.json"]).refused(2, &both);
    bench.file("mine.toml", "id_scope = \"0ne1\"\n");
    bench
        .fleetstorm(&["import", "dps.json", "--out", "mine.toml"])
        .refused(2, &["mine.toml holds something else"]);
    assert_eq!(std::fs::read_to_string(bench.path("mine.toml")).unwrap(), "id_scope = \"0ne1\"\n");
}
