//! What lay under a failure, as a text that a record may hold and a log may show.

use std::error::Error;
use std::fmt::{self, Write as _};

use fleetstorm_net::NetError;
use fleetstorm_protocol::Body;
use fleetstorm_units::shown::is_unsettling;

/// Characters of a cause that are kept.
const CHARS_MAX: usize = 160;

/// Shortest run of characters that may be a key or a signature: 16 bytes are 22 digits of base64 and 32 of hex.
const SECRET_CHARS_MIN: usize = 20;
const HEX_SECRET_CHARS_MIN: usize = 32;

/// What somebody said about a failure. Nothing is spelled until it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause<'a> {
    /// Errors, each the cause of the one before.
    Error(&'a (dyn Error + 'static)),
    /// The service's own words.
    Message(&'a str),
    /// How a body begins that cannot be read.
    Beginning(&'a [u8]),
}

impl<'a> Cause<'a> {
    /// What a transport's error was caused by.
    pub(crate) fn of(error: &'a NetError) -> Option<Self> {
        error.source.as_deref().map(|source| Self::Error(source as &(dyn Error + 'static)))
    }

    /// What an answer says about itself.
    pub(crate) fn of_body(body: &'a Body) -> Option<Self> {
        let registration = match body {
            Body::Unreadable(beginning) => return Some(Self::Beginning(beginning)),
            Body::Error(error) => return Some(Self::Message(&error.message)).filter(Self::says_something),
            Body::Operation { registration, .. } => registration.as_deref()?,
            Body::Registration(registration) => registration,
            Body::Empty | Body::Challenge(_) => return None,
        };
        registration.error_message.as_deref().map(Self::Message).filter(Self::says_something)
    }

    fn says_something(&self) -> bool {
        !matches!(self, Self::Message(text) if text.trim().is_empty())
    }

    /// In one line of bounded length, without what unsettles a terminal and without what looks like a secret: a peer may
    /// send back what it was sent.
    pub(crate) fn told(self) -> String {
        let mut line = Line::default();
        // A line that is full refuses more, and that is no failure.
        let _ = write!(line, "{self}");
        line.finish()
    }
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Message(text) => f.write_str(text),
            Self::Beginning(bytes) => {
                write!(f, "the body is no answer of DPS and begins with `{}`", String::from_utf8_lossy(bytes))
            }
            Self::Error(error) => {
                let mut told = error.to_string();
                f.write_str(&told)?;
                let mut source = error.source();
                while let Some(error) = source {
                    let text = error.to_string();
                    // Many errors say what their source says.
                    if !told.contains(&text) {
                        write!(f, ": {text}")?;
                        told = text;
                    }
                    source = error.source();
                }
                Ok(())
            }
        }
    }
}

/// A text as it is written, cut where it is long enough.
#[derive(Default)]
struct Line {
    text: String,
    /// The run of characters in hand, which may be a secret.
    run: String,
    chars: usize,
}

impl Line {
    fn end_run(&mut self) {
        if looks_like_a_secret(&self.run) {
            self.text.push_str("[hidden]");
        } else {
            self.text.push_str(&self.run);
        }
        self.run.clear();
    }

    fn finish(mut self) -> String {
        self.end_run();
        let mut text: String = self.text.trim().chars().take(CHARS_MAX).collect();
        if self.chars > CHARS_MAX {
            text.push('…');
        }
        text
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // A secret that the end cuts is taken whole, so that it is known for one.
            if self.chars > 2 * CHARS_MAX {
                return Err(fmt::Error);
            }
            self.chars += 1;
            if c.is_ascii_alphanumeric() || "+/=%_-".contains(c) {
                self.run.push(c);
                continue;
            }
            self.end_run();
            self.text.push(if c.is_whitespace() {
                ' '
            } else if is_unsettling(c) || c == char::REPLACEMENT_CHARACTER {
                '?'
            } else {
                c
            });
        }
        Ok(())
    }
}

/// Whether a run is spelled as keys, signatures and their tokens are: base64, as it stands or escaped for a URL, or hex.
/// Names, paths and GUIDs are not. What is named a signature or a key is one however little of it is left.
fn looks_like_a_secret(run: &str) -> bool {
    let lower = run.to_ascii_lowercase();
    let named = ["sig=", "sig%3d", "key=", "key%3d"];
    if named.iter().any(|name| lower.split_once(name).is_some_and(|(_, rest)| !rest.is_empty())) {
        return true;
    }
    let any = |is: fn(&u8) -> bool| run.bytes().any(|byte| is(&byte));
    let is_hex = run.len() >= HEX_SECRET_CHARS_MIN && run.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_base64 = run.len() >= SECRET_CHARS_MIN
        && any(u8::is_ascii_uppercase)
        && any(u8::is_ascii_lowercase)
        && any(|byte| byte.is_ascii_digit() || b"+/=%".contains(byte));
    is_hex || is_base64
}

#[cfg(test)]
mod tests {
    use fleetstorm_protocol::outcome::Fault;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn a_chain_of_errors_is_told_once_each() {
        let chain = Told(
            "cannot connect: refused",
            Some(Box::new(Told("refused", Some(Box::new(Told("by a wall", None)))))),
        );
        assert_eq!(Cause::Error(&chain).told(), "cannot connect: refused: by a wall");
        let error = NetError::new(Fault::Refused, std::io::Error::from_raw_os_error(111));
        assert_eq!(Cause::of(&error).unwrap().told(), "Connection refused (os error 111)");
        assert!(Cause::of(&Fault::Closed.into()).is_none());
    }

    #[test]
    fn a_body_is_told_by_its_words_or_its_beginning() {
        let body = Body::unreadable(b"<html>\n<h1>\x1b[31m502\xff</h1>");
        assert_eq!(
            Cause::of_body(&body).unwrap().told(),
            "the body is no answer of DPS and begins with `<html> <h1>?[31m502?</h1>`"
        );
        assert!(Cause::of_body(&Body::Empty).is_none());
    }

    #[test]
    fn secrets_are_hidden_and_names_are_kept() {
        let hides = |text: &str| !Cause::Message(text).told().contains(text);
        // Of the documentation of SAS tokens and keys; none of them opens anything.
        for secret in [
            "jbjyKX8MhAD8UWmWgfNHJvKJAjsiXH4LOXJAGCZQYyE=",
            "sig%3DjbjyKX8MhAD8UWmWgfNHJvKJAjsiXH4LOXJAGCZQYyE%3D",
            "00112233445566778899aabbccddeeff",
        ] {
            assert!(hides(secret), "{secret}");
        }
        let token = "Authorization: SharedAccessSignature sr=scope%2Fregistrations%2Fd&sig=q0Vb2wX1mFjlkPZ8yQxNrAA%3D&se=1";
        assert!(!Cause::Message(token).told().contains("q0Vb2w"));
        for plain in [
            "/usr/lib/softhsm/libsofthsm2.so",
            "invalid peer certificate: NotValidForNameContext",
            "global.azure-devices-provisioning.net has no address",
            "6c84fb90-12c4-11e1-840d-7b25c5ee775a",
            "PKCS#11: CKR_PIN_INCORRECT",
        ] {
            assert!(!hides(plain), "{plain}");
        }
        let cut = Body::unreadable(b"<html>SharedAccessSignature sr=0ne00ABCDEF%2Fdev-1&sig=q0Vb2wX1mF");
        assert!(!Cause::of_body(&cut).unwrap().told().contains("q0V"), "the beginning of a signature");
        // One that the end would cut in two is hidden as well.
        let cut = format!("{} jbjyKX8MhAD8UWmWgfNHJvKJAjsiXH4LOXJAGCZQYyE=", "word ".repeat(30));
        assert!(!Cause::Message(&cut).told().contains("jbj"));
    }

    proptest! {
        #[test]
        fn whatever_was_said_is_one_short_line(text in ".{0,600}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for told in [Cause::Message(&text).told(), Cause::Beginning(&bytes).told()] {
                prop_assert!(told.chars().count() <= CHARS_MAX + 1, "{}", told);
                prop_assert!(!told.chars().any(is_unsettling), "{:?}", told);
            }
        }
    }
}
