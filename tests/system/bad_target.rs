//! Targets that are not what they should be. The server here is ours and misbehaves on purpose.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::harness::{Bench, Ended};

/// What the server does with a connection once TLS stands.
type Manner = fn(&mut rustls::StreamOwned<rustls::ServerConnection, TcpStream>);

/// A server certificate that is valid between two years.
fn certificate(name: &str, from: i32, to: i32) -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

/// Listens with this certificate until the test ends.
fn serve(bench: &Bench, name: &str, years: (i32, i32), manner: Manner) -> SocketAddr {
    let (certificate, key) = certificate(name, years.0, years.1);
    bench.file("ca.pem", &certificate.pem());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let config = Arc::new(config);
    raw(move |socket| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, socket);
        // The preflight's connection ends without a byte.
        let _ = stream.flush();
        manner(&mut stream);
    })
}

fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(socket));
        }
    });
    address
}

fn run(bench: &Bench, address: SocketAddr) -> Ended {
    let scenario = r#"
        horizon = "10s"
        objectives = ["assigned == 100%"]
        [fleet]
        devices = 5
        [[cohort]]
        retry = "none"
        request_timeout = "500ms"
        connect_timeout = "2s"
    "#;
    bench.run(scenario, &["--target", &format!("https://{address}"), "--ca", "ca.pem"])
}

/// Reads a request's head and says whether there was one.
fn asked(stream: &mut rustls::StreamOwned<rustls::ServerConnection, TcpStream>) -> bool {
    let mut buffer = [0; 2048];
    matches!(stream.read(&mut buffer), Ok(1..))
}

/// Checks that the fleet failed; on a busy machine the run may say that it cannot be trusted, which is right of it.
#[track_caller]
fn failed(ended: &Ended) {
    assert!([10, 12].contains(&ended.code), "{ended:?}");
}

#[track_caller]
fn all_met(bench: &Bench, ended: &Ended, fault: &str) {
    failed(ended);
    let record = bench.record();
    let codes: Vec<_> = record.codes.iter().map(|code| (&*code.fault, code.devices)).collect();
    assert_eq!(codes, [(fault, 5)]);
    assert_eq!(record.totals.stopped, 5);
}

/// What lay under the failure is told wherever the run is.
#[track_caller]
fn said(bench: &Bench, ended: &Ended, cause: &str) {
    let kept: Vec<String> = bench.record().codes.into_iter().flat_map(|code| code.causes).collect();
    assert_eq!(kept, [cause]);
    let explained = bench.fleetstorm(&["explain", "out/run.json"]).stdout;
    assert!(explained.contains(&format!("said: {cause}\n")), "{explained}");
    let flat = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(&format!("said: {cause}")), "{flat}");
    let page = std::fs::read_to_string(bench.path("out/report.html")).unwrap();
    assert!(page.contains(&cause.replace('<', "&lt;").replace('>', "&gt;")), "the page has `{cause}`");
}

#[test]
fn nobody_listens() {
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    bench.file("ca.pem", &certificate("x", 2020, 2040).0.pem());
    run(&bench, address).refused(14, &[&address.to_string(), "nothing listens there", "fleetstorm mock"]);
}

#[test]
fn plain_http_is_no_dps() {
    let bench = Bench::new();
    bench.file("ca.pem", &certificate("x", 2020, 2040).0.pem());
    let address = raw(|mut socket| {
        let _ = socket.read(&mut [0; 64]);
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    run(&bench, address).refused(14, &["does not speak TLS"]);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let bench = Bench::new();
    bench.file("ca.pem", &certificate("x", 2020, 2040).0.pem());
    let address = raw(|socket| {
        std::thread::park_timeout(Duration::from_secs(30));
        drop(socket);
    });
    run(&bench, address).refused(14, &["does not answer within 10 s"]);
}

#[test]
fn certificates_that_do_not_hold_are_told_apart() {
    let nothing: Manner = |_| {};
    let bench = Bench::new();
    let address = serve(&bench, "127.0.0.1", (2020, 2021), nothing);
    run(&bench, address).refused(14, &["has expired"]);
    let address = serve(&bench, "elsewhere.example", (2020, 2040), nothing);
    run(&bench, address).refused(14, &["another name", "target.server_name"]);
    let address = serve(&bench, "127.0.0.1", (2020, 2040), nothing);
    bench.file("ca.pem", &certificate("127.0.0.1", 2020, 2040).0.pem());
    run(&bench, address).refused(14, &["not trusted", "--ca"]);
}

#[test]
fn garbage_is_a_protocol_error() {
    let bench = Bench::new();
    let address = serve(&bench, "127.0.0.1", (2020, 2040), |stream| {
        if asked(stream) {
            let _ = stream.write_all(b"\x00\x01\x02 this is not HTTP\r\n\r\n");
            let _ = stream.flush();
        }
    });
    let ended = run(&bench, address);
    all_met(&bench, &ended, "protocol");
    said(&bench, &ended, "invalid HTTP version parsed");
}

#[test]
fn a_page_instead_of_an_answer_is_no_assignment() {
    let bench = Bench::new();
    let address = serve(&bench, "127.0.0.1", (2020, 2040), |stream| {
        while asked(stream) {
            let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
            let _ = stream.write_all(page);
            let _ = stream.flush();
        }
    });
    let ended = run(&bench, address);
    failed(&ended);
    assert_eq!(bench.record().totals.stopped_by.keys().collect::<Vec<_>>(), ["protocol"]);
    said(&bench, &ended, "the body is no answer of DPS and begins with `<html>`");
}

#[test]
fn a_connection_that_ends_after_the_request_is_lost() {
    let bench = Bench::new();
    let address = serve(&bench, "127.0.0.1", (2020, 2040), |stream| {
        asked(stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let ended = run(&bench, address);
    all_met(&bench, &ended, "lost");
}

#[test]
fn a_request_without_an_answer_times_out() {
    let bench = Bench::new();
    let address = serve(&bench, "127.0.0.1", (2020, 2040), |stream| {
        asked(stream);
        std::thread::park_timeout(Duration::from_secs(30));
    });
    let ended = run(&bench, address);
    all_met(&bench, &ended, "timeout");
}

#[test]
fn an_endless_answer_is_cut_off() {
    let bench = Bench::new();
    let address = serve(&bench, "127.0.0.1", (2020, 2040), |stream| {
        if asked(stream) {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            let chunk = [b"1000\r\n".to_vec(), vec![b'x'; 4096], b"\r\n".to_vec()].concat();
            while stream.write_all(&chunk).is_ok() {}
        }
    });
    let ended = run(&bench, address);
    all_met(&bench, &ended, "protocol");
}

/// An id that no request could ask about, and a hub that no name could have: neither is an answer of DPS, and each costs
/// its device and nobody else.
#[test]
fn answers_of_absurd_length_cost_their_device() {
    fn answer(stream: &mut rustls::StreamOwned<rustls::ServerConnection, TcpStream>, body: &str) {
        while asked(stream) {
            let head = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nRetry-After: 1";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.flush();
        }
    }
    let manners: [Manner; 2] = [
        |stream| {
            let id = "x".repeat(66_000);
            answer(stream, &format!("{{\"operationId\":\"{id}\",\"status\":\"assigning\"}}"));
        },
        |stream| {
            let hub = "h".repeat(70_000);
            let state =
                format!("{{\"registrationId\":\"d\",\"status\":\"assigned\",\"assignedHub\":\"{hub}\"}}");
            answer(
                stream,
                &format!("{{\"operationId\":\"4\",\"status\":\"assigned\",\"registrationState\":{state}}}"),
            );
        },
    ];
    for manner in manners {
        let bench = Bench::new();
        let address = serve(&bench, "127.0.0.1", (2020, 2040), manner);
        let ended = run(&bench, address);
        failed(&ended);
        let record = bench.record();
        assert_eq!((record.totals.booted, record.totals.assigned), (5, 0));
        assert!(!matches!(record.end, fleetstorm_reports::record::End::Broken { .. }), "{:?}", record.end);
    }
}

#[test]
fn a_server_that_never_stops_speaking_is_left() {
    let bench = Bench::new();
    let address = serve(&bench, "127.0.0.1", (2020, 2040), |stream| {
        if asked(stream) {
            while stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(500)).is_ok() {}
        }
    });
    let ended = run(&bench, address);
    all_met(&bench, &ended, "protocol");
}
