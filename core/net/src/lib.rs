//! Streams and their ends: the sockets, TLS and framings that a run speaks through, and one exchange of a device on them.
//!
//! [`connect`] opens connections, and is the only place that does; [`exchange`] carries one request of a device machine over
//! whichever transport its cohort has. [`packets`] and [`frames`] serve both ends. Whether anything may leave is asked of
//! [`governor`]. Nothing here knows a run, a record or a mock.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "Fleetstorm needs Linux (its timers are timer descriptors, and limits are read from /proc): build it there, or in a container"
);

pub mod aside;
pub mod clock;
pub mod connect;
pub mod deadline;
mod error;
pub mod exchange;
pub mod frames;
pub mod governor;
pub mod limits;
mod octets;
pub mod packets;
mod sync;
mod times;
pub mod websocket;

pub use error::NetError;
pub use times::ConnectTimes;
