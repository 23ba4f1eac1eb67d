//! The service's challenge, taken up by a TPM 2.0 that others wrote: swtpm, driven with tpm2-tools.
//!
//! Needs the Debian packages `swtpm` and `tpm2-tools`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fleetstorm_plugin_tpm::challenge::{Draws, make};

const KEY: [u8; 32] = *b"a key that signs the SAS tokens.";

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

/// Cuts a byte string with its length off the front, length included.
fn cut<'a>(blob: &mut &'a [u8]) -> &'a [u8] {
    let length = 2 + usize::from(u16::from_be_bytes([blob[0], blob[1]]));
    let (piece, rest) = blob.split_at(length);
    *blob = rest;
    piece
}

#[test]
fn a_real_tpm_takes_up_the_challenge_and_signs_with_its_key() {
    let tpm = Emulator::start();
    tpm.run("tpm2_createek -G rsa -c ek.ctx -u ek.pub");
    tpm.flush();
    tpm.run(
        "tpm2_createprimary -C o -G rsa2048:aes128cfb -g sha256 -c srk.ctx \
         -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt",
    );
    tpm.flush();
    tpm.run("tpm2_readpublic -c srk.ctx -o srk.pub");
    tpm.flush();

    let draws = Draws {
        inner_key: *b"the inner wrap's",
        credential_seed: [0x51; 32],
        wrap_seed: [0x52; 32],
        object_seed: [0x53; 32],
    };
    let challenge = make(&tpm.read("ek.pub"), &tpm.read("srk.pub"), &KEY, &draws).unwrap();
    let mut blob = &challenge[..];
    let identity = cut(&mut blob);
    let secret = cut(&mut blob);
    // The file of tpm2_activatecredential: a magic number, a version, and the two structures.
    tpm.write("credential", &[&[0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1], identity, secret].concat());
    tpm.write("key.dup", cut(&mut blob));
    tpm.write("key.seed", cut(&mut blob));
    tpm.write("key.pub", cut(&mut blob));
    assert_eq!(blob, [0, 0], "the sized data that may be empty");

    tpm.run("tpm2_startauthsession --policy-session -S session.ctx");
    tpm.run("tpm2_policysecret -S session.ctx -c e");
    tpm.run("tpm2_activatecredential -c srk.ctx -C ek.ctx -i credential -o inner.key -P session:session.ctx");
    tpm.run("tpm2_flushcontext session.ctx");
    tpm.flush();
    assert_eq!(tpm.read("inner.key"), draws.inner_key, "ActivateCredential");

    tpm.run("tpm2_import -C srk.ctx -u key.pub -i key.dup -s key.seed -k inner.key -G aes -r key.priv");
    tpm.flush();
    tpm.run("tpm2_load -C srk.ctx -u key.pub -r key.priv -c key.ctx");
    tpm.flush();
    tpm.write("message", b"0ne%2Fregistrations%2Fdev-1\n1900000000");
    tpm.run("tpm2_hmac -c key.ctx -o signature message");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &KEY);
    let expected = aws_lc_rs::hmac::sign(&key, &tpm.read("message"));
    assert_eq!(tpm.read("signature"), expected.as_ref(), "Import, Load, HMAC");
    assert!(Path::new(&tpm.path("key.priv")).exists());
}
