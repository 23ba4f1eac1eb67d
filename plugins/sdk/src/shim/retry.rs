//! A retry strategy behind `fs_retry`.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::{answered, bytes, caught, dispose, give};
use crate::abi::{self, Sink, Slice, Status};
use crate::attempt::Attempt;
use crate::config;
use crate::decision::{Answered, signed};
use crate::retry::{Kept, Memory, RetryStrategy, Scope};

/// The table of a strategy.
pub(crate) struct Table<S>(PhantomData<S>);

impl<S: RetryStrategy> Table<S> {
    pub(crate) const TABLE: &'static abi::Retry = &abi::Retry {
        size: size_of::<abi::Retry>() as u32,
        flags: Self::FLAGS,
        session_size: Self::checked::<S::Session>(abi::SESSION_MAX),
        session_align: align_of::<S::Session>() as u32,
        shared_size: Self::checked::<S::Shared>(abi::SHARED_MAX),
        shared_align: align_of::<S::Shared>() as u32,
        scope: Self::SCOPE,
        reserved: 0,
        create: Some(create::<S>),
        destroy: Some(dispose::<S>),
        on_failure: Some(on_failure::<S>),
        before_first_attempt: Some(before_first_attempt::<S>),
        on_success: Some(on_success::<S>),
        on_answer: if S::PACES_POLLS { Some(on_answer::<S>) } else { None },
        on_hub_failure: if S::DECIDES_AT_HUB { Some(on_hub_failure::<S>) } else { None },
    };

    const FLAGS: u32 = if S::GUARDED { abi::RETRY_GUARDED } else { 0 }
        | if S::NEEDS.fleet_size { abi::RETRY_NEEDS_FLEET_SIZE } else { 0 }
        | if S::NEEDS.quota { abi::RETRY_NEEDS_QUOTA } else { 0 }
        | if S::MODEL { abi::RETRY_MODEL } else { 0 };

    const SCOPE: u32 = {
        let shares = size_of::<S::Shared>() > 0;
        assert!(shares == !matches!(S::SCOPE, Scope::Device), "Shared is `()` exactly where SCOPE is Device");
        S::SCOPE as u32
    };

    const fn checked<T>(most: usize) -> u32 {
        assert!(size_of::<T>() <= most, "a session has at most 256 bytes, shared memory at most 64 KiB");
        assert!(
            align_of::<T>() <= abi::ALIGN_MAX,
            "sessions and shared memory are aligned to at most 16 bytes"
        );
        size_of::<T>() as u32
    }
}

unsafe extern "C" fn create<S: RetryStrategy>(json: Slice, this: *mut *mut c_void, error: Sink) -> Status {
    answered(error, || {
        // SAFETY: the host lends the slice for this call.
        let strategy = S::new(config::read(unsafe { bytes(json) })?)?;
        // SAFETY: `this` is the place for the result.
        unsafe { give(strategy, this) };
        Ok(())
    })
}

/// # Safety
/// `at` points to memory of `T`'s size and alignment that is the caller's alone for `'a`, or `T` has no size.
#[inline]
unsafe fn memory<'a, T: Memory>(at: *mut c_void) -> &'a mut T {
    let at = if size_of::<T>() == 0 { NonNull::dangling().as_ptr() } else { at.cast::<T>() };
    // SAFETY: the caller's promise; whatever the bytes are, they are a `T`, because `T` is plain data.
    unsafe { &mut *at }
}

/// # Safety
/// `attempt` points to an `fs_attempt` that begins with its size.
#[inline]
unsafe fn read(attempt: *const abi::Attempt) -> Attempt {
    // SAFETY: the caller's promise.
    let size = unsafe { (*attempt).size } as usize;
    if size >= size_of::<abi::Attempt>() {
        // SAFETY: the structure is at least as large as the one read here.
        return Attempt::read(unsafe { &*attempt });
    }
    // SAFETY: as above.
    unsafe { read_older(attempt, size) }
}

/// Reads an attempt of a host that knows fewer fields; what is missing is zero.
///
/// # Safety
/// `attempt` points to `size` readable bytes.
#[cold]
unsafe fn read_older(attempt: *const abi::Attempt, size: usize) -> Attempt {
    // SAFETY: integers, a float and arrays of integers may be zero.
    let mut full: abi::Attempt = unsafe { std::mem::zeroed() };
    // SAFETY: `size` is less than the size of `full`.
    unsafe { std::ptr::copy_nonoverlapping(attempt.cast::<u8>(), (&raw mut full).cast::<u8>(), size) };
    Attempt::read(&full)
}

unsafe extern "C" fn on_failure<S: RetryStrategy>(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const abi::Attempt,
    out: *mut abi::Decision,
) -> Status {
    caught(|| {
        // SAFETY: `this` is what `create::<S>` made, and the memory is what the table asks for, for this call.
        let (strategy, kept, attempt) = unsafe {
            let kept = Kept { session: memory(session), shared: memory(shared) };
            (&*this.cast::<S>(), kept, read(attempt))
        };
        let decision = strategy.on_failure(kept, &attempt).to_abi();
        // SAFETY: `out` is the place for the result.
        unsafe { out.write(decision) };
        abi::OK
    })
}

unsafe extern "C" fn before_first_attempt<S: RetryStrategy>(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const abi::Attempt,
    out: *mut i64,
) -> Status {
    caught(|| {
        // SAFETY: as in `on_failure`.
        let (strategy, kept, attempt) = unsafe {
            let kept = Kept { session: memory(session), shared: memory(shared) };
            (&*this.cast::<S>(), kept, read(attempt))
        };
        let wait = signed(strategy.before_first_attempt(kept, &attempt));
        // SAFETY: `out` is the place for the result.
        unsafe { out.write(wait) };
        abi::OK
    })
}

unsafe extern "C" fn on_answer<S: RetryStrategy>(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const abi::Attempt,
    out: *mut i64,
) -> Status {
    caught(|| {
        // SAFETY: as in `on_failure`.
        let (strategy, kept, attempt) = unsafe {
            let kept = Kept { session: memory(session), shared: memory(shared) };
            (&*this.cast::<S>(), kept, read(attempt))
        };
        match strategy.on_answer(kept, &attempt) {
            Answered::AsUsual => abi::UNSUPPORTED,
            Answered::Unusable => abi::REFUSED,
            Answered::PollAfter(wait) => {
                // SAFETY: `out` is the place for the result.
                unsafe { out.write(signed(wait)) };
                abi::OK
            }
        }
    })
}

unsafe extern "C" fn on_hub_failure<S: RetryStrategy>(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const abi::Attempt,
    out: *mut abi::Decision,
) -> Status {
    caught(|| {
        // SAFETY: as in `on_failure`.
        let (strategy, kept, attempt) = unsafe {
            let kept = Kept { session: memory(session), shared: memory(shared) };
            (&*this.cast::<S>(), kept, read(attempt))
        };
        let decision = strategy.on_hub_failure(kept, &attempt).to_abi();
        // SAFETY: `out` is the place for the result.
        unsafe { out.write(decision) };
        abi::OK
    })
}

unsafe extern "C" fn on_success<S: RetryStrategy>(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const abi::Attempt,
) -> Status {
    caught(|| {
        // SAFETY: as in `on_failure`.
        let (strategy, kept, attempt) = unsafe {
            let kept = Kept { session: memory(session), shared: memory(shared) };
            (&*this.cast::<S>(), kept, read(attempt))
        };
        strategy.on_success(kept, &attempt);
        abi::OK
    })
}
