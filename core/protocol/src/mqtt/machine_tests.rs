//! The two machines against each other, in any interleaving, and each against whatever a peer may send.

use std::collections::VecDeque;

use fleetstorm_units::time::{Moment, Span};
use proptest::prelude::*;

use super::packet::{
    ConnAck, Connect, ConnectReturnCode, Error, Packet, Protocol, PubAck, PubComp, PubRec, PubRel, Publish,
    QoS, SubAck, Subscribe, SubscribeReasonCode, UnsubAck, Unsubscribe,
};
use super::*;

const KEEP_ALIVE: Span = Span::from_secs(60);
const FILTER: &str = "to/client/#";

fn connect() -> Connect {
    let mut connect = Connect::new("dev-1");
    connect.keep_alive = KEEP_ALIVE.as_secs() as u16;
    connect
}

/// Both ends, what is on its way between them, and what has come of it.
struct Pair {
    now: Moment,
    client: Client,
    server: Server,
    to_server: VecDeque<Packet>,
    to_client: VecDeque<Packet>,
    /// Acknowledgements that the server's caller has put off.
    owed: VecDeque<Owed>,
    /// What the client's caller has sent and not heard of: packet ids, in order.
    unacknowledged: VecDeque<u16>,
    /// What was sent and has not come yet: payloads, each way.
    sent_up: VecDeque<Vec<u8>>,
    sent_down: VecDeque<Vec<u8>>,
    subscribed: bool,
}

impl Pair {
    fn new() -> Self {
        let (now, mut to_server) = (Moment::START, VecDeque::new());
        let client = Client::start(now, connect(), &mut |packet| to_server.push_back(packet));
        Self {
            now,
            client,
            server: Server::new(now),
            to_server,
            to_client: VecDeque::new(),
            owed: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            sent_up: VecDeque::new(),
            sent_down: VecDeque::new(),
            subscribed: false,
        }
    }

    fn open() -> Self {
        let mut pair = Self::new();
        pair.settle();
        pair.client
            .subscribe(FILTER, QoS::AtLeastOnce, &mut |packet| pair.to_server.push_back(packet))
            .unwrap();
        pair.settle();
        assert!(pair.subscribed);
        pair
    }

    /// Carries one packet to the server, whose caller lets everybody in and grants everything.
    fn serve(&mut self, puts_off: bool) {
        let Some(packet) = self.to_server.pop_front() else { return };
        let out = &mut |packet| self.to_client.push_back(packet);
        match self.server.take(self.now, packet, out).unwrap() {
            Heard::Connect(connect) => {
                assert_eq!(self.server.asked_silence(), Some(Span::from_secs(90)));
                assert_eq!(connect.client_id, "dev-1");
                self.server.accept(self.now, None, out).unwrap();
            }
            Heard::Publish(publish, owed) => {
                assert_eq!(self.sent_up.pop_front().as_deref(), Some(&publish.payload[..]), "in order");
                assert_eq!(owed.is_some(), publish.qos == QoS::AtLeastOnce);
                self.owed.extend(owed);
                if !puts_off {
                    self.acknowledge();
                }
            }
            Heard::Subscribe(subscribe) => {
                self.server.grant(self.now, &subscribe, |filter| Some(filter.qos), out);
            }
            Heard::Unsubscribed | Heard::Acknowledged(_) | Heard::Ping | Heard::Disconnect => {}
        }
    }

    fn acknowledge(&mut self) {
        while let Some(owed) = self.owed.pop_front() {
            self.server.acknowledge(owed, &mut |packet| self.to_client.push_back(packet));
        }
    }

    /// Carries one packet to the client.
    fn tell(&mut self) {
        let Some(packet) = self.to_client.pop_front() else { return };
        match self.client.take(self.now, packet, &mut |packet| self.to_server.push_back(packet)).unwrap() {
            Said::Acknowledged(id) => assert_eq!(self.unacknowledged.pop_front(), Some(id), "once, in order"),
            Said::Published(publish) => {
                assert_eq!(self.sent_down.pop_front().as_deref(), Some(&publish.payload[..]), "in order");
                assert!(!publish.dup && !publish.retain);
            }
            Said::Subscribed(granted) => self.subscribed = granted.is_some(),
            Said::Unsubscribed(_) => self.subscribed = false,
            Said::Connected(_) | Said::Pong => {}
        }
    }

    fn settle(&mut self) {
        while !self.to_server.is_empty() || !self.to_client.is_empty() {
            self.serve(false);
            self.tell();
        }
    }

    fn ask(&mut self, qos: QoS, payload: Vec<u8>) {
        let out = &mut |packet| self.to_server.push_back(packet);
        if let Ok(id) = self.client.publish(self.now, "to/server", qos, payload.clone(), out) {
            self.sent_up.push_back(payload);
            assert_eq!(id == 0, qos == QoS::AtMostOnce);
            self.unacknowledged.extend((id != 0).then_some(id));
        }
    }

    fn publish(&mut self, qos: QoS, payload: Vec<u8>) {
        let out = &mut |packet| self.to_client.push_back(packet);
        if self.server.publish("to/client/1", qos, payload.clone(), out) == Ok(true) {
            self.sent_down.push_back(payload);
        }
    }

    /// Lets time pass on a line that carries everything at once.
    fn wait(&mut self, wait: Span) {
        let until = self.now + wait;
        loop {
            self.settle();
            self.acknowledge();
            self.settle();
            let due = self.client.due();
            if due > until {
                break;
            }
            self.now = due;
            self.client.tick(due, &mut |packet| self.to_server.push_back(packet)).unwrap();
            self.server.tick(due).unwrap();
        }
        self.now = until;
        self.server.tick(until).unwrap();
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Serve { puts_off: bool },
    Tell,
    Acknowledge,
    Ask(QoS, Vec<u8>),
    Publish(QoS, Vec<u8>),
    Subscribe,
    Unsubscribe,
    Wait(u64),
}

fn any_qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|puts_off| Step::Serve { puts_off }),
        6 => Just(Step::Tell),
        1 => Just(Step::Acknowledge),
        3 => (any_qos(), any::<Vec<u8>>()).prop_map(|(qos, payload)| Step::Ask(qos, payload)),
        3 => (any_qos(), any::<Vec<u8>>()).prop_map(|(qos, payload)| Step::Publish(qos, payload)),
        1 => Just(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        2 => (0..400u64).prop_map(Step::Wait),
    ]
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let qos = prop_oneof![any_qos(), Just(QoS::ExactlyOnce)].boxed();
    let topic = prop_oneof![Just("to/client/1".to_owned()), "\\PC{0,12}"].boxed();
    let level = prop_oneof![4 => Just(Protocol::V4), 1 => Just(Protocol::V5)];
    let codes =
        prop_oneof![qos.clone().prop_map(SubscribeReasonCode::Success), Just(SubscribeReasonCode::Failure)];
    prop_oneof![
        2 => (level, any::<u16>()).prop_map(|(protocol, keep_alive)| {
            Packet::Connect(Connect { protocol, keep_alive, ..connect() })
        }),
        2 => (any::<bool>(), 0..6u8).prop_map(|(present, code)| {
            let code = Connack::of(code).unwrap_or(Connack::Accepted);
            Packet::ConnAck(ConnAck::new(code.into(), present))
        }),
        6 => (topic.clone(), qos.clone(), any::<u16>(), any::<bool>()).prop_map(|(topic, qos, pkid, dup)| {
            Packet::Publish(Publish { pkid, dup, ..Publish::new(topic, qos, "{}") })
        }),
        3 => (topic.clone(), qos, 0..4u16).prop_map(|(filter, qos, pkid)| {
            Packet::Subscribe(Subscribe { pkid, ..Subscribe::new(filter, qos) })
        }),
        2 => (proptest::collection::vec(codes, 0..3), 0..4u16).prop_map(|(codes, id)| Packet::SubAck(SubAck::new(id, codes))),
        1 => (topic, 0..4u16).prop_map(|(filter, pkid)| Packet::Unsubscribe(Unsubscribe { pkid, ..Unsubscribe::new(filter) })),
        1 => (0..4u16).prop_map(|id| Packet::UnsubAck(UnsubAck::new(id))),
        2 => (0..4u16).prop_map(|id| Packet::PubAck(PubAck::new(id))),
        1 => (0..4u16).prop_map(|id| Packet::PubRec(PubRec::new(id))),
        1 => (0..4u16).prop_map(|id| Packet::PubRel(PubRel::new(id))),
        1 => (0..4u16).prop_map(|id| Packet::PubComp(PubComp::new(id))),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::PingResp),
        1 => Just(Packet::Disconnect),
    ]
}

proptest! {
    /// Two ends that keep to the protocol never find fault with each other, however their packets interleave and however
    /// long they are silent; nothing is lost, doubled or overtaken, and no answer comes where nobody listens.
    #[test]
    fn two_ends_get_on_in_any_interleaving(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Serve { puts_off } => pair.serve(puts_off),
                Step::Tell => pair.tell(),
                Step::Acknowledge => pair.acknowledge(),
                Step::Ask(qos, payload) => pair.ask(qos, payload),
                Step::Publish(qos, payload) => pair.publish(qos, payload),
                Step::Subscribe => {
                    let out = &mut |packet| pair.to_server.push_back(packet);
                    let _ = pair.client.subscribe(FILTER, QoS::AtLeastOnce, out);
                }
                Step::Unsubscribe => {
                    let out = &mut |packet| pair.to_server.push_back(packet);
                    let _ = pair.client.unsubscribe(pair.now, FILTER, out);
                }
                Step::Wait(secs) => pair.wait(Span::from_secs(secs)),
            }
        }
        pair.wait(Span::ZERO);
        prop_assert!(pair.unacknowledged.is_empty() && pair.sent_up.is_empty() && pair.sent_down.is_empty());
        prop_assert_eq!(pair.subscribed, pair.server.listens_to(FILTER).is_some());
    }

    /// Whatever a client says: it is let in once and before it is told anything else, acknowledgements have their
    /// publications, nothing is published where nobody listens, and what is over stays over.
    #[test]
    fn any_client_is_survived(packets in proptest::collection::vec(any_packet(), 0..40), greeted: bool, serves: bool) {
        let (mut server, mut said) = (Server::new(Moment::START), Vec::new());
        let (mut over, mut acknowledged, mut published) = (false, 0, 0);
        let hello = greeted.then(|| Packet::Connect(connect()));
        for packet in hello.into_iter().chain(packets) {
            match server.take(Moment::START, packet, &mut |packet| said.push(packet)) {
                Ok(Heard::Connect(_)) => {
                    prop_assert!(said.is_empty());
                    prop_assert_eq!(server.publish("x", QoS::AtMostOnce, "", &mut |_| ()), Err(Misuse::NotOpen));
                    let early = server.take(Moment::START, Packet::PingReq, &mut |_| ());
                    prop_assert_eq!(early, Err(Breach::Unanswered));
                    server.accept(Moment::START, None, &mut |packet| said.push(packet)).unwrap();
                    let again = server.refuse(Connack::NotAuthorized, &mut |packet| said.push(packet));
                    prop_assert_eq!(again, Err(Misuse::NothingToAnswer));
                }
                Ok(Heard::Publish(_, owed)) => {
                    if let Some(owed) = owed {
                        server.acknowledge(owed, &mut |packet| said.push(packet));
                        acknowledged += 1;
                    }
                    if server.publish("to/client/1", QoS::AtLeastOnce, "{}", &mut |packet| said.push(packet)).unwrap() {
                        prop_assert!(server.listens().iter().any(|known| "to/client/1".starts_with(known.filter.trim_end_matches('#'))));
                        published += 1;
                    }
                }
                Ok(Heard::Subscribe(subscribe)) => {
                    let grant = |filter: &super::packet::SubscribeFilter| serves.then_some(filter.qos);
                    server.grant(Moment::START, &subscribe, grant, &mut |packet| said.push(packet));
                }
                Ok(Heard::Disconnect) | Err(_) => {
                    prop_assert_eq!(server.due(), Moment::FAR);
                    over = true;
                }
                Ok(Heard::Unsubscribed | Heard::Acknowledged(_) | Heard::Ping) => prop_assert!(!over),
            }
        }
        let count = |is: fn(&Packet) -> bool| said.iter().filter(|packet| is(packet)).count();
        prop_assert!(count(|packet| matches!(packet, Packet::ConnAck(_))) <= 1);
        prop_assert!(said.is_empty() || matches!(said[0], Packet::ConnAck(_)));
        prop_assert_eq!(count(|packet| matches!(packet, Packet::PubAck(_))), acknowledged);
        prop_assert_eq!(count(|packet| matches!(packet, Packet::Publish(_))), published);
        let mut bytes = bytes::BytesMut::new();
        prop_assert!(said.iter().all(|packet| packet.write(&mut bytes, usize::MAX).is_ok()));
    }

    /// The same for a service.
    #[test]
    fn any_service_is_survived(packets in proptest::collection::vec(any_packet(), 0..40), greeted: bool) {
        let mut said = Vec::new();
        let mut client = Client::start(Moment::START, connect(), &mut |_| ());
        if greeted {
            let welcome = Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false));
            prop_assert_eq!(client.take(Moment::START, welcome, &mut |_| ()), Ok(Said::Connected(false)));
            client.subscribe(FILTER, QoS::AtLeastOnce, &mut |_| ()).unwrap();
        }
        let (mut over, mut due) = (false, 0);
        for packet in packets {
            match client.take(Moment::START, packet, &mut |packet| said.push(packet)) {
                Ok(taken) => {
                    prop_assert!(!over);
                    due += usize::from(matches!(taken, Said::Published(publish) if publish.qos == QoS::AtLeastOnce));
                }
                Err(unfit) => {
                    prop_assert!(!over || unfit == Unfit::Over);
                    over = true;
                    prop_assert_eq!(client.due(), Moment::FAR);
                    prop_assert_eq!(client.subscribe("x", QoS::AtMostOnce, &mut |_| ()), Err(Misuse::NotOpen));
                }
            }
        }
        prop_assert_eq!(said.len(), due, "acknowledgements, and nothing else");
    }
}

/// What each offence of a client is called.
#[test]
fn every_breach_of_a_client_has_its_name() {
    let publish = |qos| Packet::Publish(Publish { pkid: 7, ..Publish::new("to/server", qos, "") });
    let v5 = Packet::Connect(Connect { protocol: Protocol::V5, ..connect() });
    for (packet, greeted, breach) in [
        (Packet::PingReq, false, Breach::NotConnect),
        (v5, false, Breach::Level),
        (Packet::Connect(connect()), true, Breach::SecondConnect),
        (publish(QoS::ExactlyOnce), true, Breach::ExactlyOnce),
        (Packet::PubRel(PubRel::new(1)), true, Breach::ExactlyOnce),
        (Packet::PingResp, true, Breach::ServersPacket),
        (Packet::SubAck(SubAck::new(1, vec![])), true, Breach::ServersPacket),
    ] {
        let mut said = Vec::new();
        let mut server = if greeted { Pair::open().server } else { Server::new(Moment::START) };
        let taken = server.take(Moment::START, packet.clone(), &mut |packet| said.push(packet));
        assert_eq!(taken, Err(breach), "{packet:?}");
        let told = Packet::ConnAck(ConnAck::new(ConnectReturnCode::RefusedProtocolVersion, false));
        assert_eq!(said, if breach == Breach::Level { vec![told] } else { vec![] });
        assert_eq!(server.take(Moment::START, Packet::PingReq, &mut |_| ()), Err(Breach::Over));
    }
    let mut server = Server::new(Moment::START);
    assert_eq!(server.fail(&Error::InvalidProtocolLevel(3), &mut |_| ()), Breach::Level);
    assert_eq!(server.fail(&Error::InvalidProtocolLevel(3), &mut |_| ()), Breach::Malformed);
}

#[test]
fn every_fault_of_a_service_has_its_name() {
    let connack = |code| Packet::ConnAck(ConnAck::new(code, false));
    let publish = Packet::Publish(Publish { pkid: 7, ..Publish::new("x", QoS::ExactlyOnce, "") });
    for (packet, greeted, unfit) in [
        (connack(ConnectReturnCode::NotAuthorized), false, Unfit::Refused(Connack::NotAuthorized)),
        (Packet::PingResp, false, Unfit::NoConnack),
        (connack(ConnectReturnCode::Success), true, Unfit::SecondConnack),
        (Packet::SubAck(SubAck::new(9, vec![])), true, Unfit::StrangeSuback),
        (publish, true, Unfit::ExactlyOnce),
        (Packet::PubRec(PubRec::new(1)), true, Unfit::ExactlyOnce),
        (Packet::Disconnect, true, Unfit::ClientsPacket),
    ] {
        let mut client = if greeted { Pair::open().client } else { Pair::new().client };
        let taken = client.take(Moment::START, packet.clone(), &mut |_| ());
        assert_eq!(taken, Err(unfit), "{packet:?}");
        assert_eq!(client.take(Moment::START, Packet::PingResp, &mut |_| ()), Err(Unfit::Over));
    }
}

#[test]
fn what_an_end_cannot_say_it_does_not_say() {
    let mut early = Pair::new();
    let said = &mut |packet| panic!("{packet:?}");
    assert_eq!(early.client.subscribe(FILTER, QoS::AtMostOnce, said), Err(Misuse::NotOpen));
    assert_eq!(early.server.accept(early.now, None, said), Err(Misuse::NothingToAnswer));
    let mut pair = Pair::open();
    let now = pair.now;
    let long = "x".repeat(65_536);
    for topic in ["", "a/+", "a/#", &long] {
        assert_eq!(pair.client.publish(now, topic, QoS::AtMostOnce, "", said), Err(Misuse::Topic));
        assert_eq!(pair.server.publish(topic, QoS::AtMostOnce, "", said), Err(Misuse::Topic));
    }
    assert_eq!(pair.client.publish(now, "x", QoS::ExactlyOnce, "", said), Err(Misuse::ExactlyOnce));
    let vast = bytes::Bytes::from(vec![0; 268_435_455]);
    assert_eq!(pair.server.publish("to/client/1", QoS::AtMostOnce, vast, said), Err(Misuse::TooLong));
    assert_eq!(pair.server.publish("to/others", QoS::AtMostOnce, "", said), Ok(false));
    pair.client.subscribe(FILTER, QoS::AtLeastOnce, &mut |_| ()).unwrap();
    assert_eq!(pair.client.subscribe(FILTER, QoS::AtLeastOnce, said), Err(Misuse::Subscribing));
}

#[test]
fn ends_that_hear_nothing_give_up() {
    let mut pair = Pair::open();
    let out = &mut |_: Packet| ();
    let asked = Moment::START + KEEP_ALIVE;
    assert_eq!(pair.client.due(), asked);
    assert_eq!(pair.client.tick(asked, out), Ok(()));
    assert_eq!(pair.client.due(), asked + KEEP_ALIVE);
    assert_eq!(pair.client.tick(asked + KEEP_ALIVE, out), Err(Unfit::Silent));
    assert_eq!(pair.server.due(), Moment::START + Span::from_secs(90));
    pair.server.bear(Some(Span::from_secs(5)));
    assert_eq!(pair.server.tick(Moment::START + Span::from_secs(5)), Err(Breach::Silent));
    let mut patient = Server::new(Moment::START);
    patient.take(Moment::START, Packet::Connect(Connect { keep_alive: 0, ..connect() }), out).unwrap();
    patient.accept(Moment::START, None, out).unwrap();
    assert_eq!(patient.due(), Moment::FAR);
}

#[test]
fn packet_ids_go_round_without_a_zero() {
    let mut pair = Pair::open();
    let mut last = 0;
    for _ in 0..70_000 {
        let id = pair.client.publish(pair.now, "x", QoS::AtLeastOnce, "", &mut |_| ()).unwrap();
        assert!(id == if last == u16::MAX { 1 } else { last + 1 } || last == 0);
        last = id;
    }
}

#[test]
fn a_session_that_is_remembered_goes_on_where_it_was() {
    let mut sessions: Sessions<&str> = Sessions::default();
    let (first, none) = sessions.take("dev-1", "first");
    assert_eq!(none, None);
    let pair = Pair::open();
    sessions.keep("dev-1", pair.server.listens());
    let (second, evicted) = sessions.take("DEV-1", "second");
    assert_eq!(evicted, Some("first"));
    sessions.leave(&first);
    assert_eq!(sessions.len(), 1, "the first one's end is not the second one's");
    sessions.leave(&second);
    assert!(sessions.is_empty());
    // The service comes back to a client that listens, and may tell it at once what it missed.
    let resumed = sessions.resume("dev-1", false);
    assert_eq!(resumed.as_deref(), Some(pair.server.listens()));
    let (mut server, mut said) = (Server::new(Moment::START), Vec::new());
    server.take(Moment::START, Packet::Connect(connect()), &mut |_| ()).unwrap();
    server.accept(Moment::START, resumed, &mut |packet| said.push(packet)).unwrap();
    assert_eq!(said, [Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, true))]);
    assert_eq!(server.publish("to/client/1", QoS::AtLeastOnce, "", &mut |_| ()), Ok(true));
    assert_eq!(sessions.resume("dev-1", true), None);
    assert_eq!(sessions.resume("dev-1", false), None, "a clean session forgets");
}

#[test]
fn a_client_that_goes_on_subscribing_finds_an_end() {
    let mut server = Pair::open().server;
    let (mut refused, mut granted) = (0, 0);
    for number in 0..200 {
        let subscribe = Subscribe::new(format!("t/{number}"), QoS::AtMostOnce);
        server.grant(Moment::START, &subscribe, |filter| Some(filter.qos), &mut |packet| match packet {
            Packet::SubAck(SubAck { return_codes, .. }) if return_codes == [SubscribeReasonCode::Failure] => {
                refused += 1;
            }
            _ => granted += 1,
        });
    }
    assert_eq!((granted, refused), (63, 137));
}
