//! MQTT packets over a byte stream, for both ends of it. What they say is the business of the protocol's machines.

use std::task::{Context, Poll, ready};

use fleetstorm_protocol::mqtt::packet::{Error as CodecError, Packet};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::octets::{self, Octets};

/// Why no packet comes any more.
pub type Broken = octets::Broken<CodecError>;

/// A byte stream as packets.
#[derive(Debug)]
pub struct Packets<S> {
    octets: Octets<S>,
    packet_max_bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packets<S> {
    /// Packets on `stream`, of at most `packet_max_bytes` each.
    pub fn new(stream: S, packet_max_bytes: usize) -> Self {
        Self { octets: Octets::new(stream), packet_max_bytes }
    }

    /// Takes longer or shorter packets from now on.
    pub fn allow(&mut self, packet_max_bytes: usize) {
        self.packet_max_bytes = packet_max_bytes;
    }

    /// Queues a packet that one of the protocol's machines says, all of which can be spelled; it leaves with the next flush.
    pub fn queue(&mut self, packet: &Packet) {
        packet.write(&mut self.octets.outgoing, usize::MAX).expect("a machine says what can be spelled");
    }

    /// Whether anything is queued.
    pub(crate) fn has_queued(&self) -> bool {
        !self.octets.outgoing.is_empty()
    }

    /// Queues bytes that the codec would not spell.
    pub fn queue_bytes(&mut self, bytes: &[u8]) {
        self.octets.outgoing.extend_from_slice(bytes);
    }

    /// Writes what is queued.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.octets.poll_flush(context)
    }

    /// The next packet. Cancelling loses nothing: what was read stays here.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Packet, Broken>> {
        loop {
            if !self.octets.incoming.is_empty() {
                match Packet::read(&mut self.octets.incoming, self.packet_max_bytes) {
                    Ok(packet) => {
                        self.octets.let_go();
                        return Poll::Ready(Ok(packet));
                    }
                    Err(CodecError::InsufficientBytes(_)) => {}
                    Err(error) => return Poll::Ready(Err(Broken::Malformed(error))),
                }
            }
            ready!(self.octets.poll_read(context))?;
        }
    }

    /// The first byte of the next packet, which stays to be read: it tells a stranger from a client before a length
    /// that the stranger made up has come.
    pub async fn peek(&mut self) -> Result<u8, Broken> {
        std::future::poll_fn(|context| {
            loop {
                if let Some(first) = self.octets.incoming.first() {
                    return Poll::Ready(Ok(*first));
                }
                ready!(self.octets.poll_read(context))?;
            }
        })
        .await
    }

    /// As [`Packets::poll_next`].
    pub async fn next(&mut self) -> Result<Packet, Broken> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> Result<(), Broken> {
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    /// Ends the stream in order.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.octets.poll_shutdown(context)
    }

    /// Ends the writing side of the stream.
    pub async fn shutdown(&mut self) -> Result<(), Broken> {
        std::future::poll_fn(|context| self.poll_shutdown(context)).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use fleetstorm_protocol::mqtt::packet::{Publish, QoS};
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    /// What an end makes of these pieces, each sent on its own, until the stream breaks.
    fn read(pieces: &[Vec<u8>], packet_max_bytes: usize) -> (Vec<Packet>, Broken) {
        runtime().block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let mut packets = Packets::new(ours, packet_max_bytes);
            let send = async {
                for piece in pieces {
                    if theirs.write_all(piece).await.is_err() {
                        return;
                    }
                }
                drop(theirs);
            };
            let receive = async {
                let mut all = Vec::new();
                loop {
                    match packets.next().await {
                        Ok(packet) => all.push(packet),
                        Err(broken) => {
                            drop(packets);
                            return (all, broken);
                        }
                    }
                }
            };
            tokio::join!(send, receive).1
        })
    }

    #[test]
    fn a_packet_longer_than_allowed_breaks_the_stream_before_it_is_read() {
        let head = vec![0x30, 0xff, 0xff, 0x7f];
        let (packets, broken) = read(&[head], 1_000);
        assert!(packets.is_empty() && matches!(broken, Broken::Malformed(_)), "{broken:?}");
    }

    #[test]
    fn an_end_that_is_silent_holds_no_buffer() {
        runtime().block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(4_096);
            let mut packets = Packets::new(ours, 4_096);
            packets.queue(&Packet::PingReq);
            packets.flush().await.unwrap();
            theirs.write_all(&[0xd0, 0]).await.unwrap();
            assert_eq!(packets.next().await.unwrap(), Packet::PingResp);
            assert_eq!(packets.octets.held(), (0, 0));
        });
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(pieces: Vec<Vec<u8>>, kind: u8, length in 0..64u8) {
            read(&pieces, 512);
            // A plausible header in front leads deeper into the codec.
            let mut plausible = vec![kind, length];
            plausible.extend(pieces.concat());
            read(&[plausible], 512);
        }

        #[test]
        fn packets_survive_any_cut(payload: Vec<u8>, topic in "[a-z/]{1,20}", cut in 1..40usize) {
            let mut sent = Publish::new(topic, QoS::AtLeastOnce, payload);
            sent.pkid = 7;
            let mut bytes = BytesMut::new();
            Packet::Publish(sent.clone()).write(&mut bytes, usize::MAX).unwrap();
            Packet::PingReq.write(&mut bytes, usize::MAX).unwrap();
            let pieces: Vec<Vec<u8>> = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
            let (packets, broken) = read(&pieces, 1 << 20);
            prop_assert!(matches!(broken, Broken::Ended));
            prop_assert_eq!(packets, vec![Packet::Publish(sent), Packet::PingReq]);
        }
    }
}
