//! A connection that speaks MQTT, for the doors of DPS and of hubs: the protocol's machine on a stream.

use fleetstorm_net::packets::{Broken, Packets};
use fleetstorm_protocol::mqtt::packet::Packet;
use fleetstorm_protocol::mqtt::{Breach, Connack, Heard, Server, Subscription};
use fleetstorm_units::time::Moment;
use tokio::io::{AsyncRead, AsyncWrite};

use super::House;
use super::sessions::Seat;

/// A client's connection.
pub(super) struct Line<'a, S> {
    pub(super) house: &'a House,
    pub(super) server: Server,
    pub(super) packets: Packets<S>,
}

/// What comes first.
pub(super) enum Event {
    Packet(Packet),
    /// The door has something to do.
    Due,
    /// The client ended, broke the protocol, was silent for too long, or connected anew.
    Over,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Line<'a, S> {
    /// A connection on which nothing was said yet, and on which the first packet has at most so many bytes.
    pub(super) fn new(house: &'a House, stream: S, packet_max_bytes: usize) -> Self {
        Self {
            house,
            server: Server::new(house.clock.now()),
            packets: Packets::new(stream, packet_max_bytes),
        }
    }

    /// The machine, and where it says what it says.
    pub(super) fn ends(&mut self) -> (&mut Server, impl FnMut(Packet)) {
        let packets = &mut self.packets;
        (&mut self.server, |packet| packets.queue(&packet))
    }

    /// Reads the first packet; `None` if it does not connect.
    pub(super) async fn greeted(&mut self) -> Option<Heard> {
        let now = self.house.clock.now();
        let (packet, (server, mut out)) = (self.packets.next().await, self.ends());
        let heard = match packet {
            Ok(packet) => server.take(now, packet, &mut out),
            Err(Broken::Malformed(error)) => Err(server.fail(&error, &mut out)),
            Err(_) => return None,
        };
        drop(out);
        if heard == Err(Breach::Level) {
            self.part().await;
        }
        heard.ok()
    }

    /// Lets the client in.
    pub(super) async fn accept(&mut self, session: Option<Vec<Subscription>>) -> Option<()> {
        let now = self.house.clock.now();
        let (server, mut out) = self.ends();
        server.accept(now, session, &mut out).ok()?;
        drop(out);
        // A client that is gone shows when it is read from.
        let _ = self.packets.flush().await;
        Some(())
    }

    /// Does not let it in.
    pub(super) async fn refuse(&mut self, code: Connack) {
        let (server, mut out) = self.ends();
        let refused = server.refuse(code, &mut out);
        drop(out);
        if refused.is_ok() {
            self.part().await;
        }
    }

    /// Says what is queued, and closes the connection. A client that is gone has lost nothing.
    pub(super) async fn part(&mut self) {
        let _ = self.packets.flush().await;
        let _ = self.packets.shutdown().await;
    }

    /// The same after a conversation, if the client takes it in time.
    pub(super) async fn end(&mut self) {
        let _ = tokio::time::timeout(self.house.limits.body, self.packets.shutdown()).await;
    }

    /// Waits for what comes first, once what is queued has left: at `due` the door has something to do. A client that is not
    /// listened to cannot be blamed for its silence.
    pub(super) async fn next(&mut self, seat: Option<&Seat>, due: Moment, listening: bool) -> Event {
        let (clock, far) = (self.house.clock, Moment::FAR);
        let flushed = tokio::time::timeout(self.house.limits.body, self.packets.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            return Event::Over;
        }
        // A timer rounds up to the next millisecond, which nothing that is due has to wait for.
        if due <= clock.now() {
            return Event::Due;
        }
        let silent = self.server.due();
        tokio::select! {
            biased;
            () = evicted(seat) => Event::Over,
            () = tokio::time::sleep_until(clock.instant(due)), if due != far => Event::Due,
            packet = self.packets.next(), if listening => packet.map_or(Event::Over, Event::Packet),
            () = tokio::time::sleep_until(clock.instant(silent)), if listening && silent != far => {
                // It was silent for as long as the machine bears; which is what it says.
                self.server.tick(clock.now()).map_or(Event::Over, |()| Event::Due)
            }
        }
    }

    /// What a packet means; `None` ends the connection.
    pub(super) fn take(&mut self, packet: Packet) -> Option<Heard> {
        let now = self.house.clock.now();
        let (server, mut out) = self.ends();
        server.take(now, packet, &mut out).ok()
    }
}

/// Returns when another connection has taken the seat.
async fn evicted(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.evicted().await,
        None => std::future::pending().await,
    }
}
