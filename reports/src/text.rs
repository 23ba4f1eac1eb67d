//! Strings of a record, made fit to be shown: they come from scenarios, servers and plugins, and may hold anything.

use std::borrow::Cow;

use fleetstorm_units::shown::is_unsettling;
pub(crate) use fleetstorm_units::shown::printable;

/// At most `max` characters of the printable text, with an ellipsis where there was more.
pub(crate) fn clipped(text: &str, max: usize) -> String {
    let mut chars = text.chars();
    let mut out = printable(&chars.by_ref().take(max).collect::<String>());
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// JSON whose strings hold no character that does something to a terminal: each is written as JSON escapes it, so a reader
/// finds the same strings.
pub fn json_escaped(json: &str) -> Cow<'_, str> {
    let escape = |c: char| is_unsettling(c) && c != '\n';
    if !json.contains(escape) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if escape(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(clipped("äöüß\u{1b}", 3), "äöü…");
        assert_eq!(clipped("a\u{1b}", 3), "a?");
        assert_eq!(clipped("", 0), "");
    }

    #[test]
    fn json_keeps_its_strings_and_loses_what_a_terminal_obeys() {
        let evil = "a\u{1b}[31m\u{7f}\u{9b}\u{202e}b\n";
        let json = serde_json::to_string_pretty(&[evil]).unwrap();
        let escaped = json_escaped(&json);
        assert!(!escaped.contains(|c| is_unsettling(c) && c != '\n'), "{escaped}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap(), [evil]);
    }
}
