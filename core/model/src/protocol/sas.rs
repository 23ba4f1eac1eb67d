//! SAS tokens: building them, reading every observed form, and what is signed.
