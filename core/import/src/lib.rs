//! From what people have of a Device Provisioning Service to a mock's file.
//!
//! [`import`] takes ARM templates (which `bicep build` writes) with their parameter files, what `terraform show -json`
//! prints, and what Azure's command line prints of a service: its instance, hubs, policies, certificates, enrollments. None
//! of them has everything: templates know no enrollments, and lists of enrollments know no hubs. Keys are never carried over:
//! the mock's file asks for them.

#![forbid(unsafe_code)]

mod document;
mod enrollment;
mod error;
mod expression;
mod found;
mod member;
mod mock_file;
mod resource;
mod scope;
mod template;
mod terraform;

pub use error::{ImportError, Place};
pub use mock_file::{HEADER, Imported, Keys, Options};

/// Most bytes of one file.
pub const FILE_MOST: usize = 32 << 20;

/// A file, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// The mock's file for what these files say of one service, taken together.
///
/// # Errors
/// A file cannot be read, two of them contradict each other, or the mock cannot take what they say.
pub fn import(sources: &[Source<'_>], options: &Options) -> Result<Imported, ImportError> {
    let found = document::read(sources)?;
    mock_file::write(found, sources, options)
}
