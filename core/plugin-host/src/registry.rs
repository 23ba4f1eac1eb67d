//! The plugins that a process knows.

use std::sync::Arc;

use fleetstorm_plugin::abi::Entry;

use super::attestation::Attestation;
use super::kind::Kind;
use super::knowledge::Knowledge;
use super::library::{Library, Part, Table};
use super::problem::{LoadError, PluginError, Problem};
use super::retry::Retry;

/// The plugins that a process knows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    libraries: Vec<Arc<Library>>,
    defects: Vec<Arc<LoadError>>,
}

impl Registry {
    /// A registry of linked libraries. One that fails the checks that a loaded library has to pass is left out and told
    /// by [`Registry::defects`].
    pub fn new(entries: &[&'static Entry]) -> Self {
        let mut registry = Self::default();
        for entry in entries {
            if let Err(defect) = Library::linked(entry).and_then(|library| registry.add(library)) {
                registry.defects.push(Arc::new(defect));
            }
        }
        registry
    }

    /// Adds a library.
    ///
    /// # Errors
    /// It offers an id that another one has.
    pub fn add(&mut self, library: Library) -> Result<(), LoadError> {
        for part in &library.parts {
            if let Some((other, _)) = self.get(part.kind(), &part.id) {
                let problem =
                    Problem::Duplicate { kind: part.kind(), id: part.id.clone(), other: other.name.clone() };
                return Err(LoadError { library: library.name.clone(), problem });
            }
        }
        self.libraries.push(Arc::new(library));
        Ok(())
    }

    /// Linked libraries that could not be used.
    pub fn defects(&self) -> impl Iterator<Item = &LoadError> {
        self.defects.iter().map(|defect| &**defect)
    }

    /// The libraries.
    pub fn libraries(&self) -> impl Iterator<Item = &Library> {
        self.libraries.iter().map(|library| &**library)
    }

    /// Every part, with the library that offers it.
    pub fn parts(&self) -> impl Iterator<Item = (&Library, &Part)> {
        self.libraries().flat_map(|library| library.parts.iter().map(move |part| (library, part)))
    }

    /// The part of this kind and id, with the library that offers it.
    pub fn get(&self, kind: Kind, id: &str) -> Option<(&Library, &Part)> {
        self.parts().find(|(_, part)| part.kind() == kind && part.id == id)
    }

    /// Makes a retry strategy from its parameters, a JSON object.
    ///
    /// # Errors
    /// There is none of this id, or it refuses the parameters.
    pub fn retry(&self, id: &str, config: &str, knowledge: Knowledge) -> Result<Retry, PluginError> {
        match self.get(Kind::Retry, id) {
            Some((library, part @ Part { table: Table::Retry(table), .. })) => {
                Retry::new(library, part, *table, config, knowledge)
                    .map_err(|error| error.with_parameters(&part.schema()))
            }
            _ => Err(self.unknown(Kind::Retry, id)),
        }
    }

    /// Makes an attestation from its parameters, a JSON object.
    ///
    /// # Errors
    /// There is none of this id, or it refuses the parameters.
    pub fn attestation(&self, id: &str, config: &str) -> Result<Attestation, PluginError> {
        match self.get(Kind::Attestation, id) {
            Some((library, part @ Part { table: Table::Attestation(table), .. })) => {
                Attestation::new(library, part, *table, config)
                    .map_err(|error| error.with_parameters(&part.schema()))
            }
            _ => Err(self.unknown(Kind::Attestation, id)),
        }
    }

    fn unknown(&self, kind: Kind, id: &str) -> PluginError {
        let ids: Vec<&str> =
            self.parts().filter(|(_, part)| part.kind() == kind).map(|(_, part)| &*part.id).collect();
        PluginError::Unknown {
            kind,
            id: id.to_owned(),
            hint: fleetstorm_units::nearest(id, ids.iter().copied())
                .map(|near| format!(", did you mean `{near}`?"))
                .unwrap_or_default(),
            known: ids.join(", "),
        }
    }
}

impl Library {
    /// How a record names the use of a part.
    pub(super) fn used(&self, part: &Part) -> fleetstorm_reports::record::Plugin {
        let kind = match part.kind() {
            Kind::Retry => "retry",
            Kind::Attestation => "attestation",
        };
        fleetstorm_reports::record::Plugin {
            kind: kind.to_owned(),
            id: part.id.clone(),
            version: self.version.clone(),
            sha256: self.sha256.clone(),
        }
    }
}
