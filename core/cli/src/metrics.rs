//! `run --metrics`: the live numbers as text for a Prometheus that scrapes them.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};

use fleetstorm_engine::{Control, Snapshot};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::failure::Failure;

/// What Prometheus knows the text by.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the numbers of a run from now on, on a thread of its own, until the command ends.
pub(crate) fn serve(address: SocketAddr, devices: u32, control: Control) -> Result<(), Failure> {
    let refused =
        |error: std::io::Error| Failure::usage(format!("--metrics {address} cannot be listened on: {error}"));
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(refused)?;
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || runtime.block_on(accept(listener, devices, control)))
        .map_err(refused)?;
    eprintln!("metrics on http://{bound}/metrics");
    Ok(())
}

async fn accept(listener: TcpListener, devices: u32, control: Control) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            loop {
                // A peer that left before it was accepted is no reason to stop.
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let control = control.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let response = respond(&request, devices, &control);
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answer);
                tokio::task::spawn_local(async move {
                    let _ = served.await;
                });
            }
        })
        .await;
}

fn respond(request: &Request<Incoming>, devices: u32, control: &Control) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode, kind: &'static str, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    };
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            match text(devices, control.snapshot().unwrap_or_default()) {
                Ok(text) => plain(StatusCode::OK, OPEN_METRICS, text),
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new()),
            }
        }
        (&Method::GET | &Method::HEAD, _) => {
            plain(StatusCode::NOT_FOUND, "text/plain", "the numbers are at /metrics\n".to_owned())
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
    }
}

/// The numbers of this moment in the text format of OpenMetrics.
fn text(devices: u32, now: Snapshot) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("fleetstorm");
    for (name, help, value) in [
        ("devices", "Devices in the plan", u64::from(devices)),
        ("devices_on_their_way", "Devices that have booted and are not settled", now.in_flight),
        ("devices_assigned", "Devices with a hub", now.assigned),
        ("devices_stopped", "Devices that stopped without a hub", now.stopped),
    ] {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    }
    for (name, help, value) in [
        ("requests", "Requests sent", now.sent),
        ("throttled", "Answers with 429", now.throttled),
        ("failed", "Attempts that failed in another way", now.failed),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reader_finds_the_numbers() {
        let now = Snapshot { assigned: 7, in_flight: 3, sent: 41, throttled: 5, ..Snapshot::default() };
        let text = text(10, now).unwrap();
        let scrape = prometheus_parse::Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
        let value = |name: &str| match scrape.samples.iter().find(|sample| sample.metric == name) {
            Some(sample) => match sample.value {
                prometheus_parse::Value::Counter(value)
                | prometheus_parse::Value::Gauge(value)
                | prometheus_parse::Value::Untyped(value) => value,
                _ => panic!("{sample:?}"),
            },
            None => panic!("no {name} in {text}"),
        };
        assert_eq!([value("fleetstorm_devices"), value("fleetstorm_devices_assigned")], [10.0, 7.0]);
        assert_eq!([value("fleetstorm_requests_total"), value("fleetstorm_throttled_total")], [41.0, 5.0]);
    }
}
