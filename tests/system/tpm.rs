//! TPM attestation: a fleet of software TPMs over HTTPS, and over HTTPS and AMQP a TPM 2.0 that others wrote: swtpm,
//! driven with tpm2-tools.
//!
//! Needs the Debian packages `swtpm` and `tpm2-tools`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::amqp::{self, AmqpWire, Way};
use crate::harness::{Bench, Mock, Response, Wire, scenarios};
use crate::mqtt_wire::{self, MqttWire, connect};

/// A running emulator; it ends with the test.
struct Emulator {
    child: Child,
    folder: tempfile::TempDir,
    tcti: String,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Two ports that follow each other, as the tools expect.
        let port = (0..50)
            .find_map(|_| {
                let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                TcpListener::bind(("127.0.0.1", first.checked_add(1)?)).ok().map(|_| first)
            })
            .unwrap();
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
            .arg(format!("dir={}", folder.path().display()))
            .args(["--server", &format!("type=tcp,port={port},bindaddr=127.0.0.1")])
            .args(["--ctrl", &format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1)])
            .stdout(Stdio::null())
            .spawn()
            .expect("swtpm is installed (Debian package `swtpm`)");
        let emulator = Self { child, folder, tcti: format!("swtpm:host=127.0.0.1,port={port}") };
        let up = (0..200).any(|_| {
            let asked =
                Command::new("tpm2_getrandom").args(["--hex", "4", "-T", &emulator.tcti]).output().unwrap();
            asked.status.success()
        });
        assert!(up, "the emulator did not start");
        emulator
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs one of the tools in the emulator's folder.
    fn run(&self, command: &str) {
        let mut words = command.split_whitespace();
        let output = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(self.folder.path())
            .env("TPM2TOOLS_TCTI", &self.tcti)
            .output()
            .expect("tpm2-tools are installed (Debian package `tpm2-tools`)");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Frees the places for transient objects, of which there are three.
    fn flush(&self) {
        self.run("tpm2_flushcontext -t");
    }
}

impl Emulator {
    /// Makes an endorsement key and a storage root key of the usual templates; returns their public parts.
    fn provision(&self) -> [Vec<u8>; 2] {
        self.run("tpm2_createek -G rsa -c ek.ctx -u ek.pub");
        self.flush();
        self.run(
            "tpm2_createprimary -C o -G rsa2048:aes128cfb -g sha256 -c srk.ctx \
             -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt",
        );
        self.flush();
        self.run("tpm2_readpublic -c srk.ctx -o srk.pub");
        self.flush();
        [self.read("ek.pub"), self.read("srk.pub")]
    }

    /// Takes up a challenge: ActivateCredential, Import, Load. The key it carried is then `key.ctx`.
    fn take_up(&self, challenge: &[u8]) {
        let mut blob = challenge;
        let identity = cut(&mut blob);
        let secret = cut(&mut blob);
        // The file of tpm2_activatecredential: a magic number, a version, and the two structures.
        self.write("credential", &[&[0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1], identity, secret].concat());
        self.write("key.dup", cut(&mut blob));
        self.write("key.seed", cut(&mut blob));
        self.write("key.pub", cut(&mut blob));
        assert_eq!(blob, [0, 0], "the sized data that may be empty");
        self.run("tpm2_startauthsession --policy-session -S session.ctx");
        self.run("tpm2_policysecret -S session.ctx -c e");
        self.run(
            "tpm2_activatecredential -c srk.ctx -C ek.ctx -i credential -o inner.key -P session:session.ctx",
        );
        self.run("tpm2_flushcontext session.ctx");
        self.flush();
        self.run("tpm2_import -C srk.ctx -u key.pub -i key.dup -s key.seed -k inner.key -G aes -r key.priv");
        self.flush();
        self.run("tpm2_load -C srk.ctx -u key.pub -r key.priv -c key.ctx");
        self.flush();
    }

    /// The token for a resource, signed in the TPM with the key that it took up.
    fn token(&self, resource: &str) -> String {
        let (resource, expiry) = (resource.replace('/', "%2F"), 4_000_000_000u64);
        self.write("message", format!("{resource}\n{expiry}").as_bytes());
        self.run("tpm2_hmac -c key.ctx -o signature message");
        self.flush();
        let signature = BASE64_STANDARD.encode(self.read("signature"));
        let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn=registration")
    }
}

/// Cuts a byte string with its length off the front, length included.
fn cut<'a>(blob: &mut &'a [u8]) -> &'a [u8] {
    let length = 2 + usize::from(u16::from_be_bytes([blob[0], blob[1]]));
    let (piece, rest) = blob.split_at(length);
    *blob = rest;
    piece
}

const SCOPE: &str = "0ne00F1EE75";

fn register(wire: &mut Wire, id: &str, keys: &[Vec<u8>; 2], token: Option<&str>) -> Response {
    let [ek, srk] = keys.each_ref().map(|key| BASE64_STANDARD.encode(key));
    let body =
        format!(r#"{{"registrationId":"{id}","tpm":{{"endorsementKey":"{ek}","storageRootKey":"{srk}"}}}}"#);
    let target = format!("/{SCOPE}/registrations/{id}/register?api-version=2021-06-01");
    wire.ask("PUT", &target, token, &body)
}

fn key_in(value: &serde_json::Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value["authenticationKey"].as_str().unwrap()).unwrap()
}

#[test]
fn a_real_tpm_registers_over_https_and_comes_to_its_hub_with_its_second_key() {
    let tpm = Emulator::start();
    let keys = tpm.provision();
    let bench = Bench::new();
    let ek = BASE64_STANDARD.encode(&keys[0]);
    let file = format!(
        "assignment = {{ kind = \"constant\", delay = \"0s\" }}\n\
         [[enrollment]]\nregistration_id = \"real-tpm\"\nendorsement_key = \"{ek}\"\n"
    );
    let mock = Mock::start(&bench, &file);
    let mut wire = Wire::open(&mock);

    let challenge = register(&mut wire, "real-tpm", &keys, None);
    assert_eq!((challenge.status, challenge.header("www-authenticate")), (401, None));
    assert_eq!(challenge.json()["keyName"], "registration");
    tpm.take_up(&key_in(&challenge.json()));
    let token = tpm.token(&format!("{SCOPE}/registrations/real-tpm"));

    let accepted = register(&mut wire, "real-tpm", &keys, Some(&token));
    assert_eq!(accepted.status, 202, "{:?}", String::from_utf8_lossy(&accepted.body));
    let operation = accepted.json()["operationId"].as_str().unwrap().to_owned();
    let target = format!("/{SCOPE}/registrations/real-tpm/operations/{operation}?api-version=2021-06-01");
    // The assignment takes no time.
    let state = wire.ask("GET", &target, Some(&token), "").json();
    assert_eq!(state["status"], "assigned", "{state}");
    // Another key, sealed for the same TPM.
    let (mine, hubs) = (tpm.read("key.pub"), key_in(&state["registrationState"]["tpm"]));
    tpm.take_up(&hubs);
    assert_ne!(tpm.read("key.pub"), mine);
    let of_hub = tpm.token(&format!("{SCOPE}/registrations/real-tpm"));
    assert_eq!(
        register(&mut wire, "real-tpm", &keys, Some(&of_hub)).status,
        401,
        "the hub's key is the hub's"
    );

    let hub = state["registrationState"]["assignedHub"].as_str().unwrap();
    let user = format!("{hub}/real-tpm/?api-version=2021-04-12");
    for (token, code) in [(of_hub, 5), (tpm.token(&format!("{hub}/devices/real-tpm")), 0)] {
        let mut wire = MqttWire::open(&mock, mqtt_wire::Way::Tls);
        wire.send(&connect(true, 0, "real-tpm", &user, Some(&token)));
        wire.expect(0x20, &[0, code]);
    }
}

/// SASL's mechanism TPM, step by step as Node's client takes it; the links and messages are azure-iot-sdk-c's, captured.
#[test]
fn a_real_tpm_registers_over_amqp() {
    let tpm = Emulator::start();
    let [ek, srk] = tpm.provision();
    let (bench, client) = (Bench::new(), &amqp::CLIENTS[1]);
    let file = format!(
        "id_scope = \"0ne00000000\"\nassignment = {{ kind = \"constant\", delay = \"0s\" }}\n\
         [[enrollment]]\nregistration_id = \"{}\"\nendorsement_key = \"{}\"\n",
        client.id,
        BASE64_STANDARD.encode(&ek)
    );
    let mock = Mock::start(&bench, &file);
    let binary =
        |bytes: &[u8]| [&[0xb0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let greet = |keys: [&[u8]; 2]| {
        let mut wire = AmqpWire::open(&mock, Way::Tls);
        wire.send(b"AMQP\x03\x01\0\0");
        wire.expect("414d515003010000");
        wire.frame(0x40);
        let who = [b"\x000ne00000000\0", client.id.as_bytes(), b"\0", keys[0]].concat();
        wire.send(&amqp::sasl(0x41, 2, &[b"\xa3\x03TPM", &binary(&who)[..]].concat()));
        // A byte of zero asks for the storage root key.
        assert!(wire.frame(0x42).ends_with(&[0xa0, 1, 0]));
        wire.send(&amqp::sasl(0x43, 1, &binary(&[b"\0", keys[1]].concat())));
        wire
    };
    // What follows the list's head and the size of a binary in a challenge.
    let part = |frame: &[u8]| {
        let at = if frame[20] == 0xa0 { 22 } else { 25 };
        (frame[at], frame[at + 1..].to_vec())
    };

    let mut wire = greet([&ek, &srk]);
    let (first, mut challenge) = part(&wire.frame(0x42));
    wire.send(&amqp::sasl(0x43, 1, &binary(&[0])));
    let (last, rest) = part(&wire.frame(0x42));
    assert_eq!((first, last), (0x80, 0xc1));
    challenge.extend(rest);
    tpm.take_up(&challenge);
    let token = tpm.token(&format!("0ne00000000/registrations/{}", client.id));
    wire.send(&amqp::sasl(0x43, 1, &binary(&[b"\0", token.as_bytes()].concat())));
    wire.expect(amqp::WELCOME);
    wire.links(client);
    wire.send(&amqp::bytes(client.captured("transfer", 0)));
    wire.frame(0x15);
    let assigning = amqp::json(&wire.frame(0x14));
    wire.send(&amqp::poll(client.captured("transfer", 1), assigning["operationId"].as_str().unwrap()));
    wire.frame(0x15);
    let state = amqp::json(&wire.frame(0x14));
    assert_eq!(state["status"], "assigned", "{state}");
    tpm.take_up(&key_in(&state["registrationState"]["tpm"]));

    // Another TPM's endorsement key: outcome 1.
    let mut other = ek.clone();
    other[100] ^= 1;
    let mut wire = greet([&other, &srk]);
    assert_eq!(wire.frame(0x44).last(), Some(&1));
}

#[test]
fn a_tpm_that_is_not_the_enrolled_one_is_refused() {
    let bench = Bench::new();
    let public = |modulus: u8, attributes: u32| {
        let mut area = vec![0, 1, 0, 0x0b];
        area.extend(attributes.to_be_bytes());
        area.extend([0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0, 1, 0]);
        area.extend([modulus; 256]);
        [&(area.len() as u16).to_be_bytes()[..], &area].concat()
    };
    let (enrolled, other) = (public(0xc5, 0x0003_00b2), public(0xc7, 0x0003_00b2));
    let srk = public(0xc9, 0x0003_0472);
    let ek = BASE64_STANDARD.encode(&enrolled);
    let mock = Mock::start(
        &bench,
        &format!("[[enrollment]]\nregistration_id = \"dev-1\"\nendorsement_key = \"{ek}\"\n"),
    );
    let mut wire = Wire::open(&mock);
    let mut code = |id: &str, ek: &Vec<u8>, srk: &Vec<u8>| {
        let answer = register(&mut wire, id, &[ek.clone(), srk.clone()], None);
        (answer.status, answer.json()["errorCode"].as_u64())
    };
    assert_eq!(code("dev-1", &enrolled, &srk), (401, None), "the challenge");
    assert_eq!(code("dev-1", &other, &srk), (401, Some(401_000)));
    assert_eq!(code("dev-1", &enrolled, &srk[..20].to_vec()), (401, Some(401_000)), "no storage root key");
    assert_eq!(code("dev-2", &enrolled, &srk), (404, Some(404_201)));
}

#[test]
fn keys_that_are_none_are_refused_before_a_mock_starts() {
    let bench = Bench::new();
    for (key, word) in [("***", "base64"), ("AAAA", "TPM2B_PUBLIC")] {
        let file = format!("[[enrollment]]\nregistration_id = \"dev-1\"\nendorsement_key = \"{key}\"\n");
        bench.file("mock.toml", &file);
        bench.fleetstorm(&["mock", "--config", "mock.toml"]).refused(2, &["endorsement_key", word]);
    }
}

/// One scenario through all three drivers.
#[test]
fn a_fleet_of_tpms_registers_by_every_clock() {
    let bench = Bench::new();
    let scenario = std::fs::read_to_string(scenarios().join("tpm.toml")).unwrap();
    for clock in ["wall", "wired", "virtual"] {
        let ended = bench.run(&scenario, &["--clock", clock]);
        ended.passed();
        let record = bench.record();
        assert_eq!(record.totals.devices, 250, "{clock}");
        assert_eq!(record.totals.assigned, 250, "{clock}");
        // A challenge, then the registration that answers it.
        assert_eq!(record.totals.registers, 500, "{clock}");
    }
}

/// What befalls a fleet after it has come to its hubs, by all three drivers: a command and a loss of power, after which a
/// device without a cache proves itself to DPS again, and one with a cache has the hub's key still.
#[test]
fn a_fleet_of_tpms_lives_at_its_hubs_with_its_second_keys_by_every_clock() {
    let bench = Bench::new();
    bench.file("fast.toml", "[hub.back_off]\nfirst_wait = \"200ms\"\nwait_max = \"1s\"\n");
    let cohort = |name: &str, cache: bool| {
        format!(
            "[[cohort]]\nname = \"{name}\"\nattestation = \"tpm\"\nlife = {{ heartbeat = \"1s\", \
             cache = {cache}, power_cuts = [{{ at = \"8s\", off = \"500ms\" }}] }}\n"
        )
    };
    let scenario = format!(
        "horizon = \"14s\"\nprofile = \"fast.toml\"\nobjectives = [\"online == 100%\", \"stopped == 0\"]\n[fleet]\ndevices = 16\n\
         {}{}[mock]\nretry_after_s = 1\nassignment = {{ kind = \"constant\", delay = \"200ms\" }}\n\
         [[mock.hub]]\nhost = \"a.azure-devices.net\"\nreprovision = [{{ at = \"5s\" }}]\n",
        cohort("cached", true),
        cohort("forgetful", false),
    );
    for clock in ["virtual", "wired", "wall"] {
        bench.run(&scenario, &["--clock", clock]).passed();
        let record = bench.record();
        let life = record.life.unwrap();
        assert_eq!((life.ever_online, life.online_at_end, life.power_losses), (16, 16, 16), "{clock}");
        assert_eq!((life.commands, life.returns["command"]), (16, 16), "{clock}");
        let forgetful =
            record.cohorts.iter().find(|cohort| cohort.name == "forgetful").unwrap().totals.devices;
        assert_eq!(life.returns["boot"], forgetful, "{clock}");
        assert!(life.refused.is_empty(), "{clock}: {:?}", life.refused);
        // A challenge and a registration at each boot; the command finds the service's key still there.
        assert_eq!(record.totals.registers, 32 + 16 + 2 * forgetful, "{clock}");
    }
}
