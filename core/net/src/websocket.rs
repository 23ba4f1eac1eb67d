//! A WebSocket as a byte stream, for both ends.
//!
//! The transports over WebSocket cut their bytes into messages as they like (Node puts each field of a packet into its
//! own), so the cuts mean nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use fleetstorm_protocol::outcome::Fault;
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Where the clients of DPS ask for a WebSocket (`dps` 7.7).
const PATH: &str = "/$iothub/websocket";

/// Longest message; the longest packet of a transport fits.
const MESSAGE_MAX_BYTES: usize = 160 * 1024;

/// Bytes per message that this end sends.
const CHUNK_BYTES: usize = 16 * 1024;

/// A byte stream over a WebSocket.
#[derive(Debug)]
pub struct WebSocket<S> {
    inner: WebSocketStream<S>,
    /// What is left of the last message.
    rest: Bytes,
}

/// Buffers sized for thousands of connections; messages leave as they are written.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_MAX_BYTES)
        .max_message_size(Some(MESSAGE_MAX_BYTES))
        .max_frame_size(Some(MESSAGE_MAX_BYTES))
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Asks the server at the other end for a WebSocket that carries `protocol`.
    pub async fn connect(stream: S, host: &http::HeaderValue, protocol: &'static str) -> Result<Self, Fault> {
        let host = host.to_str().map_err(|_| Fault::Protocol)?;
        let request = Request::builder()
            .uri(format!("wss://{host}{PATH}"))
            .header(http::header::HOST, host)
            .header(http::header::CONNECTION, "Upgrade")
            .header(http::header::UPGRADE, "websocket")
            .header(http::header::SEC_WEBSOCKET_VERSION, "13")
            .header(http::header::SEC_WEBSOCKET_KEY, generate_key())
            .header(http::header::SEC_WEBSOCKET_PROTOCOL, protocol)
            .body(())
            .map_err(|_| Fault::Protocol)?;
        let (inner, _) =
            client_async_with_config(request, stream, Some(config())).await.map_err(|error| match error {
                Error::Io(error) => crate::connect::fault_when_connecting(&error),
                Error::ConnectionClosed | Error::AlreadyClosed => Fault::Closed,
                Error::Protocol(why) if why.to_string().contains("closed") => Fault::Closed,
                _ => Fault::Protocol,
            })?;
        Ok(Self { inner, rest: Bytes::new() })
    }

    /// The server's end of a connection that was upgraded; `read` are bytes that came with the request.
    pub async fn accept(stream: S, read: Bytes) -> Self {
        let inner =
            WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, Some(config())).await;
        Self { inner, rest: Bytes::new() }
    }
}

fn failure(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                // A peer that leaves without the closing handshake has left all the same.
                Some(Err(
                    Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                )) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Some(Err(error)) => return Poll::Ready(Err(failure(error))),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.inner).poll_ready(context)).map_err(failure)?;
        let bytes = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.inner).start_send(message).map_err(failure)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context).map_err(failure)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_close(context)) {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(failure(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn pair() -> (WebSocket<tokio::io::DuplexStream>, WebSocket<tokio::io::DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(4_096);
        let ours = WebSocketStream::from_raw_socket(ours, Role::Client, Some(config())).await;
        (WebSocket { inner: ours, rest: Bytes::new() }, WebSocket::accept(theirs, Bytes::new()).await)
    }

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in_whatever_the_cuts() {
        let (mut ours, mut theirs) = pair().await;
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let send = async {
            for piece in sent.chunks(7_777) {
                ours.write_all(piece).await.unwrap();
            }
            ours.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let receive = async { theirs.read_to_end(&mut received).await.unwrap() };
        tokio::join!(send, receive);
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn text_is_refused_and_pings_are_passed_over() {
        let (mut ours, mut theirs) = pair().await;
        use futures_util::SinkExt as _;
        ours.inner.send(Message::Ping(Bytes::from_static(b"x"))).await.unwrap();
        ours.write_all(b"ab").await.unwrap();
        ours.inner.send(Message::Text("hello".into())).await.unwrap();
        let mut two = [0; 2];
        theirs.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"ab");
        let error = theirs.read(&mut two).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
