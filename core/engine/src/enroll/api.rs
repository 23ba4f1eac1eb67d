//! The enrollment API as an operator's client: one connection, one request at a time, evenly paced.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use fleetstorm_mock::ResolveError;
use fleetstorm_mock::identity::FleetIdentity;
use fleetstorm_net::clock::Clock;
use fleetstorm_net::connect::{TlsDialler, Trust, client_config};
use fleetstorm_net::governor::{Brake, Halt};
use fleetstorm_protocol::{RetryAfter, sas};
use fleetstorm_scenario::TlsVersions;
use fleetstorm_units::time::{Moment, Span};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{EnrollError, Key, Operator, TRIES, interval, unix_secs};
use crate::RunError;

const API_VERSION: &str = "2021-10-01";
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
/// How long a token holds; a new one is made for every connection and request.
const TOKEN_SECS: u64 = 3_600;
/// Longest time for a request and its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer: a page of registrations.
const ANSWER_MAX_BYTES: usize = 4 << 20;
/// Longest wait that a service can ask for.
const WAIT_MAX: Span = Span::from_secs(120);

/// What the service answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether an earlier try of the same request may have come through.
    pub(super) repeated: bool,
    body: Bytes,
    retry_after: RetryAfter,
    continuation: Option<String>,
}

impl Answer {
    /// What the service said, short enough for a line.
    pub(super) fn message(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = body["message"].as_str().or(body["Message"].as_str()).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(160).collect()
    }

    /// The ids in a page of registrations.
    pub(super) fn registration_ids(&self) -> Vec<String> {
        let page: Vec<Value> = serde_json::from_slice(&self.body).unwrap_or_default();
        page.iter().filter_map(|item| item["registrationId"].as_str().map(str::to_owned)).collect()
    }
}

/// A client.
pub(super) struct Api {
    dialler: TlsDialler,
    /// Pulled when the service's name leads where nobody has said that it may.
    brake: Brake,
    address: String,
    authority: HeaderValue,
    host: String,
    policy: String,
    key: Zeroizing<Vec<u8>>,
    clock: Clock,
    interval: Span,
    /// When the next operation may leave.
    next: Moment,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Api {
    pub(super) fn new(operator: &Operator) -> Result<Self, RunError> {
        let dial = operator.dial()?;
        let trust = match &operator.ca_file {
            Some(name) => Trust::Ca { name: name.clone(), pem: fleetstorm_mock::file(name)? },
            None => Trust::System,
        };
        let key = match &operator.key {
            Key::Secret(source) => {
                let text = fleetstorm_mock::secret(source)?;
                let decoded = BASE64_STANDARD.decode(text.as_bytes());
                decoded.map_err(|_| ResolveError::new("the policy's key", "it is not base64"))?
            }
            Key::Demo(_) if !dial.is_loopback() => {
                let why =
                    "a service that is not this machine needs one: name it with --key-env or --key-file";
                return Err(ResolveError::new("the policy's key", why).into());
            }
            Key::Demo(seed) => FleetIdentity::from_seed(*seed)?.owner_keys()[0].expose().to_vec(),
        };
        let (clock, brake) = (Clock::start(), Brake::default());
        let config = Arc::new(client_config(&trust, TlsVersions::Any, true)?);
        let authority = HeaderValue::from_str(&dial.host_header())
            .map_err(|_| RunError::driver("the host name cannot be a header"))?;
        Ok(Self {
            authority,
            host: dial.server_name.to_str().into_owned(),
            dialler: TlsDialler::new(Arc::new(dial), config, clock, false).stopping(brake.clone()),
            brake,
            address: operator.address.clone(),
            policy: operator.policy.clone(),
            key: Zeroizing::new(key),
            clock,
            interval: interval(operator.pace()),
            next: Moment::START,
            sender: None,
        })
    }

    /// Makes a request until there is an answer that says something.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        what: &str,
    ) -> Result<Answer, EnrollError> {
        self.ask_from(method, path, body, None, what).await
    }

    /// A page of the registrations of a group, and where the next one begins.
    pub(super) async fn registrations_page(
        &mut self,
        group: &str,
        token: Option<&str>,
        what: &str,
    ) -> Result<(Answer, Option<String>), EnrollError> {
        let path = format!("/registrations/{}/query", super::ledger::escaped(group));
        let body = br#"{"query":"SELECT * FROM enrollments"}"#;
        let mut answer = self.ask_from("POST", &path, Some(body), token, what).await?;
        let next = answer.continuation.take().filter(|token| !token.is_empty());
        Ok((answer, next))
    }

    async fn ask_from(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        continuation: Option<&str>,
        what: &str,
    ) -> Result<Answer, EnrollError> {
        let (mut repeated, mut broke) = (false, None);
        for attempt in 0..TRIES {
            let now = self.clock.now();
            if self.next > now {
                tokio::time::sleep(self.next.since(now).into()).await;
            }
            self.next = self.clock.now() + self.interval;
            let request = self.request(method, path, body, continuation);
            let request = request.map_err(RunError::driver)?;
            let answered = match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
                Ok(answered) => answered,
                Err(late) => Err(late.into()),
            };
            match &answered {
                Ok(answer) => tracing::debug!(method, path, status = answer.status, "asked the service API"),
                Err(error) => tracing::debug!(method, path, error, "asked the service API in vain"),
            }
            if let Some(Halt::Ceiling(what)) = self.brake.held() {
                return Err(RunError::DialError { what }.into());
            }
            let back_off = Span::from_secs(1 << attempt.min(5));
            let wait = match answered {
                Ok(answer) if answer.status == 429 => {
                    answer.retry_after.wait(unix_secs() * 1_000_000_000).unwrap_or(back_off).min(WAIT_MAX)
                }
                Ok(answer) if answer.status >= 500 => back_off,
                Ok(answer) => return Ok(Answer { repeated, ..answer }),
                Err(error) => {
                    broke = Some(error);
                    // Whether it came through is not known.
                    self.sender = None;
                    repeated = true;
                    back_off
                }
            };
            self.next = self.clock.now() + wait.max(self.interval);
        }
        Err(EnrollError::Unreachable { what: what.to_owned(), address: self.address.clone(), source: broke })
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        continuation: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut token = String::new();
        let sign = |text: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.key), text);
            let mut bytes = [0; 32];
            bytes.copy_from_slice(tag.as_ref());
            bytes
        };
        sas::write_token(&self.host, unix_secs() + TOKEN_SECS, &self.policy, sign, &mut token);
        let mut authorization = HeaderValue::from_str(&token)?;
        authorization.set_sensitive(true);
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(format!("{path}?api-version={API_VERSION}"))
            .header(HOST, self.authority.clone())
            .header(AUTHORIZATION, authorization);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        if let Some(token) = continuation {
            request = request.header(CONTINUATION, token);
        }
        request.body(Full::new(Bytes::copy_from_slice(body.unwrap_or_default())))
    }

    /// One request and its answer, or why it did not come to one.
    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => {
                let stream = self.dialler.anonymous().await?;
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                // It ends with its sender.
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await?.to_bytes();
        self.sender = Some(sender);
        let values = head.headers.get_all(RETRY_AFTER);
        let continuation = head.headers.get(CONTINUATION).and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: head.status.as_u16(),
            repeated: false,
            body,
            retry_after: RetryAfter::read(values.iter().map(HeaderValue::as_bytes)),
            continuation: continuation.map(str::to_owned),
        })
    }
}
