//! Attestation with keys that never leave a PKCS#11 token: an HSM, a smart card, or SoftHSM to try it out.
//!
//! `pkcs11-certificate` makes the signature of the TLS handshake in the token, `pkcs11-key` the HMAC of SAS tokens. Both
//! say that they may wait for hardware, so Fleetstorm asks them beside its event loop. The program `token-key` of this
//! crate makes the keys.

mod certificate;
mod key;
pub mod token;

use std::collections::BTreeMap;

use fleetstorm_plugin::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use token::{Pin, Token};

fleetstorm_plugin::export! {
    fleetstorm_plugin_pkcs11;
    attestation: [certificate::Certificate, key::Key]
}

/// Where the token is and how its user proves to be one.
#[derive(Deserialize, JsonSchema)]
struct TokenConfig {
    /// The PKCS#11 module, such as `/usr/lib/softhsm/libsofthsm2.so`.
    module: String,
    /// The token's label.
    token: String,
    /// The label of a device's key; `{id}` stands for its registration id.
    #[serde(default = "the_id")]
    key: String,
    /// The environment variable that holds the user's PIN.
    pin_env: Option<String>,
    /// The file that holds the user's PIN.
    pin_file: Option<String>,
    /// What is none of these, nor of the parameters beside them.
    #[serde(flatten)]
    #[schemars(skip)]
    unknown: BTreeMap<String, IgnoredAny>,
}

fn the_id() -> String {
    "{id}".to_owned()
}

/// What a pattern stands for, for this device.
fn for_device(pattern: &str, registration_id: &str) -> String {
    pattern.replace("{id}", registration_id)
}

impl TokenConfig {
    fn open(&self) -> fleetstorm_plugin::Result<Token> {
        if let Some(name) = self.unknown.keys().next() {
            return Err(Error::new(format!("{name}: there is no such parameter")));
        }
        let pin = Pin::read(self.pin_env.as_deref(), self.pin_file.as_deref())?;
        Token::open(&self.module, &self.token, &pin)
    }
}
