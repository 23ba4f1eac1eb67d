//! Strings of a record, made fit to be shown: they come from scenarios, servers and plugins, and may hold anything.

/// Without what a hostile name could do to a terminal or to the order of the text around it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if unsettling(c) { '?' } else { c }).collect()
}

/// At most `max` characters of the printable text, with an ellipsis where there was more.
pub(crate) fn clipped(text: &str, max: usize) -> String {
    let mut chars = text.chars();
    let mut out = printable(&chars.by_ref().take(max).collect::<String>());
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// Controls, and the marks that turn the direction of writing (UAX 9): a name that holds one can make its neighbours
/// read as something else.
fn unsettling(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_letters_and_lose_their_tricks() {
        assert_eq!(printable("fühler-\u{1b}[31m\u{202e}7"), "fühler-?[31m?7");
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(clipped("äöüß", 3), "äöü…");
        assert_eq!(clipped("", 0), "");
    }
}
