//! What people have, imported, and the mock's file that comes of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use fleetstorm_import::{FILE_MOST, ImportError, Imported, Keys, Options, Source, import};
use fleetstorm_scenario::{
    AllocationFile, MockFile, PermissionFile, PolicyNameFile, ReprovisionFile, SecretSource, TierFile,
    read_mock,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A key that no file may show.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";

fn imported(files: &[(&str, Value)]) -> Result<Imported, ImportError> {
    with(files, &Options::default())
}

fn with(files: &[(&str, Value)], options: &Options) -> Result<Imported, ImportError> {
    let texts: Vec<String> = files.iter().map(|(_, value)| value.to_string()).collect();
    let sources: Vec<Source<'_>> =
        files.iter().zip(&texts).map(|((name, _), text)| Source { name, bytes: text.as_bytes() }).collect();
    import(&sources, options)
}

/// The mock's file, read as `fleetstorm mock` reads it.
fn mock(imported: &Imported) -> MockFile {
    assert!(!imported.text.contains(KEY), "{}", imported.text);
    read_mock(Path::new(""), &imported.text, "mock.toml", &[]).unwrap()
}

fn says(lines: &[String], words: &str) {
    assert!(lines.iter().any(|line| line.contains(words)), "`{words}` is not in {lines:#?}");
}

#[track_caller]
fn refused(files: &[(&str, Value)], words: &[&str]) {
    let error = imported(files).unwrap_err().to_string();
    for words in words {
        assert!(error.contains(words), "`{words}` is not in: {error}");
    }
    assert!(!error.contains(KEY), "{error}");
}

/// As `bicep build` writes it: the hub's connection string is an expression.
fn template() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "metadata": { "_generator": { "name": "bicep" } },
        "parameters": {
            "prefix": { "type": "string" },
            "location": { "type": "string", "defaultValue": "[resourceGroup().location]" },
            "units": { "type": "int", "defaultValue": 2 },
        },
        "variables": { "hub": "[format('{0}-hub', parameters('prefix'))]", "key": "iothubowner" },
        "resources": [
            {
                "type": "Microsoft.Devices/IotHubs", "apiVersion": "2023-06-30", "name": "[variables('hub')]",
                "location": "[parameters('location')]",
                "sku": { "name": "S2", "capacity": "[parameters('units')]" }, "properties": {},
            },
            {
                "type": "Microsoft.Devices/provisioningServices", "apiVersion": "2022-12-12", "name": "dps-a",
                "location": "[parameters('location')]", "sku": { "name": "S1", "capacity": 1 },
                "properties": {
                    "allocationPolicy": "GeoLatency",
                    "iotHubs": [{
                        "connectionString": "[format('HostName={0};SharedAccessKeyName={1};SharedAccessKey={2}', reference(resourceId('Microsoft.Devices/IotHubs', variables('hub')), '2023-06-30').hostName, variables('key'), listKeys(resourceId('Microsoft.Devices/IotHubs', variables('hub')), '2023-06-30').value[0].primaryKey)]",
                        "location": "[parameters('location')]", "allocationWeight": 7,
                    }],
                    "ipFilterRules": [{ "filterName": "office", "action": "Accept", "ipMask": "10.0.0.0/8" }],
                },
                "resources": [{
                    "type": "certificates", "apiVersion": "2022-12-12", "name": "root-ca",
                    "properties": { "certificate": KEY, "isVerified": true },
                }],
                "dependsOn": ["[resourceId('Microsoft.Devices/IotHubs', variables('hub'))]"],
            },
            { "type": "Microsoft.Web/sites", "name": "site", "properties": {} },
        ],
    })
}

fn parameters(prefix: &str) -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.0", "parameters": { "prefix": { "value": prefix } },
    })
}

/// As `az iot dps enrollment-group list` writes it.
fn groups() -> Value {
    json!([
        {
            "enrollmentGroupId": "line-1", "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY }, "tpm": null, "x509": null },
            "allocationPolicy": "static", "iotHubHostName": "x-hub.azure-devices.net", "iotHubs": null,
            "provisioningStatus": "enabled", "capabilities": { "iotEdge": false }, "customAllocationDefinition": null,
            "reprovisionPolicy": { "migrateDeviceData": false, "updateHubAssignment": true },
            "initialTwin": { "tags": { "site": "north", "none": null }, "properties": { "desired": { "every_s": 60, "wifi": KEY, "$version": 1 } } },
            "etag": "\"0\"", "createdDateTimeUtc": "2026-01-01T00:00:00.0Z", "lastUpdatedDateTimeUtc": "2026-01-01T00:00:00.0Z",
        },
        {
            "enrollmentGroupId": "line-2", "provisioningStatus": "disabled",
            "attestation": { "type": "x509", "x509": { "clientCertificates": null, "caReferences": { "primary": "root-ca", "secondary": null }, "signingCertificates": null } },
        },
        {
            "enrollmentGroupId": "line-3",
            "attestation": { "type": "x509", "x509": { "signingCertificates": { "secondary": null, "primary": { "certificate": null, "info": { "subjectName": "CN=line 3", "sha256Thumbprint": "ABCD" } } } } },
            "allocationPolicy": "custom", "customAllocationDefinition": { "webhookUrl": format!("https://hook.example/choose?code={KEY}"), "apiVersion": "2021-10-01" },
        },
    ])
}

#[test]
fn a_template_and_its_groups_become_a_mocks_file() {
    let files =
        [("main.json", template()), ("main.parameters.json", parameters("x")), ("groups.json", groups())];
    let done = imported(&files).unwrap();
    let mock = mock(&done);
    assert_eq!(mock.allocation, AllocationFile::GeoLatency);
    let [hub] = &*mock.hubs else { panic!("{:?}", mock.hubs) };
    assert_eq!(
        (&*hub.host, hub.weight, hub.tier, hub.units),
        ("x-hub.azure-devices.net", 7, TierFile::S2, 2)
    );
    let [one, two, three] = &*mock.enrollment_groups else { panic!("{mock:?}") };
    assert_eq!(one.primary_key, Some(SecretSource::File("keys/group-line-1.key".into())));
    assert_eq!(
        (one.allocation, one.hub.as_deref()),
        (Some(AllocationFile::Static), Some("x-hub.azure-devices.net"))
    );
    assert_eq!(one.reprovision, ReprovisionFile::Reset);
    let twin = one.initial_twin.as_ref().unwrap();
    assert_eq!(
        (twin.tags.len(), twin.properties.desired.len()),
        (1, 1),
        "no null, no key, no version: {twin:?}"
    );
    assert_eq!((two.enabled, two.primary_ca.as_deref()), (false, Some("root-ca")));
    assert_eq!(three.primary_certificate.as_deref(), Some("certificates/group-line-3.pem"));
    assert_eq!(three.webhook_url.as_deref(), Some("https://hook.example/choose"));
    let [certificate] = &*mock.certificates else { panic!("{:?}", mock.certificates) };
    assert_eq!(
        (&*certificate.name, &*certificate.file, certificate.verified),
        ("root-ca", "certificates/root-ca.pem", true)
    );
    for words in
        ["keys/group-line-1.key: the primary key", "certificates/root-ca.pem", "CN=line 3, thumbprint ABCD"]
    {
        says(&done.needs, words);
    }
    assert_eq!(done.needs.len(), 3, "{:?}", done.needs);
    for words in [
        "ipFilterRules",
        "1 of microsoft.web/sites",
        "id scope",
        "TOML has no null",
        "looks like a key",
        "webhook",
    ] {
        says(&done.lost, words);
    }
    assert!(
        !done.lost.iter().any(|line| line.contains("parameter") || line.contains("resourceGroup")),
        "{:?}",
        done.lost
    );
}

/// Acceptance row 46: no key is asked for, and the groups are missing.
#[test]
fn a_template_alone_names_its_hub_and_says_what_is_missing() {
    let done = imported(&[("main.json", template())]).unwrap();
    assert_eq!(
        mock(&done).hubs[0].host,
        "prefix-hub.azure-devices.net",
        "the parameter's name stands for it"
    );
    assert!(!done.needs.iter().any(|line| line.contains("key")), "{:?}", done.needs);
    says(&done.lost, "the parameter `prefix` has no value");
    says(&done.lost, "enrollment-group list");
}

#[test]
fn modules_conditions_symbolic_names_and_loops_are_walked() {
    let module = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0", "languageVersion": "2.0",
        "parameters": { "name": { "type": "string" }, "with": { "type": "bool", "defaultValue": false } },
        "resources": {
            "hub": { "type": "Microsoft.Devices/IotHubs", "name": "[parameters('name')]", "sku": { "name": "GEN2", "capacity": 1 } },
            "more": { "condition": "[parameters('with')]", "type": "Microsoft.Devices/IotHubs", "name": "never" },
            "loop": { "copy": { "name": "l", "count": 3 }, "type": "Microsoft.Devices/IotHubs", "name": "[concat('l', copyIndex())]" },
            "old": { "existing": true, "type": "Microsoft.Devices/IotHubs@2023-06-30", "name": "old" },
            "dps": {
                "type": "Microsoft.Devices/provisioningServices", "name": "dps",
                "properties": { "iotHubs": [
                    { "connectionString": "[format('HostName={0};SharedAccessKey={1}', reference('hub').hostName, listKeys('hub', '2023-06-30').value)]" },
                    { "connectionString": "[format('HostName={0};SharedAccessKey=x', reference('old', '2023-06-30', 'full').properties.hostName)]", "applyAllocationPolicy": false },
                ] },
            },
        },
    });
    let main = json!({
        "contentVersion": "1.0.0.0", "variables": { "name": "inner-hub" },
        "resources": [
            {
                "type": "Microsoft.Resources/deployments", "name": "module",
                "properties": {
                    "expressionEvaluationOptions": { "scope": "inner" },
                    "parameters": { "name": { "value": "[variables('name')]" } }, "template": module,
                },
            },
            { "type": "Microsoft.Resources/deployments", "name": "linked", "properties": { "templateLink": {} } },
            { "type": "Microsoft.DeviceRegistry/namespaces/certificateAuthorities/certificatePolicies", "name": "ns-1/ca-1/p400", "properties": { "certificate": { "validityPeriodInDays": 400 } } },
            { "type": "Microsoft.DeviceRegistry/namespaces/certificateAuthorities", "name": "ns-1/ca-1", "properties": { "certificateAuthorityType": "Root" } },
        ],
    });
    let group = json!([{ "enrollmentGroupId": "g", "attestation": { "type": "symmetricKey" }, "credentialPolicyName": "p400" }]);
    let done = imported(&[("main.json", main), ("g.json", group)]).unwrap();
    let mock = mock(&done);
    let hosts: Vec<_> = mock.hubs.iter().map(|hub| &*hub.host).collect();
    assert_eq!(hosts, ["inner-hub.azure-devices.net", "old.azure-devices.net"]);
    let group = &mock.enrollment_groups[0];
    assert_eq!(group.hubs, ["inner-hub.azure-devices.net"], "the other hub takes no part");
    let policy = PolicyNameFile { namespace: "ns-1".into(), authority: "ca-1".into(), policy: "p400".into() };
    assert_eq!(group.certificate_policy, Some(policy));
    let authority = &mock.certificate_authorities[0];
    assert_eq!((authority.intermediates, authority.policies[0].validity_days), (Some(0), 90));
    for words in ["`copy` is not carried over", "no tier `GEN2`", "400 became 90", "stands elsewhere"] {
        says(&done.lost, words);
    }
}

#[test]
fn a_hub_that_only_a_deployment_knows_is_the_one_that_is_linked_nowhere() {
    let mut template = template();
    template["resources"][1]["properties"]["iotHubs"][0]["connectionString"] =
        json!("[parameters('prefix')]");
    let done = imported(&[("main.json", template.clone()), ("p.json", parameters("own"))]).unwrap();
    assert_eq!(mock(&done).hubs[0].host, "own-hub.azure-devices.net");
    says(&done.lost, "the only hub that is linked nowhere");
    template["resources"].as_array_mut().unwrap().remove(0);
    let done = imported(&[("main.json", template)]).unwrap();
    assert_eq!(mock(&done).hubs[0].host, "unknown-hub-1.azure-devices.net");
    says(&done.lost, "write its host there");
}

/// As `terraform show -json` prints a state.
fn state() -> Value {
    json!({
        "format_version": "1.0", "terraform_version": "1.9.0",
        "values": { "root_module": {
            "resources": [
                { "address": "azurerm_resource_group.a", "mode": "managed", "type": "azurerm_resource_group", "name": "a", "values": { "name": "a" } },
                {
                    "address": "azurerm_iothub_dps.a", "type": "azurerm_iothub_dps", "name": "a",
                    "values": {
                        "name": "dps-tf", "id_scope": "0ne00ABCDEF", "allocation_policy": "Hashed", "public_network_access_enabled": true,
                        "linked_hub": [{ "hostname": "tf-hub.azure-devices.net", "connection_string": format!("HostName=tf-hub.azure-devices.net;SharedAccessKey={KEY}"), "allocation_weight": 0, "apply_allocation_policy": true, "location": "westeurope" }],
                        "ip_filter_rule": [], "sku": [{ "name": "S1", "capacity": 1 }],
                    },
                },
            ],
            "child_modules": [{ "address": "module.m", "resources": [
                { "type": "azurerm_iothub", "name": "h", "values": { "name": "tf-hub", "hostname": "tf-hub.azure-devices.net", "sku": [{ "name": "S3", "capacity": 4 }] } },
                { "type": "azurerm_iothub_dps_shared_access_policy", "name": "p", "values": { "name": "reader", "iothub_dps_name": "dps-tf", "enrollment_read": true, "enrollment_write": false, "registration_read": true, "primary_key": KEY } },
                { "type": "azurerm_iothub_dps_certificate", "name": "c", "values": { "name": "ca-tf", "iot_dps_name": "dps-tf", "certificate_content": KEY, "is_verified": null } },
            ] }],
        } },
    })
}

#[test]
fn a_state_of_terraform_becomes_a_mocks_file() {
    let done =
        with(&[("state.json", state())], &Options { keys: Keys::Environment, ..Options::default() }).unwrap();
    let mock = mock(&done);
    assert_eq!(mock.id_scope, "0ne00ABCDEF");
    let hub = &mock.hubs[0];
    assert_eq!(
        (&*hub.host, hub.weight, hub.tier, hub.units),
        ("tf-hub.azure-devices.net", 1, TierFile::S3, 4)
    );
    let [policy] = &*mock.access_policies else { panic!("{mock:?}") };
    assert_eq!(policy.permissions, [PermissionFile::EnrollmentRead, PermissionFile::RegistrationStatusRead]);
    assert_eq!(policy.primary_key, SecretSource::Env("DPS_POLICY_READER".into()));
    assert_eq!((&*mock.certificates[0].name, mock.certificates[0].verified), ("ca-tf", false));
    says(&done.needs, "$DPS_POLICY_READER: the primary key of the access policy `reader`");
    says(&done.lost, "1 of azurerm_resource_group");
    let mut plan = state();
    plan["planned_values"] = plan["values"].take();
    plan.as_object_mut().unwrap().remove("values");
    assert_eq!(imported(&[("plan.json", plan)]).unwrap().text.lines().count(), done.text.lines().count());
}

/// As the commands write them: the service, linked hubs, policies, certificates, individual enrollments.
#[test]
fn lists_of_the_command_line_fit_together() {
    let service = json!({
        "etag": "x", "id": "/subscriptions/0/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/dps-a", "name": "dps-a",
        "type": "Microsoft.Devices/provisioningServices", "location": "westeurope", "sku": { "name": "S1", "capacity": 1, "tier": "Standard" },
        "properties": { "idScope": "0ne00ABCDEF", "allocationPolicy": "Hashed", "authorizationPolicies": null, "publicNetworkAccess": null, "ipFilterRules": null,
            "iotHubs": [{ "name": "h-1.azure-devices.net", "connectionString": "HostName=h-1.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=****", "location": "westeurope", "allocationWeight": null, "applyAllocationPolicy": null }] },
    });
    let linked = service["properties"]["iotHubs"].clone();
    let policies = json!([{ "keyName": "owner", "primaryKey": KEY, "secondaryKey": KEY, "rights": "ServiceConfig, DeviceConnect, EnrollmentWrite" }]);
    let certificates = json!({ "value": [{
        "id": "/subscriptions/0/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/dps-a/certificates/ca-1", "name": "ca-1",
        "type": "Microsoft.Devices/provisioningServices/Certificates", "properties": { "isVerified": true, "certificate": KEY },
    }] });
    let enrollments = json!([
        { "registrationId": "dev-1", "deviceId": "thermostat", "attestation": { "type": "symmetricKey" }, "registrationState": { "status": "assigned" }, "namespaceName": "ns-1", "certificateAuthorityName": "ca-1", "certificatePolicyName": "p07" },
        { "registrationId": "dev_1", "attestation": { "type": "symmetricKey" }, "capabilities": { "iotEdge": true }, "optionalDeviceInformation": { "a": 1 } },
        { "registrationId": "dev:1", "deviceId": "dev:1", "attestation": { "type": "symmetricKey" }, "iotHubs": ["h-2.azure-devices.net"] },
        { "registrationId": "tpm-1", "attestation": { "type": "tpm", "tpm": { "endorsementKey": "AToAAQ==", "storageRootKey": null } } },
        { "registrationId": "tpm-2", "attestation": { "type": "tpm", "tpm": { "endorsementKey": "" } } },
        { "registrationId": "none", "attestation": { "type": "none" } },
    ]);
    let files = [
        ("show", service),
        ("linked", linked),
        ("policies", policies),
        ("certificates", certificates),
        ("enrollments", enrollments),
    ];
    let done = imported(&files).unwrap();
    let mock = mock(&done);
    let hosts: Vec<_> = mock.hubs.iter().map(|hub| &*hub.host).collect();
    assert_eq!(hosts, ["h-1.azure-devices.net", "h-2.azure-devices.net"]);
    let ids: Vec<_> =
        mock.enrollments.iter().map(|entry| (&*entry.registration_id, entry.device_id.as_deref())).collect();
    assert_eq!(ids, [("dev-1", Some("thermostat")), ("dev_1", None), ("dev:1", None), ("tpm-1", None)]);
    let keys: Vec<_> = mock.enrollments.iter().filter_map(|entry| entry.primary_key.clone()).collect();
    let file = |name: &str| SecretSource::File(format!("keys/{name}.key"));
    assert_eq!(
        keys,
        [file("enrollment-dev-1"), file("enrollment-dev_1"), file("enrollment-dev_1-2")],
        "one file each"
    );
    assert_eq!(
        mock.access_policies[0].permissions,
        [PermissionFile::ServiceConfig, PermissionFile::EnrollmentWrite]
    );
    assert_eq!((&*mock.certificates[0].name, mock.id_scope.as_str()), ("ca-1", "0ne00ABCDEF"));
    assert_eq!(mock.certificate_authorities[0].policies[0].validity_days, 30);
    for words in [
        "no permission `DeviceConnect`",
        "`p07` is not in the files",
        "IoT Edge",
        "optionalDeviceInformation",
        "no attestation `none`",
        "no endorsement key",
        "h-2.azure-devices.net is not linked",
    ] {
        says(&done.lost, words);
    }
}

#[test]
fn two_that_differ_stop_it_with_both_named() {
    let policy = |name: &str| json!([{ "keyName": name, "rights": "EnrollmentRead" }]);
    refused(
        &[("a.json", policy("reader")), ("b.json", policy("Reader"))],
        &["two access policies `Reader`", "a.json: [0]", "b.json: [0]", "leave one"],
    );
    let group = |status: &str| json!([{ "enrollmentGroupId": "g", "attestation": { "type": "symmetricKey" }, "provisioningStatus": status }]);
    refused(
        &[("a.json", group("enabled")), ("b.json", group("disabled"))],
        &["two enrollments `group g`", "a.json: [0]", "b.json: [0]"],
    );
    assert!(
        imported(&[("a.json", group("enabled")), ("b.json", group("enabled"))]).is_ok(),
        "the same twice is one"
    );
    let link = |weight: u32| json!([{ "name": "h.azure-devices.net", "allocationWeight": weight }]);
    refused(&[("a.json", link(1)), ("b.json", link(2))], &["two linked hubs `h.azure-devices.net`"]);
    let two = json!({ "contentVersion": "1.0.0.0", "resources": [
        { "type": "Microsoft.DeviceRegistry/namespaces/certificateAuthorities/certificatePolicies", "name": "ns-1/ca-1/p30", "properties": {} },
        { "type": "Microsoft.DeviceRegistry/namespaces/certificateAuthorities/certificatePolicies", "name": "ns-2/ca-1/p30", "properties": {} },
    ] });
    let by_name = json!([{ "enrollmentGroupId": "g", "attestation": { "type": "symmetricKey" }, "credentialPolicyName": "p30" }]);
    refused(
        &[("t.json", two), ("g.json", by_name)],
        &[
            "g.json: [0] means one of two certificate policies `p30`",
            "t.json: resources[0]",
            "t.json: resources[1]",
        ],
    );
    refused(
        &[("p.json", parameters("a")), ("q.json", parameters("b"))],
        &["two values of the parameter `prefix`", "p.json: parameters.prefix", "q.json"],
    );
}

#[test]
fn of_two_services_one_is_chosen() {
    let files = [("main.json", template()), ("state.json", state()), ("p.json", parameters("x"))];
    refused(&files, &["two services, `dps-a` and `dps-tf`", "main.json: resources[1]", "--service NAME"]);
    let only = |name: &str| with(&files, &Options { service: Some(name.into()), ..Options::default() });
    let own = mock(&only("DPS-TF").unwrap());
    assert_eq!((own.hubs.len(), own.access_policies.len(), &*own.certificates[0].name), (1, 1, "ca-tf"));
    assert_eq!(mock(&only("dps-a").unwrap()).access_policies, []);
    assert!(only("other").unwrap_err().to_string().contains("there are `dps-a`, `dps-tf`"));
}

#[test]
fn what_cannot_be_read_says_where_and_what_to_do() {
    let group = |id: Value| json!([{ "enrollmentGroupId": id, "attestation": { "type": "symmetricKey" } }]);
    for (name, value, words) in [
        (
            "cyclic",
            json!({ "contentVersion": "1", "variables": { "a": "[variables('b')]", "b": "[variables('a')]" }, "resources": [{ "type": "Microsoft.Devices/IotHubs", "name": "[variables('a')]" }] }),
            &["variable `a` -> variable `b` -> variable `a`", "resources[0]"][..],
        ),
        (
            "package.json",
            json!({ "name": "x", "version": "1.0.0", "dependencies": {} }),
            &["package.json: nothing that can be imported", "`dependencies`", "az iot dps show"],
        ),
        (
            "tfstate",
            json!({ "version": 4, "terraform_version": "1.9.0", "resources": [] }),
            &["Terraform's own state", "terraform show -json"],
        ),
        ("empty state", json!({ "format_version": "1.0" }), &["this state is empty"]),
        ("nothing", json!([]), &["nothing of a Device Provisioning Service"]),
        ("a number", json!(7), &["a number: this is no object"]),
        (
            "only hubs",
            json!({ "contentVersion": "1", "resources": [{ "type": "Microsoft.Devices/IotHubs", "name": "h" }] }),
            &["nothing of a Device Provisioning Service"],
        ),
        (
            "id",
            group(json!("../../etc/passwd")),
            &["id: [0].enrollmentGroupId", "`../../etc/passwd` cannot be an id"],
        ),
        ("id", group(json!("a\u{1b}[31m\n")), &["`a\\u{1b}[31m\\n` cannot be an id"]),
        ("id", group(json!(5)), &["this is not text"]),
        (
            "host",
            json!([{ "connectionString": format!("HostName=a b;SharedAccessKey={KEY}") }]),
            &["`a b` cannot be a hub's host"],
        ),
        (
            "weight",
            json!([{ "name": "h.x", "allocationWeight": "much" }]),
            &["weight: [0].allocationWeight: this is not a whole number"],
        ),
        (
            "weight",
            json!([{ "name": "h.x", "allocationWeight": 5000 }]),
            &["the mock cannot take", "a weight of 5000", "1 to 1000"],
        ),
        ("resources", json!({ "contentVersion": "1", "resources": 7 }), &["these are no resources"]),
        (
            "scope",
            json!({ "type": "Microsoft.Devices/provisioningServices", "name": "a", "properties": { "idScope": "0ne/../x" } }),
            &["is no id scope"],
        ),
    ] {
        refused(&[(name, value)], words);
    }
    for (bytes, words) in [
        (&b"{\"resources\": ["[..], &["the file is cut off", "line 1 column 15"][..]),
        (b"", &["the file is cut off"]),
        (b"ERROR: Please run 'az login'", &["the file is no JSON", "--output json"]),
        (b"\xff\xfe{\0}\0", &["the file is UTF-16", "Out-File"]),
        (&[b'['; 100_000], &["recursion limit"]),
        (&vec![b' '; FILE_MOST + 1], &["more than 32 MiB"]),
    ] {
        let error = import(&[Source { name: "a\nb", bytes }], &Options::default()).unwrap_err().to_string();
        words.iter().for_each(|words| assert!(error.contains(words), "{error}"));
        assert!(error.starts_with("a?b: "), "{error}");
    }
    let marked = [b"\xef\xbb\xbf", groups().to_string().as_bytes()].concat();
    assert!(import(&[Source { name: "bom", bytes: &marked }], &Options::default()).is_ok());
}

/// The parts of a document, to be changed one by one.
fn parts(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(list) => list.iter_mut().flat_map(parts).collect(),
        Value::Object(members) => members.values_mut().flat_map(parts).collect(),
        leaf => vec![leaf],
    }
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z]{1,9}(\n|\"|'''|\\\\|#|\\[)[a-z]{0,9}".prop_map(Value::from),
        "\\[(concat|variables|parameters|format)\\('[a-z{}0]{0,8}'\\)\\]".prop_map(Value::from),
        Just(json!([])),
        Just(json!({ "a": [KEY] })),
    ]
}

proptest! {
    /// Whatever stands in a document, what is written is read by the mock, and is never a key.
    #[test]
    fn what_is_written_is_read_and_holds_no_key(which in 0usize..3, changes in proptest::collection::vec((any::<proptest::sample::Index>(), odd()), 0..4)) {
        let mut document = [template(), groups(), state()][which].clone();
        for (at, value) in changes {
            let mut parts = parts(&mut document);
            let part = at.get_mut(&mut parts);
            **part = value;
        }
        match imported(&[("document", document)]) {
            Ok(done) => {
                let read = read_mock(Path::new(""), &done.text, "mock.toml", &[]);
                prop_assert!(read.is_ok(), "{} {read:?}", done.text);
                prop_assert!(!done.text.contains(KEY), "{}", done.text);
                prop_assert!(done.lost.iter().chain(&done.needs).all(|line| !line.contains(KEY)));
            }
            Err(error) => prop_assert!(!error.to_string().contains(KEY), "{error}"),
        }
    }
}
