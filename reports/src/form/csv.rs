//! A record as numbers by name, one a line: what a spreadsheet or a script reads without knowing JSON.

use super::study::{self, Number, Value};
use crate::Record;
use crate::analysis::Document;

/// One number: what it belongs to, its name, its value and its unit.
type Line = [String; 4];

/// The record as CSV (RFC 4180) with a header line.
pub(super) fn csv(record: &Record) -> Result<String, String> {
    write(lines(record))
}

/// A study as CSV of the same columns.
pub(super) fn study(document: &Document) -> Result<String, String> {
    let lines = study::numbers(document).into_iter().map(|Number { subject, name, value }| {
        let value = match value {
            Value::Number(value) => value.map(|value| value.to_string()).unwrap_or_default(),
            Value::Word(word) => word,
        };
        let unit = if name.ends_with("_s") { "s" } else { "" };
        [subject, name, value, unit.to_owned()]
    });
    write(lines.collect())
}

fn write(lines: Vec<Line>) -> Result<String, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let put = |writer: &mut csv::Writer<Vec<u8>>, line: &[String]| {
        writer.write_record(line).map_err(|error| error.to_string())
    };
    put(&mut writer, &["subject", "name", "value", "unit"].map(str::to_owned))?;
    for line in lines {
        put(&mut writer, &line.map(harmless))?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// A spreadsheet takes what begins like a formula for one (OWASP, "CSV Injection").
fn harmless(text: String) -> String {
    let formula = text.starts_with(['=', '+', '@', '\t', '\r'])
        || (text.starts_with('-') && text.parse::<f64>().is_err());
    if formula { format!("'{text}") } else { text }
}

fn lines(record: &Record) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut add = |subject: &str, name: &str, value: String, unit: &str| {
        lines.push([subject.to_owned(), name.to_owned(), value, unit.to_owned()]);
    };
    add("run", "name", record.name.clone(), "");
    add("run", "seed", record.seed.to_string(), "");
    add("run", "verdict", crate::verdict::word(record.verdict.result).to_owned(), "");
    add("run", "sentence", record.verdict.sentence.clone(), "");
    add("run", "exit_code", record.verdict.exit_code.to_string(), "");
    add("run", "duration", secs(record.duration_ns), "s");
    let everyone = std::iter::once(("fleet".to_owned(), &record.totals, &record.completion));
    let cohorts = record.cohorts.iter();
    let cohorts =
        cohorts.map(|cohort| (format!("cohort {}", cohort.name), &cohort.totals, &cohort.completion));
    for (subject, totals, completion) in everyone.chain(cohorts) {
        for (name, value) in [
            ("devices", totals.devices),
            ("booted", totals.booted),
            ("assigned", totals.assigned),
            ("stopped", totals.stopped),
            ("parked", totals.parked),
            ("in_flight", totals.in_flight),
            ("without_power", totals.without_power),
            ("unborn", totals.unborn),
            ("connections", totals.connections),
            ("requests", totals.requests),
            ("registers", totals.registers),
            ("billable", totals.billable),
            ("throttled", totals.throttled),
            ("failed", totals.failed),
            ("back_offs", totals.back_offs),
        ] {
            add(&subject, name, value.to_string(), "");
        }
        add(&subject, "backed_off", secs(totals.backed_off_ns), "s");
        for (name, at) in [
            ("t50", completion.t50_ns),
            ("t90", completion.t90_ns),
            ("t99", completion.t99_ns),
            ("t99.9", completion.t999_ns),
            ("t100", completion.t100_ns),
        ] {
            add(&subject, name, at.map(secs).unwrap_or_default(), "s");
        }
    }
    for phase in &record.phases {
        for (from, times) in [("intended", &phase.intended), ("service", &phase.service)] {
            let subject = format!("{} {} {from}", phase.phase, phase.outcome);
            add(&subject, "n", times.count.to_string(), "");
            for (name, us) in [
                ("p50", times.p50_us),
                ("p90", times.p90_us),
                ("p95", times.p95_us),
                ("p99", times.p99_us),
                ("p99.9", times.p999_us),
                ("max", times.max_us),
            ] {
                add(&subject, name, us.to_string(), "us");
            }
        }
    }
    for code in &record.codes {
        let subject = format!("{} {} {} {}", code.operation, code.status, code.code, code.fault);
        add(subject.trim_end(), "count", code.count.to_string(), "");
        add(subject.trim_end(), "devices", code.devices.to_string(), "");
    }
    for objective in &record.objectives {
        let value = objective.value.map(|value| value.to_string()).unwrap_or_default();
        add("objective", &objective.expression, value, crate::verdict::held(objective.status));
    }
    for check in &record.practice.checks {
        add("practice", &check.id, check.broken.to_string(), crate::html::status(check.status).2);
        for (which, case) in crate::practice::cases(check) {
            add(&format!("practice {}", check.id), which, secs(case.at_ns), &case.name);
        }
    }
    lines
}

fn secs(ns: u64) -> String {
    format!("{:.9}", ns as f64 / 1e9).trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_reader_of_csv_finds_the_numbers() {
        let mut record = testing::record();
        record.cohorts[0].name = "a, \"b\"\nc".into();
        let text = csv(&record).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        let value = |subject: &str, name: &str| {
            let row = rows.iter().find(|row| &row[0] == subject && &row[1] == name);
            row.unwrap_or_else(|| panic!("no {subject} {name}"))[2].to_owned()
        };
        assert_eq!(value("fleet", "assigned"), "997");
        assert_eq!(value("cohort a, \"b\"\nc", "t99"), "101.25");
        assert_eq!(value("fleet", "t100"), "");
        assert_eq!(value("register 429 429001", "count"), "503");
    }

    #[test]
    fn a_name_is_no_formula() {
        assert_eq!(harmless("=cmd()".into()), "'=cmd()");
        assert_eq!([harmless("-1.5".into()), harmless("-x".into())], ["-1.5", "'-x"]);
    }
}
