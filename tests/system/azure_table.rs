//! The page that says how sure the mock is to do as Azure does: every test that it names is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// The names of the functions that are tests.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for part in ["core", "tests/system"] {
        sources(&root.join(part), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for part in text.split("#[test]").skip(1) {
            let name = part.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
            names.extend(name.map(|(name, _)| name.to_owned()));
        }
    }
    names
}

#[test]
fn every_row_says_how_sure_it_is_and_names_a_test_that_is_there() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/docs/azure.md");
    let page = std::fs::read_to_string(page).unwrap();
    let tests = tests();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    let mut behaviours = BTreeSet::new();
    for row in rows {
        let [behaviour, sure, source, test] = row[..] else { panic!("{row:?}") };
        assert!(behaviours.insert(behaviour.to_owned()), "twice: {behaviour}");
        let known = ["verified", "inferred", "setting"].iter().any(|word| sure.starts_with(word));
        assert!(known && !source.is_empty(), "{row:?}");
        let name = test.trim_matches('`');
        assert!(tests.contains(name), "there is no test `{name}`: {behaviour}");
    }
}
