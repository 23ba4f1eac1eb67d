//! A second, independent Rust client of MQTT: `rumqttc-v4-next` with its own codec, event loop and TLS. Nothing of it is
//! in Fleetstorm.

use std::sync::Arc;

use rumqttc_next::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, PublishOptions, QoS, TlsConfiguration,
    Transport,
};
use serde_json::Value;

use crate::harness::{Bench, Mock};

/// Bytes 00 to 3F, and a token signed with them until 2030.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const TOKEN: &str = "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
                     &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration";

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";

struct Device {
    client: AsyncClient,
    events: EventLoop,
}

impl Device {
    fn new(mock: &Mock, scope: &str, token: &str) -> Self {
        let mut options = MqttOptions::new("dev-0001", ("localhost", mock.mqtt().port()));
        options.set_keep_alive(60);
        options.set_credentials(
            format!("{scope}/registrations/dev-0001/api-version=2019-03-31"),
            token.to_owned(),
        );
        let config = TlsConfiguration::Rustls(Arc::new(mock.trusting()));
        options.set_transport(Transport::Tls(config));
        let (client, events) = AsyncClient::builder(options).capacity(10).build();
        Self { client, events }
    }

    async fn subscribe(&mut self) {
        self.client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await.unwrap();
        while !matches!(self.events.poll().await.unwrap(), Event::Incoming(Incoming::SubAck(_))) {}
    }

    /// Publishes a request; the answer's topic and body.
    async fn ask(&mut self, topic: String, body: &'static str) -> (String, Value) {
        self.client.publish(topic, body, PublishOptions::new(QoS::AtLeastOnce)).await.unwrap();
        loop {
            if let Event::Incoming(Incoming::Publish(Publish { topic, payload, .. })) =
                self.events.poll().await.unwrap()
            {
                let topic = std::str::from_utf8(topic.as_ref()).unwrap().to_owned();
                return (topic, serde_json::from_slice(&payload).unwrap());
            }
        }
    }
}

fn mock(bench: &Bench) -> Mock {
    bench.file("key", KEY);
    Mock::start(
        bench,
        r#"
        id_scope = "0ne00ABCDEF"
        retry_after_s = 1
        hub = [{ host = "hub-1.azure-devices.net" }]
        assignment = { kind = "constant", delay = "0s" }
        [[enrollment]]
        registration_id = "dev-0001"
        primary_key = { file = "key" }
        "#,
    )
}

#[tokio::test]
async fn rumqttc_next_gets_its_hub() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let mut device = Device::new(&mock, "0ne00ABCDEF", TOKEN);
    device.subscribe().await;
    let (topic, body) = device.ask(REGISTER.to_owned(), r#"{"registrationId":"dev-0001"}"#).await;
    assert_eq!(
        (&*topic, &body["status"]),
        ("$dps/registrations/res/202/?$rid=1&retry-after=1", &"assigning".into())
    );
    let operation = body["operationId"].as_str().unwrap();
    let poll = format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}");
    let (topic, body) = device.ask(poll, " ").await;
    assert_eq!((&*topic, &body["status"]), ("$dps/registrations/res/200/?$rid=2", &"assigned".into()));
    assert_eq!(body["registrationState"]["assignedHub"], "hub-1.azure-devices.net");
}

#[tokio::test]
async fn rumqttc_next_is_refused_as_every_client_is() {
    let bench = Bench::new();
    let mock = mock(&bench);
    let mut device = Device::new(&mock, "0ne00ABCDEF", &TOKEN.replace("sig=J", "sig=K"));
    device.subscribe().await;
    let (topic, body) = device.ask(REGISTER.to_owned(), r#"{"registrationId":"dev-0001"}"#).await;
    assert_eq!((&*topic, &body["errorCode"]), ("$dps/registrations/res/401/?$rid=1", &401_000.into()));
    let mut stranger = Device::new(&mock, "0ne00FFFFFF", TOKEN);
    let error = stranger.events.poll().await.unwrap_err().to_string();
    assert!(error.contains("ServiceUnavailable"), "{error}");
}
