//! A new plugin: a crate of its own that builds.

use std::path::{Path, PathBuf};

use super::kind::Kind;

/// What a new plugin is made of: paths beneath its folder, and their texts.
pub type Files = Vec<(PathBuf, String)>;

/// A name that cannot be a plugin's.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` cannot be a plugin's name: use a-z, 0-9 and `-`, beginning with a letter, at most 40 characters"
)]
pub struct NameError(String);

/// The files of a new plugin in Rust that brings a part of this kind. `sdk` is the folder of the crate
/// `fleetstorm-plugin` that it is built against.
///
/// # Errors
/// The name cannot be one.
pub fn scaffold(name: &str, kind: Kind, sdk: &Path) -> Result<Files, NameError> {
    let sound = name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if !sound {
        return Err(NameError(name.chars().take(80).collect()));
    }
    let source = match kind {
        Kind::Retry => include_str!("scaffold/retry.rs.txt"),
        Kind::Attestation => include_str!("scaffold/attestation.rs.txt"),
    };
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{symbol}}", &format!("fleetstorm_plugin_{}", name.replace('-', "_")))
            .replace("{{type}}", &camel(name))
            .replace("{{sdk}}", &toml::Value::String(sdk.display().to_string()).to_string())
    };
    Ok(vec![
        (PathBuf::from("Cargo.toml"), fill(include_str!("scaffold/Cargo.toml.txt"))),
        (PathBuf::from("src/lib.rs"), fill(source)),
    ])
}

fn camel(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_crates_symbols_and_types() {
        let files = scaffold("my-firmware2", Kind::Retry, Path::new("/sdk")).unwrap();
        let text = |path: &str| &files.iter().find(|(file, _)| file == Path::new(path)).unwrap().1;
        assert!(text("Cargo.toml").contains("name = \"fleetstorm-plugin-my-firmware2\""));
        assert!(text("Cargo.toml").contains("path = \"/sdk\""));
        assert!(
            text("src/lib.rs").contains("export! { fleetstorm_plugin_my_firmware2; retry: [MyFirmware2] }")
        );
        for (_, text) in &files {
            assert!(!text.contains("{{"), "{text}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["", "-a", "a-", "a--b", "A", "1a", "a/b", "a\"b", &"a".repeat(41)] {
            assert!(scaffold(name, Kind::Retry, Path::new("/sdk")).is_err(), "{name}");
        }
    }
}
