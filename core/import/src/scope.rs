//! What the names of a template mean. What only a deployment knows gets a name that stands in for it, and is told.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::error::{ImportError, Place, shown};
use crate::expression::{self, Expression, Step};

/// Values that a template may look at before it counts as one that never ends.
const STEPS_MOST: u32 = 1_000_000;
/// How many names may lead to each other.
const NAMES_MOST: usize = 60;
/// The longest text that is put together, in bytes.
const TEXT_MOST: usize = 1 << 16;

/// Members that a mock has no use for: they are not evaluated, so nothing is said of them.
const UNUSED: [&str; 6] = ["location", "tags", "dependsOn", "identity", "etag", "metadata"];

/// A template's names.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// Of the template.
    pub(crate) place: &'a Place,
    /// How parameters are declared.
    pub(crate) parameters: &'a Map<String, Value>,
    /// Their values, where somebody gives some.
    pub(crate) given: &'a Map<String, Value>,
    pub(crate) variables: &'a Map<String, Value>,
    /// Resources by their symbolic names, where they have some.
    pub(crate) resources: &'a Map<String, Value>,
}

/// What an expression comes to.
enum Term {
    Known(Value),
    /// Only a deployment knows it; this stands in.
    Unknown(String),
}

impl Term {
    fn into_value(self) -> Value {
        match self {
            Self::Known(value) => value,
            Self::Unknown(name) => Value::String(name),
        }
    }

    /// As `concat` and `format` write it.
    fn into_text(self) -> String {
        match self.into_value() {
            Value::String(text) => text,
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }
}

/// Evaluates the expressions of templates.
pub(crate) struct Evaluator {
    steps_left: u32,
    /// Names that are being evaluated, each of which needs the next.
    names: Vec<String>,
    /// What only a deployment knows, in words.
    pub(crate) unknown: BTreeSet<String>,
}

impl Evaluator {
    pub(crate) fn new() -> Self {
        Self { steps_left: STEPS_MOST, names: Vec::new(), unknown: BTreeSet::new() }
    }

    /// A value with all expressions in it evaluated.
    pub(crate) fn value(&mut self, value: &Value, scope: &Scope<'_>) -> Result<Value, ImportError> {
        Ok(self.term(value, scope)?.into_value())
    }

    fn term(&mut self, value: &Value, scope: &Scope<'_>) -> Result<Term, ImportError> {
        self.spend(1, scope)?;
        Ok(Term::Known(match value {
            Value::String(text) => {
                self.spend(text.len() / 64, scope)?;
                match expression::read(text) {
                    None => Value::String(
                        text.strip_prefix('[').filter(|_| text.starts_with("[[")).unwrap_or(text).into(),
                    ),
                    Some(Ok(expression)) => return self.evaluate(&expression, scope),
                    Some(Err(at)) => {
                        let what = format!("an expression cannot be read from its character {} on", at + 1);
                        return Err(scope.place.refuse(what, "let `bicep build` write the template again"));
                    }
                }
            }
            Value::Array(list) => {
                list.iter().map(|item| self.value(item, scope)).collect::<Result<Vec<_>, _>>()?.into()
            }
            Value::Object(members) => {
                let used = members.iter().filter(|(name, _)| !UNUSED.contains(&&***name));
                let evaluated = used.map(|(name, value)| Ok((name.clone(), self.value(value, scope)?)));
                Value::Object(evaluated.collect::<Result<_, ImportError>>()?)
            }
            other => other.clone(),
        }))
    }

    fn spend(&mut self, steps: usize, scope: &Scope<'_>) -> Result<(), ImportError> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.steps_left = self.steps_left.checked_sub(steps).ok_or_else(|| {
            let help = "a template of this size cannot be deployed either";
            scope.place.refuse(format!("its expressions take more than {STEPS_MOST} steps"), help)
        })?;
        Ok(())
    }

    fn evaluate(&mut self, expression: &Expression, scope: &Scope<'_>) -> Result<Term, ImportError> {
        self.spend(1, scope)?;
        match expression {
            Expression::Text(text) => Ok(Term::Known(Value::String(text.clone()))),
            Expression::Number(number) => Ok(Term::Known(json!(number))),
            Expression::Call(name, arguments) => self.call(name, arguments, scope),
            Expression::Path(from, steps) => {
                let mut term = self.evaluate(from, scope)?;
                for step in steps {
                    let part = match step {
                        Step::Member(name) => Value::String(name.clone()),
                        Step::Index(index) => self.evaluate(index, scope)?.into_value(),
                    };
                    term = self.part(term, &part);
                }
                Ok(term)
            }
        }
    }

    /// A member or an item of a value.
    fn part(&mut self, whole: Term, part: &Value) -> Term {
        match (whole, part) {
            (Term::Known(Value::Object(members)), Value::String(name)) => {
                Term::Known(find(&members, name).map_or(Value::Null, |(_, value)| value.clone()))
            }
            (Term::Known(Value::Array(mut list)), index) => {
                let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
                let item = index.filter(|index| *index < list.len()).map(|index| list.swap_remove(index));
                Term::Known(item.unwrap_or(Value::Null))
            }
            // `reference(...).outputs.name.value` is best called by the name.
            (Term::Unknown(_), Value::String(name)) if name != "value" => Term::Unknown(stand_in(name)),
            (whole, _) => whole,
        }
    }

    fn call(&mut self, name: &str, arguments: &[Expression], scope: &Scope<'_>) -> Result<Term, ImportError> {
        let lower = name.to_ascii_lowercase();
        match (&*lower, arguments) {
            ("parameters", [name]) => {
                let name = self.evaluate(name, scope)?.into_text();
                self.named(&format!("parameter `{}`", shown(&name)), scope, |own| own.parameter(&name, scope))
            }
            ("variables", [name]) => {
                let name = self.evaluate(name, scope)?.into_text();
                self.named(&format!("variable `{}`", shown(&name)), scope, |own| own.variable(&name, scope))
            }
            ("if", [condition, then, otherwise]) => {
                let condition = self.evaluate(condition, scope)?.into_value();
                self.evaluate(if condition == Value::Bool(false) { otherwise } else { then }, scope)
            }
            ("reference", [of, ..]) => {
                let of = self.evaluate(of, scope)?.into_text();
                self.reference(&of, scope)
            }
            // Keys are never carried over.
            ("listkeys" | "list", _) => Ok(Term::Unknown("key".to_owned())),
            _ => {
                let evaluated = arguments.iter().map(|argument| self.evaluate(argument, scope));
                let values = evaluated.collect::<Result<Vec<_>, _>>()?;
                self.function(name, &lower, values, scope)
            }
        }
    }

    /// Functions of values alone.
    fn function(
        &mut self,
        name: &str,
        lower: &str,
        values: Vec<Term>,
        scope: &Scope<'_>,
    ) -> Result<Term, ImportError> {
        let text = |text: String| Ok(Term::Known(Value::String(text)));
        let mut texts = Vec::new();
        let mut is_list = false;
        for value in values {
            is_list |= matches!(value, Term::Known(Value::Array(_) | Value::Object(_)));
            texts.push(value.into_text());
        }
        let length: usize = texts.iter().map(String::len).sum();
        self.spend(length / 64, scope)?;
        if length > TEXT_MOST {
            return Err(scope.place.refuse(
                format!("an expression makes a text of more than {TEXT_MOST} bytes"),
                "names of services and hubs have up to 64 characters",
            ));
        }
        match (lower, &*texts) {
            ("concat", _) if !is_list => text(texts.concat()),
            ("format", [pattern, values @ ..]) => text(formatted(pattern, values, scope)?),
            ("tolower", [one]) => text(one.to_lowercase()),
            ("toupper", [one]) => text(one.to_uppercase()),
            ("string", [one]) => text(one.clone()),
            ("equals", [left, right]) => Ok(Term::Known(Value::Bool(left == right))),
            ("not", [one]) => Ok(Term::Known(Value::Bool(one == "False"))),
            ("true", []) => Ok(Term::Known(Value::Bool(true))),
            ("false", []) => Ok(Term::Known(Value::Bool(false))),
            ("resourceid" | "subscriptionresourceid" | "extensionresourceid", all) => text(resource_id(all)),
            _ => {
                let name = shown(name);
                self.unknown.insert(format!(
                    "`{name}(...)` is known to a deployment only; `{}` stands for it",
                    stand_in(&name)
                ));
                Ok(Term::Unknown(stand_in(&name)))
            }
        }
    }

    /// What a name means, unless it leads back to itself.
    fn named(
        &mut self,
        name: &str,
        scope: &Scope<'_>,
        meaning: impl FnOnce(&mut Self) -> Result<Term, ImportError>,
    ) -> Result<Term, ImportError> {
        if let Some(from) = self.names.iter().position(|known| known == name) {
            let what = format!("{} -> {name}: they need each other", self.names[from..].join(" -> "));
            return Err(scope.place.refuse(what, "give one of them a value of its own"));
        }
        if self.names.len() == NAMES_MOST {
            let what = format!("{name} stands at the end of {NAMES_MOST} names that need each other");
            return Err(scope.place.refuse(what, "give one of them a value of its own"));
        }
        self.names.push(name.to_owned());
        let term = meaning(self);
        self.names.pop();
        term
    }

    fn parameter(&mut self, name: &str, scope: &Scope<'_>) -> Result<Term, ImportError> {
        self.spend((scope.parameters.len() + scope.given.len()) / 16, scope)?;
        let declared = find(scope.parameters, name);
        // A value that is given has been evaluated where it was given.
        if let Some((_, value)) = find(scope.given, name) {
            self.spend(nodes(value), scope)?;
            return Ok(Term::Known(value.clone()));
        }
        let Some((_, declared)) = declared else {
            let what = format!("there is no parameter `{}`", shown(name));
            return Err(scope.place.refuse(what, "is the template whole?"));
        };
        if let Some(usual) = declared.get("defaultValue") {
            return self.term(usual, scope);
        }
        let kind = declared.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let name = shown(name);
        let is_text = ["string", "securestring", ""].contains(&&*kind);
        let instead = if is_text {
            format!("`{}` stands for it", stand_in(&name))
        } else {
            "it is left out".to_owned()
        };
        self.unknown.insert(format!(
            "the parameter `{name}` has no value, and {instead}; add the deployment's parameter file"
        ));
        Ok(if is_text { Term::Unknown(stand_in(&name)) } else { Term::Known(Value::Null) })
    }

    fn variable(&mut self, name: &str, scope: &Scope<'_>) -> Result<Term, ImportError> {
        self.spend(scope.variables.len() / 16, scope)?;
        let Some((_, value)) = find(scope.variables, name) else {
            let what = format!("there is no variable `{}`", shown(name));
            return Err(scope.place.refuse(what, "is the template whole?"));
        };
        self.term(value, scope)
    }

    /// A resource by its symbolic name or its id. Of a hub, its host name follows from its name.
    fn reference(&mut self, of: &str, scope: &Scope<'_>) -> Result<Term, ImportError> {
        self.spend(scope.resources.len() / 16, scope)?;
        let symbolic = find(scope.resources, of).map(|(_, resource)| resource);
        let kind = symbolic.and_then(|resource| resource.get("type")?.as_str());
        let hub = match (kind.map(|kind| kind.split('@').next().unwrap_or(kind)), symbolic) {
            (Some(kind), Some(resource)) if kind.eq_ignore_ascii_case("Microsoft.Devices/IotHubs") => {
                let name = resource.get("name").unwrap_or(&Value::Null);
                let named = format!("the name of `{}`", shown(of));
                Some(self.named(&named, scope, |own| own.term(name, scope))?.into_text())
            }
            _ => {
                let hub = of.to_ascii_lowercase().rfind("/microsoft.devices/iothubs/");
                hub.map(|at| of[at..].rsplit('/').next().unwrap_or_default().to_owned())
            }
        };
        Ok(match hub {
            Some(hub) => {
                let host = format!("{hub}.azure-devices.net");
                Term::Known(json!({ "hostName": host, "properties": { "hostName": host }, "name": hub }))
            }
            None => {
                self.unknown.insert(
                    "what `reference(...)` says is known to a deployment only; its last name stands for it"
                        .to_owned(),
                );
                Term::Unknown("reference".to_owned())
            }
        })
    }
}

/// How many values there are in one.
fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(nodes).sum::<usize>() + 1,
        Value::Object(members) => members.values().map(nodes).sum::<usize>() + 1,
        Value::String(text) => text.len() / 64 + 1,
        _ => 1,
    }
}

/// A member by its name, whose case does not matter.
fn find<'a>(members: &'a Map<String, Value>, name: &str) -> Option<(&'a String, &'a Value)> {
    members.get_key_value(name).or_else(|| members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)))
}

/// A name that can stand in a host's.
fn stand_in(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

/// `{0}` and `{1:...}` in a pattern are values; `{{` is a brace.
fn formatted(pattern: &str, values: &[String], scope: &Scope<'_>) -> Result<String, ImportError> {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let end = rest.find('}').unwrap_or(rest.len());
        let number = rest[..end].split([':', ',']).next().unwrap_or_default();
        match number.parse().ok().and_then(|number: usize| values.get(number)) {
            Some(value) => text.push_str(value),
            None => {
                let what = "a pattern of `format` asks for a value that is not there";
                return Err(scope.place.refuse(what, "let `bicep build` write the template again"));
            }
        }
        rest = rest.get(end + 1..).unwrap_or_default();
        if text.len() > TEXT_MOST {
            let what = format!("an expression makes a text of more than {TEXT_MOST} bytes");
            return Err(scope.place.refuse(what, "names of services and hubs have up to 64 characters"));
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// The end of a resource id: its types and names in turn.
fn resource_id(arguments: &[String]) -> String {
    let Some(at) = arguments.iter().position(|argument| argument.contains('/')) else { return String::new() };
    let mut types = arguments[at].split('/');
    let mut id = format!("/providers/{}", types.next().unwrap_or_default());
    for (kind, name) in types.zip(&arguments[at + 1..]) {
        id.push_str(&format!("/{kind}/{name}"));
    }
    id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// What a text comes to in a small template, and what is unknown in it.
    fn evaluated(text: &str) -> (Result<Value, ImportError>, Vec<String>) {
        let parameters = members(json!({
            "name": { "type": "string", "defaultValue": "[concat('dps', '-', variables('end'))]" },
            "hub": { "type": "string" },
            "units": { "type": "int" },
            "given": { "type": "string", "defaultValue": "usual" },
        }));
        let given = members(json!({ "GIVEN": "[not an expression" }));
        let variables = members(json!({
            "end": "x", "list": [{ "a": 1 }, "[variables('end')]"],
            "a": "[variables('b')]", "b": "[parameters('name')]",
            "round": "[variables('trip')]", "trip": "[concat(variables('round'), 'x')]",
            "two": "[concat(variables('one'), variables('one'))]",
            "one": "[concat(variables('zero'), variables('zero'))]", "zero": "0",
        }));
        let resources = members(
            json!({ "main": { "type": "Microsoft.Devices/IotHubs@2023-06-30", "name": "[variables('end')]" } }),
        );
        let place = Place::top("t.json");
        let scope = Scope {
            place: &place,
            parameters: &parameters,
            given: &given,
            variables: &variables,
            resources: &resources,
        };
        let mut evaluator = Evaluator::new();
        let value = evaluator.value(&Value::String(text.to_owned()), &scope);
        assert!(evaluator.names.is_empty());
        (value, evaluator.unknown.into_iter().collect())
    }

    #[test]
    fn expressions_come_to_values() {
        for (text, wanted) in [
            ("plain", json!("plain")),
            ("[[plain]", json!("[plain]")),
            ("[variables('a')]", json!("dps-x")),
            ("[PARAMETERS('Given')]", json!("[not an expression")),
            ("[variables('list')[0].a]", json!(1)),
            ("[variables('list')[1]]", json!("x")),
            ("[variables('list')[7]]", Value::Null),
            ("[format('{0}{{{1:D}}}-{0}', toUpper('a'), 7)]", json!("A{7}-A")),
            ("[if(equals('a', 'b'), 'yes', 'no')]", json!("no")),
            ("[variables('two')]", json!("0000")),
            (
                "[reference(resourceId('Microsoft.Devices/IotHubs', 'h'), '2021-07-02').hostName]",
                json!("h.azure-devices.net"),
            ),
            ("[reference('main').hostName]", json!("x.azure-devices.net")),
            ("[reference('main', '2023-06-30', 'full').properties.hostName]", json!("x.azure-devices.net")),
        ] {
            let (value, unknown) = evaluated(text);
            assert_eq!((value, unknown), (Ok(wanted), vec![]), "{text}");
        }
    }

    #[test]
    fn what_only_a_deployment_knows_is_told() {
        for (text, wanted, words) in [
            ("[parameters('hub')]", json!("hub"), "parameter `hub` has no value"),
            ("[parameters('units')]", Value::Null, "it is left out"),
            (
                "[concat('h-', uniqueString(resourceGroup().id))]",
                json!("h-uniquestring"),
                "`uniqueString(...)`",
            ),
            (
                "[reference(resourceId('Microsoft.Resources/deployments', 'd')).outputs.hubHost.value]",
                json!("hubhost"),
                "reference",
            ),
        ] {
            let (value, unknown) = evaluated(text);
            assert_eq!(value, Ok(wanted), "{text}");
            assert!(unknown.iter().any(|line| line.contains(words)), "{unknown:?}");
        }
        let (value, unknown) = evaluated("[concat('x', listKeys('id', '2021').primaryKey)]");
        assert_eq!((value, unknown), (Ok(json!("xprimarykey")), vec![]), "keys are nobody's business");
    }

    #[test]
    fn circles_and_endless_templates_are_told() {
        for (text, words) in [
            ("[variables('round')]", "variable `round` -> variable `trip` -> variable `round`"),
            ("[variables('none')]", "no variable `none`"),
            ("[parameters('none')]", "no parameter `none`"),
            ("[format('{3}', 'a')]", "a value that is not there"),
            ("[concat(]", "from its character 9"),
        ] {
            let error = evaluated(text).0.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let mut variables = Map::new();
        for number in 0..50 {
            let next = number + 1;
            variables.insert(
                format!("v{number}"),
                json!(format!("[concat(variables('v{next}'), variables('v{next}'))]")),
            );
        }
        variables.insert("v50".to_owned(), json!(""));
        let (place, none) = (Place::top("t.json"), Map::new());
        let scope =
            Scope { place: &place, parameters: &none, given: &none, variables: &variables, resources: &none };
        let error = Evaluator::new().value(&json!("[variables('v0')]"), &scope).unwrap_err();
        assert!(error.to_string().contains("steps"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(text in "\\[(concat|format|variables|parameters|reference|if)\\(('[a-z{}0]{0,6}'|variables\\('(a|round|list)'\\)|,){0,5}\\)(\\.[a-z]{1,3}|\\[[0-9]\\]){0,2}\\]") {
            let _ = evaluated(&text);
        }
    }
}
