//! HTTP answers that are not what they should be.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fleetstorm_model::chaos::{BodyDamage, FaultKind, Misspelt};
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};

/// What an answer carries.
pub(super) type Carries = Either<Full<Bytes>, Torn>;

const HTML: HeaderValue = HeaderValue::from_static("text/html");
const HUGE_BYTES: usize = 1 << 20;

/// The page of something that stands in front of a service and cannot reach it.
const PAGE: &[u8] = b"<html><body><h1>The gateway has no answer</h1></body></html>";

/// An error as the service spells it.
const ERROR: &[u8] = br#"{"errorCode":500000,"trackingId":"00000000-0000-0000-0000-000000000000","message":"Internal server error.","timestampUtc":"2024-01-01T00:00:00Z"}"#;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("a fault closes the connection")]
pub(super) struct Closed;

/// A body that breaks off.
pub(super) struct Torn {
    data: Option<Bytes>,
    /// How long it was said to be; `None` for chunks.
    promised: Option<u64>,
    flushed: bool,
}

impl Body for Torn {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if !self.flushed {
            // An error throws away what has not left yet; what is pending is flushed first.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())))
    }

    fn size_hint(&self) -> SizeHint {
        self.promised.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// An answer as it should be.
pub(super) fn whole(response: Response<Full<Bytes>>) -> Response<Carries> {
    response.map(Either::Left)
}

/// The answer in place of the service's, which is not asked.
///
/// # Errors
/// There is none: the connection is closed.
pub(super) fn instead(misspelt: &Misspelt) -> Result<Response<Carries>, Closed> {
    let (status, to) = match &misspelt.kind {
        FaultKind::HttpStatus { status } => (StatusCode::from_u16(*status).map_err(|_| Closed)?, None),
        FaultKind::HttpRedirect { to } => (StatusCode::TEMPORARY_REDIRECT, Some(to)),
        _ => return Err(Closed),
    };
    let mut response = Response::new(Full::from(PAGE));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    if let Some(to) = to
        && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(format!("https://{to}/")))
    {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(whole(response))
}

/// The service's answer, whose body is `body`, damaged.
pub(super) fn damaged(
    response: Response<Full<Bytes>>,
    body: &Bytes,
    misspelt: &Misspelt,
) -> Response<Carries> {
    let (mut head, full) = response.into_parts();
    let carries = match &misspelt.kind {
        FaultKind::HttpRetryAfter { .. } => {
            head.headers.remove(RETRY_AFTER);
            let text = misspelt.retry_after.to_string();
            if misspelt.retry_after != fleetstorm_protocol::RetryAfter::Absent
                && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text))
            {
                head.headers.insert(RETRY_AFTER, value);
            }
            Either::Left(full)
        }
        FaultKind::HttpError200 => {
            head.status = StatusCode::OK;
            Either::Left(Full::from(ERROR))
        }
        FaultKind::HttpBody { damage } => {
            let half = body.slice(..body.len() / 2);
            match damage {
                BodyDamage::MalformedJson => Either::Left(Full::from(&b"{\"operationId\": }"[..])),
                BodyDamage::Empty => Either::Left(Full::default()),
                BodyDamage::Huge => Either::Left(Full::from(vec![b' '; HUGE_BYTES])),
                BodyDamage::WrongContentType => {
                    head.headers.insert(CONTENT_TYPE, HTML);
                    Either::Left(full)
                }
                BodyDamage::Truncated => {
                    let promised = u64::try_from(body.len()).ok();
                    Either::Right(Torn { data: Some(half), promised, flushed: false })
                }
                BodyDamage::BadChunk => {
                    Either::Right(Torn { data: Some(half), promised: None, flushed: false })
                }
            }
        }
        _ => Either::Left(full),
    };
    Response::from_parts(head, carries)
}
