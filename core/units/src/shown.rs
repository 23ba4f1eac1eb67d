//! Texts of strangers, made fit to be shown: names come from files, devices and services, and may hold anything.

/// The text without what it could do to a terminal, to the lines of a log or to the order of the text around it.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unsettling(c) { '?' } else { c }).collect()
}

/// Controls, what parts lines, and the marks that turn the direction of writing (UAX 9): a name that holds one can make its
/// neighbours read as something else.
pub fn is_unsettling(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                // No characters, which XML refuses.
                | '\u{fffe}' | '\u{ffff}'
        )
}

/// Scheme, host and port of an address, for messages and records: what follows them, or stands before an `@`, may be what
/// lets its holder in.
pub fn origin(address: &str) -> String {
    let is_scheme =
        |scheme: &str| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (scheme, rest) = match address.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
        Some((scheme, rest)) => (&address[..scheme.len() + 3], rest),
        None => ("", address),
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_letters_and_lose_their_tricks() {
        assert_eq!(printable("fühler-\u{1b}[31m\u{202e}7\r\n\u{9b}1A\u{7f}"), "fühler-?[31m?7???1A?");
        assert_eq!(printable("温度 µs 👩‍🔧"), "温度 µs 👩‍🔧");
    }

    #[test]
    fn an_origin_has_nothing_of_what_lets_its_holder_in() {
        for (address, shown) in [
            ("https://hook.example/api?code=x", "https://hook.example"),
            ("https://me:x@hook.example:8443#x", "https://hook.example:8443"),
            ("http://[::1]:80?x", "http://[::1]:80"),
            ("hook.example/?code=x", "hook.example"),
            ("a?code=x://b", "a"),
            ("", ""),
        ] {
            assert_eq!(origin(address), shown, "{address}");
        }
    }
}
