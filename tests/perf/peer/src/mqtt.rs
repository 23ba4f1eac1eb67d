//! The same conversation with a full MQTT client that we did not write, over the same TLS.

use std::sync::Arc;

use rumqttc_next::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, PublishOptions, QoS, TlsConfiguration,
    Transport,
};

use crate::{Arguments, Error};

/// A connected and subscribed client.
pub(crate) struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    /// Connects device number `number`, whose user name and password the arguments give.
    pub(crate) async fn open(
        arguments: &Arguments,
        tls: &Arc<rustls::ClientConfig>,
        number: u64,
    ) -> Result<Self, Error> {
        let (host, port) = arguments.address.rsplit_once(':').ok_or("no port in the address")?;
        // `/{scope}/registrations/{id}/register…`, as for HTTPS.
        let path = arguments.path.replace("{n}", &format!("{number:06}"));
        let mut parts = path.split('/').skip(1);
        let (scope, id) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let mut options = MqttOptions::new(id, (host, port.parse::<u16>()?));
        options.set_keep_alive(60);
        let user = format!("{scope}/registrations/{id}/api-version=2019-03-31");
        options.set_credentials(user, arguments.authorization.clone().unwrap_or_default());
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::clone(tls))));
        let (client, events) = AsyncClient::builder(options).capacity(10).build();
        let mut client = Self { client, events };
        client.client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await?;
        while !matches!(client.events.poll().await?, Event::Incoming(Incoming::SubAck(_))) {}
        Ok(client)
    }

    async fn ask(&mut self, topic: String, body: String) -> Result<Publish, Error> {
        self.client.publish(topic, body, PublishOptions::new(QoS::AtLeastOnce)).await?;
        loop {
            if let Event::Incoming(Incoming::Publish(answer)) = self.events.poll().await? {
                return Ok(answer);
            }
        }
    }

    /// A registration and one poll of its operation.
    pub(crate) async fn register(&mut self, number: u64) -> Result<(), Error> {
        let body = serde_json::json!({ "registrationId": format!("dev-{number:06}") }).to_string();
        let answer = self.ask("$dps/registrations/PUT/iotdps-register/?$rid=1".to_owned(), body).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
        let operation = answer["operationId"].as_str().unwrap_or("none");
        let poll =
            format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}");
        self.ask(poll, " ".to_owned()).await?;
        Ok(())
    }

    /// Lives until the connection ends.
    pub(crate) async fn hold(mut self) -> Result<(), Error> {
        loop {
            self.events.poll().await?;
        }
    }
}
