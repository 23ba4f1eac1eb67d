//! ARM templates, as `bicep build` writes them: resources in resources, modules as nested deployments.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{ImportError, Place, shown};
use crate::resource::{Resource, is_of_use};
use crate::scope::{Evaluator, Scope};

/// A module of Bicep, or a nested template.
const DEPLOYMENT: &str = "microsoft.resources/deployments";

/// What a template holds.
pub(crate) struct Read {
    pub(crate) resources: Vec<Resource>,
    /// Types that a mock has no use for, and how many there are.
    pub(crate) others: BTreeMap<String, usize>,
    /// What cannot be told from a template.
    pub(crate) lost: Vec<String>,
}

/// Reads a template; `given` are values of its parameters.
pub(crate) fn read(template: &Value, place: &Place, given: &Map<String, Value>) -> Result<Read, ImportError> {
    let mut walk = Walk {
        evaluator: Evaluator::new(),
        read: Read { resources: Vec::new(), others: BTreeMap::new(), lost: Vec::new() },
    };
    walk.template(template, place, given)?;
    walk.read.lost.extend(walk.evaluator.unknown.into_iter().map(|line| format!("{place}: {line}")));
    Ok(walk.read)
}

struct Walk {
    evaluator: Evaluator,
    read: Read,
}

fn members<'a>(value: &'a Value, name: &str, none: &'a Map<String, Value>) -> &'a Map<String, Value> {
    value.get(name).and_then(Value::as_object).unwrap_or(none)
}

impl Walk {
    fn template(
        &mut self,
        template: &Value,
        place: &Place,
        given: &Map<String, Value>,
    ) -> Result<(), ImportError> {
        let none = Map::new();
        let scope = Scope {
            place,
            parameters: members(template, "parameters", &none),
            given,
            variables: members(template, "variables", &none),
            resources: members(template, "resources", &none),
        };
        self.resources(template, place, None, &scope)
    }

    /// The resources of a template, or of a resource.
    fn resources(
        &mut self,
        holder: &Value,
        place: &Place,
        parent: Option<(&str, &[String])>,
        scope: &Scope<'_>,
    ) -> Result<(), ImportError> {
        let place = place.member("resources");
        match holder.get("resources") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Array(list)) => list
                .iter()
                .enumerate()
                .try_for_each(|(at, resource)| self.resource(resource, &place.item(at), parent, scope)),
            Some(Value::Object(members)) => members
                .iter()
                .try_for_each(|(name, resource)| self.resource(resource, &place.member(name), parent, scope)),
            Some(_) => Err(place.refuse("these are no resources", "is this a template?")),
        }
    }

    fn resource(
        &mut self,
        resource: &Value,
        place: &Place,
        parent: Option<(&str, &[String])>,
        scope: &Scope<'_>,
    ) -> Result<(), ImportError> {
        let Some(kind) = resource.get("type").and_then(Value::as_str) else {
            return Err(place.refuse("this resource has no `type`", "is this a template?"));
        };
        // Symbolic names write the version behind it.
        let kind = kind.split('@').next().unwrap_or(kind).to_ascii_lowercase();
        let kind = parent.map_or_else(|| kind.clone(), |(parent, _)| format!("{parent}/{kind}"));
        let own = Scope { place, ..*scope };
        if let Some(condition) = resource.get("condition")
            && self.evaluator.value(condition, &own)? == Value::Bool(false)
        {
            return Ok(());
        }
        if kind == DEPLOYMENT {
            return self.deployment(resource, place, scope);
        }
        let nested = resource.get("resources").is_some_and(|nested| !nested.is_null());
        if !is_of_use(&kind) && !nested {
            *self.read.others.entry(kind).or_default() += 1;
            return Ok(());
        }
        if resource.get("copy").is_some() {
            self.read
                .lost
                .push(format!("{place}: the loop `copy` is not carried over, and none of its resources"));
            return Ok(());
        }
        // One that exists is not described, only named.
        let existing = resource.get("existing") == Some(&Value::Bool(true));
        let name = match resource.get("name") {
            Some(name) => self.evaluator.value(name, &own)?,
            None => return Err(place.refuse("this resource has no `name`", "is this a template?")),
        };
        let Value::String(name) = name else {
            return Err(place.member("name").refuse("this is no name", "names are text"));
        };
        let mut path = parent.map_or_else(Vec::new, |(_, path)| path.to_vec());
        path.extend(name.split('/').map(str::to_owned));
        self.resources(resource, place, Some((&kind, &path)), scope)?;
        if is_of_use(&kind) && !existing {
            let described = ["properties", "sku"].map(|part| {
                let value = self.evaluator.value(resource.get(part).unwrap_or(&Value::Null), &own);
                value.map(|value| (part.to_owned(), value))
            });
            let body = Value::Object(described.into_iter().collect::<Result<_, _>>()?);
            self.read.resources.push(Resource { place: place.clone(), kind, name: path, body });
        }
        Ok(())
    }

    fn deployment(&mut self, resource: &Value, place: &Place, scope: &Scope<'_>) -> Result<(), ImportError> {
        let place = place.member("properties");
        let properties = resource.get("properties").unwrap_or(&Value::Null);
        let Some(template) = properties.get("template").filter(|template| template.is_object()) else {
            self.read.lost.push(format!(
                "{place}: its template stands elsewhere, and is not read; give it as a file of its own"
            ));
            return Ok(());
        };
        let inner = place.member("template");
        let scoped =
            properties.get("expressionEvaluationOptions").and_then(|options| options.get("scope")?.as_str());
        if !scoped.is_some_and(|scope| scope.eq_ignore_ascii_case("inner")) {
            // Its expressions mean what they mean around it.
            return self.resources(template, &inner, None, scope);
        }
        let mut given = Map::new();
        let none = Map::new();
        for (name, value) in members(properties, "parameters", &none) {
            if let Some(value) = value.get("value") {
                let at = place.member("parameters").member(&shown(name));
                given.insert(name.clone(), self.evaluator.value(value, &Scope { place: &at, ..*scope })?);
            }
        }
        self.template(template, &inner, &given)
    }
}
