//! The service's end of a connection: what MQTT asks of it whatever its topics mean.

use bytes::Bytes;
use fleetstorm_units::time::{Moment, Span};

use super::Connack;
use super::packet::{
    ConnAck, Connect, Error, Misuse, Packet, PacketIds, Protocol, PubAck, Publish, QoS, SubAck, Subscribe,
    SubscribeFilter, SubscribeReasonCode, UnsubAck, publication,
};

/// What came of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A client wants to be let in: answer with [`Server::accept`] or [`Server::refuse`] before anything else is taken.
    Connect(Connect),
    /// A publication, and what has to be acknowledged with [`Server::acknowledge`] once it is taken over.
    Publish(Publish, Option<Owed>),
    /// It wants to listen: answer with [`Server::grant`].
    Subscribe(Subscribe),
    /// It listens no more to what it has named, which has been answered.
    Unsubscribed,
    /// A publication of this end has arrived.
    Acknowledged(u16),
    /// A ping, which has been answered.
    Ping,
    /// It ends the connection in order.
    Disconnect,
}

/// An acknowledgement that a client waits for. There is one for each publication that asks for it, and it is used up when it
/// is given.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the client sends again what is not acknowledged"]
pub struct Owed(u16);

/// What a client did, or did not, so that its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// What came is no MQTT.
    #[error("what came is no packet")]
    Malformed,
    /// Its protocol level is not that of MQTT 3.1.1; it has been told so.
    #[error("a protocol level that is not spoken here")]
    Level,
    /// Its first packet is none that connects.
    #[error("the first packet is no CONNECT")]
    NotConnect,
    /// It connects where it is connected (3.1.0-2).
    #[error("a second CONNECT")]
    SecondConnect,
    /// It asks for quality of service 2, which neither DPS nor IoT Hub offers.
    #[error("quality of service 2 is not offered")]
    ExactlyOnce,
    /// A packet that only a server sends.
    #[error("a packet that only a server sends")]
    ServersPacket,
    /// Nothing came for one and a half times its keep-alive, or for as long as it is borne with (3.1.2-24).
    #[error("silent for longer than its keep-alive allows")]
    Silent,
    /// Its CONNECT is not answered yet: this end was asked in the wrong order.
    #[error("its CONNECT is not answered yet")]
    Unanswered,
    /// The connection was over before.
    #[error("the connection is over")]
    Over,
}

/// What a client listens to. A filter that is granted here names one topic, or all that begin as it does before its `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The filter.
    pub filter: Box<str>,
    /// The quality of service that it is granted.
    pub qos: QoS,
    /// Since when; who listens already and asks again goes on listening.
    pub since: Moment,
}

impl Subscription {
    fn covers(&self, topic: &str) -> bool {
        match self.filter.strip_suffix('#') {
            Some(start) => topic.starts_with(start),
            None => *self.filter == *topic,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Connecting,
    Open,
    Over,
}

/// Filters that a client may listen to at once, so that one that goes on asking does not fill the memory.
const LISTENS_MAX: usize = 64;

/// A client's connection, from its first packet to its last.
///
/// The driver hands it every packet that comes ([`Server::take`], or [`Server::fail`] for what the codec does not read),
/// answers what [`Heard`] says is to be answered, and calls [`Server::tick`] once [`Server::due`] has come. What it says goes to
/// `out`, in the order in which it has to leave. After a [`Breach`] or [`Heard::Disconnect`] everything is refused. That another
/// connection takes this one's session is said by [`super::Sessions`].
#[derive(Debug)]
pub struct Server {
    stage: Stage,
    heard: Moment,
    /// The longest silence that the client has asked for, and the one that it is borne with; `None` for any.
    asked: Option<Span>,
    borne: Option<Span>,
    ids: PacketIds,
    listens: Vec<Subscription>,
}

impl Server {
    /// A connection on which nothing was said yet.
    pub const fn new(now: Moment) -> Self {
        Self {
            stage: Stage::Start,
            heard: now,
            asked: None,
            borne: None,
            ids: PacketIds::new(),
            listens: Vec::new(),
        }
    }

    /// Takes what came, and answers what has one answer only.
    ///
    /// # Errors
    /// The client breaks the protocol: the connection ends once what was said has left.
    pub fn take(
        &mut self,
        now: Moment,
        packet: Packet,
        out: &mut dyn FnMut(Packet),
    ) -> Result<Heard, Breach> {
        let taken = match (self.stage, packet) {
            (Stage::Start, Packet::Connect(connect)) => self.greeted(connect, out),
            (Stage::Start, _) => Err(Breach::NotConnect),
            (Stage::Connecting, _) => return Err(Breach::Unanswered),
            (Stage::Open, packet) => self.told(packet, out),
            (Stage::Over, _) => Err(Breach::Over),
        };
        self.heard = now;
        if matches!(taken, Err(_) | Ok(Heard::Disconnect)) {
            self.stage = Stage::Over;
        }
        taken
    }

    /// The same for what the codec does not read.
    pub fn fail(&mut self, error: &Error, out: &mut dyn FnMut(Packet)) -> Breach {
        let level = self.stage == Stage::Start && matches!(error, Error::InvalidProtocolLevel(_));
        self.stage = Stage::Over;
        if level { wrong_level(out) } else { Breach::Malformed }
    }

    fn greeted(&mut self, connect: Connect, out: &mut dyn FnMut(Packet)) -> Result<Heard, Breach> {
        if connect.protocol != Protocol::V4 {
            return Err(wrong_level(out));
        }
        self.stage = Stage::Connecting;
        self.asked =
            (connect.keep_alive > 0).then(|| Span::from_millis(u64::from(connect.keep_alive) * 1_500));
        self.borne = self.asked;
        Ok(Heard::Connect(connect))
    }

    fn told(&mut self, packet: Packet, out: &mut dyn FnMut(Packet)) -> Result<Heard, Breach> {
        Ok(match packet {
            Packet::Publish(publish) => {
                let owed = match publish.qos {
                    QoS::AtMostOnce => None,
                    QoS::AtLeastOnce => Some(Owed(publish.pkid)),
                    QoS::ExactlyOnce => return Err(Breach::ExactlyOnce),
                };
                Heard::Publish(publish, owed)
            }
            Packet::Subscribe(subscribe) => Heard::Subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => {
                self.listens.retain(|known| !unsubscribe.topics.iter().any(|topic| **topic == *known.filter));
                out(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)));
                Heard::Unsubscribed
            }
            Packet::PubAck(PubAck { pkid }) => Heard::Acknowledged(pkid),
            Packet::PingReq => {
                out(Packet::PingResp);
                Heard::Ping
            }
            Packet::Disconnect => Heard::Disconnect,
            Packet::Connect(_) => return Err(Breach::SecondConnect),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => return Err(Breach::ExactlyOnce),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Err(Breach::ServersPacket);
            }
        })
    }

    /// Lets the client in, with what its session listens to if there is one.
    ///
    /// # Errors
    /// There is no CONNECT to answer: nothing was said.
    pub fn accept(
        &mut self,
        now: Moment,
        session: Option<Vec<Subscription>>,
        out: &mut dyn FnMut(Packet),
    ) -> Result<(), Misuse> {
        self.answer(Connack::Accepted, session.is_some(), out)?;
        self.heard = now;
        self.listens = session.unwrap_or_default();
        Ok(())
    }

    /// Does not let it in: the connection ends once that has left.
    ///
    /// # Errors
    /// There is no CONNECT to answer, or the code lets it in: nothing was said.
    pub fn refuse(&mut self, code: Connack, out: &mut dyn FnMut(Packet)) -> Result<(), Misuse> {
        if code == Connack::Accepted {
            return Err(Misuse::NothingToAnswer);
        }
        self.answer(code, false, out)
    }

    fn answer(
        &mut self,
        code: Connack,
        session_present: bool,
        out: &mut dyn FnMut(Packet),
    ) -> Result<(), Misuse> {
        if self.stage != Stage::Connecting {
            return Err(Misuse::NothingToAnswer);
        }
        self.stage = if code == Connack::Accepted { Stage::Open } else { Stage::Over };
        out(Packet::ConnAck(ConnAck::new(code.into(), session_present)));
        Ok(())
    }

    /// Acknowledges a publication.
    pub fn acknowledge(&mut self, owed: Owed, out: &mut dyn FnMut(Packet)) {
        if self.stage == Stage::Open {
            out(Packet::PubAck(PubAck::new(owed.0)));
        }
    }

    /// Answers a SUBSCRIBE: `grant` says at which quality of service the client may listen to a filter, `None` for not at
    /// all. What it listens to already stays; beyond 64 filters none is granted.
    pub fn grant(
        &mut self,
        now: Moment,
        subscribe: &Subscribe,
        mut grant: impl FnMut(&SubscribeFilter) -> Option<QoS>,
        out: &mut dyn FnMut(Packet),
    ) {
        if self.stage != Stage::Open {
            return;
        }
        let codes = subscribe.filters.iter().map(|filter| match grant(filter) {
            Some(qos) if self.listen(now, &filter.path, qos) => SubscribeReasonCode::Success(qos),
            _ => SubscribeReasonCode::Failure,
        });
        let codes = codes.collect();
        out(Packet::SubAck(SubAck::new(subscribe.pkid, codes)));
    }

    fn listen(&mut self, now: Moment, filter: &str, qos: QoS) -> bool {
        if let Some(known) = self.listens.iter_mut().find(|known| *known.filter == *filter) {
            known.qos = qos;
            return true;
        }
        let room = self.listens.len() < LISTENS_MAX;
        if room {
            self.listens.push(Subscription { filter: filter.into(), qos, since: now });
        }
        room
    }

    /// What the client listens to.
    pub fn listens(&self) -> &[Subscription] {
        &self.listens
    }

    /// What it listens to under this filter.
    pub fn listens_to(&self, filter: &str) -> Option<&Subscription> {
        self.listens.iter().find(|known| *known.filter == *filter)
    }

    /// Publishes to the client, at the quality of service that it listens at and at most at `qos`. `false`, and nothing is
    /// said, if it does not listen: what comes before its subscription is lost.
    ///
    /// # Errors
    /// The connection is not open, or it cannot be spelled: nothing was said.
    pub fn publish(
        &mut self,
        topic: impl Into<String>,
        qos: QoS,
        payload: impl Into<Bytes>,
        out: &mut dyn FnMut(Packet),
    ) -> Result<bool, Misuse> {
        if self.stage != Stage::Open {
            return Err(Misuse::NotOpen);
        }
        let mut publish = publication(topic.into(), qos, payload.into())?;
        let Some(known) = self.listens.iter().find(|known| known.covers(&publish.topic)) else {
            return Ok(false);
        };
        if known.qos == QoS::AtMostOnce {
            publish.qos = QoS::AtMostOnce;
        }
        if publish.qos != QoS::AtMostOnce {
            publish.pkid = self.ids.next();
        }
        out(Packet::Publish(publish));
        Ok(true)
    }

    /// The longest silence that the client has asked for: one and a half times its keep-alive (3.1.2.10); `None` for any.
    pub const fn asked_silence(&self) -> Option<Span> {
        self.asked
    }

    /// Bears with this silence from now on, and not with what the client has asked for.
    pub const fn bear(&mut self, silence: Option<Span>) {
        self.borne = silence;
    }

    /// When the client has been silent for too long; [`Moment::FAR`] for never.
    pub fn due(&self) -> Moment {
        match self.borne {
            Some(silence) if self.stage == Stage::Open => self.heard + silence,
            _ => Moment::FAR,
        }
    }

    /// Ends the connection of a client that has been silent for too long.
    ///
    /// # Errors
    /// It has.
    pub fn tick(&mut self, now: Moment) -> Result<(), Breach> {
        if now < self.due() {
            return Ok(());
        }
        self.stage = Stage::Over;
        Err(Breach::Silent)
    }
}

fn wrong_level(out: &mut dyn FnMut(Packet)) -> Breach {
    out(Packet::ConnAck(ConnAck::new(Connack::ProtocolVersion.into(), false)));
    Breach::Level
}
