//! Where the traits meet the C interface.
//!
//! Every function here is called by a host that keeps the header's rules; that is what the unsafe blocks rely on. Each
//! catches panics on this side: a panic that left a C function would end the host.

pub(crate) mod attestation;
pub(crate) mod log;
pub(crate) mod retry;

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use schemars::JsonSchema;

use crate::abi::{self, Sink, Slice, Status};
use crate::config::{self, Result};

/// Runs `call`; a panic becomes a status.
#[inline]
fn caught(call: impl FnOnce() -> Status) -> Status {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(status) => status,
        Err(payload) => {
            // Dropping it could panic again, with nobody left to catch that.
            std::mem::forget(payload);
            abi::PANICKED
        }
    }
}

/// The same for calls that can refuse; the reason goes to `error`.
fn answered(error: Sink, call: impl FnOnce() -> Result<()>) -> Status {
    caught(|| match call() {
        Ok(()) => abi::OK,
        Err(reason) => {
            write(error, reason.to_string().as_bytes());
            abi::REFUSED
        }
    })
}

fn write(sink: Sink, bytes: &[u8]) {
    if let Some(write) = sink.write {
        // SAFETY: a sink is valid during the call that received it, and so is the slice.
        unsafe { write(sink.ctx, Slice::of(bytes)) };
    }
}

/// # Safety
/// The slice is one that the host lends for the current call, and `'a` does not outlive that call.
unsafe fn bytes<'a>(slice: Slice) -> &'a [u8] {
    if slice.len == 0 || slice.ptr.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise; the pointer is not null.
    unsafe { std::slice::from_raw_parts(slice.ptr, slice.len) }
}

pub(crate) unsafe extern "C" fn schema<T: JsonSchema>(out: Sink) -> Status {
    caught(|| {
        write(out, config::schema::<T>().to_string().as_bytes());
        abi::OK
    })
}

/// Hands a value to the host, which gives it back to [`dispose`].
///
/// # Safety
/// `out` points to a place for a pointer.
unsafe fn give<T>(value: T, out: *mut *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { out.write(Box::into_raw(Box::new(value)).cast()) };
}

/// Frees what [`give`] handed out.
unsafe extern "C" fn dispose<T>(this: *mut c_void) {
    caught(|| {
        if !this.is_null() {
            // SAFETY: the host gives back, once, what `give::<T>` made.
            drop(unsafe { Box::from_raw(this.cast::<T>()) });
        }
        abi::OK
    });
}
