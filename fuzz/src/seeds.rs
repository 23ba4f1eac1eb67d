//! What targets understand: captured from clients of others, shipped with the project, or made by its own writers.

use fleetstorm_engine::{Control, Plan, virtual_time};
use fleetstorm_plugin_host::Registry;
use fleetstorm_protocol::amqp::{Client, Heard, Said, Server, Terms, frame};
use fleetstorm_protocol::{Operation, RetryAfter, Status};
use fleetstorm_reports::Record;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

#[path = "../../tests/system/amqp_captures.rs"]
mod captures;

fn owned(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|byte| char::from(byte).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What a device and the service say to each other over AMQP, each in one piece.
fn conversation(token: Option<&str>) -> [Vec<u8>; 2] {
    let terms = Terms {
        hostname: "localhost",
        registration_id: "dev-1",
        address: "0ne00F1EE75/registrations/dev-1",
        token,
        api_version: "2019-03-31",
        agent: "fuzz",
        idle_time_out_ms: Some(60_000),
    };
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let (mut heard, mut told) = (0, 0);
    let mut client = Client::start(&terms, &mut up);
    let mut server = Server::new(60_000);
    let (mut ready, mut asked) = (false, false);
    while heard < up.len() || told < down.len() {
        while let Ok(Some(length)) = frame::length(&up[heard..], 64 * 1024) {
            let unit = up[heard..heard + length].to_vec();
            heard += length;
            let Ok(unit) = frame::read(&unit) else { break };
            if let Ok(Heard::Request { delivery, settled, message }) =
                server.take(&unit, &mut |_| Ok(()), &mut down)
            {
                let correlation = fleetstorm_protocol::amqp::read_request(&message).ok();
                let correlation = correlation.and_then(|request| request.correlation_id.map(<[u8]>::to_vec));
                let status = (Status::ACCEPTED, RetryAfter::Seconds(3));
                let body = br#"{"operationId":"4.x","status":"assigning"}"#;
                server.accept((delivery, settled), correlation.as_deref(), status, body, &mut down);
            }
        }
        while let Ok(Some(length)) = frame::length(&down[told..], 64 * 1024) {
            let unit = down[told..told + length].to_vec();
            told += length;
            let Ok(unit) = frame::read(&unit) else { break };
            if ready {
                let _ = client.take(&unit, &mut up);
            } else {
                ready = client.greet(&unit, &terms, &mut up) == Ok(Said::Ready);
            }
        }
        if ready && !asked {
            asked = client.ask(Operation::Register, None, b"{}", &mut up);
        }
    }
    assert!(asked, "a device comes as far as its question");
    [up, down]
}

const TOKEN: &str = "SharedAccessSignature sr=0ne00F1EE75%2Fregistrations%2Fdev-1&sig=eA%3D%3D&se=1700000000&skn=registration";

pub(crate) fn amqp_clients() -> Vec<Vec<u8>> {
    let captured = |frames: &[(&str, &str)]| {
        let mut bytes = b"AMQP\0\x01\0\0".to_vec();
        frames.iter().for_each(|(_, frame)| bytes.extend(from_hex(frame)));
        bytes
    };
    let [with, _] = conversation(Some(TOKEN));
    let [without, _] = conversation(None);
    vec![captured(&captures::NODE), captured(&captures::C), with, without]
}

pub(crate) fn amqp_service() -> Vec<Vec<u8>> {
    let [_, with] = conversation(Some(TOKEN));
    let [_, without] = conversation(None);
    vec![with, without]
}

pub(crate) fn mqtt_packets() -> Vec<Vec<u8>> {
    use bytes::BytesMut;
    use rumqttc::mqttbytes::QoS;
    use rumqttc::mqttbytes::v4::{
        ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
    };
    let mut connect = Connect::new("dev-1");
    connect.set_login("0ne00F1EE75/registrations/dev-1/api-version=2019-03-31&ClientVersion=x", TOKEN);
    let mut publish = Publish::new(
        "$dps/registrations/res/202/?$rid=1&retry-after=3",
        QoS::AtLeastOnce,
        r#"{"status":"assigning"}"#,
    );
    publish.pkid = 7;
    let mut subscribe = Subscribe::new("$dps/registrations/res/#", QoS::AtLeastOnce);
    subscribe.pkid = 1;
    let granted = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
    let list = [
        Packet::Connect(connect),
        Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)),
        Packet::Publish(publish),
        Packet::PubAck(PubAck::new(7)),
        Packet::Subscribe(subscribe),
        Packet::SubAck(SubAck::new(1, granted)),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect,
    ];
    let spelled = list.iter().map(|packet| {
        let mut bytes = BytesMut::new();
        // What is written here is short.
        let _ = packet.write(&mut bytes, 4_096);
        bytes.to_vec()
    });
    let mut seeds: Vec<_> = spelled.collect();
    seeds.push(seeds.concat());
    seeds
}

pub(crate) fn mqtt_text() -> Vec<Vec<u8>> {
    owned(&[
        "0ne00F1EE75/registrations/dev-1/api-version=2019-03-31&ClientVersion=fleetstorm%2F0.1.0",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.x",
        "$dps/registrations/res/202/?$rid=1&retry-after=3",
        "hub.azure-devices.net/dev-1/?api-version=2021-04-12",
        "$iothub/methods/POST/Reprovision/?$rid=1",
        "$iothub/twin/GET/?$rid=1",
    ])
}

pub(crate) fn http_replies() -> Vec<Vec<u8>> {
    owned(&[
        r#"{"operationId":"4.0123456789abcdef.00000000-0000-0000-0000-000000000000","status":"assigning"}"#,
        r#"{"operationId":"4.x","status":"assigned","registrationState":{"registrationId":"dev-1","createdDateTimeUtc":"2026-01-01T00:00:00.1234567Z","assignedHub":"h.azure-devices.net","deviceId":"dev-1","status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2026-01-01T00:00:00Z","etag":"IjAi","payload":{"a":[1,null]}}}"#,
        r#"{"errorCode":429001,"trackingId":"00000000-0000-0000-0000-000000000000","message":"Too many requests","timestampUtc":"2026-01-01T00:00:00Z"}"#,
        r#"{"message":"Authorization required","authenticationKey":"AAAA","keyName":"registration"}"#,
        r#"{"iotHubHostName":"h.azure-devices.net","initialTwin":{"tags":{}},"payload":1}"#,
    ])
}

pub(crate) fn http_requests() -> Vec<Vec<u8>> {
    owned(&[
        "PUT /0ne00F1EE75/registrations/dev-1/register?api-version=2019-03-31\n{\"registrationId\":\"dev-1\",\"tpm\":{\"endorsementKey\":\"AAAA\",\"storageRootKey\":\"AAAA\"},\"payload\":{}}",
        "GET /0ne00F1EE75/registrations/dev-1/operations/4.x?api-version=2019-03-31\n",
        "POST /0ne00F1EE75/registrations/dev%2D1?api-version=2019-03-31\n{}",
        "PUT /enrollments/dev-1?api-version=2021-10-01\n{}",
        "POST /enrollmentGroups/query?api-version=2021-10-01\n{\"query\":\"SELECT * FROM enrollmentGroups\"}",
    ])
}

pub(crate) fn enrollments() -> Vec<Vec<u8>> {
    owned(&[
        r#"{"registrationId":"dev-1","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"AAAAAAAAAAAAAAAAAAAAAA==","secondaryKey":"AAAAAAAAAAAAAAAAAAAAAA=="}},"provisioningStatus":"enabled","reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":true},"allocationPolicy":"hashed","iotHubs":["h.azure-devices.net"],"initialTwin":{"tags":{},"properties":{"desired":{"a":1}}},"capabilities":{"iotEdge":false}}"#,
        r#"{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"caReferences":{"primary":"ca"}}}}"#,
        r#"{"registrationId":"t","attestation":{"type":"tpm","tpm":{"endorsementKey":"AAAA"}}}"#,
        r#"{"mode":"create","enrollments":[{"registrationId":"a","attestation":{"type":"symmetricKey"}}]}"#,
        r#"{"query":"SELECT * FROM enrollments"}"#,
    ])
}

pub(crate) fn tokens() -> Vec<Vec<u8>> {
    owned(&[TOKEN, "SharedAccessSignature sr=h&sig=eA%3D%3D&se=1&skn=provisioningserviceowner"])
}

pub(crate) fn retry_after() -> Vec<Vec<u8>> {
    owned(&["3", "0", "Wed, 21 Oct 2026 07:28:00 GMT", "3\x005", "-1", "1.5", " 7 ", "99999999999999999999"])
}

pub(crate) fn logs() -> Vec<Vec<u8>> {
    owned(&[
        concat!(
            r#"{"TimeGenerated":"2026-01-01T00:00:00.000Z","OperationName":"AttestationAttempt","ResultType":"Unauthorized","ResultSignature":"401002","DurationMs":3,"properties_s":"{\"id\":\"dev-1\",\"type\":\"Registration\",\"protocol\":\"Http\"}"}"#,
            "\n",
            r#"{"time":"2026-01-01T00:00:01Z","operationName":"GetOperationStatus","resultType":"Success","resultSignature":"","durationMs":"3","properties":{"id":"dev-1"}}"#
        ),
        r#"[{"TimeGenerated":"2026-01-01T00:00:00Z","OperationName":"AttestationAttempt","ResultType":"Success","ResultSignature":"","properties_s":"{}"}]"#,
        r#"{"tables":[{"name":"PrimaryResult","columns":[{"name":"TimeGenerated","type":"datetime"},{"name":"OperationName","type":"string"}],"rows":[["2026-01-01T00:00:00Z","AttestationAttempt"]]}]}"#,
        "\u{feff}\"TimeGenerated [UTC]\",OperationName,ResultType,ResultSignature,\"properties_s\"\r\n\"1/2/2026, 3:04:05.678 PM\",AttestationAttempt,Success,,\"{\"\"id\"\":\"\"dev-1\"\"}\"\r\n",
    ])
}

pub(crate) fn traces() -> Vec<Vec<u8>> {
    owned(&[
        "",
        "{\"trace\":1,\"name\":\"x\",\"seed\":1}\n{\"t\":0,\"device\":\"dev-000000\",\"event\":\"boot\"}\n",
    ])
}

pub(crate) fn arrivals() -> Vec<Vec<u8>> {
    owned(&["0\n1.5\n2s\n", "offset\n0\n3m\n# note\n", "at,count\n0,10\n1,20\n"])
}

fn shipped(directory: &str) -> Vec<Vec<u8>> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

pub(crate) fn scenarios() -> Vec<Vec<u8>> {
    shipped("scenarios")
}

pub(crate) fn mocks() -> Vec<Vec<u8>> {
    owned(&[
        "id_scope = \"0ne00F1EE75\"\n[listen]\nhttps = \"127.0.0.1:0\"\n[throttle]\nprofile = \"dps-doc\"\n[[hub]]\nname = \"h.azure-devices.net\"\nweight = 2\n",
        "[[enrollment]]\nregistration_id = \"dev-1\"\nprimary_key = { env = \"KEY\" }\n[[enrollment_group]]\nid = \"g\"\nprimary_key = { file = \"key\" }\n[[outage]]\nat = \"1s\"\nfor = \"2s\"\nstatus = 500\n",
        "[[certificate]]\nname = \"ca\"\nfile = \"ca.pem\"\n[[access_policy]]\nname = \"o\"\nkey = { env = \"K\" }\npermissions = [\"enrollment-read\"]\n[[region]]\n",
    ])
}

pub(crate) fn imports() -> Vec<Vec<u8>> {
    owned(&[
        "{\"contentVersion\":\"1\",\"parameters\":{\"p\":{\"type\":\"string\"}},\"variables\":{\"h\":\"[format('{0}-hub', parameters('p'))]\"},\"resources\":[{\"type\":\"Microsoft.Devices/IotHubs\",\"name\":\"[variables('h')]\",\"sku\":{\"name\":\"S2\",\"capacity\":2}},{\"type\":\"Microsoft.Devices/provisioningServices\",\"name\":\"d\",\"properties\":{\"iotHubs\":[{\"connectionString\":\"[concat('HostName=', reference(resourceId('Microsoft.Devices/IotHubs', variables('h'))).hostName, ';SharedAccessKey=x')]\"}]},\"resources\":[{\"type\":\"certificates\",\"name\":\"c\"}]}]}\0{\"$schema\":\"deploymentParameters\",\"parameters\":{\"p\":{\"value\":\"x\"}}}",
        r#"{"format_version":"1.0","values":{"root_module":{"resources":[{"type":"azurerm_iothub_dps","values":{"name":"d","id_scope":"0ne1","linked_hub":[{"hostname":"h.azure-devices.net"}]}}],"child_modules":[{"resources":[{"type":"azurerm_iothub_dps_shared_access_policy","values":{"name":"p","enrollment_read":true}}]}]}}}"#,
        "[{\"enrollmentGroupId\":\"g\",\"attestation\":{\"type\":\"symmetricKey\"},\"initialTwin\":{\"tags\":{\"a\":1}},\"credentialPolicyName\":\"p30\"}]\0[{\"keyName\":\"p\",\"rights\":\"ServiceConfig\"}]\0[{\"name\":\"h.x\",\"allocationWeight\":2}]",
    ])
}

pub(crate) fn profiles() -> Vec<Vec<u8>> {
    shipped("core/model/src/profile")
}

pub(crate) fn objectives() -> Vec<Vec<u8>> {
    owned(&[
        "assigned >= 99.9% within 10m",
        "p99(time_to_assigned) < 90s for \"sensors\"",
        "registers_per_device <= 12",
        "count(401) == 0 after 60s",
        "rate(429) < 5% within 15m",
        "p99.9(register) < 200ms",
    ])
}

pub(crate) fn faults() -> Vec<Vec<u8>> {
    owned(&[
        "register @60s..105s 5%/request -> 429(retry-after=30)",
        "any @0s..60s 2%/packet -> netem.loss(burst=4)",
        "poll -> http.body(truncated)",
        "hub @1m..2m -> amqp.disconnect(request, condition=amqp:connection:forced)",
        "connect @assigned>=30%..+2m 10%/device -> net.refused",
    ])
}

/// A run of a few devices that are throttled.
pub(crate) fn records() -> Vec<Vec<u8>> {
    let text = "seed = 3\nhorizon = \"5m\"\nobjectives = [\"assigned == 100%\"]\n[fleet]\ndevices = 12\n\
                [[cohort]]\nretry = \"full-jitter\"\n[mock.throttle]\nrate = \"2/s\"\nburst = 2\n\
                [[chaos]]\nfault = { kind = \"service.error\", status = 500 }\nstart = \"1s\"\nduration = \"3s\"\n";
    let run = || {
        let scenario = Scenario::read(text, "seed.toml", &[]).ok()?;
        let registry =
            Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
        let plan = Plan::new(scenario, &registry, Calendar::VIRTUAL).ok()?;
        virtual_time::run(plan, &Control::default()).ok()?.write().ok()
    };
    let mut seeds: Vec<Vec<u8>> = Record::empty().write().into_iter().collect();
    seeds.extend(run());
    seeds
}
