//! What is fuzzed.

use std::path::PathBuf;

use bytes::BytesMut;
use fleetstorm_engine::{life, service_log};
use fleetstorm_import::{Options, Source, import as import_files};
use fleetstorm_model::objective::Objective;
use fleetstorm_protocol::amqp::{Client, Heard, Said, Server, Terms, frame, read_request};
use fleetstorm_protocol::enrollment_api::Kind;
use fleetstorm_protocol::sas::SasToken;
use fleetstorm_protocol::{
    Operation, OperationId, RetryAfter, ServiceApi, Status, credentials, http, hub, mqtt,
};
use fleetstorm_reports::{Document, Form, Record};
use fleetstorm_scenario::{Arrival, Scenario, explain, parse_short, read_mock};
use rumqttc::mqttbytes::v4::Packet;

use crate::seeds;

/// A parser, and what it is fed first.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Bytes that it understands.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many seeds with mistakes its test takes: few where it is slow.
    pub rounds: usize,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "amqp-client", run: amqp_client, seeds: seeds::amqp_service, rounds: 2_000 },
    Target { name: "amqp-server", run: amqp_server, seeds: seeds::amqp_clients, rounds: 2_000 },
    Target { name: "mqtt-packets", run: mqtt_packets, seeds: seeds::mqtt_packets, rounds: 2_000 },
    Target { name: "mqtt-text", run: mqtt_text, seeds: seeds::mqtt_text, rounds: 2_000 },
    Target { name: "http-reply", run: http_reply, seeds: seeds::http_replies, rounds: 2_000 },
    Target { name: "http-request", run: http_request, seeds: seeds::http_requests, rounds: 2_000 },
    Target { name: "enrollment-api", run: enrollment_api, seeds: seeds::enrollments, rounds: 2_000 },
    Target { name: "sas-token", run: sas_token, seeds: seeds::tokens, rounds: 2_000 },
    Target { name: "retry-after", run: retry_after, seeds: seeds::retry_after, rounds: 2_000 },
    Target { name: "service-log", run: log, seeds: seeds::logs, rounds: 300 },
    Target { name: "trace", run: trace, seeds: seeds::traces, rounds: 300 },
    Target { name: "arrivals", run: arrivals, seeds: seeds::arrivals, rounds: 1_000 },
    Target { name: "scenario", run: scenario, seeds: seeds::scenarios, rounds: 100 },
    Target { name: "mock-file", run: mock_file, seeds: seeds::mocks, rounds: 100 },
    Target { name: "import", run: import, seeds: seeds::imports, rounds: 500 },
    Target { name: "profile", run: profile, seeds: seeds::profiles, rounds: 50 },
    Target { name: "objective", run: objective, seeds: seeds::objectives, rounds: 2_000 },
    Target { name: "chaos-short", run: chaos_short, seeds: seeds::faults, rounds: 2_000 },
    Target { name: "record", run: record, seeds: seeds::records, rounds: 30 },
];

fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// Cuts bytes into frames as the drivers do, until they make no sense.
fn frames(mut bytes: &[u8], mut take: impl FnMut(&[u8]) -> Option<usize>) {
    let mut most = 8 * 1024;
    while let Ok(Some(length)) = frame::length(bytes, most) {
        let Some((unit, rest)) = bytes.split_at_checked(length) else { break };
        bytes = rest;
        match take(unit) {
            Some(next) => most = next,
            None => break,
        }
    }
}

fn amqp_client(bytes: &[u8]) {
    let terms = Terms {
        hostname: "localhost",
        registration_id: "dev-1",
        address: "0ne00F1EE75/registrations/dev-1",
        token: bytes.first().filter(|byte| **byte == b'A').map(|_| "SharedAccessSignature sr=x"),
        api_version: "2019-03-31",
        agent: "fuzz",
        idle_time_out_ms: Some(60_000),
    };
    let mut out = Vec::new();
    let mut client = Client::start(&terms, &mut out);
    let mut ready = false;
    frames(bytes, |unit| {
        let unit = frame::read(unit).ok()?;
        let said = if ready { client.take(&unit, &mut out) } else { client.greet(&unit, &terms, &mut out) };
        ready |= matches!(said, Ok(Said::Ready));
        if client.may_ask(600) {
            client.ask(Operation::Register, None, b"{}", &mut out);
        }
        client.heartbeat_ms();
        said.ok().filter(|said| *said != Said::Over)?;
        Some(client.frame_max_bytes())
    });
    client.close(&mut out);
}

fn amqp_server(bytes: &[u8]) {
    let mut server = Server::new(60_000);
    let mut out = Vec::new();
    frames(bytes, |unit| {
        let unit = frame::read(unit).ok()?;
        match server.take(&unit, &mut |_| Ok(()), &mut out).ok()? {
            Heard::Request { delivery, settled, message } => {
                let request = read_request(&message);
                let correlation = request.as_ref().ok().and_then(|request| request.correlation_id);
                let status = (Status::ACCEPTED, RetryAfter::Seconds(3));
                if request.is_err() {
                    server.reject((delivery, settled), status, "no request", &mut out);
                } else if server.may_answer(2) {
                    server.accept((delivery, settled), correlation, status, b"{}", &mut out);
                }
            }
            Heard::Tpm => server.challenge(Some(b"challenge"), &mut out),
            Heard::Nothing | Heard::Greeted(_) => {}
            Heard::Over => return None,
        }
        server.heartbeat_ms();
        Some(server.frame_max_bytes())
    });
    server.give_up(&mut out);
}

fn mqtt_packets(bytes: &[u8]) {
    let mut bytes = BytesMut::from(bytes);
    while let Ok(packet) = Packet::read(&mut bytes, 256 * 1024) {
        if let Packet::Publish(publish) = &packet {
            mqtt_text(publish.topic.as_bytes());
        }
    }
}

fn mqtt_text(bytes: &[u8]) {
    let text = text(bytes);
    let _ = (mqtt::read_user_name(text), mqtt::read_request_topic(text), mqtt::read_answer_topic(text));
    let _ = credentials::Request::read(bytes);
    let _ = (credentials::read_request_topic(text), credentials::read_answer_topic(text));
    let _ = (hub::read_user_name(text), hub::read_method_topic(text), hub::read_twin_get(text));
}

fn http_reply(bytes: &[u8]) {
    let reply = http::read_reply(Status::OK, RetryAfter::Absent, Some("application/json"), bytes);
    let mut out = Vec::new();
    http::write_reply(&reply, "dev-1", true, &mut out);
    if let fleetstorm_protocol::Body::Operation { id: Some(id), .. } = &reply.body {
        let mut topic = String::new();
        mqtt::request_topic(Operation::Poll, 1, Some(id), &mut topic);
        assert!(topic.len() < usize::from(u16::MAX), "what a peer says can be asked about");
    }
    let _ = http::read_webhook_reply(200, bytes);
}

fn http_request(bytes: &[u8]) {
    let (head, body) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    let line = text(head);
    let (method, target) = line.split_once(' ').unwrap_or(("PUT", line));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let _ = http::route(method, path, query);
    let _ = http::service_route(method, path, query);
    let _ = http::read_submission(Some("application/json"), body);
    let _ = http::read_tpm(body);
    let _ = OperationId::read(line).map(|id| id.to_string());
}

fn enrollment_api(bytes: &[u8]) {
    let newest = ServiceApi::of(Some("2026-11-02-preview"));
    for kind in [Kind::Individual, Kind::Group] {
        let _ = http::read_draft(kind, newest, None, bytes);
        let _ = http::read_bulk(kind, newest, None, bytes);
    }
    let _ = http::read_query(None, bytes);
}

fn sas_token(bytes: &[u8]) {
    let _ = SasToken::read(text(bytes));
}

fn retry_after(bytes: &[u8]) {
    let read = RetryAfter::read(bytes.split(|byte| *byte == 0));
    let _ = (read.to_string(), read.wait(1_700_000_000), RetryAfter::read_text(text(bytes)));
}

/// A file that holds these bytes, of this process and thread.
fn file(bytes: &[u8]) -> Option<PathBuf> {
    thread_local! {
        static PATH: PathBuf = {
            let directory = PathBuf::from("/dev/shm");
            let directory = if directory.is_dir() { directory } else { std::env::temp_dir() };
            directory.join(format!("fleetstorm-fuzz-{}-{:?}", std::process::id(), std::thread::current().id()))
        };
    }
    let path = PATH.with(PathBuf::clone);
    std::fs::write(&path, bytes).ok().map(|()| path)
}

fn log(bytes: &[u8]) {
    let Some(path) = file(bytes) else { return };
    let _ = service_log::digest(&path, service_log::Reading::default(), &service_log::Filter::default(), 5);
    let _ = service_log::reconcile(&Record::empty(), &path, service_log::Reading::default());
    let _ = std::fs::remove_file(path);
}

fn trace(bytes: &[u8]) {
    let Some(path) = file(bytes) else { return };
    let _ = life::tell_trace(&path, &Record::empty(), "dev-000000");
    let _ = std::fs::remove_file(path);
}

fn arrivals(bytes: &[u8]) {
    let _ = Arrival::read_trace(text(bytes));
}

fn scenario(bytes: &[u8]) {
    match Scenario::read(text(bytes), "fuzz.toml", &[]) {
        Ok(scenario) => {
            let resolved = scenario.resolved();
            assert!(
                Scenario::read(&resolved, "resolved.toml", &[]).is_ok(),
                "what is resolved is read again"
            );
            let _ = explain(&scenario);
        }
        Err(problems) => drop(problems.to_string()),
    }
}

fn mock_file(bytes: &[u8]) {
    if let Err(problems) = read_mock(std::path::Path::new(""), text(bytes), "mock.toml", &[]) {
        let _ = problems.to_string();
    }
}

/// A zero byte stands between files.
fn import(bytes: &[u8]) {
    let sources: Vec<Source<'_>> =
        bytes.split(|byte| *byte == 0).map(|bytes| Source { name: "fuzz.json", bytes }).collect();
    match import_files(&sources, &Options::default()) {
        Ok(done) => {
            let read = read_mock(std::path::Path::new(""), &done.text, "mock.toml", &[]);
            assert!(read.is_ok(), "what is written is read");
        }
        Err(error) => drop(error.to_string()),
    }
}

fn profile(bytes: &[u8]) {
    if let Err(problems) = fleetstorm_scenario::read_profile(text(bytes), "profile.toml") {
        let _ = problems.to_string();
    }
}

fn objective(bytes: &[u8]) {
    match text(bytes).parse::<Objective>() {
        Ok(objective) => drop(objective.to_string()),
        Err(error) => drop(error.to_string()),
    }
}

fn chaos_short(bytes: &[u8]) {
    if let Err(error) = parse_short(text(bytes)) {
        let _ = (error.message, error.at);
    }
}

fn record(bytes: &[u8]) {
    let Ok(document) = Document::read(bytes) else { return };
    for form in [
        Form::Html,
        Form::Markdown,
        Form::Json,
        Form::Csv,
        Form::Junit { strict_practices: false },
        Form::Prometheus,
        Form::Text,
    ] {
        let _ = form.render(&document);
    }
}
