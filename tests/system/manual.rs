//! The manual does what it says: files are written, commands are run, and they print what stands under them.
//!
//! A block whose first line is a comment with nothing but a file's name is that file. A block of `console` is a session:
//! a line that begins with `$ ` is a command, and what follows is what it prints, where `...` stands for any lines. A
//! command ends with 0, or `$ echo $?` comes next. A block of `sh` is for the reader; its options are there.

use std::path::{Path, PathBuf};

use crate::harness::{Bench, Ended};
use crate::manual_reference::Commands;

const DONE: char = '\u{1e}';

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of the manual's pages.
pub(crate) fn pages() -> PathBuf {
    repository().join("core/docs/book/src")
}

/// Pages in a folder of the manual, by path.
fn pages_in(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(pages().join(folder)).unwrap();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages.sort();
    pages
}

/// A fenced block of a page.
struct Block {
    line: usize,
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (line, text) in page.lines().enumerate() {
        match (text.strip_prefix("```"), is_open) {
            (Some(_), true) => is_open = false,
            (Some(language), false) => {
                blocks.push(Block { line: line + 2, language: language.to_owned(), text: String::new() });
                is_open = true;
            }
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(text);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!is_open, "a block has no end");
    blocks
}

impl Block {
    /// The name of the file that it is.
    fn file(&self) -> Option<&str> {
        let first = self.text.lines().next()?;
        let name = ["# ", "// ", "/* "].iter().find_map(|start| first.strip_prefix(start))?;
        let name = name.trim_end_matches(" */");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (name.contains('.') && name.bytes().all(plain) && !name.ends_with('.')).then_some(name)
    }

    /// Commands with what stands under them.
    fn session(&self) -> Vec<(&str, Vec<&str>)> {
        let mut session: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in self.text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                session.push((command, Vec::new()));
            } else {
                session.last_mut().expect("a session begins with a command").1.push(line);
            }
        }
        session
    }
}

/// Whether lines are as a page has them, where `...` stands for any.
fn is_like(seen: &[&str], told: &[&str]) -> bool {
    match told.split_first() {
        None => seen.is_empty(),
        Some((&"...", rest)) => (0..=seen.len()).any(|skipped| is_like(&seen[skipped..], rest)),
        Some((line, rest)) => seen
            .split_first()
            .is_some_and(|(first, others)| first.trim_end() == line.trim_end() && is_like(others, rest)),
    }
}

/// Runs a session; returns what differs from the page.
fn differences(bench: &Bench, session: &[(&str, Vec<&str>)]) -> Vec<String> {
    // The status of each command is that of the one before for the next.
    let script: String = session
        .iter()
        .map(|(command, _)| {
            format!("{command}\nstatus=$?; printf '{DONE}%d{DONE}' $status; (exit $status)\n")
        })
        .collect();
    let ended = Ended::of(&bench.bash().args(["-c", &format!("exec 2>&1\n{script}")]).output().unwrap());
    let mut pieces = ended.stdout.split(DONE);
    let mut wrong = Vec::new();
    for (at, (command, told)) in session.iter().enumerate() {
        let seen = pieces.next().unwrap_or_default();
        let status = pieces.next().unwrap_or("none");
        let lines: Vec<&str> = seen.lines().collect();
        if !is_like(&lines, told) {
            wrong.push(format!("$ {command}\nprints:\n{seen}"));
        }
        let is_told = session.get(at + 1).is_some_and(|(next, _)| *next == "echo $?");
        if status != "0" && !is_told {
            wrong.push(format!("$ {command}\nends with {status}"));
        }
    }
    wrong
}

/// Plays the pages of a folder, each in a directory of its own; returns how many commands were run.
fn play(folder: &str) -> usize {
    let mut wrong = Vec::new();
    let mut played = 0;
    for page in pages_in(folder) {
        let bench = Bench::new();
        for shipped in ["scenarios", "plugins"] {
            std::os::unix::fs::symlink(repository().join(shipped), bench.path(shipped)).unwrap();
        }
        for block in blocks(&std::fs::read_to_string(&page).unwrap()) {
            if let Some(name) = block.file() {
                bench.file(name, &block.text);
            } else if block.language == "console" {
                let session = block.session();
                played += session.len();
                let place = format!("{}:{}", page.display(), block.line);
                wrong
                    .extend(differences(&bench, &session).into_iter().map(|what| format!("{place}\n{what}")));
            }
        }
    }
    assert!(wrong.is_empty(), "the manual is not true any more:\n\n{}", wrong.join("\n\n"));
    played
}

#[test]
fn the_tutorial_goes_as_it_is_told() {
    assert!(play("tutorial") >= 8);
}

#[test]
fn how_tos_go_as_they_are_told() {
    assert!(play("howto") >= 8);
}

#[test]
fn the_reference_prints_what_it_says() {
    assert!(play("reference") >= 5);
}

#[test]
fn explanations_print_what_they_say() {
    assert!(play("explanation") >= 2);
}

#[test]
fn options_in_blocks_for_the_reader_are_there() {
    let commands = Commands::read();
    let mut seen = 0;
    let folders = ["tutorial", "howto", "reference", "explanation", "."];
    for page in folders.into_iter().flat_map(pages_in).chain([repository().join("README.md")]) {
        for block in blocks(&std::fs::read_to_string(&page).unwrap()) {
            let place = format!("{}:{}", page.display(), block.line);
            if block.language == "sh" {
                for line in block.text.replace("\\\n", " ").lines() {
                    let code = line.split(" #").next().unwrap();
                    seen += commands.check(code, &place);
                }
            } else if block.language == "toml" {
                toml::from_str::<toml::Table>(&block.text).unwrap_or_else(|error| panic!("{place}: {error}"));
            }
        }
    }
    assert!(seen >= 20, "{seen} commands were looked at");
}

#[test]
fn a_page_is_read_as_it_is_written() {
    let page = "a\n```toml\n# a.toml\nb = 1\n```\n```console\n$ c\nd\n...\n$ e\n```\n";
    let [file, session] = &blocks(page)[..] else { panic!("two blocks") };
    assert_eq!((file.file(), &*file.text, session.line), (Some("a.toml"), "# a.toml\nb = 1\n", 7));
    assert_eq!((session.file(), session.session()), (None, vec![("c", vec!["d", "..."]), ("e", vec![])]));
    assert!(is_like(&["a", "b", "c"], &["a", "...", "c"]) && is_like(&["a"], &["...", "a", "..."]));
    assert!(
        !is_like(&["a", "b"], &["a"]) && !is_like(&["a"], &["a", "b"]) && !is_like(&["b"], &["...", "a"])
    );
    let bench = Bench::new();
    assert_eq!(differences(&bench, &[("false", vec![]), ("echo $?", vec!["1"])]), Vec::<String>::new());
    assert_eq!(differences(&bench, &[("false", vec![]), ("echo a; echo b >&2", vec!["a"])]).len(), 2);
}
