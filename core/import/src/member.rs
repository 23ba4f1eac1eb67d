//! Members of JSON objects, by name, with errors that say where.

use serde_json::Value;

use crate::error::{ImportError, Place};

/// An object and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) value: &'a Value,
    pub(crate) place: &'a Place,
}

impl<'a> Object<'a> {
    pub(crate) fn new(value: &'a Value, place: &'a Place) -> Self {
        Self { value, place }
    }

    /// What a member says; `null` says nothing.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    fn refuse(&self, name: &str, wanted: &str) -> ImportError {
        let help = "it is not what Azure writes here; was the file changed, or is it of another tool?";
        self.place.member(name).refuse(format!("this is not {wanted}"), help)
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, ImportError> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.refuse(name, "text"));
        Ok(self.get(name).map(text).transpose()?.filter(|text| !text.is_empty()))
    }

    pub(crate) fn needed(&self, name: &str) -> Result<&'a str, ImportError> {
        let help = "every one that Azure writes has it";
        self.text(name)?.ok_or_else(|| self.place.refuse(format!("there is no `{name}`"), help))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ImportError> {
        let flag = |value: &Value| match value {
            Value::Bool(flag) => Ok(*flag),
            // As templates and states write it too.
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.refuse(name, "true or false")),
        };
        self.get(name).map(flag).transpose()
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, ImportError> {
        let number = |value: &Value| {
            let number = match value {
                Value::String(text) => text.parse().ok(),
                value => value.as_u64(),
            };
            let number = number.and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| self.refuse(name, "a whole number that fits"))
        };
        self.get(name).map(number).transpose()
    }

    /// The items of a list, each with its place.
    pub(crate) fn items(&self, name: &str) -> Result<Vec<(Place, &'a Value)>, ImportError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| self.refuse(name, "a list"))?;
        let place = self.place.member(name);
        Ok(list.iter().enumerate().map(|(at, item)| (place.item(at), item)).collect())
    }
}
