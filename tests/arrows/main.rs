//! Arrows between crates, and between the modules of each crate, run one way.
//!
//! Crates depend on those before them in [`ORDER`] only, their tests too. Among the modules of one parent, the imports and
//! paths of one, with everything below it, never lead back to where they came from. Tests within a crate are left out: they may
//! look anywhere.

mod manifests;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The crates, each above those that it may use.
const ORDER: [&str; 20] = [
    "fleetstorm-units",
    "fleetstorm-protocol",
    "fleetstorm-model",
    "fleetstorm-scenario",
    "fleetstorm-import",
    "fleetstorm-reports",
    "fleetstorm-tpm",
    "fleetstorm-plugin",
    "fleetstorm-plugin-retry",
    "fleetstorm-plugin-symmetric-key",
    "fleetstorm-plugin-tpm",
    "fleetstorm-plugin-x509",
    "fleetstorm-plugin-faulty",
    "fleetstorm-plugin-host",
    "fleetstorm-files",
    "fleetstorm-net",
    "fleetstorm-mock",
    "fleetstorm-engine",
    "fleetstorm-study",
    "fleetstorm",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(directory: &Path) -> toml::Table {
    let path = directory.join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crates of the workspace that stand in [`ORDER`]: name, directory, manifest.
fn crates() -> Vec<(String, PathBuf, toml::Table)> {
    let workspace = manifest(&root());
    let members = workspace["workspace"]["members"].as_array().expect("a list of members");
    members
        .iter()
        .map(|member| root().join(member.as_str().expect("a path")))
        .map(|directory| {
            let manifest = manifest(&directory);
            (manifest["package"]["name"].as_str().expect("a name").to_owned(), directory, manifest)
        })
        .filter(|(name, ..)| !["perf", "fuzz", "arrows"].iter().any(|aside| name.contains(aside)))
        .collect()
}

#[test]
fn crates_use_those_before_them() {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    for (name, _, manifest) in crates() {
        let own = place(&name).unwrap_or_else(|| panic!("{name} has no place in the order"));
        for section in ["dependencies", "dev-dependencies"] {
            let Some(used) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for used in used.keys().filter(|used| used.starts_with("fleetstorm")) {
                assert!(place(used).is_some_and(|of| of < own), "{name} must not use {used} ({section})");
            }
        }
    }
}

#[test]
fn modules_have_no_circle() {
    let mut circles = Vec::new();
    for (name, directory, _) in crates() {
        let source = directory.join("src");
        let Some(start) =
            ["lib.rs", "main.rs"].map(|file| source.join(file)).into_iter().find(|path| path.exists())
        else {
            continue;
        };
        let tree = Module::read(&start, &source, Vec::new());
        tree.circles(&tree, &mut |circle| circles.push(format!("{name}: {circle}")));
    }
    assert!(circles.is_empty(), "modules lead back to themselves:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let modules = |texts: [&str; 2]| {
        let children = ["a", "b"].into_iter().zip(texts).map(|(name, text)| Module {
            path: vec![name.to_owned()],
            uses: uses(&syn::parse_file(text).unwrap(), &[name.to_owned()]),
            ..Module::default()
        });
        let names = [("B".to_owned(), vec!["b".to_owned()])].into();
        Module { children: children.collect(), names, ..Module::default() }
    };
    let found = |texts| {
        let (tree, mut found) = (modules(texts), Vec::new());
        tree.circles(&tree, &mut |circle| found.push(circle));
        found
    };
    assert_eq!(found(["use crate::b::X;", "fn f() { super::a::g() }"]), ["a -> b -> a"]);
    assert_eq!(found(["use crate::B;", "use super::a::{self, Y};"]), ["a -> b -> a"], "a name of the parent");
    assert!(found(["use crate::b::X;", "#[cfg(test)] mod tests { use crate::a::Y; }"]).is_empty());
    assert!(found(["use crate::b::X;", "use std::fmt; use crate::c::Z;"]).is_empty());
}

/// A module, without what is for tests.
#[derive(Default)]
struct Module {
    /// From the crate's root.
    path: Vec<String>,
    /// Paths that it names, from the crate's root.
    uses: BTreeSet<Vec<String>>,
    /// Names that it takes from elsewhere, and whence.
    names: BTreeMap<String, Vec<String>>,
    children: Vec<Self>,
}

impl Module {
    fn read(file: &Path, below: &Path, path: Vec<String>) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let items = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut module =
            Self { uses: uses(&items, &path), names: names(&items, &path), path, ..Self::default() };
        for item in &items.items {
            let syn::Item::Mod(child) = item else { continue };
            if child.content.is_some() || is_for_tests(&child.attrs) {
                continue;
            }
            let name = child.ident.to_string();
            let file = [below.join(format!("{name}.rs")), below.join(&name).join("mod.rs")]
                .into_iter()
                .find(|file| file.exists())
                .unwrap_or_else(|| panic!("{} has no module {name}", file.display()));
            let path = module.path.iter().cloned().chain([name.clone()]).collect();
            module.children.push(Self::read(&file, &below.join(&name), path));
        }
        module
    }

    fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |module, name| {
            module.children.iter().find(|child| child.path.last() == Some(name))
        })
    }

    /// Where a path leads once names that modules take from elsewhere are followed.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let Some(next) = (0..path.len()).find_map(|at| {
                let module = self.at(&path[..at])?;
                if module.at(&path[at..=at]).is_some() {
                    return None;
                }
                let taken = module.names.get(&path[at])?;
                Some(taken.iter().chain(&path[at + 1..]).cloned().collect::<Vec<_>>())
            }) else {
                break;
            };
            if next == path {
                break;
            }
            path = next;
        }
        path
    }

    /// Everything that it and what is below it names.
    fn all_uses<'a>(&'a self, into: &mut Vec<&'a Vec<String>>) {
        into.extend(&self.uses);
        self.children.iter().for_each(|child| child.all_uses(into));
    }

    /// Which of its children use which, themselves or by what is below them.
    fn arrows(&self, root: &Self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let depth = self.path.len();
        for child in &self.children {
            let own = child.path[depth].as_str();
            let mut named = Vec::new();
            child.all_uses(&mut named);
            for path in named {
                let path = root.resolve(path);
                let Some(target) = path.strip_prefix(&self.path[..]).and_then(<[String]>::first) else {
                    continue;
                };
                let sibling = self.children.iter().find(|other| other.path[depth] == *target);
                if let Some(sibling) = sibling.filter(|sibling| sibling.path[depth] != own) {
                    arrows.entry(own).or_default().insert(&sibling.path[depth]);
                }
            }
        }
        arrows
    }

    fn circles(&self, root: &Self, tell: &mut impl FnMut(String)) {
        if let Some(circle) = circle(&self.arrows(root)) {
            let prefix: String = self.path.iter().map(|name| format!("{name}::")).collect();
            tell(format!("{prefix}{}", circle.join(" -> ")));
        }
        self.children.iter().for_each(|child| child.circles(root, tell));
    }
}

/// A shortest way from a module back to itself.
fn circle<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let back = |start: &'a str| {
        let mut ways = std::collections::VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for next in arrows.get(way[way.len() - 1]).into_iter().flatten() {
                let longer = way.iter().copied().chain([*next]).collect();
                if *next == start {
                    return Some(longer);
                }
                if seen.insert(*next) {
                    ways.push_back(longer);
                }
            }
        }
        None
    };
    arrows.keys().filter_map(|start| back(start)).min_by_key(Vec::len)
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Meta>().is_ok_and(|meta| meta.path().is_ident("test"))
    })
}

/// The paths that a file names which lead through its own crate.
fn uses(file: &syn::File, module: &[String]) -> BTreeSet<Vec<String>> {
    let mut visitor = Paths { module: module.to_vec(), found: BTreeSet::new() };
    visitor.visit_file(file);
    visitor.found
}

/// The names that a file takes from elsewhere in its crate.
fn names(file: &syn::File, module: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::new();
    for item in &file.items {
        let syn::Item::Use(item) = item else { continue };
        leaves(&item.tree, &mut Vec::new(), &mut |path, name| {
            let path = absolute(path, module).or_else(|| {
                // A path that begins with a child of this module.
                let child =
                    |item: &syn::Item| matches!(item, syn::Item::Mod(child) if child.ident == path[0]);
                file.items.iter().any(child).then(|| module.iter().chain(path).cloned().collect())
            });
            if let Some(path) = path {
                names.insert(name.to_owned(), path);
            }
        });
    }
    names
}

struct Paths {
    module: Vec<String>,
    found: BTreeSet<Vec<String>>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            leaves(&item.tree, &mut Vec::new(), &mut |path, _| {
                self.found.extend(absolute(path, &self.module));
            });
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.extend(absolute(&segments, &self.module));
        visit::visit_path(self, path);
    }
}

/// The ends of a tree of imports: the path of each, and the name that it gets.
fn leaves(tree: &syn::UseTree, before: &mut Vec<String>, tell: &mut impl FnMut(&[String], &str)) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, tell);
            before.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, tell)),
        syn::UseTree::Glob(_) => tell(before, "*"),
        syn::UseTree::Name(_) | syn::UseTree::Rename(_) => {
            let (name, known) = match tree {
                syn::UseTree::Rename(renamed) => (renamed.ident.to_string(), renamed.rename.to_string()),
                syn::UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
                _ => return,
            };
            if name == "self" {
                let known = before.last().cloned().unwrap_or_default();
                tell(before, &known);
            } else {
                before.push(name);
                tell(before, &known);
                before.pop();
            }
        }
    }
}

/// A path from the crate's root, if it is one within the crate.
fn absolute(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some(module.iter().chain(rest).cloned().collect()),
        "super" => {
            let above = module.split_last()?.1;
            match rest.first() {
                Some(next) if next == "super" => absolute(rest, above),
                _ => Some(above.iter().chain(rest).cloned().collect()),
            }
        }
        _ => None,
    }
}
