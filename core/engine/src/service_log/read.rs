//! Logs as streams: JSON lines, a JSON array, or CSV as Log Analytics exports it.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value;
use time::OffsetDateTime;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::Row;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened or read.
    #[error("the log {file} cannot be read: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is text in another encoding.
    #[error("the log {0} is UTF-16; save it as UTF-8")]
    Encoding(String),
    /// It is neither JSON nor CSV, or a part of it is broken.
    #[error("the log {file} is broken: {why}")]
    Broken {
        /// The file.
        file: String,
        /// Where and how.
        why: String,
    },
    /// A column is missing.
    #[error("the log {file} has no column `{column}`; export the columns {}", NEEDED.join(", "))]
    Column {
        /// The file.
        file: String,
        /// The missing column.
        column: &'static str,
    },
}

/// How the reading went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Lines that were read.
    pub rows: u64,
    /// Lines without an operation or a status: of something else, or broken.
    pub skipped: u64,
}

/// Without these columns a line says nothing.
const NEEDED: [&str; 2] = ["OperationName", "ResultSignature"];

/// A line as it is written; every column may be missing, and numbers may be texts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "TimeGenerated", alias = "TimeGenerated [UTC]", alias = "time")]
    time: Option<Value>,
    #[serde(rename = "OperationName", alias = "operationName")]
    operation: Option<String>,
    #[serde(rename = "ResultType", alias = "resultType")]
    result: Option<String>,
    #[serde(rename = "ResultSignature", alias = "resultSignature")]
    status: Option<Value>,
    #[serde(rename = "ResultDescription", alias = "resultDescription")]
    description: Option<String>,
    #[serde(rename = "properties_s", alias = "properties")]
    properties: Option<Value>,
}

impl Wire {
    fn row(self) -> Option<Row> {
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let properties = match self.properties {
            Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_default(),
            Some(value) => value,
            None => Value::Null,
        };
        Some(Row {
            unix_ns: read_time(&text(self.time)),
            operation: self.operation.filter(|operation| !operation.is_empty())?,
            result: self.result.unwrap_or_default(),
            status: text(self.status).trim().parse().ok()?,
            description: self.description.unwrap_or_default(),
            code: properties["errorCode"].as_u64().and_then(|code| u32::try_from(code).ok()).unwrap_or(0),
            id: properties["id"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

/// As the portal writes times into CSV, in UTC.
const PORTAL: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[month padding:none]/[day padding:none]/[year], [hour repr:12 padding:none]:[minute]:[second][optional [.[subsecond]]] [period case:upper]"
);

fn read_time(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, PORTAL).map(PrimitiveDateTime::assume_utc))
        .ok()?;
    u64::try_from(at.unix_timestamp_nanos()).ok()
}

/// Hands every line to `each`.
///
/// # Errors
/// The file is no log of a known form.
pub(super) fn rows(path: &Path, mut each: impl FnMut(Row)) -> Result<ReadSummary, LogError> {
    let name = path.display().to_string();
    let io = |source| LogError::Io { file: name.clone(), source };
    let mut input = BufReader::with_capacity(256 * 1024, File::open(path).map_err(io)?);
    let head = input.fill_buf().map_err(io)?;
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(LogError::Encoding(name));
    }
    let mark: &[u8] = "\u{feff}".as_bytes();
    let skip = if head.starts_with(mark) { mark.len() } else { 0 };
    let first = head[skip..].trim_ascii_start().first().copied();
    input.consume(skip);
    let mut summary = ReadSummary::default();
    let mut take = |wire: Wire| match wire.row() {
        Some(row) => {
            summary.rows += 1;
            each(row);
        }
        None => summary.skipped += 1,
    };
    match first {
        None => {}
        Some(b'[') => array(input, &mut take).map_err(|error| broken(&name, &error))?,
        Some(b'{') => lines(input, &mut take).map_err(|error| broken(&name, &error))?,
        Some(_) => csv(input, &name, &mut take)?,
    }
    if summary.rows == 0 && summary.skipped > 0 {
        return Err(LogError::Column { file: name, column: NEEDED[0] });
    }
    Ok(summary)
}

fn broken(file: &str, why: &impl fmt::Display) -> LogError {
    LogError::Broken { file: file.to_owned(), why: why.to_string() }
}

fn lines(input: impl Read, take: &mut impl FnMut(Wire)) -> serde_json::Result<()> {
    for line in serde_json::Deserializer::from_reader(input).into_iter::<Wire>() {
        match line {
            Ok(wire) => take(wire),
            // The last line of a log that is still being written, or that a full disk has cut.
            Err(error) if error.is_eof() => {
                take(Wire::default());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn array(input: impl Read, take: &mut impl FnMut(Wire)) -> serde_json::Result<()> {
    struct Each<'a, F>(&'a mut F);

    impl<'de, F: FnMut(Wire)> Visitor<'de> for Each<'_, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of log lines")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
            while let Some(wire) = list.next_element()? {
                (self.0)(wire);
            }
            Ok(())
        }
    }

    let mut deserializer = serde_json::Deserializer::from_reader(input);
    (&mut deserializer).deserialize_seq(Each(take))?;
    deserializer.end()
}

fn csv(input: impl Read, name: &str, take: &mut impl FnMut(Wire)) -> Result<(), LogError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let headers = reader.headers().map_err(|error| broken(name, &error))?.clone();
    for column in NEEDED {
        if !headers.iter().any(|header| header.trim() == column) {
            return Err(LogError::Column { file: name.to_owned(), column });
        }
    }
    let place = |column: &str| headers.iter().position(|header| header.trim() == column);
    let time = place("TimeGenerated").or_else(|| place("TimeGenerated [UTC]"));
    let places = [
        time,
        place("OperationName"),
        place("ResultType"),
        place("ResultSignature"),
        place("ResultDescription"),
        place("properties_s"),
    ];
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| broken(name, &error))? {
        let [time, operation, result, status, description, properties] =
            places.map(|place| Some(record.get(place?)?.to_owned()));
        take(Wire {
            time: time.map(Value::String),
            operation,
            result,
            status: status.map(Value::String),
            description,
            properties: properties.map(Value::String),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(Vec<Row>, ReadSummary), LogError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("export");
        std::fs::write(&path, bytes).unwrap();
        let mut list = Vec::new();
        let summary = rows(&path, |row| list.push(row))?;
        Ok((list, summary))
    }

    const LINE: &str = r#"{"TimeGenerated":"2026-01-01T00:00:00.5Z","OperationName":"AttestationAttempt","ResultType":"ClientError","ResultSignature":"401","ResultDescription":"Unauthorized","properties_s":"{\"id\":\"dev-1\",\"errorCode\":401000}"}"#;

    #[test]
    fn every_form_of_an_export_gives_the_same_rows() {
        let csv = "TimeGenerated [UTC],Category,OperationName,ResultType,ResultSignature,ResultDescription,properties_s\r\n\
                   \"1/1/2026, 12:00:00.500 AM\",x,AttestationAttempt,ClientError,401,Unauthorized,\"{\"\"id\"\":\"\"dev-1\"\",\"\"errorCode\"\":401000}\"\r\n";
        let number = LINE.replace("\"401\"", "401");
        let (expected, summary) = read(LINE.as_bytes()).unwrap();
        assert_eq!((summary.rows, summary.skipped), (1, 0));
        assert_eq!((&*expected[0].id, expected[0].code, expected[0].status), ("dev-1", 401_000, 401));
        assert_eq!(expected[0].unix_ns, Some(1_767_225_600_500_000_000));
        for text in [
            format!("[{LINE}]"),
            format!("  \n{number}\n"),
            format!("\u{feff}[{number}]"),
            csv.to_owned(),
            format!("\u{feff}{csv}"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_log_is_told_apart() {
        let utf16: Vec<u8> =
            std::iter::once(0xfeff).chain(LINE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert!(matches!(read(&utf16), Err(LogError::Encoding(_))));
        let error = read(b"OperationName,Level\na,4\n").unwrap_err();
        assert!(error.to_string().contains("`ResultSignature`"), "{error}");
        assert!(matches!(read(b"{\"a\":1}\n{\"b\":2}"), Err(LogError::Column { .. })));
        assert!(matches!(read(b"[1,2]"), Err(LogError::Broken { .. })));
        assert!(matches!(read(format!("[{LINE}").as_bytes()), Err(LogError::Broken { .. })));
        assert!(matches!(read(b"OperationName,ResultSignature\n\xff\xfe,1\n"), Err(LogError::Broken { .. })));
        assert_eq!(read(b"").unwrap().1, ReadSummary::default());
    }

    #[test]
    fn a_line_that_was_cut_is_skipped_and_counted() {
        let cut = format!("{LINE}\n{}", &LINE[..40]);
        let (rows, summary) = read(cut.as_bytes()).unwrap();
        assert_eq!((rows.len(), summary.skipped), (1, 1));
    }
}
