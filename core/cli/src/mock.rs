//! `fleetstorm mock`: the mock of the service in a process of its own.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use fleetstorm_engine::{RunError, wall};
use fleetstorm_files::write_whole;
use fleetstorm_mock::identity::{FleetIdentity, ServerIdentity, ServerKeys};
use fleetstorm_mock::{Issuer, MockOptions, RunningMock, resolve};
use fleetstorm_net::clock::Clock;
use fleetstorm_scenario::ServerTls;

use crate::arguments::run::MockArguments;
use crate::exit_code::INTERRUPTED;
use crate::failure::Failure;
use crate::{chaos, files, signals};

/// Where the throw-away CA is written if the file does not say.
const CA_FILE: &str = "fleetstorm-mock-ca.pem";

pub(crate) fn run(arguments: &MockArguments) -> Result<u8, Failure> {
    let file = files::mock(arguments.config.as_deref(), &arguments.changes)?;
    let file = chaos::add_to_mock(file, &arguments.chaos)?;
    let identity = FleetIdentity::from_seed(file.seed).map_err(RunError::from)?;
    let service = resolve(&file, &identity, wall::calendar())?;
    let issuer = Issuer::new(&file, &identity)?;
    let id_scope = service.id_scope.clone();
    let https = address("https", &file.listen.https)?;
    let maybe = |door, listen: &str| match listen {
        "off" => Ok(None),
        listen => address(door, listen).map(Some),
    };
    let mqtt = maybe("mqtt", &file.listen.mqtt)?;
    let amqp = maybe("amqp", &file.listen.amqp)?;
    let hubs = service.hubs.iter().map(|hub| hub.host.clone()).collect();
    let (identity, ca_file) = server_identity(&file.tls, hubs)?;
    // Whoever reads the ready line may interrupt at once.
    let interruption = signals::Interruption::listen()?;
    let mock = RunningMock::start(MockOptions {
        faults: file.timeline(),
        service,
        https,
        mqtt,
        amqp,
        refusals: file.mqtt,
        limits: file.limits,
        ip_filter: file.ip_filter,
        identity,
        issuer,
        webhook: file.webhook,
        log: file.log.clone(),
        keep_log: true,
        clock: Clock::start(),
    })?;
    let ca_file = match ca_file {
        Some(path) => {
            leave_others(&path)?;
            write_whole(&path, mock.ca_pem().as_bytes())
                .map_err(|error| Failure::internal(format!("{error} (set tls.ca_out to another place)")))?;
            std::path::absolute(&path).unwrap_or(path).display().to_string()
        }
        None => String::new(),
    };
    let ready = serde_json::json!({
        "event": "ready",
        "https": mock.address().to_string(),
        // WebSockets are upgrades at the HTTPS port.
        "mqtt-ws": mock.address().to_string(),
        "mqtt": mock.mqtt_address().map(|address| address.to_string()),
        "amqp-ws": mock.address().to_string(),
        "amqp": mock.amqp_address().map(|address| address.to_string()),
        "ca": ca_file,
        "id_scope": id_scope,
        "log": file.log.as_ref().map(|log| serde_json::json!({
            "file": log.file,
            "bytes_before": mock.log_bytes_before(),
        })),
    });
    println!("{ready}");
    if let Some(log) = file.log.filter(|_| mock.log_bytes_before() > 0) {
        eprintln!(
            "{}: {} bytes of an earlier mock stay, and lines are added; its registrations, and the enrollments that were \
             made through the API, are forgotten",
            log.file,
            mock.log_bytes_before()
        );
    }

    interruption.wait();
    let stopped = mock.stop();
    let counters = stopped.counters;
    let stopped = serde_json::json!({
        "event": "stopped",
        "requests": counters.requests,
        "accepted": counters.accepted,
        "throttled": counters.throttled,
        "assigned": counters.assigned,
        "failed": counters.failed,
        "errors": counters.errors,
        // A mock holds them in memory: the next one begins without.
        "forgotten_registrations": stopped.registrations,
        "turned_away": stopped.turned_away,
        "log": stopped.log,
    });
    println!("{stopped}");
    // It ends in no other way.
    Ok(INTERRUPTED)
}

fn address(door: &str, text: &str) -> Result<SocketAddr, Failure> {
    let unusable = |why: String| Failure::usage(format!("listen.{door} = \"{text}\": {why}"));
    text.to_socket_addrs()
        .map_err(|error| unusable(format!("{error}; write an address and a port, such as 127.0.0.1:8443")))?
        .next()
        .ok_or_else(|| unusable("the name has no address".to_owned()))
}

/// Refuses a place that holds something else than a certificate.
fn leave_others(path: &Path) -> Result<(), Failure> {
    let is_file = path.metadata().is_ok_and(|facts| facts.is_file() && facts.len() > 0);
    let holds = |text: &Vec<u8>| text.starts_with(b"-----BEGIN CERTIFICATE");
    if is_file && !std::fs::read(path).is_ok_and(|text| holds(&text)) {
        return Err(Failure::usage(format!(
            "{} holds something else than a certificate, and is left alone: set tls.ca_out to another place",
            path.display()
        )));
    }
    Ok(())
}

/// The server's certificate, and where to write the CA if it is one of ours.
fn server_identity(tls: &ServerTls, hubs: Vec<String>) -> Result<(ServerIdentity, Option<PathBuf>), Failure> {
    let ca_out = tls.ca_out.as_ref().map(PathBuf::from);
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let read = |path: &str| {
                std::fs::read(path)
                    .map_err(|error| Failure::unreadable("certificate or key", Path::new(path), &error))
            };
            let identity = ServerIdentity::from_pem(&read(certificate)?, &read(key)?, String::new())
                .map_err(RunError::from)?;
            Ok((identity, None))
        }
        (None, key) => {
            let keys = match key.as_deref() {
                None => ServerKeys::Both,
                Some("ecdsa") => ServerKeys::Ecdsa,
                Some("rsa") => ServerKeys::Rsa,
                Some(key) => {
                    let why = format!(
                        "tls.key = \"{key}\": a key in a file needs its tls.certificate; \"rsa\" or \"ecdsa\" says \
                         what a throw-away certificate is of"
                    );
                    return Err(Failure::usage(why));
                }
            };
            let names = [tls.names.clone(), hubs].concat();
            let identity = ServerIdentity::throw_away(&names, keys).map_err(RunError::from)?;
            // A device that needs the RSA key shall not wait for it, and making it takes a while.
            identity.make_ready();
            Ok((identity, Some(ca_out.unwrap_or_else(|| PathBuf::from(CA_FILE)))))
        }
        (Some(_), None) => Err(Failure::usage("tls.certificate needs tls.key, the file with its key")),
    }
}
