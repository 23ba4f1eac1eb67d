//! What shards meet in. `tests/threads.rs` compiles the file that uses it with loom's type of this name.

pub(crate) use std::sync::Mutex;
