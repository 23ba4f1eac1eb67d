//! The challenge of TPM attestation, both its sides.
//!
//! A service seals a key to the endorsement key and the storage root key of one TPM ([`make`]); nobody but that TPM can
//! open it ([`open`]), and signs its tokens with it from then on (`dps` 10.2; Trusted Platform Module Library,
//! part 1, chapters 23 and 24). The mock's service side and the software TPM of simulated devices meet here, and a test
//! of the whole system proves the former with the TPM emulator swtpm.
//!
//! Bytes in, bytes out: nothing here is a connection, a clock or a device.

#![forbid(unsafe_code)]

mod challenge;
mod hash;
mod key;
mod seal;
mod structure;

pub use challenge::{Draws, make, open};
pub use key::{KeyError, PrivateKey, check};
