//! What a connection attempt took.

use fleetstorm_units::time::Span;

/// Times of the parts of a connection attempt, as far as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectTimes {
    /// Name resolution.
    pub dns: Option<Span>,
    /// The TCP handshake.
    pub tcp: Option<Span>,
    /// The TLS handshake.
    pub tls: Option<Span>,
    /// The upgrade to WebSocket.
    pub websocket: Option<Span>,
    /// MQTT: from CONNECT to CONNACK.
    pub connack: Option<Span>,
    /// MQTT: from SUBSCRIBE to SUBACK.
    pub subscribe: Option<Span>,
    /// AMQP: the SASL layer.
    pub sasl: Option<Span>,
    /// AMQP: from the protocol header to the credit of the sender's link.
    pub attach: Option<Span>,
}
