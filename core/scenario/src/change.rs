//! Values that replace those of a file, before it is read.

/// A value that replaces what the file says, from `--set` or the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Where it came from, such as `--set fleet.devices=5`.
    pub origin: String,
    /// Dotted path; the n-th of a list by its number.
    pub path: String,
    /// A TOML value, or bare text.
    pub value: String,
}

/// Applies it to a file's tree.
pub(crate) fn apply(table: &mut toml::Table, change: &Override) -> Result<(), String> {
    let value = change
        .value
        .parse::<toml::Value>()
        .ok()
        .or_else(|| toml::from_str::<toml::Table>(&format!("value = {}", change.value)).ok()?.remove("value"))
        .unwrap_or_else(|| toml::Value::String(change.value.clone()));
    let segments: Vec<&str> = change.path.split('.').collect();
    let mut root = toml::Value::Table(std::mem::take(table));
    let done = set(&mut root, &segments, value);
    if let toml::Value::Table(changed) = root {
        *table = changed;
    }
    done
}

fn set(target: &mut toml::Value, path: &[&str], value: toml::Value) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        *target = value;
        return Ok(());
    };
    match target {
        // Every entry.
        toml::Value::Array(list) if *first == "*" => {
            list.iter_mut().try_for_each(|entry| set(entry, rest, value.clone()))
        }
        toml::Value::Array(list) => {
            let length = list.len();
            let index: usize =
                first.parse().map_err(|_| format!("`{first}` should be the number of an entry, from 0"))?;
            let entry =
                list.get_mut(index).ok_or(format!("there is no entry {index}: the list has {length}"))?;
            set(entry, rest, value)
        }
        toml::Value::Table(table) => {
            // A list that the file leaves out begins with the entry that is set.
            let fresh = match rest.first() {
                Some(&("0" | "*")) => toml::Value::Array(vec![toml::Value::Table(toml::Table::new())]),
                _ => toml::Value::Table(toml::Table::new()),
            };
            let key = if *first == "cohorts" { "cohort" } else { first };
            set(table.entry(key).or_insert(fresh), rest, value)
        }
        // A plugin that is only named becomes a table once a parameter is set.
        toml::Value::String(kind) => {
            let mut table = toml::Table::new();
            table.insert("kind".to_owned(), toml::Value::String(kind.clone()));
            *target = toml::Value::Table(table);
            set(target, path, value)
        }
        _ => Err(format!("`{first}` cannot be set: what stands there is no table")),
    }
}
