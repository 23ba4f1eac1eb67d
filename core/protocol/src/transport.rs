//! The five ways in which a device can reach the service (`dps` 2.1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a device speaks to the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// HTTPS.
    #[default]
    Https,
    /// MQTT 3.1.1 over TLS.
    Mqtt,
    /// MQTT 3.1.1 over WebSocket, on the HTTPS port.
    MqttWs,
    /// AMQP 1.0 over TLS.
    Amqp,
    /// AMQP 1.0 over WebSocket, on the HTTPS port.
    AmqpWs,
}

impl Transport {
    /// The name in scenarios and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Mqtt => "mqtt",
            Self::MqttWs => "mqtt-ws",
            Self::Amqp => "amqp",
            Self::AmqpWs => "amqp-ws",
        }
    }

    /// Whether it speaks MQTT.
    pub const fn is_mqtt(self) -> bool {
        matches!(self, Self::Mqtt | Self::MqttWs)
    }

    /// Whether it proves who a device is once a connection. HTTPS does with every request.
    pub const fn authenticates_connections(self) -> bool {
        !matches!(self, Self::Https)
    }
}
