//! What the pages say of the code is so: files stand where they say, and hold what they name.
//!
//! A code span with a slash is a path from the top of the repository, or the end of one. Spans behind a colon, as in
//! "`core/net/src/frames.rs`: `struct Frames`", must stand in that file. A how-to follows something that is there already,
//! its worked example: every source file that names it is a place of the page, so that a place which is new fails it too.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Module, crates, manifest, root};

/// Pages beside the how-tos.
const PAGES: [&str; 4] =
    ["core/ARCHITECTURE.md", "core/GLOSSARY.md", "core/docs/decisions.md", "CONTRIBUTING.md"];
const HOW_TOS: &str = "core/docs/howto";

/// A file that a page names, and what stands in it.
#[derive(Debug, PartialEq)]
struct Place {
    file: String,
    items: Vec<String>,
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Files of the repository by their paths from its top, without what is built.
fn files() -> BTreeSet<String> {
    fn walk(directory: &Path, before: &str, into: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() && !["target", ".git", "node_modules"].contains(&&*name) {
                walk(&entry.path(), &format!("{before}{name}/"), into);
            } else if kind.is_file() {
                into.insert(format!("{before}{name}"));
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&root(), "", &mut found);
    found
}

fn how_tos() -> Vec<String> {
    let all = files();
    all.into_iter().filter(|file| file.starts_with(HOW_TOS)).collect()
}

/// Code spans of a line, each with the text between it and the next.
fn spans(line: &str) -> Vec<(&str, &str)> {
    let pieces: Vec<&str> = line.split('`').collect();
    pieces[1..].chunks(2).filter_map(|pair| Some((pair[0], *pair.get(1)?))).collect()
}

/// Whether a span is a path: it has a slash, and nothing that paths here have not.
fn is_path(span: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    span.contains('/') && !span.starts_with('/') && span.bytes().all(plain)
}

/// Places that a page names. What is set apart as code is left out.
fn places(text: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let mut apart = false;
    for line in text.lines() {
        apart ^= line.trim_start().starts_with("```");
        if apart {
            continue;
        }
        let spans = spans(line);
        for (at, (span, after)) in spans.iter().enumerate() {
            if !is_path(span) {
                continue;
            }
            let mut items = Vec::new();
            if *after == ": " {
                for (item, after) in &spans[at + 1..] {
                    items.push((*item).to_owned());
                    if *after != ", " {
                        break;
                    }
                }
            }
            places.push(Place { file: (*span).to_owned(), items });
        }
    }
    places
}

/// Whether a name stands in a text as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let apart =
        |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"_-".contains(byte));
    text.match_indices(name).any(|(at, _)| {
        apart(at.checked_sub(1).and_then(|before| text.as_bytes().get(before)))
            && apart(text.as_bytes().get(at + name.len()))
    })
}

#[test]
fn what_pages_name_is_there() {
    let files = files();
    let mut wrong = Vec::new();
    for page in PAGES.into_iter().map(str::to_owned).chain(how_tos()) {
        for Place { file, items } in places(&read(&page)) {
            let end = format!("/{file}");
            let inside = format!("/{}/", file.trim_end_matches('/'));
            let is_meant = |known: &&String| {
                let known = format!("/{known}");
                known.ends_with(&end) || known.contains(&inside)
            };
            let meant: Vec<&String> = files.iter().filter(is_meant).collect();
            let [first, rest @ ..] = &meant[..] else {
                wrong.push(format!("{page}: there is no {file}"));
                continue;
            };
            if !items.is_empty() && !rest.is_empty() {
                wrong.push(format!("{page}: {file} may be {first} or another"));
                continue;
            }
            let text = if items.is_empty() { String::new() } else { read(first) };
            let missing = items.iter().filter(|item| !text.contains(&**item));
            wrong.extend(missing.map(|item| format!("{page}: {file} does not hold `{item}`")));
        }
    }
    assert!(wrong.is_empty(), "pages that are not true any more:\n{}", wrong.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    for page in PAGES.into_iter().map(str::to_owned).chain(how_tos()) {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let path = link.split('#').next().unwrap_or(link);
            let from = root().join(&page);
            assert!(from.parent().expect("a page").join(path).exists(), "{page}: {link} leads nowhere");
        }
    }
}

#[test]
fn commands_name_crates_that_are_there() {
    let known: BTreeSet<String> = files()
        .into_iter()
        .filter(|file| file.ends_with("/Cargo.toml"))
        .map(|file| manifest(root().join(file).parent().expect("a directory")))
        .filter_map(|manifest| Some(manifest.get("package")?.get("name")?.as_str()?.to_owned()))
        .collect();
    let mut named = 0;
    for page in PAGES.into_iter().map(str::to_owned).chain(how_tos()) {
        let end = |byte: char| !byte.is_ascii_alphanumeric() && byte != '-';
        let text = read(&page);
        for name in text.split(" -p ").skip(1).filter_map(|rest| rest.split(end).next()) {
            assert!(known.contains(name), "{page}: there is no crate {name}");
            named += 1;
        }
    }
    assert!(named > 10, "commands of {named} crates were found");
}

#[test]
fn how_tos_follow_their_worked_example() {
    let sources: Vec<(String, String)> = files()
        .into_iter()
        .filter(|file| file.contains("/src/") && file.ends_with(".rs") && !file.ends_with("tests.rs"))
        .map(|file| {
            let text = read(&file);
            let code = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
            (file, text[..code].to_owned())
        })
        .collect();
    let pages = how_tos();
    assert_eq!(pages.len(), 5, "{pages:?}");
    for page in pages {
        let text = read(&page);
        let example = text.lines().find(|line| line.starts_with("Worked example: "));
        let example = example.unwrap_or_else(|| panic!("{page} has no worked example"));
        let example: Vec<&str> = spans(example).into_iter().map(|(span, _)| span).collect();
        assert!(!example.is_empty(), "{page}");
        let places = places(&text);
        let bare = |place: &&Place| place.file.ends_with(".rs") && place.items.is_empty();
        assert_eq!(places.iter().find(bare), None, "{page}: a place says what stands in it");
        for (file, code) in &sources {
            let about = example.iter().any(|name| names(code, name));
            let told = places.iter().any(|place| place.file == *file);
            assert!(!about || told, "{page}: {file} is a place too, it names one of {example:?}");
        }
    }
}

/// The arrows that [`PAGES`]' first draws: a crate, and its main modules in groups, each using only those to its right.
#[test]
fn arrows_on_the_page_run_to_the_right() {
    let page = read(PAGES[0]);
    let drawn = page.split("```arrows\n").nth(1).and_then(|rest| rest.split("```").next());
    let crates = crates();
    let mut seen = 0;
    for line in drawn.expect("a block of arrows").lines() {
        let (name, groups) = line.split_once(' ').expect("a name and its groups");
        let groups: Vec<Vec<&str>> =
            groups.split('>').map(|group| group.split_whitespace().collect()).collect();
        let group = |name: &str| groups.iter().position(|group| group.contains(&name));
        let of = |end: &str| crates.iter().find(|(_, directory, _)| directory.ends_with(end));
        if name == "crates" {
            for own in groups.iter().flatten() {
                let (_, _, manifest) = of(own).unwrap_or_else(|| panic!("there is no crate {own}"));
                let used = manifest["dependencies"].as_table().expect("dependencies");
                for (other, directory, _) in crates.iter().filter(|(other, ..)| used.contains_key(other)) {
                    let right = directory.file_name().and_then(|name| group(name.to_str()?));
                    assert!(right.is_none_or(|right| Some(right) > group(own)), "{own} uses {other}");
                }
            }
            continue;
        }
        let (_, directory, _) = of(name).unwrap_or_else(|| panic!("there is no crate {name}"));
        let source = directory.join("src");
        let start =
            ["lib.rs", "main.rs"].map(|file| source.join(file)).into_iter().find(|path| path.exists());
        let tree = Module::read(&start.expect("a crate's root"), &source, Vec::new());
        for own in groups.iter().flatten() {
            assert!(tree.at(&[(*own).to_owned()]).is_some(), "{name} has no module {own}");
        }
        for (own, used) in tree.arrows(&tree) {
            let (Some(left), right) = (group(own), used.iter().filter_map(|used| Some((used, group(used)?))))
            else {
                continue;
            };
            right.for_each(|(used, right)| assert!(right > left, "{name}: {own} uses {used}"));
        }
        seen += 1;
    }
    assert!(seen >= 8, "the page draws the larger crates");
}

#[test]
fn a_page_is_read_as_it_is_written() {
    let text = "- `a/b.rs`: `struct C`, `fn d`. Not `e`.\n```\n`x/y.rs`\n```\n`std::io` and `docs/`.\n";
    let place = |file: &str, items: &[&str]| Place {
        file: file.to_owned(),
        items: items.iter().map(|item| (*item).to_owned()).collect(),
    };
    assert_eq!(places(text), [place("a/b.rs", &["struct C", "fn d"]), place("docs/", &[])]);
    assert!(names("x, amqp-ws!", "amqp-ws") && names("Ws", "Ws"));
    assert!(!names("AmqpWs amqp-ws", "Ws") && !names("amqp-ws", "amqp"));
}
