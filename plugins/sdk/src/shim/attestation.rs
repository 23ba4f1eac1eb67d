//! An attestation behind `fs_attestation`.

use std::ffi::c_void;
use std::marker::PhantomData;

use super::{answered, bytes, caught, dispose, give, write};
use crate::abi::{self, Sink, Slice, Status};
use crate::attestation::Attestation;
use crate::config::{self, Error, Result};

/// The table of an attestation.
pub(crate) struct Table<A>(PhantomData<A>);

impl<A: Attestation> Table<A> {
    pub(crate) const TABLE: &'static abi::Attestation = &abi::Attestation {
        size: size_of::<abi::Attestation>() as u32,
        flags: if A::MAY_BLOCK { abi::ATTESTATION_MAY_BLOCK } else { 0 }
            | if A::CHALLENGED { abi::ATTESTATION_CHALLENGED } else { 0 }
            | if A::CERTIFICATES { abi::ATTESTATION_CERTIFICATES } else { 0 },
        create: Some(create::<A>),
        destroy: Some(dispose::<A>),
        device: Some(device::<A>),
        device_drop: Some(dispose::<A::Device>),
        schemes: Some(schemes::<A>),
        certificates: Some(certificates::<A>),
        sign: Some(sign::<A>),
        enrol: Some(enrol::<A>),
        authorize: Some(authorize::<A>),
        answer: Some(answer::<A>),
    };
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::new("the host passed text that is not UTF-8"))
}

/// # Safety
/// They are what `create::<A>` and `device::<A>` made.
unsafe fn both<'a, A: Attestation>(this: *const c_void, device: *const c_void) -> (&'a A, &'a A::Device) {
    // SAFETY: the caller's promise.
    unsafe { (&*this.cast::<A>(), &*device.cast::<A::Device>()) }
}

unsafe extern "C" fn create<A: Attestation>(json: Slice, this: *mut *mut c_void, error: Sink) -> Status {
    answered(error, || {
        // SAFETY: the host lends the slice for this call.
        let attestation = A::new(config::read(unsafe { bytes(json) })?)?;
        // SAFETY: `this` is the place for the result.
        unsafe { give(attestation, this) };
        Ok(())
    })
}

unsafe extern "C" fn device<A: Attestation>(
    this: *const c_void,
    registration_id: Slice,
    random: *const u64,
    out: *mut *mut c_void,
    error: Sink,
) -> Status {
    answered(error, || {
        // SAFETY: `this` is what `create::<A>` made; the host lends the id and four numbers for this call.
        let (attestation, id, random) =
            unsafe { (&*this.cast::<A>(), bytes(registration_id), *random.cast::<[u64; 4]>()) };
        let device = attestation.device(text(id)?, random)?;
        // SAFETY: `out` is the place for the result.
        unsafe { give(device, out) };
        Ok(())
    })
}

unsafe extern "C" fn schemes<A: Attestation>(this: *const c_void, out: Sink) -> Status {
    caught(|| {
        // SAFETY: `this` is what `create::<A>` made.
        let attestation = unsafe { &*this.cast::<A>() };
        for scheme in attestation.schemes() {
            write(out, &scheme.to_be_bytes());
        }
        abi::OK
    })
}

unsafe extern "C" fn certificates<A: Attestation>(
    this: *const c_void,
    device: *const c_void,
    out: Sink,
) -> Status {
    caught(|| {
        // SAFETY: they are what `create::<A>` and `device::<A>` made.
        let (attestation, device) = unsafe { both::<A>(this, device) };
        for certificate in attestation.certificates(device) {
            write(out, &certificate);
        }
        abi::OK
    })
}

unsafe extern "C" fn sign<A: Attestation>(
    this: *const c_void,
    device: *const c_void,
    scheme: u16,
    message: Slice,
    out: Sink,
    error: Sink,
) -> Status {
    answered(error, || {
        // SAFETY: they are what `create::<A>` and `device::<A>` made; the host lends the message for this call.
        let ((attestation, device), message) = unsafe { (both::<A>(this, device), bytes(message)) };
        write(out, &attestation.sign(device, scheme, message)?);
        Ok(())
    })
}

unsafe extern "C" fn enrol<A: Attestation>(this: *const c_void, device: *const c_void, out: Sink) -> Status {
    caught(|| {
        // SAFETY: they are what `create::<A>` and `device::<A>` made.
        let (attestation, device) = unsafe { both::<A>(this, device) };
        if let Some(members) = attestation.enrol(device) {
            write(out, members.as_bytes());
        }
        abi::OK
    })
}

unsafe extern "C" fn authorize<A: Attestation>(
    this: *const c_void,
    device: *const c_void,
    slot: u32,
    audience: Slice,
    expires_unix_secs: u64,
    out: Sink,
    error: Sink,
) -> Status {
    answered(error, || {
        // SAFETY: they are what `create::<A>` and `device::<A>` made; the host lends the audience for this call.
        let ((attestation, device), audience) = unsafe { (both::<A>(this, device), bytes(audience)) };
        let mut token = String::new();
        if attestation.authorize(device, slot, text(audience)?, expires_unix_secs, &mut token)? {
            write(out, token.as_bytes());
        }
        Ok(())
    })
}

unsafe extern "C" fn answer<A: Attestation>(
    this: *const c_void,
    device: *const c_void,
    challenge: Slice,
    error: Sink,
) -> Status {
    answered(error, || {
        // SAFETY: they are what `create::<A>` and `device::<A>` made; the host lends the challenge for this call.
        let ((attestation, device), challenge) = unsafe { (both::<A>(this, device), bytes(challenge)) };
        attestation.answer(device, challenge)
    })
}
