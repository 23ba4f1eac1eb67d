//! A device's connection with its IoT hub, over MQTT 3.1.1: messages up, direct methods down.

use std::task::Poll;

use fleetstorm_protocol::hub as spelling;
use fleetstorm_protocol::mqtt::Said;
use fleetstorm_protocol::mqtt::packet::{Connect, QoS};
use tokio::io::{AsyncRead, AsyncWrite};

use super::mqtt;
use crate::clock::Clock;
use crate::{ConnectTimes, NetError};

/// Who connects where.
pub struct Passport<'a> {
    /// The hub's host name.
    pub hub: &'a str,
    /// Who the device is there.
    pub device_id: &'a str,
    /// `None` for devices that prove themselves by their certificate.
    pub token: Option<&'a str>,
    /// Longest silence in seconds; 0 sends no pings.
    pub keep_alive_secs: u16,
}

/// An open connection with a hub.
pub struct HubLink<S> {
    link: mqtt::Link<S>,
    /// Where its messages go.
    topic: String,
}

/// What a hub did.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// It called the direct method `Reprovision`, which has been answered.
    Reprovision,
    /// It closed the connection, or is gone.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> HubLink<S> {
    /// Connects and subscribes to direct methods.
    pub async fn open(
        stream: S,
        passport: &Passport<'_>,
        clock: Clock,
        times: &mut ConnectTimes,
    ) -> Result<Self, NetError> {
        let mut connect = Connect::new(passport.device_id);
        connect.keep_alive = passport.keep_alive_secs;
        let mut user = String::with_capacity(96);
        spelling::user_name(passport.hub, passport.device_id, &mut user);
        connect.set_login(user, passport.token.unwrap_or(""));
        let link = mqtt::Link::open_as(stream, connect, spelling::METHODS, clock, times).await?;
        let mut topic = String::with_capacity(64);
        spelling::message_topic(passport.device_id, &mut topic);
        Ok(Self { link, topic })
    }

    /// Sends a message. Whether it arrives shows when the connection is next listened to.
    pub fn send(&mut self) {
        // A topic of ours can be spelled; a connection that is gone shows when it is read from.
        let _ = self.link.publish(&*self.topic, QoS::AtLeastOnce, &b"{}"[..]);
    }

    /// Returns when the hub has something to say; keeps the connection alive meanwhile.
    pub async fn news(&mut self) -> News {
        std::future::poll_fn(|context| {
            loop {
                let publish = match std::task::ready!(self.link.poll_said(context)) {
                    Ok(Said::Published(publish)) => publish,
                    Ok(_) => continue,
                    Err(_) => return Poll::Ready(News::Closed),
                };
                let Some((name, rid)) = spelling::read_method_topic(&publish.topic) else { continue };
                let known = name == spelling::REPROVISION;
                let mut answer = String::with_capacity(40);
                spelling::method_answer_topic(if known { 200 } else { 404 }, rid, &mut answer);
                let _ = self.link.publish(answer, QoS::AtMostOnce, &b"{}"[..]);
                // What can be sent at once is sent: the device is about to leave.
                if let Poll::Ready(Err(_)) = self.link.poll_flush(context) {
                    return Poll::Ready(News::Closed);
                }
                if known {
                    return Poll::Ready(News::Reprovision);
                }
            }
        })
        .await
    }

    /// Says goodbye as far as that goes without waiting.
    pub fn hang_up(self) {
        self.link.hang_up();
    }
}
