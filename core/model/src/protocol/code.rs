//! The catalogue of status and six-digit codes: meaning, transience and what to do.
