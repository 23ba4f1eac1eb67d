//! One request over one connection, the client's side.
//!
//! A transport only carries: it spells a request, reads the reply and says how a connection broke. What to do about
//! it is the device's business.

pub(crate) mod http;
