//! Strategies with a known defect, for cohorts that misbehave and for the examiner to be tested with.

pub(crate) mod hot_loop;
pub(crate) mod ignores_retry_after;
pub(crate) mod overflow;
pub(crate) mod same_seed;
