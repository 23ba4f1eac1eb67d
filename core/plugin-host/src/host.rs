//! What the host offers to libraries: a place for messages.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use fleetstorm_plugin::abi::{self, Host, Slice};

/// Something a plugin told the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// 1 for an error, 2 for a warning, 3 for information.
    pub level: u32,
    /// What it said.
    pub text: String,
}

/// Messages kept; a plugin that talks more is not listened to.
const MESSAGES_MOST: usize = 100;

/// Longest message.
const MESSAGE_BYTES_MOST: usize = 2_000;

static MESSAGES: Mutex<Vec<Message>> = Mutex::new(Vec::new());

/// What plugins have told the operator since the last call.
pub fn messages() -> Vec<Message> {
    std::mem::take(&mut MESSAGES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The host's table, for any thread.
pub(super) struct HostTable(pub(super) Host);

// SAFETY: the table is constant and its context is NULL.
unsafe impl Sync for HostTable {}

/// What a loaded library is given.
pub(super) static HOST: HostTable = host(0);
/// What a linked library is given.
pub(super) static LINKED_HOST: HostTable = host(abi::HOST_LINKED);

const fn host(flags: u32) -> HostTable {
    HostTable(Host {
        size: size_of::<Host>() as u32,
        major: abi::MAJOR,
        minor: abi::MINOR,
        flags,
        ctx: std::ptr::null_mut(),
        log: Some(log),
    })
}

unsafe extern "C" fn log(_: *mut c_void, level: u32, message: Slice) {
    if message.ptr.is_null() {
        return;
    }
    let len = message.len.min(MESSAGE_BYTES_MOST);
    // SAFETY: the plugin lends the message for this call; the pointer is not null.
    let bytes = unsafe { std::slice::from_raw_parts(message.ptr, len) };
    let text = String::from_utf8_lossy(bytes).replace(|c: char| c.is_control(), " ");
    let mut messages = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if messages.len() < MESSAGES_MOST {
        messages.push(Message { level, text });
    }
}
