//! Logs as streams: JSON (lines, an array, the wrapper `records` of Event Hubs, the wrapper `tables` of the query API) or
//! CSV as Log Analytics exports it.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Row;
use super::when::{Reading, Said, When};

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
    /// It is text in another encoding, or compressed.
    #[error("the log {file} is {what}")]
    Encoding {
        /// The file.
        file: String,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// It is neither JSON nor CSV, or a part of it is broken.
    #[error("the log {file} is broken: {why}")]
    Broken {
        /// The file.
        file: String,
        /// Where and how.
        why: String,
    },
    /// A column is missing.
    #[error(
        "the log {file} has no column `{column}`: {}; export the columns {}",
        if found.is_empty() { "it has none that is known".to_owned() } else { format!("it has {}", found.join(", ")) },
        WANTED.join(", ")
    )]
    Column {
        /// The file.
        file: String,
        /// The missing column.
        column: &'static str,
        /// Those that it has.
        found: Vec<String>,
    },
}

/// How the reading went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Lines that were read.
    pub rows: u64,
    /// Lines without an operation or a status: of something else, or broken.
    pub skipped: u64,
    /// What became of the times.
    pub times: Times,
}

/// What became of a file's times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// They are known, where there are any.
    #[default]
    Known,
    /// The file calls them local and nobody has said where.
    Local,
    /// The day and the month of every line could be the other.
    Ambiguous,
    /// In some lines the day comes first and in others the month, or some have a form that is not known.
    Unreadable,
}

/// Without these columns a line says nothing.
const NEEDED: [&str; 2] = ["OperationName", "ResultSignature"];
/// What is read of a line.
const WANTED: [&str; 6] =
    ["TimeGenerated", "OperationName", "ResultType", "ResultSignature", "ResultDescription", "properties_s"];
/// Names of columns that an error tells.
const TOLD_MAX: usize = 24;

/// A column that is read.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Time { local: bool },
    Operation,
    Result,
    Status,
    Description,
    Properties,
}

impl Column {
    /// Log Analytics, its query API and a storage account spell the same names differently.
    fn of(name: &str) -> Option<Self> {
        let (name, zone) = name.trim().split_once('[').unwrap_or((name.trim(), "UTC"));
        let zone = zone.trim().trim_end_matches(']');
        Some(match &*name.trim().to_ascii_lowercase() {
            "timegenerated" | "time" => Self::Time { local: !zone.eq_ignore_ascii_case("UTC") },
            "operationname" => Self::Operation,
            "resulttype" => Self::Result,
            "resultsignature" => Self::Status,
            "resultdescription" => Self::Description,
            "properties_s" | "properties" => Self::Properties,
            _ => return None,
        })
    }
}

/// A line as it is written; every column may be missing, and numbers may be texts.
#[derive(Default)]
struct Wire {
    time: String,
    local: bool,
    operation: String,
    result: String,
    status: String,
    description: String,
    properties: Value,
}

impl Wire {
    fn set(&mut self, column: Column, value: Value) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        match column {
            Column::Time { local } => (self.time, self.local) = (text(value), local),
            Column::Operation => self.operation = text(value),
            Column::Result => self.result = text(value),
            Column::Status => self.status = text(value),
            Column::Description => self.description = text(value),
            Column::Properties => {
                self.properties = match value {
                    Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
                    value => value,
                }
            }
        }
    }

    /// The status of a line; 0 for a success that names none, as real ones do.
    fn status(&self, code: u32) -> Option<u16> {
        let status = self.status.trim();
        // Tools that took the column for a number with a fraction write it back as one.
        match status.strip_suffix(".0").unwrap_or(status).parse() {
            Ok(status) => Some(status),
            Err(_) if !status.is_empty() => None,
            Err(_) if code > 0 => u16::try_from(code / 1_000).ok(),
            Err(_) => self.result.eq_ignore_ascii_case("Success").then_some(0),
        }
    }
}

/// Where lines go.
struct Sink<'a> {
    reading: Reading,
    each: &'a mut dyn FnMut(Row),
    summary: ReadSummary,
    when: When,
    /// The names of the first line's columns.
    columns: Vec<String>,
    /// Something of the item in hand has been read.
    begun: bool,
}

impl Sink<'_> {
    fn take(&mut self, wire: Wire) {
        let code =
            wire.properties["errorCode"].as_u64().and_then(|code| u32::try_from(code).ok()).unwrap_or(0);
        let (false, Some(status)) = (wire.operation.is_empty(), wire.status(code)) else {
            self.summary.skipped += 1;
            return;
        };
        self.summary.rows += 1;
        let at = self.when.read(&wire.time, wire.local, self.reading);
        (self.each)(Row {
            at,
            operation: wire.operation,
            result: wire.result,
            status,
            description: wire.description,
            code,
            id: wire.properties["id"].as_str().unwrap_or_default().to_owned(),
        });
    }

    fn column(&mut self, name: &str) {
        if self.columns.len() < TOLD_MAX {
            self.columns.push(name.chars().filter(|c| !c.is_control()).take(60).collect());
        }
    }
}

/// Hands every line to `each`.
///
/// # Errors
/// The file is no log of a known form.
pub(super) fn rows(
    path: &Path,
    reading: Reading,
    mut each: impl FnMut(Row),
) -> Result<(ReadSummary, Said), LogError> {
    let name = path.display().to_string();
    let io = |source| LogError::Io { file: name.clone(), source };
    let mut input = BufReader::with_capacity(256 * 1024, File::open(path).map_err(io)?);
    let head = input.fill_buf().map_err(io)?;
    if let Some(what) = foreign(head) {
        return Err(LogError::Encoding { file: name, what });
    }
    let mark: &[u8] = "\u{feff}".as_bytes();
    let skip = if head.starts_with(mark) { mark.len() } else { 0 };
    let first = head[skip..].trim_ascii_start().first().copied();
    input.consume(skip);
    let mut sink = Sink {
        reading,
        each: &mut each,
        summary: ReadSummary::default(),
        when: When::default(),
        columns: Vec::new(),
        begun: false,
    };
    match first {
        None => {}
        Some(b'[' | b'{') => values(input, &mut sink).map_err(|error| broken(&name, &error))?,
        Some(_) => csv(input, &name, &mut sink)?,
    }
    let Sink { mut summary, when, columns, .. } = sink;
    if summary.rows == 0 && summary.skipped > 0 {
        let has = |needed: &str| columns.iter().any(|name| name.eq_ignore_ascii_case(needed));
        let column = NEEDED.into_iter().find(|needed| !has(needed)).unwrap_or(NEEDED[0]);
        return Err(LogError::Column { file: name, column, found: columns });
    }
    let said = when.said();
    summary.times = said.into();
    Ok((summary, said))
}

impl From<Said> for Times {
    fn from(said: Said) -> Self {
        match said {
            Said::Either | Said::MonthFirst | Said::DayFirst => Self::Known,
            Said::Ambiguous => Self::Ambiguous,
            Said::Local => Self::Local,
            Said::Unreadable => Self::Unreadable,
        }
    }
}

/// What is no text as it is.
fn foreign(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16; save it as UTF-8"),
        [0x1f, 0x8b, ..] => Some("compressed with gzip; unpack it first (gunzip)"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("compressed with zstd; unpack it first (unzstd)"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive or a workbook; unpack it, or save it as CSV"),
        _ => None,
    }
}

fn broken(file: &str, why: &impl fmt::Display) -> LogError {
    LogError::Broken { file: file.to_owned(), why: why.to_string() }
}

/// JSON values one after the other: lines, or one that holds all of them.
fn values(input: impl Read, sink: &mut Sink<'_>) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_reader(input);
    loop {
        sink.begun = false;
        let mut whole = false;
        match (Item { sink, whole: &mut whole }).deserialize(&mut deserializer) {
            Ok(()) => {}
            Err(error) if error.is_eof() && !sink.begun => return Ok(()),
            // The last line of a log that is still being written, or that a full disk has cut.
            Err(error) if error.is_eof() && !whole => {
                sink.summary.skipped += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// A line, or what holds lines.
struct Item<'a, 'b> {
    sink: &'a mut Sink<'b>,
    /// Whether it is a list of lines, which says when it is over.
    whole: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log line, or a list of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        (self.sink.begun, *self.whole) = (true, true);
        Lines(self.sink).visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.sink.begun = true;
        let first = self.sink.summary.rows + self.sink.summary.skipped == 0 && self.sink.columns.is_empty();
        let mut wire = Wire::default();
        let mut is_line = true;
        while let Some(name) = map.next_key::<String>()? {
            match &*name {
                "records" => {
                    (is_line, *self.whole) = (false, true);
                    map.next_value_seed(Lines(self.sink))?;
                }
                "tables" | "Tables" => {
                    (is_line, *self.whole) = (false, true);
                    map.next_value_seed(Tables(self.sink))?;
                }
                name => {
                    if first {
                        self.sink.column(name);
                    }
                    match Column::of(name) {
                        Some(column) => wire.set(column, map.next_value()?),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
            }
        }
        if is_line {
            self.sink.take(wire);
        }
        Ok(())
    }
}

/// A list of lines.
struct Lines<'a, 'b>(&'a mut Sink<'b>);

impl<'de> DeserializeSeed<'de> for Lines<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Lines<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of log lines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Line(self.0))?.is_some() {}
        Ok(())
    }
}

/// One line of a list.
struct Line<'a, 'b>(&'a mut Sink<'b>);

impl<'de> DeserializeSeed<'de> for Line<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut whole = false;
        deserializer.deserialize_map(Item { sink: self.0, whole: &mut whole })
    }
}

/// The tables of an answer of the query API.
struct Tables<'a, 'b>(&'a mut Sink<'b>);

impl<'de> DeserializeSeed<'de> for Tables<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Tables<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of tables")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Table(self.0))?.is_some() {}
        Ok(())
    }
}

struct Table<'a, 'b>(&'a mut Sink<'b>);

/// A column of a table, by either of its spellings.
#[derive(Deserialize)]
struct Named {
    #[serde(alias = "ColumnName")]
    name: String,
}

impl<'de> DeserializeSeed<'de> for Table<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Table<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with columns and rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut places: Option<Vec<Option<Column>>> = None;
        while let Some(name) = map.next_key::<String>()? {
            match &*name {
                "columns" | "Columns" => {
                    let columns: Vec<Named> = map.next_value()?;
                    if self.0.columns.is_empty() {
                        columns.iter().for_each(|column| self.0.column(&column.name));
                    }
                    places = Some(columns.iter().map(|column| Column::of(&column.name)).collect());
                }
                "rows" | "Rows" => {
                    let places = places
                        .as_deref()
                        .ok_or_else(|| A::Error::custom("the rows of a table before its columns"))?;
                    map.next_value_seed(Rows { sink: self.0, places })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Rows<'a, 'b> {
    sink: &'a mut Sink<'b>,
    places: &'a [Option<Column>],
}

impl<'de> DeserializeSeed<'de> for Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(cells) = list.next_element::<Vec<Value>>()? {
            let mut wire = Wire::default();
            for (place, cell) in self.places.iter().zip(cells) {
                if let Some(column) = place {
                    wire.set(*column, cell);
                }
            }
            self.sink.take(wire);
        }
        Ok(())
    }
}

fn csv(mut input: impl BufRead, name: &str, sink: &mut Sink<'_>) -> Result<(), LogError> {
    let head = input.fill_buf().map_err(|source| LogError::Io { file: name.to_owned(), source })?;
    let delimiter = delimiter(head);
    let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(input);
    let headers = reader.headers().map_err(|error| broken(name, &error))?.clone();
    headers.iter().for_each(|header| sink.column(header.trim()));
    let places: Vec<Option<Column>> = headers.iter().map(Column::of).collect();
    for (column, needed) in [(Column::Operation, NEEDED[0]), (Column::Status, NEEDED[1])] {
        if !places.contains(&Some(column)) {
            let found = std::mem::take(&mut sink.columns);
            return Err(LogError::Column { file: name.to_owned(), column: needed, found });
        }
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| broken(name, &error))? {
        let mut wire = Wire::default();
        for (place, cell) in places.iter().zip(&record) {
            if let Some(column) = place {
                wire.set(*column, Value::String(cell.to_owned()));
            }
        }
        sink.take(wire);
    }
    Ok(())
}

/// What stands between the cells: a spreadsheet writes semicolons where a comma is a decimal point.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or(head);
    let count = |wanted: u8| line.iter().filter(|byte| **byte == wanted).count();
    [b',', b';', b'\t'].into_iter().max_by_key(|one| (count(*one), *one == b',')).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(Vec<Row>, ReadSummary), LogError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("export");
        std::fs::write(&path, bytes).unwrap();
        let mut list = Vec::new();
        let (summary, _) = rows(&path, Reading::default(), |row| list.push(row))?;
        Ok((list, summary))
    }

    const LINE: &str = r#"{"TimeGenerated":"2026-01-01T00:00:00.5Z","OperationName":"AttestationAttempt","ResultType":"ClientError","ResultSignature":"401","ResultDescription":"Unauthorized","properties_s":"{\"id\":\"dev-1\",\"errorCode\":401000}"}"#;

    #[test]
    fn every_form_of_an_export_gives_the_same_rows() {
        let csv = "TimeGenerated [UTC],Category,OperationName,ResultType,ResultSignature,ResultDescription,properties_s\r\n\
                   \"1/1/2026, 12:00:00.500 AM\",x,AttestationAttempt,ClientError,401,Unauthorized,\"{\"\"id\"\":\"\"dev-1\"\",\"\"errorCode\"\":401000}\"\r\n";
        let semicolons = csv.replacen(',', ";", 6).replace("\",x,", "\";x;").replace(
            "AttestationAttempt,ClientError,401,Unauthorized,",
            "AttestationAttempt;ClientError;401;Unauthorized;",
        );
        let number = LINE.replace("\"401\"", "401");
        let archived = LINE
            .replace("TimeGenerated", "time")
            .replace("OperationName", "operationName")
            .replace("ResultType", "resultType")
            .replace("ResultSignature", "resultSignature")
            .replace("ResultDescription", "resultDescription")
            .replace("properties_s", "properties");
        let table = r#"{"tables":[{"name":"PrimaryResult","columns":[{"name":"TimeGenerated","type":"datetime"},{"name":"Category","type":"string"},{"name":"OperationName","type":"string"},{"name":"ResultType","type":"string"},{"name":"ResultSignature","type":"string"},{"name":"ResultDescription","type":"string"},{"name":"properties_s","type":"string"}],"rows":[["2026-01-01T00:00:00.5Z","DeviceOperations","AttestationAttempt","ClientError","401","Unauthorized","{\"id\":\"dev-1\",\"errorCode\":401000}"]]}]}"#;
        let (expected, summary) = read(LINE.as_bytes()).unwrap();
        assert_eq!((summary.rows, summary.skipped), (1, 0));
        assert_eq!((&*expected[0].id, expected[0].code, expected[0].status), ("dev-1", 401_000, 401));
        assert_eq!(expected[0].at, [Some(1_767_225_600_500_000_000); 2]);
        for text in [
            format!("[{LINE}]"),
            format!("  \n{number}\n"),
            format!("\u{feff}[{number}]"),
            format!("{{\"records\":[{archived}]}}"),
            format!("{{\"records\": [ {archived} ] }}\r\n{{\"records\":[]}}"),
            table.to_owned(),
            table
                .replace("tables", "Tables")
                .replace("columns", "Columns")
                .replace("rows", "Rows")
                .replace("\"name\"", "\"ColumnName\""),
            csv.to_owned(),
            format!("\u{feff}{csv}"),
            csv.replace("\r\n", "\n").replace("401,", "401.0,"),
            semicolons,
        ] {
            assert_eq!(read(text.as_bytes()).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn a_success_names_no_status_and_a_failure_its_code() {
        let line = |result: &str, properties: &str| {
            format!("AttestationAttempt,{result},,\"{}\"", properties.replace('"', "\"\""))
        };
        let text = [
            "OperationName,ResultType,ResultSignature,properties_s",
            &line("Success", "{}"),
            &line("ClientError", "{\"errorCode\":404201}"),
            &line("Failure", ""),
        ]
        .join("\n");
        let (rows, summary) = read(text.as_bytes()).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.status, row.code)).collect::<Vec<_>>(),
            [(0, 0), (404, 404_201)]
        );
        assert_eq!((summary.rows, summary.skipped), (2, 1), "a failure without a number says nothing");
    }

    #[test]
    fn what_is_no_log_is_told_apart() {
        let utf16: Vec<u8> =
            std::iter::once(0xfeff).chain(LINE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for (bytes, word) in
            [(&utf16[..], "UTF-16"), (&b"\x1f\x8b\x08..."[..], "gunzip"), (b"PK\x03\x04", "workbook")]
        {
            let error = read(bytes).unwrap_err();
            assert!(
                matches!(error, LogError::Encoding { .. }) && error.to_string().contains(word),
                "{error}"
            );
        }
        for text in ["OperationName,Level\na,4\n", "{\"OperationName\":\"a\",\"Level\":4}"] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("`ResultSignature`") && error.contains("it has OperationName, Level"),
                "{error}"
            );
        }
        assert!(matches!(read(b"{\"a\":1}\n{\"b\":2}"), Err(LogError::Column { .. })));
        assert!(matches!(read(b"[1,2]"), Err(LogError::Broken { .. })));
        assert!(matches!(read(b"{\"records\":7}"), Err(LogError::Broken { .. })));
        assert!(matches!(
            read(b"{\"tables\":[{\"rows\":[[1]],\"columns\":[]}]}"),
            Err(LogError::Broken { .. })
        ));
        assert!(matches!(read(format!("[{LINE}").as_bytes()), Err(LogError::Broken { .. })));
        assert!(matches!(read(format!("{{\"records\":[{LINE}").as_bytes()), Err(LogError::Broken { .. })));
        assert!(matches!(read(b"OperationName,ResultSignature\n\xff\xfe,1\n"), Err(LogError::Broken { .. })));
        assert_eq!(read(b"").unwrap().1, ReadSummary::default());
    }

    #[test]
    fn what_is_not_known_of_the_times_is_told() {
        let csv = |head: &str, times: &[&str]| {
            let rows: String = times.iter().map(|time| format!("\"{time}\",Get,Success,200\n")).collect();
            read(format!("{head},OperationName,ResultType,ResultSignature\n{rows}").as_bytes())
                .unwrap()
                .1
                .times
        };
        assert_eq!(csv("TimeGenerated [UTC]", &["1/13/2026, 1:00:00.000 PM"]), Times::Known);
        assert_eq!(csv("TimeGenerated [Local Time]", &["1/13/2026, 1:00:00.000 PM"]), Times::Local);
        assert_eq!(csv("TimeGenerated [UTC]", &["1/2/2026, 1:00:00.000 PM"]), Times::Ambiguous);
        assert_eq!(csv("TimeGenerated [UTC]", &["1/2/2026, 13:00:00", "14/2/2026, 13:00:00"]), Times::Known);
        assert_eq!(csv("TimeGenerated [UTC]", &["yesterday"]), Times::Unreadable);
        assert_eq!(csv("TimeGenerated [UTC]", &[""]), Times::Known, "there is none");
    }

    #[test]
    fn a_line_that_was_cut_is_skipped_and_counted() {
        let cut = format!("{LINE}\n{}", &LINE[..40]);
        let (rows, summary) = read(cut.as_bytes()).unwrap();
        assert_eq!((rows.len(), summary.skipped), (1, 1));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_damage_to_an_export_is_a_panic(at in 0usize..2_000, byte in any::<u8>(), cut in 0usize..2_000, form in 0..4) {
            let mut text = match form {
                0 => format!("{LINE}\n{LINE}\n"),
                1 => format!("{{\"records\":[{LINE},{LINE}]}}"),
                2 => r#"{"tables":[{"columns":[{"name":"OperationName"},{"name":"ResultSignature"}],"rows":[["Get","200"],["Get",""]]}]}"#.to_owned(),
                _ => "TimeGenerated [UTC],OperationName,ResultSignature\n\"1/2/2026, 1:00 PM\",Get,200\n".to_owned(),
            }
            .into_bytes();
            let length = text.len();
            text[at % length] = byte;
            text.truncate(length - cut % length);
            let _ = read(&text);
        }
    }
}
