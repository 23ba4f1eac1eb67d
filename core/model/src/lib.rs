//! What a device, a service and a fault are.
//!
//! Everything here is a value: a machine takes an input and the time, and gives back what to do next. It knows no
//! socket, task, clock, cryptography or global random generator, so the same code runs on real sockets, as bytes
//! in memory, in virtual time over a million devices, under a fuzzer and in a unit test, and cannot drift apart.

#![forbid(unsafe_code)]

pub mod best_practice;
pub mod chaos;
pub mod device;
pub mod objective;
pub mod phase;
pub mod profile;
pub mod service;
