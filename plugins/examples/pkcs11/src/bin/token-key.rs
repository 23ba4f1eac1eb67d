//! Makes the keys of a device in a PKCS#11 token.
//!
//! `token-key MODULE TOKEN pair LABEL` makes a P-256 pair and prints its public key in PEM, for a certificate.
//! `token-key MODULE TOKEN secret LABEL` reads an enrollment's key in base64 from standard input and puts it there.
//! The user's PIN is in the environment variable `PKCS11_PIN`.

use std::io::Read as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_plugin::{Error, Result};
use fleetstorm_plugin_pkcs11::token::{Pin, Token};
use zeroize::Zeroizing;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let [module, token, what, label] = arguments else {
        return Err(Error::new("usage: token-key MODULE TOKEN pair|secret LABEL"));
    };
    let token = Token::open(module, token, &Pin::read(Some("PKCS11_PIN"), None)?)?;
    match &**what {
        "pair" => {
            let public = BASE64_STANDARD.encode(token.make_pair(label)?);
            let lines: Vec<&str> =
                public.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
            println!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
            Ok(())
        }
        "secret" => {
            let mut text = Zeroizing::new(String::new());
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Error::new(format!("standard input cannot be read: {error}")))?;
            let key = BASE64_STANDARD.decode(text.trim()).map_err(|_| Error::new("the key is not base64"))?;
            token.import(label, &Zeroizing::new(key))
        }
        other => Err(Error::new(format!("`{other}` is neither pair nor secret"))),
    }
}
