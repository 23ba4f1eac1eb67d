//! One request over one connection, the client's side.
//!
//! A transport only carries: it spells a request, reads the reply and says how a connection broke. What to do about
//! it is the device's business.

mod amqp;
mod http;
mod hub;
mod mqtt;

use std::fmt::Debug;
use std::sync::Arc;

use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{ApiVersion, Operation, OperationId, Reply, Transport};
use tokio::io::{AsyncRead, AsyncWrite};

pub use hub::{HubLink, News, Passport};

use crate::clock::Clock;
use crate::octets::Broken;
use crate::websocket::WebSocket;
use crate::{ConnectTimes, NetError, connect};

/// How clients of ours name themselves.
pub const AGENT: &str = concat!("fleetstorm/", env!("CARGO_PKG_VERSION"));

/// How a cohort speaks to the service.
#[derive(Clone, Debug)]
pub struct Carrier {
    /// By what.
    pub transport: Transport,
    /// In which version.
    pub api_version: ApiVersion,
    /// The `Host` header of requests and upgrades.
    pub host: ::http::HeaderValue,
    /// Longest silence over MQTT and AMQP in seconds; 0 for any.
    pub keep_alive_secs: u16,
    /// Whose time phases are measured by.
    pub clock: Clock,
}

/// What a device needs to spell its requests, made once.
pub enum Caller {
    /// Over HTTPS.
    Http(http::Caller),
    /// Over MQTT, on TCP or a WebSocket.
    Mqtt(mqtt::Caller),
    /// Over AMQP, on TCP or a WebSocket.
    Amqp(amqp::Caller),
}

impl Caller {
    /// A device's way of speaking to the service. `extra` are members that the attestation adds to the body of a
    /// registration.
    pub fn new(carrier: &Carrier, id_scope: Arc<str>, registration_id: String, extra: Option<&str>) -> Self {
        match carrier.transport {
            Transport::Https => {
                let names = (id_scope, carrier.host.clone(), carrier.api_version);
                Self::Http(http::Caller::new(names, registration_id, extra))
            }
            Transport::Mqtt | Transport::MqttWs => {
                Self::Mqtt(mqtt::Caller::new((id_scope, carrier.api_version), registration_id, extra))
            }
            Transport::Amqp | Transport::AmqpWs => {
                Self::Amqp(amqp::Caller::new((&id_scope, carrier.api_version), &registration_id, extra))
            }
        }
    }

    /// The resource that a SAS token of this device is for.
    pub fn audience(&self) -> String {
        match self {
            Self::Http(caller) => caller.audience(),
            Self::Mqtt(caller) => caller.audience(),
            Self::Amqp(caller) => caller.audience(),
        }
    }

    /// Presents this token from now on; `None` for devices that prove themselves by their certificate.
    pub fn authorize(&mut self, token: Option<&str>) -> Result<(), NetError> {
        match self {
            Self::Http(caller) => caller.authorize(token),
            Self::Mqtt(caller) => {
                caller.authorize(token);
                Ok(())
            }
            Self::Amqp(caller) => {
                caller.authorize(token);
                Ok(())
            }
        }
    }
}

/// An open connection on which requests can be made. One that speaks MQTT or AMQP is larger and boxed, once a connection.
pub enum Link<S: AsyncRead + AsyncWrite + Unpin + 'static> {
    /// HTTPS, with one request at a time.
    Http(http::Link<S>),
    /// MQTT.
    Mqtt(Box<mqtt::Link<S>>),
    /// MQTT over a WebSocket.
    MqttWs(Box<mqtt::Link<WebSocket<S>>>),
    /// AMQP.
    Amqp(Box<amqp::Link<S>>),
    /// AMQP over a WebSocket.
    AmqpWs(Box<amqp::Link<WebSocket<S>>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Link<S> {
    /// Opens the transport on a stream, as far as it can be opened before the first request.
    pub async fn open(
        stream: S,
        carrier: &Carrier,
        caller: &Caller,
        times: &mut ConnectTimes,
    ) -> Result<Self, NetError> {
        match (carrier.transport, caller) {
            (Transport::Mqtt, Caller::Mqtt(caller)) => {
                Ok(Self::Mqtt(Box::new(mqtt::Link::open(stream, caller, carrier, times).await?)))
            }
            (Transport::MqttWs, Caller::Mqtt(caller)) => {
                let stream = upgrade(stream, carrier, "mqtt", times).await?;
                Ok(Self::MqttWs(Box::new(mqtt::Link::open(stream, caller, carrier, times).await?)))
            }
            (Transport::Amqp, Caller::Amqp(caller)) => {
                Ok(Self::Amqp(Box::new(amqp::Link::open(stream, caller, carrier, times).await?)))
            }
            (Transport::AmqpWs, Caller::Amqp(caller)) => {
                let stream = upgrade(stream, carrier, "AMQPWSB10", times).await?;
                Ok(Self::AmqpWs(Box::new(amqp::Link::open(stream, caller, carrier, times).await?)))
            }
            // A caller is made for its cohort's transport, so what is left is HTTPS.
            _ => Ok(Self::Http(http::Link::open(stream).await?)),
        }
    }

    /// Makes a request and reads the whole reply.
    pub async fn exchange(
        &mut self,
        caller: &Caller,
        operation: Operation,
        id: Option<&OperationId>,
    ) -> Result<Reply, NetError> {
        match (self, caller) {
            (Self::Http(link), Caller::Http(caller)) => link.exchange(caller, operation, id).await,
            (Self::Mqtt(link), Caller::Mqtt(caller)) => link.exchange(caller, operation, id).await,
            (Self::MqttWs(link), Caller::Mqtt(caller)) => link.exchange(caller, operation, id).await,
            (Self::Amqp(link), Caller::Amqp(caller)) => link.exchange(caller, operation, id).await,
            (Self::AmqpWs(link), Caller::Amqp(caller)) => link.exchange(caller, operation, id).await,
            _ => Err(Fault::Protocol.into()),
        }
    }

    /// Returns when the peer closes the idle connection, which this keeps alive meanwhile.
    pub async fn closed(&mut self) {
        match self {
            Self::Http(link) => link.closed().await,
            Self::Mqtt(link) => link.closed().await,
            Self::MqttWs(link) => link.closed().await,
            Self::Amqp(link) => link.closed().await,
            Self::AmqpWs(link) => link.closed().await,
        }
    }

    /// Says goodbye where the transport has a word for it, and closes. Nobody waits for it.
    pub fn hang_up(self) {
        match self {
            Self::Http(_) => {}
            Self::Mqtt(link) => link.hang_up(),
            Self::MqttWs(link) => link.hang_up(),
            Self::Amqp(link) => link.hang_up(),
            Self::AmqpWs(link) => link.hang_up(),
        }
    }
}

/// Asks for a WebSocket that carries `protocol`.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    carrier: &Carrier,
    protocol: &'static str,
    times: &mut ConnectTimes,
) -> Result<WebSocket<S>, NetError> {
    let started = carrier.clock.now();
    let stream = WebSocket::connect(stream, &carrier.host, protocol).await?;
    times.websocket = Some(carrier.clock.now().since(started));
    Ok(stream)
}

/// What a stream that broke while a connection was opened means: the service has seen no request.
fn broke_opening<M: Debug + Send + Sync + 'static>(broken: Broken<M>) -> NetError {
    let fault = match &broken {
        Broken::Ended => Fault::Closed,
        Broken::Malformed(_) | Broken::Deaf => Fault::Protocol,
        Broken::Failed(error) => connect::fault_when_connecting(error),
    };
    NetError::new(fault, broken)
}

/// What one that broke under a request means: whether the service acted on it is unknown.
fn broke_under_request<M: Debug + Send + Sync + 'static>(broken: Broken<M>) -> NetError {
    let fault = match &broken {
        Broken::Ended => Fault::Lost,
        Broken::Malformed(_) | Broken::Deaf => Fault::Protocol,
        Broken::Failed(error) => connect::fault_under_request(error),
    };
    NetError::new(fault, broken)
}
