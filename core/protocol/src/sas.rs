//! SAS tokens: building them, reading every observed form, and what is signed (`dps` 6).
//!
//! A token is `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={policy}`. The signature is an
//! HMAC-SHA256 over the `sr` value **exactly as it stands in the token**, a line feed and `se`. Clients escape the
//! resource in five different ways, so nobody who verifies may spell it anew.
//!
//! This crate has no cryptography: whoever calls brings the HMAC.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What `encodeURIComponent` leaves alone; everything else is escaped.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const SCHEME: &str = "SharedAccessSignature ";

/// A token as it was presented. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SasToken<'a> {
    /// The `sr` value as it stands in the token.
    pub literal_resource: &'a str,
    /// The `sr` value decoded, without a leading slash.
    pub resource: Cow<'a, str>,
    /// The signature's bytes.
    pub signature: Vec<u8>,
    /// `se` as it stands in the token.
    pub literal_expiry: &'a str,
    /// `se` in seconds since the Unix epoch.
    pub expires_unix_secs: u64,
    /// `skn`; missing and empty are the same.
    pub policy: &'a str,
}

/// Why a text is no SAS token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It does not begin with `SharedAccessSignature `.
    #[error("not a SharedAccessSignature")]
    Scheme,
    /// A part is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A part stands twice.
    #[error("`{0}` stands twice")]
    Repeated(&'static str),
    /// The resource is not UTF-8 once decoded.
    #[error("`sr` is not UTF-8")]
    Resource,
    /// The signature is not base64.
    #[error("`sig` is not base64")]
    Signature,
    /// The expiry is no number of seconds.
    #[error("`se` is not a number of seconds")]
    Expiry,
}

impl<'a> SasToken<'a> {
    /// Reads a token in any order and escaping that real clients use (`dps` 6.2).
    ///
    /// # Errors
    /// Says which part is missing or malformed.
    pub fn read(text: &'a str) -> Result<Self, InvalidToken> {
        let head = text.get(..SCHEME.len()).filter(|head| head.eq_ignore_ascii_case(SCHEME));
        let fields = head.map(|_| &text[SCHEME.len()..]).ok_or(InvalidToken::Scheme)?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for field in fields.trim().split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let (place, name) = match name {
                "sr" => (&mut sr, "sr"),
                "sig" => (&mut sig, "sig"),
                "se" => (&mut se, "se"),
                "skn" => (&mut skn, "skn"),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(InvalidToken::Repeated(name));
            }
        }
        let literal_resource = sr.ok_or(InvalidToken::Missing("sr"))?;
        let resource =
            percent_decode_str(literal_resource).decode_utf8().map_err(|_| InvalidToken::Resource)?;
        let signature: Vec<u8> = percent_decode_str(sig.ok_or(InvalidToken::Missing("sig"))?).collect();
        let literal_expiry = se.ok_or(InvalidToken::Missing("se"))?;
        Ok(Self {
            literal_resource,
            resource: without_slash(resource),
            signature: BASE64_STANDARD.decode(signature).map_err(|_| InvalidToken::Signature)?,
            literal_expiry,
            expires_unix_secs: literal_expiry.parse().map_err(|_| InvalidToken::Expiry)?,
            policy: skn.unwrap_or(""),
        })
    }

    /// What the signature is over.
    pub fn signed_text(&self) -> String {
        signed_text(self.literal_resource, self.literal_expiry)
    }
}

fn without_slash(resource: Cow<'_, str>) -> Cow<'_, str> {
    match resource {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_start_matches('/')),
        Cow::Owned(text) => Cow::Owned(text.trim_start_matches('/').to_owned()),
    }
}

fn signed_text(resource: &str, expiry: impl std::fmt::Display) -> String {
    format!("{resource}\n{expiry}")
}

/// Writes a device's token for `resource` (such as `0ne00ABCDEF/registrations/dev-1`) into `out`. `hmac` computes
/// HMAC-SHA256 over its argument with the device's key.
pub fn write_token(
    resource: &str,
    expires_unix_secs: u64,
    policy: &str,
    hmac: impl FnOnce(&[u8]) -> [u8; 32],
    out: &mut String,
) {
    let resource = utf8_percent_encode(resource, COMPONENT).to_string();
    let signature = BASE64_STANDARD.encode(hmac(signed_text(&resource, expires_unix_secs).as_bytes()));
    let signature = utf8_percent_encode(&signature, COMPONENT);
    use std::fmt::Write as _;
    let _ = write!(out, "{SCHEME}sr={resource}&sig={signature}&se={expires_unix_secs}");
    if !policy.is_empty() {
        let _ = write!(out, "&skn={policy}");
    }
}

/// Whether a token's resource covers `requested`: the same path or a parent of it, by segment and without case.
pub fn covers(resource: &str, requested: &str) -> bool {
    let resource = resource.trim_matches('/');
    match requested.get(..resource.len()) {
        Some(head) if !resource.is_empty() && head.eq_ignore_ascii_case(resource) => {
            matches!(requested.as_bytes().get(resource.len()), None | Some(b'/'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use proptest::prelude::*;

    use super::*;

    fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().try_into().unwrap()
    }

    fn group_key() -> Vec<u8> {
        (0..64).collect()
    }

    /// The vectors of `dps` 6.4.
    #[test]
    fn signatures_match_the_vectors() {
        let derived = hmac_sha256(&group_key(), b"dev-0001");
        assert_eq!(BASE64_STANDARD.encode(derived), "Dp7K5DC2GBQM2Io/oha3Zlzn2d8nuvzAtHG91KuONiQ=");
        for (key, resource, signature) in [
            (
                &group_key()[..],
                "0ne00ABCDEF%2Fregistrations%2Fdev-0001",
                "J/iyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE=",
            ),
            (
                &group_key(),
                "0ne00ABCDEF%2fregistrations%2fdev-0001",
                "TXPORMfyPYh171BmtjzcfUDGk5TOp1XYPTSy0P/puXk=",
            ),
            (
                &group_key(),
                "0ne00ABCDEF/registrations/dev-0001",
                "5ox+TTabRxk1KVdE/JiWhQB/89mEr186fqSqEllE7cU=",
            ),
            (
                &group_key(),
                "0ne00abcdef%2fregistrations%2fdev-0001",
                "MjUGJBx8+71aAIh2n3WFiOrFL2N4aI5xryMDkfXdbkA=",
            ),
            (
                &derived,
                "0ne00ABCDEF%2Fregistrations%2Fdev-0001",
                "eg1rWF3ZMGavnJD4rHkAivFB3jPy9u6uvYJyGyKQSLI=",
            ),
            (
                &derived,
                "hub-1.azure-devices.net%2Fdevices%2Fdev-0001",
                "ZiqZR5l+HGa+wrup0Grwwv/pxc/hR3aivdXJfBssta4=",
            ),
        ] {
            let text = signed_text(resource, 1_900_000_000);
            assert_eq!(BASE64_STANDARD.encode(hmac_sha256(key, text.as_bytes())), signature, "{resource}");
        }
        let published = BASE64_STANDARD
            .decode(
                "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==",
            )
            .unwrap();
        let derived = hmac_sha256(&published, b"sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6");
        assert_eq!(BASE64_STANDARD.encode(derived), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
    }

    #[test]
    fn a_token_reads_back_and_verifies_over_its_literal_text() {
        let key = group_key();
        let mut text = String::new();
        write_token(
            "0ne00ABCDEF/registrations/dev-0001",
            1_900_000_000,
            "registration",
            |t| hmac_sha256(&key, t),
            &mut text,
        );
        assert_eq!(
            text,
            "SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fdev-0001\
             &sig=J%2Fiyrcr8AFfksfraY2raKQDJi0imX3cLP8B643MT8LE%3D&se=1900000000&skn=registration"
        );
        let token = SasToken::read(&text).unwrap();
        assert_eq!(token.resource, "0ne00ABCDEF/registrations/dev-0001");
        assert_eq!(token.signature, hmac_sha256(&key, token.signed_text().as_bytes()));
        assert_eq!((token.expires_unix_secs, token.policy), (1_900_000_000, "registration"));
    }

    /// One line for each client of the capture table: order, escaping and policy name differ.
    #[test]
    fn every_observed_form_is_read() {
        for text in [
            "SharedAccessSignature sr=0ne%2Fregistrations%2Fd&sig=AAAA&se=5",
            "SharedAccessSignature sr=0ne/registrations/d&sig=AAAA&skn=registration&se=5",
            "SharedAccessSignature sr=0ne%2fregistrations%2fd&sig=AA%41A&se=5&skn=registration",
            "SharedAccessSignature sr=/0ne/registrations/d&sig=AAAA&se=5&skn=",
            "SharedAccessSignature se=5&skn=registration&sig=AAAA&sr=0ne%2Fregistrations%2Fd",
        ] {
            let token = SasToken::read(text).unwrap();
            assert_eq!(token.resource, "0ne/registrations/d", "{text}");
            assert_eq!(token.signature, [0, 0, 0]);
            assert!(matches!(token.policy, "" | "registration"));
        }
        for (text, error) in [
            ("Bearer x", InvalidToken::Scheme),
            ("SharedAccessSignature sig=AAAA&se=5", InvalidToken::Missing("sr")),
            ("SharedAccessSignature sr=a&sr=b&sig=AAAA&se=5", InvalidToken::Repeated("sr")),
            ("SharedAccessSignature sr=%ff&sig=AAAA&se=5", InvalidToken::Resource),
            ("SharedAccessSignature sr=a&sig=%%&se=5", InvalidToken::Signature),
            ("SharedAccessSignature sr=a&sig=AAAA&se=-5", InvalidToken::Expiry),
        ] {
            assert_eq!(SasToken::read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn resources_are_compared_by_segment_without_case() {
        assert!(covers("0NE/registrations/Dev", "0ne/Registrations/dev"));
        assert!(covers("0ne", "0ne/registrations/dev"));
        assert!(!covers("0ne/registrations/de", "0ne/registrations/dev"));
        assert!(!covers("", "0ne/registrations/dev"));
        assert!(!covers("0ne/registrations/dev/more", "0ne/registrations/dev"));
    }

    proptest! {
        #[test]
        fn any_text_reads_without_a_panic(text in ".*", fields in "(sr|sig|se|skn|x|=|&|%[0-9a-f]{2}|[a-z/]){0,20}") {
            let _ = SasToken::read(&text);
            let _ = SasToken::read(&format!("{SCHEME}{fields}"));
        }

        #[test]
        fn any_resource_survives(scope in "[0-9a-zA-Z]{1,12}", id in "[0-9a-zA-Z:._-]{1,40}", se: u64) {
            let resource = format!("{scope}/registrations/{id}");
            let mut text = String::new();
            write_token(&resource, se, "", |_| [7; 32], &mut text);
            let token = SasToken::read(&text).unwrap();
            prop_assert_eq!(&*token.resource, &resource);
            prop_assert_eq!(token.expires_unix_secs, se);
            prop_assert_eq!(token.signature, [7; 32]);
        }
    }
}
