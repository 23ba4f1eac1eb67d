//! SAS tokens, for attestations that sign them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use crate::config::{Error, Result};

/// Appends the token `SharedAccessSignature sr=…&sig=…&se=…&skn=registration` for `audience` to `out`, valid until
/// `expires_unix_secs` (Microsoft, "Control access to DPS"). `hmac_sha256` signs the text that it is given with the
/// device's key.
///
/// A fleet signs a token for every registration, so nothing is put together twice: what is signed stands in `out` while
/// it is signed.
///
/// # Errors
/// Those of `hmac_sha256`. `out` is then as it was.
pub fn write_sas_token(
    audience: &str,
    expires_unix_secs: u64,
    out: &mut String,
    hmac_sha256: impl FnOnce(&[u8]) -> Result<[u8; 32]>,
) -> Result<()> {
    let start = out.len();
    // Enough for an audience in which nothing but its slashes is escaped.
    out.reserve(audience.len() + 160);
    out.push_str("SharedAccessSignature sr=");
    let resource = out.len();
    push_component(audience, out);
    let rest = out.len();
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(expires_unix_secs);
    out.push('\n');
    out.push_str(digits);
    let signature = hmac_sha256(&out.as_bytes()[resource..]).inspect_err(|_| out.truncate(start))?;
    out.truncate(rest);
    let mut base64 = [0; 43];
    let length = BASE64_STANDARD_NO_PAD.encode_slice(signature, &mut base64);
    let length = length.map_err(|_| Error::new("32 bytes do not fit into 43 digits"))?;
    // Base64 is ASCII, so this never takes the other branch.
    push_signature(std::str::from_utf8(&base64[..length]).unwrap_or_default(), out);
    // 32 bytes end in one sign of padding.
    out.push_str("%3D&se=");
    out.push_str(digits);
    out.push_str("&skn=registration");
    Ok(())
}

/// Appends `&sig=` and base64 as a component of a URI. The digits that are escaped are few, and looked for at once.
fn push_signature(base64: &str, out: &mut String) {
    out.push_str("&sig=");
    let mut copied = 0;
    for at in memchr::memchr2_iter(b'+', b'/', base64.as_bytes()) {
        out.push_str(&base64[copied..at]);
        out.push_str(if base64.as_bytes()[at] == b'+' { "%2B" } else { "%2F" });
        copied = at + 1;
    }
    out.push_str(&base64[copied..]);
}

/// Which bytes `encodeURIComponent` leaves alone.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    plain
};

/// Appends a text as a component of a URI, in runs.
fn push_component(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !PLAIN[usize::from(byte)]) {
        // What comes before it is ASCII, so a character begins here.
        let (run, special) = rest.split_at(at);
        out.push_str(run);
        let width = special.chars().next().map_or(1, char::len_utf8);
        let (character, after) = special.split_at(width);
        for byte in character.bytes() {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
        rest = after;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signature of every kind of digit: `+`, `/`, `=`, letters and numbers.
    const SIGNATURE: [u8; 32] = [
        0xfb, 0xff, 0xbe, 0x00, 0x10, 0x83, 0x10, 0x51, 0x87, 0x20, 0x92, 0x8b, 0x30, 0xd3, 0x8f, 0x41, 0x14,
        0x93, 0x51, 0x55, 0x97, 0x61, 0x96, 0x9b, 0x71, 0xd7, 0x9f, 0x82, 0x18, 0xa3, 0x92, 0x59,
    ];

    #[test]
    fn what_is_signed_is_what_stands_in_the_token() {
        let mut token = "kept ".to_owned();
        write_sas_token("0ne/registrations/a b:ä", 1_900_000_000, &mut token, |text| {
            assert_eq!(text, b"0ne%2Fregistrations%2Fa%20b%3A%C3%A4\n1900000000");
            Ok(SIGNATURE)
        })
        .unwrap();
        assert_eq!(
            token,
            "kept SharedAccessSignature sr=0ne%2Fregistrations%2Fa%20b%3A%C3%A4\
             &sig=%2B%2F%2B%2BABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklk%3D&se=1900000000&skn=registration"
        );
    }

    #[test]
    fn a_token_that_cannot_be_signed_leaves_nothing_behind() {
        let mut token = "kept".to_owned();
        let refused = write_sas_token("a", 1, &mut token, |_| Err(Error::new("no key")));
        assert_eq!((refused.unwrap_err().to_string(), &*token), ("no key".to_owned(), "kept"));
    }
}
