//! A device's end of a connection.

use bytes::Bytes;
use fleetstorm_units::time::{Moment, Span};

use super::Connack;
use super::packet::{
    ConnAck, Connect, Misuse, Packet, PacketIds, PubAck, Publish, QoS, SubAck, Subscribe,
    SubscribeReasonCode, UnsubAck, Unsubscribe, publication,
};

/// What came of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The connection is open. Whether the service remembers a session.
    Connected(bool),
    /// The answer to the SUBSCRIBE: at which quality of service, `None` where it was refused.
    Subscribed(Option<QoS>),
    /// The answer to an UNSUBSCRIBE with this packet id.
    Unsubscribed(u16),
    /// A publication, which has been acknowledged where it has to be.
    Published(Publish),
    /// This end's publication with this packet id has arrived.
    Acknowledged(u16),
    /// The answer to a ping.
    Pong,
}

/// What a service did, or did not, so that its connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It refused the connection.
    #[error("CONNACK with return code {}", *.0 as u8)]
    Refused(Connack),
    /// It answered CONNECT with another packet.
    #[error("the answer to CONNECT is no CONNACK")]
    NoConnack,
    /// It answered CONNECT twice.
    #[error("a second CONNACK")]
    SecondConnack,
    /// A SUBACK to no SUBSCRIBE, or one that does not have one return code.
    #[error("a SUBACK to no SUBSCRIBE of ours")]
    StrangeSuback,
    /// It published at quality of service 2, which this end has never asked for (MQTT 3.1.1, 3.8.4).
    #[error("a publication of quality of service 2")]
    ExactlyOnce,
    /// A packet that only a client sends.
    #[error("a packet that only a client sends")]
    ClientsPacket,
    /// It gave no sign of life for as long as a ping is waited for.
    #[error("the service was silent for too long")]
    Silent,
    /// The connection was over before.
    #[error("the connection is over")]
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Open,
    Over,
}

/// A connection of a device, from its CONNECT to its last packet.
///
/// [`Client::start`] says CONNECT. From then on the driver hands it every packet that comes ([`Client::take`]) and calls
/// [`Client::tick`] once [`Client::due`] has come. What it says goes to `out`, in the order in which it has to leave. After
/// [`Said::Connected`] it subscribes, publishes and unsubscribes in any order; after an [`Unfit`] everything is refused.
#[derive(Debug)]
pub struct Client {
    stage: Stage,
    /// Zero sends no pings.
    keep_alive: Span,
    /// When the service last gave a sign of life, and when this end last said something; CONNECT begins both.
    heard: Moment,
    spoke: Moment,
    /// Since when a ping is under way.
    pinged: Option<Moment>,
    ids: PacketIds,
    /// The SUBSCRIBE that is not answered yet.
    subscribing: Option<u16>,
}

impl Client {
    /// Opens a connection. The keep-alive of `connect` is how often the service is asked for a sign of life.
    pub fn start(now: Moment, connect: Connect, out: &mut dyn FnMut(Packet)) -> Self {
        let keep_alive = Span::from_secs(u64::from(connect.keep_alive));
        out(Packet::Connect(connect));
        Self {
            stage: Stage::Connecting,
            keep_alive,
            heard: now,
            spoke: now,
            pinged: None,
            ids: PacketIds::new(),
            subscribing: None,
        }
    }

    /// Takes what came, and acknowledges it where that is due.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn take(&mut self, now: Moment, packet: Packet, out: &mut dyn FnMut(Packet)) -> Result<Said, Unfit> {
        let taken = match self.stage {
            Stage::Connecting => self.greeted(&packet),
            Stage::Open => self.told(now, packet, out),
            Stage::Over => Err(Unfit::Over),
        };
        if taken.is_err() {
            self.stage = Stage::Over;
        }
        taken
    }

    fn greeted(&mut self, packet: &Packet) -> Result<Said, Unfit> {
        let Packet::ConnAck(ConnAck { session_present, code }) = packet else { return Err(Unfit::NoConnack) };
        match Connack::from(*code) {
            Connack::Accepted => {
                self.stage = Stage::Open;
                Ok(Said::Connected(*session_present))
            }
            code => Err(Unfit::Refused(code)),
        }
    }

    fn told(&mut self, now: Moment, packet: Packet, out: &mut dyn FnMut(Packet)) -> Result<Said, Unfit> {
        let said = match packet {
            Packet::SubAck(SubAck { pkid, return_codes }) => {
                let asked = self.subscribing.take() == Some(pkid);
                // What opens a connection is part of its opening: it is no sign of life that puts off a ping.
                return match return_codes[..] {
                    [SubscribeReasonCode::Success(qos)] if asked => Ok(Said::Subscribed(Some(qos))),
                    [SubscribeReasonCode::Failure] if asked => Ok(Said::Subscribed(None)),
                    _ => Err(Unfit::StrangeSuback),
                };
            }
            Packet::UnsubAck(UnsubAck { pkid }) => Said::Unsubscribed(pkid),
            Packet::PubAck(PubAck { pkid }) => Said::Acknowledged(pkid),
            Packet::PingResp => Said::Pong,
            Packet::Publish(publish) => match publish.qos {
                QoS::AtMostOnce => Said::Published(publish),
                QoS::AtLeastOnce => {
                    self.spoke = now;
                    out(Packet::PubAck(PubAck::new(publish.pkid)));
                    Said::Published(publish)
                }
                QoS::ExactlyOnce => return Err(Unfit::ExactlyOnce),
            },
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => return Err(Unfit::ExactlyOnce),
            Packet::ConnAck(_) => return Err(Unfit::SecondConnack),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect => return Err(Unfit::ClientsPacket),
        };
        (self.heard, self.pinged) = (now, None);
        Ok(said)
    }

    /// Asks for the publications to a filter.
    ///
    /// # Errors
    /// The connection is not open, or the SUBSCRIBE before is not answered yet: nothing was said.
    pub fn subscribe(
        &mut self,
        filter: impl Into<String>,
        qos: QoS,
        out: &mut dyn FnMut(Packet),
    ) -> Result<(), Misuse> {
        self.is_open()?;
        if self.subscribing.is_some() {
            return Err(Misuse::Subscribing);
        }
        let mut subscribe = Subscribe::new(filter, qos);
        subscribe.pkid = self.ids.next();
        self.subscribing = Some(subscribe.pkid);
        out(Packet::Subscribe(subscribe));
        Ok(())
    }

    /// Asks for no more publications to a filter. The packet id.
    ///
    /// # Errors
    /// The connection is not open: nothing was said.
    pub fn unsubscribe(
        &mut self,
        now: Moment,
        filter: impl Into<String>,
        out: &mut dyn FnMut(Packet),
    ) -> Result<u16, Misuse> {
        self.is_open()?;
        let mut unsubscribe = Unsubscribe::new(filter);
        unsubscribe.pkid = self.ids.next();
        self.spoke = now;
        let id = unsubscribe.pkid;
        out(Packet::Unsubscribe(unsubscribe));
        Ok(id)
    }

    /// Publishes. The packet id, which [`Said::Acknowledged`] repeats; 0 at quality of service 0.
    ///
    /// # Errors
    /// The connection is not open, or it cannot be spelled: nothing was said.
    pub fn publish(
        &mut self,
        now: Moment,
        topic: impl Into<String>,
        qos: QoS,
        payload: impl Into<Bytes>,
        out: &mut dyn FnMut(Packet),
    ) -> Result<u16, Misuse> {
        self.is_open()?;
        let mut publish = publication(topic.into(), qos, payload.into())?;
        if qos != QoS::AtMostOnce {
            publish.pkid = self.ids.next();
        }
        self.spoke = now;
        let id = publish.pkid;
        out(Packet::Publish(publish));
        Ok(id)
    }

    /// When [`Client::tick`] has something to do; [`Moment::FAR`] for never.
    pub fn due(&self) -> Moment {
        if self.keep_alive == Span::ZERO || self.stage != Stage::Open {
            return Moment::FAR;
        }
        // A service that is spoken to and says nothing is asked as one that nobody has spoken to.
        self.pinged.unwrap_or(self.spoke.min(self.heard)) + self.keep_alive
    }

    /// Asks a service that was silent for a sign of life.
    ///
    /// # Errors
    /// It was asked before, and a whole keep-alive ago.
    pub fn tick(&mut self, now: Moment, out: &mut dyn FnMut(Packet)) -> Result<(), Unfit> {
        if now < self.due() {
            return Ok(());
        }
        if self.pinged.is_some() {
            self.stage = Stage::Over;
            return Err(Unfit::Silent);
        }
        (self.pinged, self.spoke) = (Some(now), now);
        out(Packet::PingReq);
        Ok(())
    }

    /// Says goodbye: nothing comes after it.
    pub fn disconnect(self, out: &mut dyn FnMut(Packet)) {
        out(Packet::Disconnect);
    }

    fn is_open(&self) -> Result<(), Misuse> {
        if self.stage == Stage::Open { Ok(()) } else { Err(Misuse::NotOpen) }
    }
}
