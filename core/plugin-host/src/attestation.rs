//! An attestation in use, linked or loaded.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleetstorm_plugin::abi::{self, Sink, Slice, Status};

use super::calls::Watched;
use super::kind::Kind;
use super::library::{Library, Part};
use super::problem::PluginError;
use super::sink::collect;

/// An attestation in use; clones share it.
#[derive(Clone)]
pub struct Attestation {
    made: Arc<Made>,
    /// What a record says of it.
    pub used: fleetstorm_reports::record::Plugin,
}

struct Made {
    table: abi::Attestation,
    this: *mut c_void,
    schemes: Vec<u16>,
    watched: Watched,
}

// SAFETY: by the interface, what `create` made may be used from any thread.
unsafe impl Send for Made {}
// SAFETY: as above.
unsafe impl Sync for Made {}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.destroy {
            // SAFETY: `this` is what `create` made, all devices are gone, and this happens once.
            self.watched.call(|| unsafe { destroy(self.this) });
        }
    }
}

impl Attestation {
    pub(super) fn new(
        library: &Library,
        part: &Part,
        table: abi::Attestation,
        config: &str,
    ) -> Result<Self, PluginError> {
        let id = &part.id;
        let refused = |reason: String| PluginError::Refused {
            kind: Kind::Attestation,
            id: id.clone(),
            reason,
            parameters: Vec::new(),
        };
        let Some(create) = table.create else { return Err(refused("it cannot be made".to_owned())) };
        let mut this = std::ptr::null_mut();
        // SAFETY: the interface's `create`, with a slice, a place and a sink that outlive the call.
        let (status, error) = part
            .watched
            .call(|| collect(|sink| unsafe { create(Slice::of(config.as_bytes()), &raw mut this, sink) }));
        match status {
            abi::OK => {}
            abi::PANICKED => return Err(PluginError::Panicked { kind: Kind::Attestation, id: id.clone() }),
            _ => return Err(refused(error.reason())),
        }
        let mut made = Made { table, this, schemes: Vec::new(), watched: part.watched };
        if let Some(schemes) = table.schemes {
            // SAFETY: the interface's `schemes`, with what `create` made.
            let (status, written) = part.watched.call(|| collect(|sink| unsafe { schemes(made.this, sink) }));
            let pieces = (status == abi::OK).then(|| written.parts()).flatten();
            let pieces = pieces.ok_or_else(|| refused("its signature schemes cannot be read".to_owned()))?;
            for piece in pieces {
                let [high, low] = **piece else {
                    return Err(refused("a signature scheme has two bytes".to_owned()));
                };
                made.schemes.push(u16::from_be_bytes([high, low]));
            }
        }
        Ok(Self { made: Arc::new(made), used: library.used(part) })
    }

    /// Whether devices present certificates at TLS.
    pub fn presents_certificates(&self) -> bool {
        self.made.table.flags & abi::ATTESTATION_CERTIFICATES != 0
    }

    /// Whether there is no token until a challenge has been answered.
    pub fn is_challenged(&self) -> bool {
        self.made.table.flags & abi::ATTESTATION_CHALLENGED != 0
    }

    /// Whether signing may wait for hardware and must be kept off an event loop.
    pub fn may_block(&self) -> bool {
        self.made.table.flags & abi::ATTESTATION_MAY_BLOCK != 0
    }

    /// Makes the identity of a device.
    ///
    /// # Errors
    /// The plugin cannot make it.
    pub fn device(&self, registration_id: &str, random: [u64; 4]) -> Result<DeviceIdentity, PluginError> {
        let (kind, id) = (Kind::Attestation, &self.used.id);
        let refused =
            |reason: String| PluginError::Refused { kind, id: id.clone(), reason, parameters: Vec::new() };
        let Some(make) = self.made.table.device else {
            return Err(refused("it makes no devices".to_owned()));
        };
        let mut device = std::ptr::null_mut();
        // SAFETY: the interface's `device`, with what `create` made, and with a slice, four numbers, a place and a sink
        // that outlive the call.
        let call = |sink| unsafe {
            make(
                self.made.this,
                Slice::of(registration_id.as_bytes()),
                random.as_ptr(),
                &raw mut device,
                sink,
            )
        };
        let (status, error) = self.made.watched.call(|| collect(call));
        match status {
            abi::OK => Ok(DeviceIdentity { made: Arc::clone(&self.made), turn: Mutex::default(), device }),
            abi::PANICKED => Err(PluginError::Panicked { kind, id: id.clone() }),
            _ => Err(refused(error.reason())),
        }
    }
}

/// Who one device is. A driver has one call at a time under way for it, as the interface asks.
pub struct DeviceIdentity {
    made: Arc<Made>,
    /// Held during a call that may wait for hardware: one that nobody waits for any longer may still be under way.
    turn: Mutex<()>,
    device: *mut c_void,
}

// SAFETY: by the interface, what `device` made may be used from any thread.
unsafe impl Send for DeviceIdentity {}
// SAFETY: as above; a device belongs to one shard, which asks for one thing at a time.
unsafe impl Sync for DeviceIdentity {}

impl Drop for DeviceIdentity {
    fn drop(&mut self) {
        if let Some(device_drop) = self.made.table.device_drop {
            // SAFETY: `device` is what `device` made, and this happens once.
            self.made.watched.call(|| unsafe { device_drop(self.device) });
        }
    }
}

/// The attestation plugin failed; what it said may hold a secret and is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attestation failed")]
pub struct AttestationFailed;

impl DeviceIdentity {
    /// Whether its calls may wait for hardware and must be kept off an event loop.
    pub fn may_block(&self) -> bool {
        self.made.table.flags & abi::ATTESTATION_MAY_BLOCK != 0
    }

    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.may_block().then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The chain to present at TLS, leaf first.
    pub fn certificates(&self) -> Vec<Vec<u8>> {
        let Some(certificates) = self.made.table.certificates else { return Vec::new() };
        let _turn = self.turn();
        // SAFETY: the interface's `certificates`, with what `create` and `device` made.
        let call = |sink| unsafe { certificates(self.made.this, self.device, sink) };
        let (status, written) = self.made.watched.call(|| collect(call));
        let pieces = (status == abi::OK).then(|| written.parts()).flatten().unwrap_or_default();
        pieces.into_iter().map(|piece| piece.to_vec()).collect()
    }

    /// Signs a TLS handshake.
    pub fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, AttestationFailed> {
        let sign = self.made.table.sign.ok_or(AttestationFailed)?;
        // SAFETY: the interface's `sign`, with what `create` and `device` made and slices and sinks of this call.
        self.written(|out, error| unsafe {
            sign(self.made.this, self.device, scheme, Slice::of(message), out, error)
        })
        .map(|bytes| bytes.to_vec())
    }

    /// The TLS schemes it can sign with.
    pub fn schemes(&self) -> &[u16] {
        &self.made.schemes
    }

    /// Members to add to the body of a registration.
    pub fn enrol(&self) -> Option<String> {
        let enrol = self.made.table.enrol?;
        // SAFETY: the interface's `enrol`, with what `create` and `device` made.
        let members = self.written(|out, _| unsafe { enrol(self.made.this, self.device, out) }).ok()?;
        let members = String::from_utf8(members.to_vec()).ok()?;
        (!members.is_empty()).then_some(members)
    }

    /// Appends a token; returns whether there is one.
    pub fn authorize(
        &self,
        slot: u8,
        audience: &str,
        expires_unix_secs: u64,
        out: &mut String,
    ) -> Result<bool, AttestationFailed> {
        let Some(authorize) = self.made.table.authorize else { return Ok(false) };
        let audience = Slice::of(audience.as_bytes());
        // SAFETY: the interface's `authorize`, with what `create` and `device` made and slices and sinks of this call.
        let token = self.written(|sink, error| unsafe {
            authorize(self.made.this, self.device, u32::from(slot), audience, expires_unix_secs, sink, error)
        })?;
        out.push_str(std::str::from_utf8(&token).map_err(|_| AttestationFailed)?);
        Ok(!token.is_empty())
    }

    /// Takes up a challenge.
    pub fn answer(&self, challenge: &[u8]) -> Result<(), AttestationFailed> {
        let answer = self.made.table.answer.ok_or(AttestationFailed)?;
        // SAFETY: the interface's `answer`, with what `create` and `device` made and slices and sinks of this call.
        self.written(|_, error| unsafe { answer(self.made.this, self.device, Slice::of(challenge), error) })
            .map(|_| ())
    }

    fn written(
        &self,
        call: impl FnOnce(Sink, Sink) -> Status,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, AttestationFailed> {
        let _turn = self.turn();
        let ((status, _reason), written) =
            self.made.watched.call(|| collect(|out| collect(|error| call(out, error))));
        if status != abi::OK {
            return Err(AttestationFailed);
        }
        written.whole().ok_or(AttestationFailed)
    }
}
