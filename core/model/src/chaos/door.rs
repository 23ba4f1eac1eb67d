//! Steps of a door with its clients.

/// Where a door stands with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorStep {
    /// An HTTP request has been read; `reused` if its connection has carried one before.
    HttpRequest {
        /// The connection is not new.
        reused: bool,
    },
    /// The service's answer is about to leave over HTTP.
    HttpAnswer,
    /// A CONNECT has been accepted.
    MqttConnect,
    /// A SUBSCRIBE has been read.
    MqttSubscribe,
    /// A request has been read.
    MqttRequest,
    /// The service's answer is about to leave over MQTT.
    MqttAnswer {
        /// It says when to come back.
        retry_after: bool,
        /// An answer has left on this connection before.
        earlier: bool,
    },
    /// A PINGREQ has been read.
    MqttPing,
    /// The SASL layer of AMQP has ended well.
    AmqpSasl,
    /// The AMQP connection is open.
    AmqpOpen,
    /// Its session has begun.
    AmqpBegin,
    /// The link that carries its requests is attached.
    AmqpAttach,
    /// A request has been read.
    AmqpRequest,
    /// The service's answer is about to leave over AMQP.
    AmqpAnswer {
        /// It rejects the request.
        refused: bool,
        /// It says when to come back.
        retry_after: bool,
        /// An answer that was no refusal has left on this connection before.
        earlier: bool,
    },
    /// A sign of life is due.
    AmqpHeartbeat,
}
