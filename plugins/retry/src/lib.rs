//! The retry strategies that Fleetstorm ships, one file each.
//!
//! Every one states its formula and where it comes from. `n` counts failures in a row from 1, `U(a, b)` is a uniform
//! draw. All arithmetic saturates: a strategy that has failed for a month must not wrap around to no wait at all.

#![deny(unsafe_code)]

mod aimd_gate;
mod aws;
mod aws_adaptive;
mod backoff;
mod bad;
mod decorrelated;
mod deploy_at_scale;
mod exponential;
mod fixed;
mod grpc_throttle;
mod linear;
mod none;
mod polly;
mod retry_after;
mod sdk;
mod slots;
mod sre_throttle;
mod token_budget;
mod window_shrink;

use fleetstorm_plugin::{Attempt, Error, Result};

fleetstorm_plugin::export! {
    fleetstorm_plugin_retry;
    retry: [
        none::GiveUp,
        none::Immediate,
        fixed::Fixed,
        linear::Linear,
        exponential::Exponential,
        backoff::FullJitter,
        backoff::EqualJitter,
        decorrelated::Decorrelated,
        polly::Polly,
        retry_after::RetryAfter,
        deploy_at_scale::DeployAtScale,
        window_shrink::WindowShrink,
        slots::Slots,
        token_budget::TokenBudget,
        aws::Standard,
        aws::Standard2026,
        aws_adaptive::Adaptive,
        sre_throttle::SreThrottle,
        grpc_throttle::GrpcThrottle,
        aimd_gate::AimdGate,
        sdk::c::Dps,
        sdk::c::Hub,
        sdk::csharp::Dps,
        sdk::csharp::Hub,
        sdk::csharp::V2,
        sdk::python::Dps,
        sdk::python::Hub,
        sdk::node::Dps,
        sdk::node::Hub,
        sdk::java::Dps,
        sdk::java::Hub,
        sdk::embedded_c::Dps,
        sdk::identity_service::Dps,
        sdk::identity_service::Renewal,
        sdk::c_2026::C2026,
        sdk::csharp_2026::CSharp2026,
        sdk::freertos::FreeRtos,
        sdk::netxduo::NetXDuo,
        sdk::nrf::Nrf,
        sdk::arduino::Arduino,
        bad::hot_loop::HotLoop,
        bad::ignores_retry_after::IgnoresRetryAfter,
        bad::same_seed::SameSeed,
        bad::overflow::Overflow,
    ]
}

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// Milliseconds as nanoseconds.
const fn ns(ms: u64) -> u64 {
    ms.saturating_mul(MS)
}

/// `min(cap, base * 2^exponent)` in nanoseconds, for parameters in milliseconds.
fn doubling(base_ms: u64, cap_ms: u64, exponent: u32) -> u64 {
    let factor = 1u64.checked_shl(exponent).unwrap_or(u64::MAX);
    ns(base_ms).saturating_mul(factor).min(ns(cap_ms))
}

/// Full jitter: `U(0, min(cap, base * 2^n))`.
fn full_jitter(base_ms: u64, cap_ms: u64, attempt: &Attempt) -> u64 {
    attempt.uniform(doubling(base_ms, cap_ms, attempt.failures))
}

/// Seconds as nanoseconds; negative and absurd ones are cut.
fn secs(secs: f64) -> u64 {
    // The cast saturates, and takes what is not a number for 0.
    (secs * 1e9) as u64
}

/// Checks the pair of parameters that every back-off has.
fn check_backoff(base_ms: u64, cap_ms: u64) -> Result<()> {
    if base_ms == 0 {
        return Err(Error::new("base_ms: 0 would never wait; use the strategy `immediate` for that"));
    }
    if cap_ms < base_ms {
        return Err(Error::new(format!("cap_ms: {cap_ms} is below base_ms {base_ms}")));
    }
    Ok(())
}

/// Checks a parameter that has a range.
fn check_range(name: &str, value: f64, range: std::ops::RangeInclusive<f64>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::new(format!("{name}: {value} is not between {} and {}", range.start(), range.end())))
}

#[cfg(test)]
mod tests;
