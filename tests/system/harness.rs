//! The command, a mock in a process of its own, and a device that we did not write.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;

use fleetstorm_reports::Record;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

/// A directory of its own, and the command run in it.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The command, in this directory, with nothing of ours in its environment.
    pub(crate) fn command(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_fleetstorm"))
    }

    /// Bash with the command on its path, else as [`Bench::command`].
    pub(crate) fn bash(&self) -> Command {
        let mut bash = self.program("bash");
        let ours = Path::new(env!("CARGO_BIN_EXE_fleetstorm")).parent().unwrap().to_owned();
        let others = std::env::var_os("PATH").unwrap();
        let all = std::iter::once(ours).chain(std::env::split_paths(&others));
        bash.env("PATH", std::env::join_paths(all).unwrap());
        bash
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.current_dir(self.directory.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLEETSTORM_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs the command to its end.
    pub(crate) fn fleetstorm(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command().args(arguments).output().unwrap())
    }

    /// Runs a scenario given as text; results land in `out`.
    pub(crate) fn run(&self, scenario: &str, arguments: &[&str]) -> Ended {
        self.file("scenario.toml", scenario);
        let mut all = vec!["run", "scenario.toml", "--out", "out", "--progress", "none"];
        all.extend_from_slice(arguments);
        self.fleetstorm(&all)
    }

    /// The record that the last run left.
    pub(crate) fn record(&self) -> Record {
        Record::read(&std::fs::read(self.path("out/run.json")).unwrap()).unwrap()
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Checks that a live run went well: on a busy machine it may say that it cannot be trusted, which is right of it.
    #[track_caller]
    pub(crate) fn passed(&self) {
        assert!([0, 12].contains(&self.code), "{self:?}");
    }

    /// Checks the exit code and that standard error says all of these words.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The shipped scenarios.
pub(crate) fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

/// `fleetstorm mock` in a process of its own.
pub(crate) struct Mock {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) ready: Value,
}

impl Mock {
    /// Starts it in `bench`'s directory with a file given as text, on a free port.
    pub(crate) fn start(bench: &Bench, file: &str) -> Self {
        bench.file("mock.toml", file);
        let mut child = bench
            .command()
            .args(["mock", "--config", "mock.toml", "--set", "listen.https=127.0.0.1:0"])
            .args(["--set", "listen.mqtt=127.0.0.1:0", "--set", "listen.amqp=127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no ready line: {line:?}"));
        Self { child, stdout, ready }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ready["https"].as_str().unwrap().parse().unwrap()
    }

    /// The MQTT door.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.ready["mqtt"].as_str().unwrap().parse().unwrap()
    }

    /// The AMQP door.
    pub(crate) fn amqp(&self) -> SocketAddr {
        self.ready["amqp"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    pub(crate) fn ca(&self) -> &str {
        self.ready["ca"].as_str().unwrap()
    }

    /// Ctrl-C; returns the last line and the exit code.
    pub(crate) fn interrupt(mut self) -> (Value, i32) {
        signal(&self.child, rustix::process::Signal::INT);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        (serde_json::from_str(rest.trim()).unwrap(), status.code().unwrap())
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A TLS connection without a client certificate.
pub(crate) type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A TLS client that speaks bytes: what the door answers is judged as it stands on the wire.
pub(crate) struct Wire {
    stream: Tls,
}

impl Mock {
    /// TLS that trusts it, without a client certificate.
    pub(crate) fn trusting(&self) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A TLS connection to one of its doors.
    pub(crate) fn tls(&self, address: SocketAddr) -> Tls {
        let name = ServerName::try_from("global.azure-devices-provisioning.net").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(self.trusting()), name).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        rustls::StreamOwned::new(connection, socket)
    }
}

impl Wire {
    pub(crate) fn open(mock: &Mock) -> Self {
        Self { stream: mock.tls(mock.address()) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// Reads one response with a `content-length`.
    pub(crate) fn response(&mut self) -> Response {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            let read = self.stream.read(&mut byte).unwrap_or(0);
            assert_eq!(read, 1, "the connection ended after {:?}", String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
        self.stream.read_exact(&mut body).unwrap();
        Response { status, headers, body }
    }

    /// The status of an error answer, or `None` if the connection ends without one.
    pub(crate) fn response_or_end(&mut self) -> Option<u16> {
        let mut head = [0; 12];
        self.stream.read_exact(&mut head).ok()?;
        let status = std::str::from_utf8(&head).unwrap().strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap();
        assert!((400..500).contains(&status), "{status}");
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        Some(status)
    }

    /// Whether the peer ends the connection without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }

    /// Sends a request with a JSON body and reads the answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str, token: Option<&str>, body: &str) -> Response {
        let token = token.map(|token| ("Authorization", token));
        let json = ("Content-Type", "application/json");
        self.request(method, target, &[Some(json), token].into_iter().flatten().collect::<Vec<_>>(), body)
    }

    /// Sends a request with these headers and reads the answer, which has to be as its document says.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.send(
            format!(
                "{method} {target} HTTP/1.1\r\nHost: global.azure-devices-provisioning.net\r\n{headers}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        let response = self.response();
        crate::openapi::check(method, target, &response);
        response
    }
}

/// An answer as it stood on the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
