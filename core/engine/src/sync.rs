//! What threads of a run meet in. `tests/threads.rs` compiles the files that use it with loom's types of these names.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::AtomicU64;
