//! Faults of the network, at the stream that a device speaks over: what TLS makes of a socket, or a pipe.
//!
//! A stream without faults costs one look at an empty option for each read and write, and a look at the clock for each
//! read: no peer is listened to without end.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fleetstorm_model::chaos::{Cut, Exchanging, Sending};
use fleetstorm_units::time::Span;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Most bytes that a stream under faults reads at once.
const CHUNK_BYTES: usize = 4 * 1024;

/// Most bytes that a peer may send in a second: an answer of DPS has 96 KB at most, and a device asks for one at a time.
/// A peer that sends more would take the shard's time from the other devices.
const FLOOD_BYTES: u64 = 1 << 20;

/// A stream under faults.
pub struct FaultyStream<S> {
    inner: S,
    stream_faults: Option<StreamFaults>,
    inflow: Inflow,
}

/// What has come since when.
struct Inflow {
    since: Instant,
    bytes: u64,
}

impl Inflow {
    #[allow(clippy::disallowed_methods, reason = "the stream is the driver's, and so is its clock")]
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// So many bytes have come.
    #[allow(clippy::disallowed_methods, reason = "the stream is the driver's, and so is its clock")]
    fn came(&mut self, bytes: usize) -> io::Result<()> {
        let now = Instant::now();
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.bytes) = (now, 0);
        }
        self.bytes += bytes as u64;
        if self.bytes > FLOOD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the peer sends more than 1 MiB in a second",
            ));
        }
        Ok(())
    }
}

/// The faults of one connection, held by its stream and by the device that speaks over it.
#[derive(Clone, Default)]
pub struct StreamFaults(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    sending: Sending,
    cut: Option<Cutting>,
    /// Something was written since the cut was ordered.
    wrote: bool,
    /// Bytes that have come since the last exchange began.
    came: u64,
    /// The end of the connection has come, and is kept back.
    ended: bool,
    read_pause: Pause,
    write_pause: Pause,
}

/// How the exchange in hand is cut off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cutting {
    /// What is written vanishes, and nothing comes.
    Void,
    /// What is written arrives, and nothing comes.
    Deaf,
    /// The peer resets the connection instead of answering.
    Reset,
    /// Likewise, in the middle of the answer.
    Torn,
    /// It has been reset.
    Over,
}

impl Cutting {
    fn of(exchanging: Exchanging) -> Option<Self> {
        exchanging.cut.map(|cut| match (cut, exchanging.reaches_service) {
            (Cut::Silence, false) => Self::Void,
            (Cut::Silence, true) => Self::Deaf,
            (Cut::Broke(_), _) if exchanging.torn => Self::Torn,
            (Cut::Broke(_), _) => Self::Reset,
        })
    }
}

/// A time in which nothing moves.
#[derive(Default)]
struct Pause(Option<Pin<Box<Sleep>>>);

impl Pause {
    #[allow(clippy::disallowed_methods, reason = "the stream is the driver's, and so is its clock")]
    fn start(&mut self, span: Duration) {
        self.0 = Some(Box::pin(tokio::time::sleep_until(Instant::now() + span)));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.0 {
            ready!(sleep.as_mut().poll(context));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl StreamFaults {
    /// What the next exchange meets.
    pub fn set(&self, sending: Sending, exchanging: Exchanging) {
        let mut state = self.0.borrow_mut();
        state.sending = sending;
        (state.wrote, state.came) = (false, 0);
        state.cut = Cutting::of(exchanging);
    }

    /// Cuts off what is sent from now on, and for good: a connection on which nobody waits for an answer has no next
    /// exchange.
    pub fn cut(&self, exchanging: Exchanging) {
        let mut state = self.0.borrow_mut();
        if state.cut.is_none() {
            state.cut = Cutting::of(exchanging);
            state.wrote = false;
        }
    }
}

impl<S> FaultyStream<S> {
    /// A stream on which these faults act; `None` for a stream that meets none.
    pub fn new(inner: S, stream_faults: Option<StreamFaults>) -> Self {
        Self { inner, stream_faults, inflow: Inflow::new() }
    }

    /// The stream without its faults.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl State {
    /// How many bytes may be written or read at once.
    fn piece(&self) -> usize {
        let slice = self.sending.slice.unwrap_or(u32::MAX);
        // A tenth of a second's worth at a time, so that a slow connection is slow rather than jerky.
        let pace = self.sending.bytes_per_s.map_or(u32::MAX, |rate| (rate / 10).max(1));
        slice.min(pace).max(1) as usize
    }

    fn reading_piece(&self) -> usize {
        let drip = self.sending.drip.map_or(u32::MAX, |(bytes, _)| bytes);
        self.piece().min(drip.max(1) as usize).min(self.room())
    }

    /// How many more bytes may come.
    fn room(&self) -> usize {
        let room = self.sending.limit.map_or(u64::MAX, |limit| u64::from(limit).saturating_sub(self.came));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// How long nothing moves after so many bytes.
    fn rest(&self, bytes: usize) -> Duration {
        let pace = self.sending.bytes_per_s.map(|rate| bytes as f64 / f64::from(rate.max(1)));
        Duration::from_secs_f64(pace.unwrap_or(0.0))
    }

    fn moved(&mut self, bytes: usize, reading: bool) {
        let mut rest = self.rest(bytes);
        if reading && let Some((_, every)) = self.sending.drip {
            rest = rest.max(every.into());
        }
        if !rest.is_zero() {
            let pause = if reading { &mut self.read_pause } else { &mut self.write_pause };
            pause.start(rest);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FaultyStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(StreamFaults(state)) = &this.stream_faults else {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
            return Poll::Ready(this.inflow.came(buffer.filled().len() - before));
        };
        let state = &mut *state.borrow_mut();
        ready!(state.read_pause.poll(context));
        if state.wrote && matches!(state.cut, Some(Cutting::Void | Cutting::Deaf)) {
            // The device's own patience wakes it.
            return Poll::Pending;
        }
        if state.cut == Some(Cutting::Over) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.room() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut chunk = [0; CHUNK_BYTES];
        let piece = state.reading_piece().min(buffer.remaining()).min(CHUNK_BYTES);
        let mut part = ReadBuf::new(&mut chunk[..piece]);
        ready!(Pin::new(&mut this.inner).poll_read(context, &mut part))?;
        let read = part.filled().len();
        this.inflow.came(read)?;
        if read == 0 && piece > 0 && !state.ended && state.sending.close_delay > Span::ZERO {
            state.ended = true;
            state.read_pause.start(state.sending.close_delay.into());
            // The pause is what is waited for now; whoever asks after it is told.
            ready!(state.read_pause.poll(context));
        }
        // The answer has come, so the service has done what it was asked for.
        let answered = state.wrote && read > 0;
        if answered && state.cut == Some(Cutting::Reset) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let arrives = if answered && state.cut == Some(Cutting::Torn) {
            state.cut = Some(Cutting::Over);
            read.div_ceil(2)
        } else {
            read
        };
        buffer.put_slice(&part.filled()[..arrives]);
        state.came += arrives as u64;
        state.moved(read, true);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FaultyStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(StreamFaults(state)) = &this.stream_faults else {
            return Pin::new(&mut this.inner).poll_write(context, bytes);
        };
        let state = &mut *state.borrow_mut();
        ready!(state.write_pause.poll(context));
        state.wrote = true;
        if state.cut == Some(Cutting::Void) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let piece = state.piece().min(bytes.len());
        let written = ready!(Pin::new(&mut this.inner).poll_write(context, &bytes[..piece]))?;
        state.moved(written, false);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.stream_faults.is_none() {
            return Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
        self.poll_write(context, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream_faults.is_none() && self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::clock::Clock;

    /// What a device reads of an answer of ten bytes and the end behind it, and how long that takes.
    async fn read(sending: Sending) -> (usize, Duration) {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let stream_faults = StreamFaults::default();
        stream_faults.set(sending, Exchanging::default());
        let mut stream = FaultyStream::new(ours, Some(stream_faults));
        theirs.write_all(b"0123456789").await.unwrap();
        drop(theirs);
        let clock = Clock::start();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"0123456789"[..answer.len()]);
        (answer.len(), Duration::from_nanos(clock.now().as_nanos()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_at_its_limit_and_a_connection_later_than_it_does() {
        assert_eq!(read(Sending::default()).await, (10, Duration::ZERO));
        for (limit, came) in [(1, 1), (9, 9), (10, 10), (99, 10)] {
            assert_eq!(read(Sending { limit: Some(limit), ..Sending::default() }).await.0, came);
        }
        let close_delay = Span::from_secs(5);
        let (came, took) = read(Sending { close_delay, ..Sending::default() }).await;
        assert_eq!((came, took.as_secs()), (10, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_of_a_connection_without_answers_stays() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let stream_faults = StreamFaults::default();
        let mut stream = FaultyStream::new(ours, Some(stream_faults.clone()));
        let void = Exchanging { cut: Some(Cut::Silence), reaches_service: false, torn: false };
        for exchanging in [Exchanging::default(), void, Exchanging::default()] {
            stream_faults.cut(exchanging);
            stream.write_all(b"x").await.unwrap();
        }
        drop(stream);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"x", "what was sent before the cut");
    }
}
