//! `fleetstorm report`: a record in another form.

use fleetstorm_engine::write_whole;
use fleetstorm_reports::Record;

use crate::arguments::ReportArguments;
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn run(arguments: &ReportArguments) -> Result<u8, Failure> {
    let path = &arguments.record;
    let bytes = std::fs::read(path).map_err(|error| Failure::unreadable("record", path, &error))?;
    let record =
        Record::read(&bytes).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let Some(out) = &arguments.out else {
        print!("{}", fleetstorm_reports::summary(&record, terminal::colours(&std::io::stdout())));
        return Ok(0);
    };
    let text = match out.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => fleetstorm_reports::html(&record),
        Some("md") => fleetstorm_reports::markdown(&record),
        Some("txt") => fleetstorm_reports::summary(&record, false),
        _ => {
            return Err(Failure::usage(format!(
                "{} has an ending that stands for no form: use .html, .md or .txt",
                out.display()
            )));
        }
    };
    write_whole(out, text.as_bytes()).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(0)
}
