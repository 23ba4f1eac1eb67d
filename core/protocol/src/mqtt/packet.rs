//! Packets of MQTT 3.1.1, as rumqttc's codec reads and writes them.

pub use rumqttc::Protocol;
pub use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Packet, PubAck, PubComp, PubRec, PubRel, Publish, SubAck,
    Subscribe, SubscribeFilter, SubscribeReasonCode, UnsubAck, Unsubscribe,
};
pub use rumqttc::mqttbytes::{Error, QoS};

use super::Connack;

/// The longest text and the longest packet that MQTT can spell (1.5.3 and 2.2.3).
const TEXT_MAX_BYTES: usize = 65_535;
const PACKET_MAX_BYTES: usize = 268_435_455;

/// Why an end that was told to say something said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// The connection is not open: CONNECT is not answered, or it is over.
    #[error("the connection is not open")]
    NotOpen,
    /// There is no CONNECT to answer.
    #[error("there is no CONNECT to answer")]
    NothingToAnswer,
    /// A SUBSCRIBE is not answered yet.
    #[error("a subscription is under way")]
    Subscribing,
    /// Quality of service 2, which neither DPS nor IoT Hub offers.
    #[error("quality of service 2 is not offered")]
    ExactlyOnce,
    /// A topic to publish to that is empty, too long, or has a wildcard (4.7.1).
    #[error("no topic that can be published to")]
    Topic,
    /// A publication that is longer than a packet can be.
    #[error("longer than a packet can be")]
    TooLong,
}

/// A publication, if it can be spelled. Its packet id is still to be given.
pub(super) fn publication(topic: String, qos: QoS, payload: bytes::Bytes) -> Result<Publish, Misuse> {
    if topic.is_empty() || topic.len() > TEXT_MAX_BYTES || topic.contains(['+', '#', '\0']) {
        return Err(Misuse::Topic);
    }
    if qos == QoS::ExactlyOnce {
        return Err(Misuse::ExactlyOnce);
    }
    if topic.len() + payload.len() + 4 > PACKET_MAX_BYTES {
        return Err(Misuse::TooLong);
    }
    Ok(Publish::from_bytes(topic, qos, payload))
}

/// The packet ids of one end: from 1 on, and round. Nothing here is sent again, so an id is free once its acknowledgement may
/// be expected, which 65,535 packets later it may.
#[derive(Debug)]
pub(super) struct PacketIds(u16);

impl PacketIds {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) fn next(&mut self) -> u16 {
        self.0 = self.0.checked_add(1).unwrap_or(1);
        self.0
    }
}

impl From<Connack> for ConnectReturnCode {
    fn from(code: Connack) -> Self {
        match code {
            Connack::Accepted => Self::Success,
            Connack::ProtocolVersion => Self::RefusedProtocolVersion,
            Connack::Identifier => Self::BadClientId,
            Connack::Unavailable => Self::ServiceUnavailable,
            Connack::BadCredentials => Self::BadUserNamePassword,
            Connack::NotAuthorized => Self::NotAuthorized,
        }
    }
}

impl From<ConnectReturnCode> for Connack {
    fn from(code: ConnectReturnCode) -> Self {
        match code {
            ConnectReturnCode::Success => Self::Accepted,
            ConnectReturnCode::RefusedProtocolVersion => Self::ProtocolVersion,
            ConnectReturnCode::BadClientId => Self::Identifier,
            ConnectReturnCode::ServiceUnavailable => Self::Unavailable,
            ConnectReturnCode::BadUserNamePassword => Self::BadCredentials,
            ConnectReturnCode::NotAuthorized => Self::NotAuthorized,
        }
    }
}
