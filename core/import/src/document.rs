//! Files told apart by what is in them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{ImportError, Place, shown};
use crate::found::Found;
use crate::member::Object;
use crate::resource::{Resource, is_of_use};
use crate::{FILE_MOST, Source, template, terraform};

/// What a file can be.
const KNOWN: &str = "give an ARM template (`bicep build` writes one), the output of `terraform show -json`, or of \
                     `az iot dps show`, `linked-hub list`, `policy list`, `certificate list`, `enrollment list` or \
                     `enrollment-group list`";

/// Values of parameters by their names in lower case, which is how names are compared, and where they stand.
type Given = BTreeMap<String, (Value, Place)>;

/// Reads files, in any order.
pub(crate) fn read(sources: &[Source<'_>]) -> Result<Found, ImportError> {
    let mut documents = Vec::new();
    let mut given = Given::new();
    for source in sources {
        let place = Place::top(source.name);
        let document = json(source.bytes, &place)?;
        if schema(&document).is_some_and(|schema| schema.contains("deploymentparameters")) {
            parameters(&document, &place, &mut given)?;
        } else {
            documents.push((place, document));
        }
    }
    let given: Map<String, Value> = given.into_iter().map(|(name, (value, _))| (name, value)).collect();
    let mut found = Found::default();
    for (place, document) in &documents {
        self::document(document, place, &given, &mut found)?;
    }
    Ok(found)
}

fn json(bytes: &[u8], place: &Place) -> Result<Value, ImportError> {
    if bytes.len() > FILE_MOST {
        let what = format!("the file has more than {} MiB", FILE_MOST >> 20);
        return Err(place.refuse(what, "give fewer enrollments at a time"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let help = "PowerShell's `>` writes UTF-16: write with `| Out-File -Encoding utf8 FILE`";
        return Err(place.refuse("the file is UTF-16", help));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let help = match error.classify() {
            serde_json::error::Category::Eof => "the file is cut off: get it again",
            _ => "commands write JSON with `--output json`",
        };
        // What serde_json says names a place, and nothing of the file.
        place.refuse(format!("the file is no JSON: {error}"), help)
    })
}

fn schema(document: &Value) -> Option<String> {
    document.get("$schema").and_then(Value::as_str).map(str::to_ascii_lowercase)
}

fn parameters(document: &Value, place: &Place, given: &mut Given) -> Result<(), ImportError> {
    let place = place.member("parameters");
    for (name, parameter) in document.get("parameters").and_then(Value::as_object).into_iter().flatten() {
        // One that stands in a key vault has none.
        let Some(value) = parameter.get("value") else { continue };
        let place = place.member(name);
        match given.get(&name.to_ascii_lowercase()) {
            Some((other, first)) if other != value => {
                return Err(ImportError::Ambiguous {
                    what: format!("there are two values of the parameter `{}`", shown(name)),
                    places: Box::new([first.clone(), place]),
                    help: "give one file of parameters".to_owned(),
                });
            }
            _ => given.insert(name.to_ascii_lowercase(), (value.clone(), place)),
        };
    }
    Ok(())
}

fn document(
    document: &Value,
    place: &Place,
    given: &Map<String, Value>,
    found: &mut Found,
) -> Result<(), ImportError> {
    let is_template = schema(document).is_some_and(|schema| schema.contains("deploymenttemplate"));
    if is_template || document.get("contentVersion").is_some() && document.get("resources").is_some() {
        let read = template::read(document, place, given)?;
        read.resources.iter().try_for_each(|resource| found.resource(resource))?;
        for (kind, count) in read.others {
            *found.others.entry(kind).or_default() += count;
        }
        found.lost.extend(read.lost);
        return Ok(());
    }
    if document.get("format_version").is_some() {
        return terraform::read(document, place, found);
    }
    if document.get("terraform_version").is_some() {
        let help = "run `terraform show -json > FILE` beside it, and give that file";
        return Err(place.refuse("this is Terraform's own state, which has no fixed format", help));
    }
    match document.get("value").unwrap_or(document) {
        Value::Array(list) => {
            let place = if document.is_array() { place.clone() } else { place.member("value") };
            list.iter().enumerate().try_for_each(|(at, item)| listed(item, &place.item(at), found))
        }
        _ => listed(document, place, found),
    }
}

/// One thing, by itself or in a list.
fn listed(item: &Value, place: &Place, found: &mut Found) -> Result<(), ImportError> {
    let object = Object::new(item, place);
    let has = |name: &str| item.get(name).is_some();
    if has("enrollmentGroupId") && has("attestation") || has("registrationId") && has("attestation") {
        return found.enrollment(place, item);
    }
    if has("keyName") && has("rights") {
        return found.access(place, item, None);
    }
    if has("registrationId") && has("status") {
        *found.others.entry("registrations of devices".to_owned()).or_default() += 1;
        return Ok(());
    }
    if let Some(kind) = object.get("type").and_then(Value::as_str) {
        let kind = kind.to_ascii_lowercase();
        if !is_of_use(&kind) {
            *found.others.entry(kind).or_default() += 1;
            return Ok(());
        }
        // A resource in a resource has the names of both in its id.
        let name = object.needed("name")?.to_owned();
        let path = object.text("id")?.map_or_else(|| vec![name.clone()], |id| names(id, &kind, &name));
        return found.resource(&Resource { place: place.clone(), kind, name: path, body: item.clone() });
    }
    if has("connectionString") || has("allocationWeight") || has("applyAllocationPolicy") {
        return found.link(place, item, None);
    }
    let what = match item.as_object() {
        Some(members) => {
            let names: Vec<String> =
                members.keys().take(5).map(|name| format!("`{}`", shown(name))).collect();
            format!("nothing that can be imported; it has the members {}", names.join(", "))
        }
        None => "this is no object".to_owned(),
    };
    Err(place.refuse(what, KNOWN))
}

/// The names in a resource's id, one for each part of its type.
fn names(id: &str, kind: &str, name: &str) -> Vec<String> {
    let parts = kind.split('/').count() - 1;
    let names: Vec<String> = id.split('/').rev().step_by(2).take(parts).map(str::to_owned).collect();
    let whole = names.len() == parts && names.first().is_some_and(|last| last.eq_ignore_ascii_case(name));
    if whole { names.into_iter().rev().collect() } else { vec![name.to_owned()] }
}
