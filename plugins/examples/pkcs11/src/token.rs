//! A token: its module, its user, and the keys in it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use fleetstorm_plugin::{Error, Result};
use zeroize::Zeroizing;

/// The user's PIN. It comes from the environment or from a file, never from a scenario.
pub struct Pin(AuthPin);

impl Pin {
    /// Reads the PIN from where it is.
    ///
    /// # Errors
    /// It is nowhere, or in two places.
    pub fn read(variable: Option<&str>, file: Option<&str>) -> Result<Self> {
        let text = match (variable, file) {
            (Some(name), None) => std::env::var(name)
                .map_err(|_| Error::new(format!("pin_env: the environment variable {name} is not set")))?,
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| Error::new(format!("pin_file: {path} cannot be read: {error}")))?,
            _ => return Err(Error::new("pin_env, pin_file: give one of the two")),
        };
        let text = Zeroizing::new(text);
        Ok(Self(AuthPin::new(text.trim_end_matches(['\r', '\n']).into())))
    }
}

/// The modules of this process: PKCS#11 initialises a module once, whoever uses it.
static MODULES: Mutex<BTreeMap<String, Pkcs11>> = Mutex::new(BTreeMap::new());

fn module(path: &str) -> Result<Pkcs11> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let refused = |error: TokenError| Error::new(format!("module: {path} cannot be used: {error}"));
    let module = Pkcs11::new(path).map_err(refused)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(TokenError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(refused(error)),
    }
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}

/// A token that its user has logged in to, for as long as this lives.
pub struct Token {
    module: Pkcs11,
    slot: Slot,
    /// A login ends with the last session of the process.
    _login: Mutex<Session>,
}

impl Token {
    /// Opens the token of this label and logs its user in.
    ///
    /// # Errors
    /// Says what is wrong with the module, the label or the PIN.
    pub fn open(module_path: &str, label: &str, pin: &Pin) -> Result<Self> {
        let module = module(module_path)?;
        let slots =
            module.get_slots_with_token().map_err(|error| said("the slots cannot be listed", &error))?;
        let is_it =
            |slot: &Slot| module.get_token_info(*slot).is_ok_and(|token| token.label().trim_end() == label);
        let slot = slots.into_iter().find(is_it);
        let slot = slot.ok_or_else(|| Error::new(format!("token: no token is labelled `{label}`")))?;
        let session =
            module.open_rw_session(slot).map_err(|error| said("no session can be opened", &error))?;
        match session.login(UserType::User, Some(&pin.0)) {
            Ok(()) | Err(TokenError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(said("the token refuses its user", &error)),
        }
        Ok(Self { module, slot, _login: Mutex::new(session) })
    }

    /// The key of this label and class, with a session of its own.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn key(&self, label: &str, class: ObjectClass) -> Result<TokenKey> {
        let session = self.session()?;
        let wanted = [Attribute::Class(class), Attribute::Label(label.as_bytes().to_vec())];
        let found =
            session.find_objects(&wanted).map_err(|error| said("keys cannot be looked for", &error))?;
        match found[..] {
            [key] => Ok(TokenKey { session: Mutex::new(session), key }),
            _ => Err(Error::new(format!("key: {} keys are labelled `{label}`", found.len()))),
        }
    }

    /// Makes a P-256 key pair whose private half cannot leave the token; returns its SubjectPublicKeyInfo (RFC 5480).
    ///
    /// # Errors
    /// The token cannot make one.
    pub fn make_pair(&self, label: &str) -> Result<Vec<u8>> {
        let session = self.session()?;
        let named = Attribute::Label(label.as_bytes().to_vec());
        let public = [
            Attribute::Token(true),
            Attribute::Verify(true),
            Attribute::EcParams(PRIME256V1.to_vec()),
            named.clone(),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            named,
        ];
        let failed = |error| said("the key pair cannot be made", &error);
        let (public, _) =
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map_err(failed)?;
        let attributes = session.get_attributes(public, &[AttributeType::EcPoint]).map_err(failed)?;
        let [Attribute::EcPoint(point)] = &attributes[..] else {
            return Err(Error::new("the token does not tell its public key"));
        };
        // The point is an OCTET STRING around its 65 bytes.
        let point = point.strip_prefix(&[0x04, 0x41]).filter(|point| point.len() == 65);
        let point = point.ok_or_else(|| Error::new("the token's public key is no point of P-256"))?;
        Ok([&SPKI_P256[..], point].concat())
    }

    /// Puts an HMAC key into the token, which cannot be read from there.
    ///
    /// # Errors
    /// The token refuses it.
    pub fn import(&self, label: &str, key: &[u8]) -> Result<()> {
        let session = self.session()?;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Value(key.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        session.create_object(&template).map_err(|error| said("the key cannot be imported", &error))?;
        Ok(())
    }

    fn session(&self) -> Result<Session> {
        self.module.open_rw_session(self.slot).map_err(|error| said("no session can be opened", &error))
    }
}

/// The object identifier of P-256.
const PRIME256V1: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What stands before the point in a SubjectPublicKeyInfo of P-256.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key in a token. A session does one thing at a time.
pub struct TokenKey {
    session: Mutex<Session>,
    key: ObjectHandle,
}

impl TokenKey {
    /// HMAC-SHA256 over a text.
    ///
    /// # Errors
    /// The token does not sign.
    pub fn hmac_sha256(&self, text: &[u8]) -> Result<[u8; 32]> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let tag = session.sign(&Mechanism::Sha256Hmac, self.key, text);
        let tag = tag.map_err(|error| said("the token does not sign", &error))?;
        tag.try_into().map_err(|_| Error::new("the token's HMAC is not SHA-256's"))
    }

    /// An ECDSA signature over the SHA-256 of a message: the two numbers, 32 bytes each.
    ///
    /// # Errors
    /// The token does not sign.
    pub fn ecdsa_sha256(&self, message: &[u8]) -> Result<[u8; 64]> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = session.digest(&Mechanism::Sha256, message);
        let signature = digest.and_then(|digest| session.sign(&Mechanism::Ecdsa, self.key, &digest));
        let signature = signature.map_err(|error| said("the token does not sign", &error))?;
        signature.try_into().map_err(|_| Error::new("the token's signature is none of P-256"))
    }
}

fn said(what: &str, error: &TokenError) -> Error {
    Error::new(format!("{what}: {error}"))
}
