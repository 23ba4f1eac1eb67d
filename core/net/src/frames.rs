//! Headers and frames of AMQP over a byte stream, for both ends of it. What they say is the model's business.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fleetstorm_protocol::amqp::{Malformed, frame};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::octets::{self, Octets};

/// Why no frame comes any more.
pub type Broken = octets::Broken<Malformed>;

/// A byte stream as headers and frames.
#[derive(Debug)]
pub struct Frames<S> {
    octets: Octets<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Frames of a stream, of which nothing has been read yet.
    pub fn new(stream: S) -> Self {
        Self { octets: Octets::new(stream) }
    }

    /// Queues what a machine wrote; it leaves with the next flush.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.octets.outgoing.extend_from_slice(bytes);
    }

    /// Writes what is queued.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.octets.poll_flush(context)
    }

    /// The bytes of the next header or frame, which has at most `frame_max_bytes`. Cancelling loses nothing: what was
    /// read stays here.
    pub fn poll_next(
        &mut self,
        frame_max_bytes: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Broken>> {
        loop {
            let length = frame::length(&self.octets.incoming, frame_max_bytes).map_err(Broken::Malformed)?;
            if let Some(length) = length.filter(|length| *length <= self.octets.incoming.len()) {
                let unit = self.octets.incoming.split_to(length).freeze();
                self.octets.let_go();
                return Poll::Ready(Ok(unit));
            }
            ready!(self.octets.poll_read(context))?;
        }
    }

    /// As [`Frames::poll_next`].
    pub async fn next(&mut self, frame_max_bytes: usize) -> Result<Bytes, Broken> {
        std::future::poll_fn(|context| self.poll_next(frame_max_bytes, context)).await
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
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn frames_survive_any_cut_and_a_silent_end_holds_no_buffer() {
        let mut sent = b"AMQP\0\x01\0\0".to_vec();
        frame::write_heartbeat(&mut sent);
        for cut in 1..sent.len() {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let mut frames = Frames::new(ours);
            for piece in sent.chunks(cut) {
                theirs.write_all(piece).await.unwrap();
            }
            assert_eq!(frames.next(512).await.unwrap(), b"AMQP\0\x01\0\0"[..]);
            assert_eq!(frames.next(512).await.unwrap(), sent[8..]);
            assert_eq!(frames.octets.held(), (0, 0));
            drop(theirs);
            assert!(matches!(frames.next(512).await, Err(Broken::Ended)));
        }
    }

    #[tokio::test]
    async fn a_frame_longer_than_allowed_breaks_the_stream_before_it_is_read() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(&[0, 0, 2, 1]).await.unwrap();
        let broken = Frames::new(ours).next(512).await.unwrap_err();
        assert!(matches!(broken, Broken::Malformed(Malformed::TooLong)), "{broken:?}");
    }
}
