//! SAS tokens, for attestations that sign them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{Error, Result};

/// What `encodeURIComponent` leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
    out.reserve(audience.len() + 128);
    out.push_str("SharedAccessSignature sr=");
    let resource = out.len();
    out.extend(utf8_percent_encode(audience, COMPONENT));
    let rest = out.len();
    let mut digits = [0; 20];
    let digits = decimal(expires_unix_secs, &mut digits);
    out.push('\n');
    out.push_str(digits);
    let signature = hmac_sha256(&out.as_bytes()[resource..]).inspect_err(|_| out.truncate(start))?;
    out.truncate(rest);
    out.push_str("&sig=");
    let mut base64 = [0; 44];
    let length = BASE64_STANDARD.encode_slice(signature, &mut base64);
    let length = length.map_err(|_| Error::new("32 bytes do not fit into 44 digits"))?;
    for &digit in &base64[..length] {
        match digit {
            b'+' => out.push_str("%2B"),
            b'/' => out.push_str("%2F"),
            b'=' => out.push_str("%3D"),
            digit => out.push(char::from(digit)),
        }
    }
    for piece in ["&se=", digits, "&skn=registration"] {
        out.push_str(piece);
    }
    Ok(())
}

/// The decimal digits of a number.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    // Digits are ASCII, so this never takes the other branch.
    std::str::from_utf8(&digits[at..]).unwrap_or_default()
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

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1_900_000_000, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string());
        }
    }
}
