//! Asking the webhooks of custom allocations (`dps` 14.7).
//!
//! The service machine says whom to ask, and what comes of an answer; here is the HTTPS between the two. A webhook is
//! somebody else's: it may hang, redirect or answer garbage, and is asked only where the mock's file allows it.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleetstorm_model::service::{Service, WebhookAsk};
use fleetstorm_net::connect::{Dial, DialError, Trust, client_config};
use fleetstorm_protocol::http::{MESSAGE_MAX_BYTES, read_webhook_reply, write_webhook_call};
use fleetstorm_protocol::webhook::WebhookReply;
use fleetstorm_scenario::{TlsVersions, WebhookFile};
use fleetstorm_units::shown::origin;
use fleetstorm_units::time::Moment;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::House;
use crate::{ResolveError, file};

/// Webhooks that are asked at the same time: a fleet must not become a flood for somebody else's function.
const AT_ONCE: usize = 64;

/// Who may be asked, and how.
pub struct Webhooks {
    hosts: Vec<String>,
    timeout: Duration,
    trust: Trust,
    /// Made when it is needed: most mocks never ask anybody.
    config: OnceCell<Option<Arc<ClientConfig>>>,
    places: Semaphore,
}

impl Webhooks {
    /// # Errors
    /// The CA file cannot be read.
    pub fn new(settings: &WebhookFile) -> Result<Self, ResolveError> {
        let trust = match &settings.ca_file {
            Some(name) => Trust::Ca { name: name.clone(), pem: file(name)? },
            None => Trust::System,
        };
        Ok(Self {
            hosts: settings.hosts.clone(),
            timeout: settings.timeout.0.into(),
            trust,
            config: OnceCell::new(),
            places: Semaphore::new(AT_ONCE),
        })
    }

    async fn ask(&self, url: &str, body: &str) -> WebhookReply {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let Some(target) = Target::read(url) else {
            return WebhookReply::Forbidden(format!("`{}` is no https:// address", origin(url)));
        };
        let listed = self.hosts.iter().any(|host| target.dial.is_at(host));
        let target = if listed { Target { dial: target.dial.named(), ..target } } else { target };
        match tokio::time::timeout(self.timeout, self.exchange(&target, body)).await {
            Ok(Some(reply)) => reply,
            Ok(None) | Err(_) => WebhookReply::Unreachable,
        }
    }

    /// One request on a connection of its own; `None` where it did not come to an answer.
    async fn exchange(&self, target: &Target, body: &str) -> Option<WebhookReply> {
        let allowed = match target.dial.resolve().await {
            Ok(allowed) => allowed,
            Err(DialError::Unknown | DialError::Failed(_)) => return None,
            Err(error) => {
                let why = format!("{}; list it in webhook.hosts", error.told(&target.dial.host));
                return Some(WebhookReply::Forbidden(why));
            }
        };
        let config =
            self.config.get_or_init(|| client_config(&self.trust, TlsVersions::Any, true).ok().map(Arc::new));
        let connector = TlsConnector::from(Arc::clone(config.as_ref()?));
        let stream = allowed.connect(None).await.ok()?;
        let stream = connector.connect(target.dial.server_name.clone(), stream).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&*target.path)
            .header(HOST, HeaderValue::from_str(&target.authority).ok()?)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .ok()?;
        let reply = async {
            let response = sender.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            // A body that is too long is none of a webhook.
            let body = Limited::new(response.into_body(), MESSAGE_MAX_BYTES).collect().await;
            let body = body.map_or_else(|_| Bytes::from_static(b"too long"), |body| body.to_bytes());
            Some(read_webhook_reply(status, &body))
        };
        let mut reply = std::pin::pin!(reply);
        tokio::select! {
            biased;
            reply = &mut reply => reply,
            // What has arrived before the connection ended is still read.
            _ = connection => reply.await,
        }
    }
}

/// Where a webhook is.
struct Target {
    dial: Dial,
    authority: String,
    path: String,
}

impl Target {
    fn read(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        if url.scheme_str() != Some("https") {
            return None;
        }
        let authority = url.authority()?.as_str();
        // Who asks is said by the code in the path, never by a name and a password.
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        Some(Self {
            dial: Dial::read(authority, None).ok()?,
            authority: authority.to_owned(),
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// Does what the service has asked for: signs certificates, and asks webhooks, each in a task of its own.
pub(super) fn run_errands(house: &Rc<House>) {
    let mut service = house.service.borrow_mut();
    issue_all(house, &mut service);
    if house.errands.webhooks.is_none() {
        return forbid(&mut service, house.clock.now());
    }
    while let Some(ask) = service.next_webhook() {
        tokio::task::spawn_local(converse(Rc::clone(house), ask));
    }
}

fn issue_all(house: &House, service: &mut Service) {
    while let Some(call) = service.next_issuance() {
        let leaf = house.errands.issuer.issue(&call);
        service.certificate_issued(&call, leaf.as_deref());
    }
}

/// Answers in the place of every webhook that the service has to ask, in a run without a network.
pub fn forbid(service: &mut Service, now: Moment) {
    while let Some(ask) = service.next_webhook() {
        let why = "this run has no network to ask a webhook".to_owned();
        service.webhook_answered(now, ask.ticket, WebhookReply::Forbidden(why));
    }
}

/// Asks one webhook until there is an answer that counts.
async fn converse(house: Rc<House>, ask: WebhookAsk) {
    let Some(webhooks) = &house.errands.webhooks else { return };
    let WebhookAsk { mut ticket, call } = ask;
    let body = write_webhook_call(&call);
    loop {
        let reply = webhooks.ask(&call.webhook.webhook_url, &body).await;
        let next = {
            let mut service = house.service.borrow_mut();
            let next = service.webhook_answered(house.clock.now(), ticket, reply);
            issue_all(&house, &mut service);
            next
        };
        let Some((wait, next)) = next else { return };
        ticket = next;
        tokio::time::sleep(wait.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_addresses_are_targets() {
        let target = Target::read("https://[::1]:8443/api/hook?code=x").unwrap();
        assert_eq!((&*target.dial.host, target.dial.port, &*target.path), ("::1", 8443, "/api/hook?code=x"));
        assert_eq!(Target::read("https://hook.example").unwrap().dial.port, 443);
        for wrong in ["http://localhost/", "localhost", "", "file:///etc/passwd", "https://0.0.0.0/"] {
            assert!(Target::read(wrong).is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_is_said_of_a_webhook_has_nothing_of_its_code() {
        let webhooks = Webhooks::new(&WebhookFile::default()).unwrap();
        for url in
            ["http://me:s3cret@hook.example/s3cret?code=s3cret", "https://192.0.2.1/s3cret?code=s3cret"]
        {
            let WebhookReply::Forbidden(why) = webhooks.ask(url, "{}").await else { panic!("{url}") };
            let host = if url.contains("hook") { "http://hook.example" } else { "192.0.2.1" };
            assert!(why.contains(host) && !why.contains("s3cret"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_host_that_is_not_listed_is_not_asked() {
        let webhooks = Webhooks::new(&WebhookFile::default()).unwrap();
        // A name would be Unreachable if it were looked up: nobody has it.
        for url in ["https://192.0.2.1/", "https://hook.invalid/", "https://[::ffff:192.0.2.1]/"] {
            let reply = webhooks.ask(url, "{}").await;
            assert!(matches!(&reply, WebhookReply::Forbidden(why) if why.contains("webhook.hosts")), "{url}");
        }
        let settings = WebhookFile { hosts: vec!["Hook.Invalid.".to_owned()], ..WebhookFile::default() };
        let reply = Webhooks::new(&settings).unwrap().ask("https://hook.invalid/", "{}").await;
        assert!(matches!(reply, WebhookReply::Unreachable), "a host that is listed is looked up");
    }
}
