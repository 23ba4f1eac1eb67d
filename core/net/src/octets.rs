//! The bytes of a connection whose protocol cuts them itself, for both ends of it.
//!
//! An end that is silent holds no buffer at all: a fleet has thousands of them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once. Messages of DPS are some hundred bytes long.
const CHUNK_BYTES: usize = 2 * 1024;

/// Most bytes that wait to be sent while more are read. A peer that goes on speaking and takes nothing would have what it
/// is answered pile up here.
const UNSENT_MOST: usize = 1 << 20;

/// Why nothing comes any more.
#[derive(Debug)]
pub enum Broken<M> {
    /// The peer speaks and does not take what it is answered.
    Deaf,
    /// The stream ended.
    Ended,
    /// What came is not of the protocol, or too long.
    Malformed(M),
    /// The stream failed.
    Failed(io::Error),
}

/// A byte stream, with what came and is not read yet, and what is said and has not left yet.
#[derive(Debug)]
pub(crate) struct Octets<S> {
    stream: S,
    pub incoming: BytesMut,
    pub outgoing: BytesMut,
    /// What was written has not been flushed: a stream with a buffer of its own may take several turns.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Octets<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, incoming: BytesMut::new(), outgoing: BytesMut::new(), unflushed: false }
    }

    /// Gives up the buffer of what came, if all of it is read.
    pub(crate) fn let_go(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
    }

    /// Reads some bytes, at least one.
    pub(crate) fn poll_read<M>(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken<M>>> {
        if self.outgoing.len() > UNSENT_MOST {
            return Poll::Ready(Err(Broken::Deaf));
        }
        let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk)).map_err(|error| {
            // A peer that leaves without TLS's own goodbye has left all the same.
            if error.kind() == io::ErrorKind::UnexpectedEof { Broken::Ended } else { Broken::Failed(error) }
        })?;
        if chunk.filled().is_empty() {
            return Poll::Ready(Err(Broken::Ended));
        }
        self.incoming.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flush<M>(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken<M>>> {
        if self.outgoing.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        self.unflushed = true;
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.outgoing));
            match written.map_err(Broken::Failed)? {
                0 => return Poll::Ready(Err(Broken::Ended)),
                written => self.outgoing.advance(written),
            }
        }
        self.outgoing = BytesMut::new();
        ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(Broken::Failed)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Sends what is said and ends the stream in order.
    pub(crate) fn poll_shutdown<M>(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken<M>>> {
        ready!(self.poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context).map_err(Broken::Failed)
    }

    /// Bytes of memory that the two buffers hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.incoming.capacity(), self.outgoing.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose flush takes two turns.
    struct Buffered {
        flushes: u32,
    }

    impl AsyncRead for Buffered {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Buffered {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            if self.flushes < 2 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_flush_that_takes_two_turns_is_asked_for_twice() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut octets = Octets::new(Buffered { flushes: 0 });
        octets.outgoing.extend_from_slice(b"ping");
        assert!(octets.poll_flush::<()>(&mut context).is_pending());
        assert!(octets.poll_flush::<()>(&mut context).is_ready());
        assert_eq!(octets.stream.flushes, 2);
    }
}
