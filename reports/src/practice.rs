//! What every form of a report says of a best practice that was broken.

use crate::Record;
use crate::number::nanos;
use crate::record::{Case, Check, Clock};

/// The first occasion on which it was broken, and the worst one where that is another.
pub(crate) fn cases(check: &Check) -> impl Iterator<Item = (&'static str, &Case)> {
    let worst = check.worst.as_ref().filter(|worst| check.first.as_ref() != Some(worst));
    let first = check.first.as_ref().map(|first| ("first", first));
    first.into_iter().chain(worst.map(|worst| ("worst", worst)))
}

/// An occasion in one line. Texts of the record stand in it.
pub(crate) fn told(case: &Case) -> String {
    format!("{} at {} {}", case.name, nanos(case.at_ns), case.what)
}

/// The command that tells the life of the device that broke it worst. A name of the record stands in it.
pub(crate) fn replay(record: &Record, check: &Check) -> Option<String> {
    let name = &check.worst.as_ref().or(check.first.as_ref())?.name;
    let untold = record.clock == Clock::Wall && record.trace.is_none();
    Some(if untold {
        format!("fleetstorm run SCENARIO --trace trace.jsonl --trace-device {name}")
    } else {
        let path = if record.path.is_empty() { "run.json" } else { &record.path };
        format!("fleetstorm explain {} {name}", quoted(path))
    })
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &str) -> std::borrow::Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    if path.chars().all(is_plain) { path.into() } else { format!("'{}'", path.replace('\'', "'\\''")).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Trace;
    use crate::{Document, Form, testing};

    #[test]
    fn every_form_tells_the_first_and_the_worst_case_and_how_to_see_it_again() {
        let mut record = testing::record();
        let broken = record.practice.checks.iter().find(|check| check.worst.is_some()).unwrap().clone();
        let [(_, first), (_, worst)] = cases(&broken).collect::<Vec<_>>()[..] else { panic!("two cases") };
        let (first, worst) = (first.name.clone(), worst.name.clone());
        record.clock = Clock::Wall;
        for (trace, command) in [(false, "trace-device"), (true, "explain run.json")] {
            record.trace =
                trace.then(|| Trace { file: "t".into(), written: 1, dropped: 0, error: String::new() });
            assert!(replay(&record, &broken).unwrap().contains(command));
            let strict = Form::Junit { strict_practices: true };
            let lenient = Form::Junit { strict_practices: false };
            record.path = "out dir/run.json".into();
            let command = &command.replace("run.json", "'out dir/run.json'");
            assert!(replay(&record, &broken).unwrap().contains(command.as_str()));
            record.path.clear();
            let command = &command.replace("'out dir/run.json'", "run.json");
            for form in [Form::Html, Form::Markdown, Form::Text, strict, lenient] {
                let text = form.render(&Document::Run(Box::new(record.clone()))).unwrap();
                assert!(text.contains(&first) && text.contains(&worst), "{form}: {text}");
                // A terminal may break the line.
                let unbroken = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("\\_", "_");
                assert!(unbroken.contains(command.as_str()), "{form}: {text}");
            }
            let csv = Form::Csv.render(&Document::Run(Box::new(record.clone()))).unwrap();
            assert!(csv.contains(&format!("practice {},worst,40,{worst}", broken.id)), "{csv}");
        }
    }
}
