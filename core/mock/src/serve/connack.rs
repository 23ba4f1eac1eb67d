//! Saying over MQTT whether a client is let in.

use fleetstorm_net::packets::Packets;
use fleetstorm_protocol::mqtt::Connack;
use rumqttc::{ConnAck, ConnectReturnCode, Packet};
use tokio::io::{AsyncRead, AsyncWrite};

/// Answers a CONNECT, and closes the connection of one that is refused.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(packets: &mut Packets<S>, code: Connack) {
    let code = match code {
        Connack::Accepted => ConnectReturnCode::Success,
        Connack::ProtocolVersion => ConnectReturnCode::RefusedProtocolVersion,
        Connack::Identifier => ConnectReturnCode::BadClientId,
        Connack::Unavailable => ConnectReturnCode::ServiceUnavailable,
        Connack::BadCredentials => ConnectReturnCode::BadUserNamePassword,
        Connack::NotAuthorized => ConnectReturnCode::NotAuthorized,
    };
    if packets.queue(&Packet::ConnAck(ConnAck::new(code, false))).is_ok() {
        // A client that is gone shows when it is read from.
        let _ = packets.flush().await;
        if code != ConnectReturnCode::Success {
            let _ = packets.shutdown().await;
        }
    }
}
