//! Every crate says what it is, and one that needs Linux says so before anything else of it fails.

use std::fs;

use super::{manifest, root};

/// What a manifest must say, in words of its own or the workspace's.
const SAID: [&str; 7] =
    ["description", "version", "edition", "rust-version", "license", "keywords", "categories"];

#[test]
fn crates_say_what_they_are() {
    let workspace = manifest(&root());
    let members = workspace["workspace"]["members"].as_array().expect("a list of members");
    let mut linux = Vec::new();
    for member in members.iter().map(|member| member.as_str().expect("a path")) {
        let directory = root().join(member);
        let manifest = manifest(&directory);
        let package = manifest["package"].as_table().expect("a package");
        for key in SAID {
            assert!(package.contains_key(key), "{member}/Cargo.toml has no `{key}`");
        }
        // crates.io takes so many.
        let keywords = package["keywords"].as_array();
        assert!(keywords.is_none_or(|keywords| keywords.len() <= 5), "{member} has too many keywords");

        let uses = manifest.get("dependencies").and_then(|used| used.get("rustix"));
        if uses.is_none() || member.starts_with("tests/") {
            continue;
        }
        linux.push(member);
        let start = ["lib.rs", "main.rs"].map(|file| directory.join("src").join(file));
        let start = start.into_iter().find(|path| path.exists()).expect("a crate's root");
        let text = fs::read_to_string(&start).expect("its text");
        let refusal = "#[cfg(not(target_os = \"linux\"))]\ncompile_error!(";
        assert!(
            text.contains(refusal),
            "{member} uses rustix, and does not refuse other systems by a sentence"
        );
        let docs = package.get("metadata").and_then(|metadata| metadata.get("docs")?.get("rs"));
        assert!(
            docs.is_some(),
            "{member} needs Linux: `package.metadata.docs.rs` says on which targets it builds"
        );
    }
    assert!(linux.len() >= 4, "{linux:?}");
}
