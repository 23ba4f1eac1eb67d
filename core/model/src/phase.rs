//! What takes time on the way of a device to its hub, and beyond.

use fleetstorm_protocol::Operation;

/// A phase whose latency is recorded, and which objectives can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution.
    Dns,
    /// The TCP handshake.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The upgrade to WebSocket.
    Websocket,
    /// MQTT: from CONNECT to CONNACK.
    Connack,
    /// MQTT: from SUBSCRIBE to SUBACK.
    Subscribe,
    /// AMQP: the SASL layer.
    Sasl,
    /// AMQP: from the protocol header to the credit of the sender's link.
    Attach,
    /// All of the connection.
    Connect,
    /// Register requests.
    Register,
    /// Polls.
    Poll,
    /// Status lookups.
    Lookup,
    /// From the intended boot to the hub.
    TimeToAssigned,
    /// To the hub, from the first packet to its CONNACK.
    HubConnect,
    /// From the intended boot to the first connection with a hub.
    TimeToOnline,
    /// From the loss of a hub to the next connection with one.
    Reconnect,
}

impl Phase {
    /// All of them, in the order of a connection and a device's life.
    pub const ALL: [Self; 16] = [
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Websocket,
        Self::Connack,
        Self::Subscribe,
        Self::Sasl,
        Self::Attach,
        Self::Connect,
        Self::Register,
        Self::Poll,
        Self::Lookup,
        Self::TimeToAssigned,
        Self::HubConnect,
        Self::TimeToOnline,
        Self::Reconnect,
    ];

    /// As records spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Websocket => "websocket",
            Self::Connack => "connack",
            Self::Subscribe => "subscribe",
            Self::Sasl => "sasl",
            Self::Attach => "attach",
            Self::Connect => "connect",
            Self::Register => "register",
            Self::Poll => "poll",
            Self::Lookup => "lookup",
            Self::TimeToAssigned => "time-to-assigned",
            Self::HubConnect => "hub-connect",
            Self::TimeToOnline => "time-to-online",
            Self::Reconnect => "reconnect",
        }
    }
}

impl From<Operation> for Phase {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Register => Self::Register,
            Operation::Poll => Self::Poll,
            Operation::Lookup => Self::Lookup,
        }
    }
}
