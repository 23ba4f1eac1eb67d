//! How HTTPS spells the device API: paths, headers and JSON bodies, both ways.
