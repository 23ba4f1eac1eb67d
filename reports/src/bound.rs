//! What the quota alone would do to a fleet.
//!
//! A lower bound for any strategy: tokens of a bucket let the k-th request through at `(k - burst) / rate`, windows
//! at the start of window `(k - 1) / limit`. Nobody can be faster, so the distance from it is what boots, retries and
//! the service itself cost.

use crate::record::Bound;

/// Seconds from the start of the run to the earliest instant at which `devices` devices could have their hub.
pub(crate) fn earliest_s(bound: &Bound, devices: u64) -> f64 {
    let beyond = devices as f64 - bound.burst;
    if beyond <= 0.0 {
        return 0.0;
    }
    if bound.window_s > 0.0 && bound.burst >= 1.0 {
        return ((devices as f64 - 1.0) / bound.burst).floor() * bound.window_s;
    }
    beyond / bound.rate_per_s
}

/// The most devices that can have their hub `secs` seconds after the start.
pub(crate) fn admitted(bound: &Bound, secs: f64) -> f64 {
    if bound.window_s > 0.0 {
        ((secs / bound.window_s).floor() + 1.0) * bound.burst
    } else {
        bound.burst + bound.rate_per_s * secs
    }
}

/// Where the bound reaches the whole fleet, as a curve of (seconds, share of the fleet) from 0 to `until_s`. At most
/// `steps` windows are drawn one by one; more of them look like a line anyway.
pub(crate) fn curve(bound: &Bound, devices: u64, until_s: f64, steps: usize) -> Vec<(f64, f64)> {
    let fleet = devices.max(1) as f64;
    let share = |secs: f64| (admitted(bound, secs) / fleet).min(1.0);
    let whole_s = earliest_s(bound, devices).min(until_s);
    let mut points = vec![(0.0, share(0.0))];
    let windows = if bound.window_s > 0.0 { whole_s / bound.window_s } else { f64::INFINITY };
    if windows <= steps as f64 {
        for window in 1..=windows as usize {
            let at = window as f64 * bound.window_s;
            points.push((at, share(at - bound.window_s)));
            points.push((at, share(at)));
        }
    }
    points.push((whole_s, share(whole_s)));
    points.push((until_s, share(until_s)));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(rate_per_s: f64, burst: f64, window_s: f64) -> Bound {
        Bound { rate_per_s, burst, window_s, what: String::new() }
    }

    #[test]
    fn a_bucket_lets_its_burst_pass_and_then_drips() {
        let bucket = bound(10.0, 100.0, 0.0);
        assert_eq!([earliest_s(&bucket, 100), earliest_s(&bucket, 150)], [0.0, 5.0]);
        assert_eq!(admitted(&bucket, 5.0), 150.0);
        let curve = curve(&bucket, 200, 20.0, 10);
        assert_eq!(curve, [(0.0, 0.5), (10.0, 1.0), (20.0, 1.0)]);
    }

    #[test]
    fn windows_open_one_after_the_other() {
        let windows = bound(10.0, 600.0, 60.0);
        assert_eq!([earliest_s(&windows, 600), earliest_s(&windows, 601)], [0.0, 60.0]);
        assert_eq!(earliest_s(&windows, 1_201), 120.0);
        let steps = curve(&windows, 1_200, 90.0, 10);
        assert_eq!(steps, [(0.0, 0.5), (60.0, 0.5), (60.0, 1.0), (60.0, 1.0), (90.0, 1.0)]);
    }

    #[test]
    fn the_curve_and_the_earliest_instant_agree() {
        for bound in [bound(16.7, 1_000.0, 0.0), bound(50.0, 500.0, 10.0)] {
            for devices in [1, 999, 1_001, 5_000] {
                let at = earliest_s(&bound, devices);
                assert!(admitted(&bound, at) >= devices as f64 - 1e-6);
                assert!(at == 0.0 || admitted(&bound, at - 1e-6) < devices as f64);
            }
        }
    }

    #[test]
    fn a_quota_of_nothing_is_no_panic() {
        let nothing = bound(0.0, 0.0, 0.0);
        assert!(earliest_s(&nothing, 5).is_infinite());
        assert!(curve(&nothing, 5, 10.0, 10).iter().all(|(x, y)| x.is_finite() && *y == 0.0));
        let odd = bound(1.0, 0.0, 1e-9);
        assert!(curve(&odd, 5, 10.0, 10).len() < 30);
    }
}
