//! Symmetric key attestation whose HMAC is computed in the token.

use cryptoki::object::ObjectClass;
use fleetstorm_plugin::{Attestation, Result, write_sas_token};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::token::{Token, TokenKey};
use crate::{TokenConfig, for_device};

pub(crate) struct Key {
    token: Token,
    label: String,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Config {
    #[serde(flatten)]
    token: TokenConfig,
}

impl Attestation for Key {
    const ID: &'static str = "pkcs11-key";
    const SUMMARY: &'static str = "SAS tokens signed by HMAC in a PKCS#11 token.";
    const MAY_BLOCK: bool = true;
    type Config = Config;
    type Device = TokenKey;

    fn new(config: Config) -> Result<Self> {
        Ok(Self { token: config.token.open()?, label: config.token.key })
    }

    fn device(&self, registration_id: &str, _: [u64; 4]) -> Result<TokenKey> {
        self.token.key(&for_device(&self.label, registration_id), ObjectClass::SECRET_KEY)
    }

    fn authorize(
        &self,
        device: &TokenKey,
        _: u32,
        audience: &str,
        expires_unix_secs: u64,
        out: &mut String,
    ) -> Result<bool> {
        write_sas_token(audience, expires_unix_secs, out, |text| device.hmac_sha256(text))?;
        Ok(true)
    }
}
