//! `run --metrics`: what a Prometheus scrapes while a run lasts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use crate::harness::{Bench, signal};

const LASTING: &str = r#"
    horizon = "5m"
    [fleet]
    devices = 2000
    arrival = { kind = "constant", rate = "20/s" }
"#;

fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn value(body: &str, name: &str) -> f64 {
    let scrape = prometheus_parse::Scrape::parse(body.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let sample = scrape.samples.iter().find(|sample| sample.metric == name);
    match sample.unwrap_or_else(|| panic!("no {name} in {body}")).value {
        prometheus_parse::Value::Counter(value)
        | prometheus_parse::Value::Gauge(value)
        | prometheus_parse::Value::Untyped(value) => value,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_serves_its_live_numbers() {
    let bench = Bench::new();
    bench.file("s.toml", LASTING);
    let mut child = bench
        .command()
        .args(["run", "s.toml", "--out", "out", "--progress", "none", "--metrics", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim().strip_prefix("metrics on http://").unwrap().strip_suffix("/metrics").unwrap().to_owned();
    let mut seen = Vec::new();
    for _ in 0..100 {
        let (head, body) = get(&address, "/metrics");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("openmetrics-text"), "{head}");
        assert_eq!(value(&body, "fleetstorm_devices"), 2_000.0);
        seen.push(value(&body, "fleetstorm_requests_total"));
        if seen.last().is_some_and(|sent| *sent >= 20.0) {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(200));
    }
    assert!(seen.is_sorted() && seen.last().is_some_and(|sent| *sent >= 20.0), "{seen:?}");
    assert!(get(&address, "/").0.starts_with("HTTP/1.1 404"));
    signal(&child, rustix::process::Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_address_that_is_taken_is_refused_before_the_run() {
    let bench = Bench::new();
    bench.file("s.toml", LASTING);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    bench.fleetstorm(&["run", "s.toml", "--metrics", &address]).refused(2, &["--metrics", &address]);
}
