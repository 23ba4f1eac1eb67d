//! A bare hyper + rustls loop that makes the same requests as a fleet, and nothing else: no device machine, no
//! strategy, no histograms. What Fleetstorm costs above this is what its measurements cost.

mod mqtt;

use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A bare hyper + rustls client on one thread.
#[derive(Parser)]
struct Arguments {
    /// Host and port of the server.
    address: String,
    /// Path and query of the PUT; `{n}` is replaced by the registration's number.
    #[arg(long)]
    path: String,
    /// Value of the Authorization header; `{n}` is not replaced.
    #[arg(long)]
    authorization: Option<String>,
    /// CA of the server, PEM.
    #[arg(long)]
    ca: std::path::PathBuf,
    /// What to do.
    #[arg(long, value_enum)]
    mode: Mode,
    /// Connections at once.
    #[arg(long, default_value_t = 50)]
    concurrency: u64,
    /// Requests, registrations or connections in all.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// The same PUT again and again on kept connections.
    KeepAlive,
    /// A new connection for each registration: PUT, one GET of the operation, close.
    Register,
    /// Open all connections, one PUT on each, then hold them until a line comes in on standard input.
    Hold,
    /// As `register`, over MQTT with a full client of its own: CONNECT, SUBSCRIBE, two publications, close.
    MqttRegister,
    /// A new connection each time: CONNECT and SUBSCRIBE, and no more.
    MqttConnect,
    /// As `hold`, over MQTT, without a publication.
    MqttHold,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments = Arc::new(Arguments::parse());
    let count = arguments.count;
    let config = Arc::new(tls(&arguments.ca)?);
    let connector = TlsConnector::from(Arc::clone(&config));
    let next = Arc::new(AtomicU64::new(0));
    let holds = matches!(arguments.mode, Mode::Hold | Mode::MqttHold);
    let workers = if holds { arguments.count } else { arguments.concurrency };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (arguments, connector, next) = (Arc::clone(&arguments), connector.clone(), Arc::clone(&next));
        let config = Arc::clone(&config);
        tasks.spawn(async move {
            match arguments.mode {
                Mode::KeepAlive => keep_alive(&arguments, &connector, &next).await,
                Mode::Register => register(&arguments, &connector, &next).await,
                Mode::Hold => hold(&arguments, &connector, &next).await,
                Mode::MqttRegister => mqtt_register(&arguments, &config, &next, true).await,
                Mode::MqttConnect => mqtt_register(&arguments, &config, &next, false).await,
                Mode::MqttHold => {
                    let number = next.fetch_add(1, Relaxed);
                    match mqtt::Client::open(&arguments, &config, number).await {
                        Ok(client) => client.hold().await,
                        Err(error) => Err(error),
                    }
                }
            }
            .map_err(|error| error.to_string())
        });
        if holds {
            // A queue of accepted connections that overflows would measure the kernel's retransmissions.
            tokio::time::sleep(Duration::from_micros(700)).await;
        }
    }
    let mut errors = 0u64;
    if holds {
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("{}", serde_json::json!({ "event": "holding", "connections": workers }));
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
        tasks.shutdown().await;
    }
    while let Some(done) = tasks.join_next().await {
        if let Err(error) = done? {
            eprintln!("{error}");
            errors += 1;
        }
    }
    println!("{}", serde_json::json!({ "count": count, "errors": errors }));
    Ok(())
}

fn tls(ca: &std::path::Path) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore::empty();
    let mut pem = BufReader::new(std::fs::File::open(ca)?);
    for certificate in CertificateDer::pem_reader_iter(&mut pem) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

async fn connect(
    arguments: &Arguments,
    connector: &TlsConnector,
) -> Result<http1::SendRequest<Full<Bytes>>, Error> {
    let stream = TcpStream::connect(&arguments.address).await?;
    stream.set_nodelay(true)?;
    let host = arguments.address.rsplit_once(':').map_or(&*arguments.address, |(host, _)| host);
    let stream = connector.connect(ServerName::try_from(host.to_owned())?, stream).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn request(
    arguments: &Arguments,
    method: Method,
    path: &str,
    body: &str,
) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", &arguments.address)
        .header("content-type", "application/json; charset=utf-8");
    if let Some(authorization) = &arguments.authorization {
        request = request.header("authorization", authorization);
    }
    Ok(request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?)
}

async fn keep_alive(arguments: &Arguments, connector: &TlsConnector, next: &AtomicU64) -> Result<(), Error> {
    let mut sender = connect(arguments, connector).await?;
    let body = body(&arguments.path);
    while next.fetch_add(1, Relaxed) < arguments.count {
        let response = sender.send_request(request(arguments, Method::PUT, &arguments.path, &body)?).await?;
        response.into_body().collect().await?;
    }
    Ok(())
}

/// The body that goes with a path `/{scope}/registrations/{id}/register…`.
fn body(path: &str) -> String {
    let id = path.split('/').nth(3).unwrap_or_default();
    serde_json::json!({ "registrationId": id }).to_string()
}

async fn register(arguments: &Arguments, connector: &TlsConnector, next: &AtomicU64) -> Result<(), Error> {
    loop {
        let number = next.fetch_add(1, Relaxed);
        if number >= arguments.count {
            return Ok(());
        }
        let path = arguments.path.replace("{n}", &format!("{number:06}"));
        let mut sender = connect(arguments, connector).await?;
        let response = sender.send_request(request(arguments, Method::PUT, &path, &body(&path))?).await?;
        let answer = response.into_body().collect().await?.to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let operation = answer["operationId"].as_str().unwrap_or("none");
        let poll = path.replace("/register", &format!("/operations/{operation}"));
        let response = sender.send_request(request(arguments, Method::GET, &poll, "")?).await?;
        response.into_body().collect().await?;
    }
}

async fn mqtt_register(
    arguments: &Arguments,
    config: &Arc<rustls::ClientConfig>,
    next: &AtomicU64,
    registers: bool,
) -> Result<(), Error> {
    loop {
        let number = next.fetch_add(1, Relaxed);
        if number >= arguments.count {
            return Ok(());
        }
        let mut client = mqtt::Client::open(arguments, config, number).await?;
        if registers {
            client.register(number).await?;
        }
    }
}

async fn hold(arguments: &Arguments, connector: &TlsConnector, next: &AtomicU64) -> Result<(), Error> {
    let path = arguments.path.replace("{n}", &format!("{:06}", next.fetch_add(1, Relaxed)));
    let mut sender = connect(arguments, connector).await?;
    let response = sender.send_request(request(arguments, Method::PUT, &path, &body(&path))?).await?;
    response.into_body().collect().await?;
    std::future::pending::<()>().await;
    Ok(())
}
