//! Protocol headers and frames (OASIS AMQP 1.0, part 2, 2.2 and 2.3).

use super::Malformed;

/// Bytes of a protocol header, and of a frame's header.
pub const HEADER_BYTES: usize = 8;

/// What a connection is to be used for: the fifth byte of a protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP itself.
    Amqp,
    /// A SASL layer first.
    Sasl,
}

/// What stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit<'a> {
    /// A protocol header; `None` for a protocol or version that is not spoken here.
    Header(Option<Protocol>),
    /// A frame of AMQP. An empty one only says that the peer lives.
    Amqp {
        /// The channel.
        channel: u16,
        /// A performative, and behind a transfer a part of its message.
        body: &'a [u8],
    },
    /// A frame of SASL.
    Sasl(&'a [u8]),
}

/// The length of the unit that `bytes` begin with; `None` if more bytes are needed to know.
///
/// # Errors
/// The bytes begin with no header and no frame, or with a frame of more than `frame_max_bytes`.
pub fn length(bytes: &[u8], frame_max_bytes: usize) -> Result<Option<usize>, Malformed> {
    let Some(size) = bytes.first_chunk::<4>() else { return Ok(None) };
    if size == b"AMQP" {
        return Ok(Some(HEADER_BYTES));
    }
    match u32::from_be_bytes(*size) as usize {
        size if size < HEADER_BYTES => Err(Malformed::Frame),
        size if size > frame_max_bytes => Err(Malformed::TooLong),
        size => Ok(Some(size)),
    }
}

/// Reads a unit of the length that [`length`] gave.
///
/// # Errors
/// It is no frame.
pub fn read(unit: &[u8]) -> Result<Unit<'_>, Malformed> {
    let (head, rest) = unit.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::Incomplete)?;
    if let [b'A', b'M', b'Q', b'P', protocol, version @ ..] = head {
        return Ok(Unit::Header(match (protocol, version) {
            (0, [1, 0, 0]) => Some(Protocol::Amqp),
            (3, [1, 0, 0]) => Some(Protocol::Sasl),
            _ => None,
        }));
    }
    let [_, _, _, _, words, kind, channel @ ..] = *head;
    // The body begins after so many words of four bytes; between the header and it stands nothing that has a meaning.
    let extended = (usize::from(words) * 4).checked_sub(HEADER_BYTES).ok_or(Malformed::Frame)?;
    let body = rest.get(extended..).ok_or(Malformed::Frame)?;
    match kind {
        0 => Ok(Unit::Amqp { channel: u16::from_be_bytes(channel), body }),
        1 => Ok(Unit::Sasl(body)),
        _ => Err(Malformed::Frame),
    }
}

/// Writes a protocol header.
pub fn write_header(protocol: Protocol, out: &mut Vec<u8>) {
    let number = match protocol {
        Protocol::Amqp => 0,
        Protocol::Sasl => 3,
    };
    out.extend([b'A', b'M', b'Q', b'P', number, 1, 0, 0]);
}

/// Writes a frame of AMQP on channel 0 with the body that `write` makes.
pub(super) fn write_amqp(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    write_frame(0, out, write);
}

/// Writes a frame of SASL.
pub(super) fn write_sasl(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    write_frame(1, out, write);
}

/// Writes a frame that only says that this end lives.
pub fn write_heartbeat(out: &mut Vec<u8>) {
    write_amqp(out, |_| ());
}

fn write_frame(kind: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0, 0, 0, 0, 2, kind, 0, 0]);
    write(out);
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_says_what_is_spoken() {
        for (bytes, expected) in [
            (b"AMQP\0\x01\0\0", Some(Protocol::Amqp)),
            (b"AMQP\x03\x01\0\0", Some(Protocol::Sasl)),
            // A TLS layer inside, and the other AMQP.
            (b"AMQP\x02\x01\0\0", None),
            (b"AMQP\0\0\x09\x01", None),
        ] {
            assert_eq!(length(bytes, 512), Ok(Some(8)));
            assert_eq!(read(bytes), Ok(Unit::Header(expected)));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_by_its_first_bytes() {
        assert_eq!(length(&[0, 0, 2, 1], 512), Err(Malformed::TooLong));
        assert_eq!(length(b"GET / HTTP/1.1", 65_536), Err(Malformed::TooLong));
        assert_eq!(length(&[0, 0, 0, 7], 512), Err(Malformed::Frame));
        assert_eq!((length(&[0, 0, 2], 512), length(&[0, 0, 2, 0], 512)), (Ok(None), Ok(Some(512))));
    }

    #[test]
    fn an_extended_header_is_passed_over() {
        let unit = [0, 0, 0, 13, 3, 0, 0, 5, 9, 9, 9, 9, 7];
        assert_eq!(read(&unit), Ok(Unit::Amqp { channel: 5, body: &[7] }));
        assert_eq!(read(&[0, 0, 0, 8, 1, 0, 0, 0]), Err(Malformed::Frame));
        assert_eq!(read(&[0, 0, 0, 8, 3, 0, 0, 0]), Err(Malformed::Frame));
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(bytes: Vec<u8>) {
            let _ = length(&bytes, 512);
            let _ = read(&bytes);
        }

        #[test]
        fn a_frame_comes_out_as_it_went_in(body: Vec<u8>) {
            let mut out = Vec::new();
            write_amqp(&mut out, |out| out.extend(&body));
            prop_assert_eq!(length(&out, usize::MAX), Ok(Some(out.len())));
            prop_assert_eq!(read(&out), Ok(Unit::Amqp { channel: 0, body: &body[..] }));
        }
    }
}
