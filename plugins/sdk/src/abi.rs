//! The C interface, as `include/fleetstorm_plugin.h` lays it out. What things mean is written there.

#![allow(missing_docs, reason = "the header documents the interface; here it is only spelled in Rust")]

use std::ffi::c_void;

pub const MAGIC: u32 = 0x4653_5047;
pub const MAJOR: u32 = 1;
pub const MINOR: u32 = 1;

pub type Status = i32;
pub const OK: Status = 0;
pub const REFUSED: Status = 1;
pub const PANICKED: Status = 2;
pub const UNSUPPORTED: Status = 3;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Slice {
    pub ptr: *const u8,
    pub len: usize,
}

impl Slice {
    /// Borrows `bytes`; whoever receives the slice must not use it for longer than the call.
    pub const fn of(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Sink {
    pub ctx: *mut c_void,
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, bytes: Slice)>,
}

pub const HOST_LINKED: u32 = 1;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Host {
    pub size: u32,
    pub major: u32,
    pub minor: u32,
    pub flags: u32,
    pub ctx: *mut c_void,
    pub log: Option<unsafe extern "C" fn(ctx: *mut c_void, level: u32, message: Slice)>,
}

pub const KIND_ATTESTATION: u32 = 1;
pub const KIND_RETRY: u32 = 2;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Part {
    pub kind: u32,
    pub flags: u32,
    pub id: Slice,
    pub summary: Slice,
    pub schema: Option<unsafe extern "C" fn(out: Sink) -> Status>,
    pub table: *const c_void,
}

pub const ENTRY_UNWINDS: u32 = 1;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    pub magic: u32,
    pub size: u32,
    pub major: u32,
    pub minor: u32,
    pub flags: u32,
    pub part_size: u32,
    pub name: Slice,
    pub version: Slice,
    pub init: Option<unsafe extern "C" fn(host: *const Host, error: Sink) -> Status>,
    pub parts: *const Part,
    pub part_count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Attempt {
    pub size: u32,
    pub flags: u32,
    pub operation: u32,
    pub failure: u32,
    pub advice: u32,
    pub status: u32,
    pub code: u32,
    pub failures: u32,
    pub attempts: u32,
    pub operation_failures: u32,
    pub given: u32,
    pub credential: u32,
    pub credentials: u32,
    pub reserved: u32,
    pub given_value: i64,
    pub retry_after_ns: u64,
    pub floor_ns: u64,
    pub park_ns: u64,
    pub previous_wait_ns: u64,
    pub now_ns: u64,
    pub since_boot_ns: u64,
    pub elapsed_ns: u64,
    pub device_hash: u64,
    pub fleet_size: u64,
    pub quota_per_minute: f64,
    pub random: [u64; 2],
}

pub const ATTEMPT_RETRY_AFTER: u32 = 1;
pub const ATTEMPT_OPERATION_KNOWN: u32 = 2;
pub const ATTEMPT_UNRESOLVED: u32 = 4;
pub const ATTEMPT_ASSIGNED: u32 = 8;

pub const ACTION_WAIT: u32 = 1;
pub const ACTION_RESTART: u32 = 2;
pub const ACTION_SWITCH_CREDENTIAL: u32 = 3;
pub const ACTION_USE_CACHED_HUB: u32 = 4;
pub const ACTION_LOOKUP_STATUS: u32 = 5;
pub const ACTION_GIVE_UP: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Decision {
    pub action: u32,
    pub reserved: u32,
    pub wait_ns: i64,
}

pub const RETRY_GUARDED: u32 = 1;
pub const RETRY_NEEDS_FLEET_SIZE: u32 = 2;
pub const RETRY_NEEDS_QUOTA: u32 = 4;
pub const RETRY_MODEL: u32 = 8;

pub const SCOPE_DEVICE: u32 = 0;
pub const SCOPE_COHORT: u32 = 1;
pub const SCOPE_FLEET: u32 = 2;

pub const SESSION_MAX: usize = 256;
pub const SHARED_MAX: usize = 65_536;
pub const ALIGN_MAX: usize = 16;

pub type OnFailure = unsafe extern "C" fn(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const Attempt,
    decision: *mut Decision,
) -> Status;
pub type BeforeFirstAttempt = unsafe extern "C" fn(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const Attempt,
    wait_ns: *mut i64,
) -> Status;
pub type OnSuccess = unsafe extern "C" fn(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const Attempt,
) -> Status;
pub type OnAnswer = unsafe extern "C" fn(
    this: *const c_void,
    session: *mut c_void,
    shared: *mut c_void,
    attempt: *const Attempt,
    wait_ns: *mut i64,
) -> Status;
pub type Create = unsafe extern "C" fn(config_json: Slice, this: *mut *mut c_void, error: Sink) -> Status;
pub type Destroy = unsafe extern "C" fn(this: *mut c_void);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Retry {
    pub size: u32,
    pub flags: u32,
    pub session_size: u32,
    pub session_align: u32,
    pub shared_size: u32,
    pub shared_align: u32,
    pub scope: u32,
    pub reserved: u32,
    pub create: Option<Create>,
    pub destroy: Option<Destroy>,
    pub on_failure: Option<OnFailure>,
    pub before_first_attempt: Option<BeforeFirstAttempt>,
    pub on_success: Option<OnSuccess>,
    pub on_answer: Option<OnAnswer>,
    pub on_hub_failure: Option<OnFailure>,
}

/// The size of [`Retry`] in version 1.0, which ended with `on_success`.
pub const RETRY_SIZE_1_0: usize = std::mem::offset_of!(Retry, on_answer);

pub const ATTESTATION_MAY_BLOCK: u32 = 1;
pub const ATTESTATION_CHALLENGED: u32 = 2;
pub const ATTESTATION_CERTIFICATES: u32 = 4;

pub type MakeDevice = unsafe extern "C" fn(
    this: *const c_void,
    registration_id: Slice,
    random: *const u64,
    device: *mut *mut c_void,
    error: Sink,
) -> Status;
pub type OfDevice = unsafe extern "C" fn(this: *const c_void, device: *const c_void, out: Sink) -> Status;
pub type Sign = unsafe extern "C" fn(
    this: *const c_void,
    device: *const c_void,
    scheme: u16,
    message: Slice,
    out: Sink,
    error: Sink,
) -> Status;
pub type Authorize = unsafe extern "C" fn(
    this: *const c_void,
    device: *const c_void,
    slot: u32,
    audience: Slice,
    expires_unix_secs: u64,
    out: Sink,
    error: Sink,
) -> Status;
pub type Answer =
    unsafe extern "C" fn(this: *const c_void, device: *const c_void, challenge: Slice, error: Sink) -> Status;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Attestation {
    pub size: u32,
    pub flags: u32,
    pub create: Option<Create>,
    pub destroy: Option<Destroy>,
    pub device: Option<MakeDevice>,
    pub device_drop: Option<Destroy>,
    pub schemes: Option<unsafe extern "C" fn(this: *const c_void, out: Sink) -> Status>,
    pub certificates: Option<OfDevice>,
    pub sign: Option<Sign>,
    pub enrol: Option<OfDevice>,
    pub authorize: Option<Authorize>,
    pub answer: Option<Answer>,
}

// SAFETY: what these point to is constant for the life of the process, by the header's rule on lifetime.
unsafe impl Sync for Part {}
// SAFETY: as for `Part`.
unsafe impl Sync for Entry {}
// SAFETY: as for `Part`.
unsafe impl Send for Entry {}
// SAFETY: as for `Part`.
unsafe impl Send for Part {}
