//! Expressions of ARM templates: `[concat(parameters('name'), '-hub')]`. Read here, evaluated by the scope.

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Text(String),
    Number(i64),
    Call(String, Vec<Self>),
    /// What follows a value: `.member` and `[index]`.
    Path(Box<Self>, Vec<Step>),
}

/// A step from a value to a part of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Member(String),
    Index(Expression),
}

/// How deep calls may stand in calls. Azure's own limit on a whole expression is 24,576 characters.
const DEPTH_MOST: usize = 40;

/// The expression that a text is, if it is one; the inner error is where it cannot be read, in bytes.
pub(crate) fn read(text: &str) -> Option<Result<Expression, usize>> {
    let inner = text.strip_prefix('[').filter(|inner| !inner.starts_with('['))?.strip_suffix(']')?;
    let mut reader = Reader { text: inner, at: 0 };
    let expression = reader.expression(0).filter(|_| {
        reader.blanks();
        reader.at == inner.len()
    });
    Some(expression.ok_or(reader.at + 1))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.next().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes this byte, if it comes next.
    fn take(&mut self, wanted: u8) -> bool {
        self.blanks();
        let is_next = self.next() == Some(wanted);
        self.at += usize::from(is_next);
        is_next
    }

    fn while_in(&mut self, holds: fn(u8) -> bool) -> &str {
        let from = self.at;
        while self.next().is_some_and(holds) {
            self.at += 1;
        }
        &self.text[from..self.at]
    }

    fn word(&mut self) -> Option<String> {
        self.blanks();
        let word = self.while_in(|byte| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte));
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn expression(&mut self, depth: usize) -> Option<Expression> {
        if depth > DEPTH_MOST {
            return None;
        }
        self.blanks();
        let value = match self.next()? {
            b'\'' => Expression::Text(self.string()?),
            byte if byte == b'-' || byte.is_ascii_digit() => {
                let number = self.while_in(|byte| byte == b'-' || byte.is_ascii_digit()).parse();
                Expression::Number(number.ok()?)
            }
            _ => {
                // A function of the user's own stands in a namespace.
                let mut name = self.word()?;
                if self.take(b'.') {
                    name = format!("{name}.{}", self.word()?);
                }
                self.take(b'(').then_some(())?;
                Expression::Call(name, self.arguments(depth)?)
            }
        };
        let mut steps = Vec::new();
        loop {
            if self.take(b'.') {
                steps.push(Step::Member(self.word()?));
            } else if self.take(b'[') {
                steps.push(Step::Index(self.expression(depth + 1)?));
                self.take(b']').then_some(())?;
            } else {
                break;
            }
        }
        Some(if steps.is_empty() { value } else { Expression::Path(Box::new(value), steps) })
    }

    fn arguments(&mut self, depth: usize) -> Option<Vec<Expression>> {
        let mut list = Vec::new();
        if self.take(b')') {
            return Some(list);
        }
        loop {
            list.push(self.expression(depth + 1)?);
            if self.take(b')') {
                return Some(list);
            }
            self.take(b',').then_some(())?;
        }
    }

    /// A text in quotes; two quotes in it are one.
    fn string(&mut self) -> Option<String> {
        let mut parts = Vec::new();
        while self.next() == Some(b'\'') {
            let rest = &self.text[self.at + 1..];
            let length = rest.find('\'')?;
            parts.push(&rest[..length]);
            self.at += length + 2;
        }
        Some(parts.join("'"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(name: &str, arguments: Vec<Expression>) -> Expression {
        Expression::Call(name.into(), arguments)
    }

    #[test]
    fn expressions_are_read() {
        let text = |text: &str| Expression::Text(text.into());
        let read = |text| read(text).unwrap().unwrap();
        assert_eq!(read("[parameters('a')]"), call("parameters", vec![text("a")]));
        assert_eq!(read("[ concat( 'it''s' , '', -3 ) ]"), {
            call("concat", vec![text("it's"), text(""), Expression::Number(-3)])
        });
        assert_eq!(read("['''a''']"), text("'a'"));
        let steps = vec![Step::Member("hostName".into()), Step::Index(Expression::Number(0))];
        assert_eq!(read("[reference('x').hostName[0]]"), {
            Expression::Path(Box::new(call("reference", vec![text("x")])), steps)
        });
        assert_eq!(read("[my.name()]"), call("my.name", vec![]));
    }

    #[test]
    fn other_text_is_no_expression_and_a_broken_one_says_where() {
        for text in ["", "plain", "[[escaped]", "[a", "a]"] {
            assert_eq!(super::read(text), None, "{text}");
        }
        for (text, at) in [
            ("[]", 1),
            ("[a]", 2),
            ("[a('x]", 3),
            ("[a('x') b]", 8),
            ("[a(,)]", 3),
            ("[9999999999999999999]", 20),
        ] {
            assert_eq!(super::read(text), Some(Err(at)), "{text}");
        }
        let deep = format!("[{}{}]", "a(".repeat(5_000), ")".repeat(5_000));
        assert!(super::read(&deep).unwrap().is_err());
    }

    proptest! {
        #[test]
        fn nothing_breaks_the_reader(text in "\\[[a-c'.,()\\[\\]0-9é -]{0,40}\\]") {
            if let Some(Err(at)) = super::read(&text) {
                prop_assert!(at <= text.len());
            }
        }

        /// What is written in quotes is what comes back.
        #[test]
        fn quoted_text_comes_back(text in "[a-z'éñ ]{0,20}") {
            let quoted = format!("[f('{}')]", text.replace('\'', "''"));
            prop_assert_eq!(super::read(&quoted), Some(Ok(call("f", vec![Expression::Text(text)]))));
        }
    }
}
