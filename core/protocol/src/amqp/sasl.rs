//! The SASL layer (OASIS AMQP 1.0, part 5, 5.3), with the mechanisms that clients of DPS use (`dps` 8.1).

use super::value::{Compound, Reader, Value};
use super::{Malformed, Mechanism};

/// What a frame of SASL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sasl<'a> {
    /// What the server offers; only those that are known here.
    Mechanisms(Vec<Mechanism>),
    Init {
        mechanism: &'a str,
        initial_response: Option<&'a [u8]>,
        hostname: Option<&'a str>,
    },
    Challenge(&'a [u8]),
    Response(&'a [u8]),
    /// 0 is success.
    Outcome(u8),
}

pub(super) fn read(body: &[u8]) -> Result<Sasl<'_>, Malformed> {
    let described = Reader(body).described()?;
    let mut fields = described.fields()?;
    Ok(match described.descriptor {
        0x40 => Sasl::Mechanisms(match fields.field()? {
            Value::Text(one) => Mechanism::of(one).into_iter().collect(),
            Value::Texts(several) => several.filter_map(Mechanism::of).collect(),
            _ => return Err(Malformed::Type),
        }),
        0x41 => Sasl::Init {
            mechanism: fields.text()?.ok_or(Malformed::Missing)?,
            initial_response: fields.binary()?,
            hostname: fields.text()?,
        },
        0x42 => Sasl::Challenge(fields.binary()?.ok_or(Malformed::Missing)?),
        0x43 => Sasl::Response(fields.binary()?.ok_or(Malformed::Missing)?),
        0x44 => Sasl::Outcome(fields.number()?.ok_or(Malformed::Missing)?),
        _ => return Err(Malformed::Type),
    })
}

pub(super) fn write(sasl: &Sasl<'_>, out: &mut Vec<u8>) {
    match sasl {
        Sasl::Mechanisms(mechanisms) => {
            let names: Vec<&str> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
            Compound::list(0x40, out).symbols(&names).end();
        }
        Sasl::Init { mechanism, initial_response, hostname } => {
            Compound::list(0x41, out).symbol(*mechanism).binary(*initial_response).string(*hostname).end();
        }
        Sasl::Challenge(challenge) => Compound::list(0x42, out).binary(*challenge).end(),
        Sasl::Response(response) => Compound::list(0x43, out).binary(*response).end(),
        Sasl::Outcome(code) => Compound::list(0x44, out).ubyte(*code).end(),
    }
}

/// Writes the response of PLAIN (RFC 4616) without an authorization identity.
pub(super) fn plain(user: &str, password: &str) -> Vec<u8> {
    [b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat()
}

/// Reads the response of PLAIN: user name and password.
pub(super) fn read_plain(response: &[u8]) -> Option<(&str, &str)> {
    let mut parts = std::str::from_utf8(response).ok()?.split('\0');
    let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some((user, password))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_mechanism_may_stand_without_an_array() {
        let mut out = Vec::new();
        Compound::list(0x40, &mut out).symbol("PLAIN").end();
        assert_eq!(read(&out), Ok(Sasl::Mechanisms(vec![Mechanism::Plain])));
        out.clear();
        Compound::list(0x40, &mut out).symbols(&["GSSAPI", "EXTERNAL"]).end();
        assert_eq!(read(&out), Ok(Sasl::Mechanisms(vec![Mechanism::External])));
    }

    #[test]
    fn plain_has_three_parts() {
        assert_eq!(
            read_plain(&plain("scope/registrations/a", "SharedAccessSignature x")),
            Some(("scope/registrations/a", "SharedAccessSignature x"))
        );
        assert_eq!(read_plain(b"\0user"), None);
        assert_eq!(read_plain(b"\0user\0pass\0more"), None);
        assert_eq!(read_plain(b"\0\xff\0x"), None);
    }

    fn any_sasl() -> impl Strategy<Value = (u8, Vec<u8>, String)> {
        (0..5u8, any::<Vec<u8>>(), ".{0,40}")
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(bytes: Vec<u8>, descriptor in 0x40..0x45u8) {
            let _ = read(&bytes);
            let mut plausible = vec![0, 0x53, descriptor, 0xc0, bytes.len().min(200) as u8, 1];
            plausible.extend(&bytes);
            let _ = read(&plausible);
            let _ = read_plain(&bytes);
        }

        #[test]
        fn what_is_written_reads_back((kind, bytes, text) in any_sasl()) {
            let sasl = match kind {
                0 => Sasl::Mechanisms(Mechanism::ALL.to_vec()),
                1 => Sasl::Init { mechanism: "PLAIN", initial_response: Some(&bytes), hostname: Some(&text) },
                2 => Sasl::Challenge(&bytes),
                3 => Sasl::Response(&bytes),
                _ => Sasl::Outcome(bytes.len() as u8),
            };
            let mut out = Vec::new();
            write(&sasl, &mut out);
            prop_assert_eq!(read(&out), Ok(sasl));
        }
    }
}
