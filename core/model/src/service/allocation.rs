//! Which hub a device gets.

use super::config::Hub;

/// Weighted rendezvous hashing: every hub draws a number for the device, scaled by its weight, and the best one
/// wins. A hub that is added takes its share from the others evenly, and nobody else moves (Thaler and Ravishankar,
/// "A Name-Based Mapping Scheme for Rendezvous", 1996; weights after Schindelhauer and Schomaker, 2005).
pub(super) fn hashed<'a>(hubs: impl Iterator<Item = (u16, &'a Hub)>, device: u64) -> Option<u16> {
    let score = |hub: &Hub| {
        let draw = fleetstorm_units::random::fraction(mix(device ^ hash(&hub.host)));
        // -ln(u)/w is exponential with rate w: the smallest of them is hub i with probability w_i / sum.
        -(draw.max(f64::MIN_POSITIVE)).ln() / f64::from(hub.weight)
    };
    let scores = hubs.map(|(index, hub)| (index, score(hub)));
    let best = scores.min_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map(|(index, _)| index)
}

/// FNV-1a over the text without case: the same on every machine and in every run.
pub(super) fn hash(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): FNV's upper bits alone are poorly spread.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hubs(weights: &[u32]) -> Vec<Hub> {
        let hub =
            |(index, weight): (usize, &u32)| Hub::new(format!("hub-{index}.azure-devices.net"), *weight);
        weights.iter().enumerate().map(hub).collect()
    }

    #[test]
    fn devices_are_spread_by_weight() {
        let hubs = hubs(&[1, 2, 5]);
        let n = 40_000;
        let mut counts = [0u32; 3];
        for device in 0..n {
            let hub = hashed((0..).zip(&hubs), hash(&format!("dev-{device:06}")));
            counts[usize::from(hub.unwrap())] += 1;
        }
        let chi_squared: f64 = counts
            .iter()
            .zip(&hubs)
            .map(|(&count, hub)| {
                let expected = f64::from(n) * f64::from(hub.weight) / 8.0;
                (f64::from(count) - expected).powi(2) / expected
            })
            .sum();
        assert!(chi_squared < 13.8, "0.1 % point of 2 degrees of freedom: {chi_squared} {counts:?}");
    }

    #[test]
    fn a_new_hub_takes_its_share_and_nobody_else_moves() {
        let (few, more) = (hubs(&[1, 1, 1]), hubs(&[1, 1, 1, 1]));
        let mut moved = 0;
        for device in 0..10_000u32 {
            let key = hash(&format!("dev-{device}"));
            let (before, after) = (hashed((0..).zip(&few), key), hashed((0..).zip(&more), key));
            assert!(before == after || after == Some(3));
            moved += u32::from(before != after);
        }
        assert!((2_300..2_700).contains(&moved), "{moved}");
    }

    #[test]
    fn the_hash_ignores_case() {
        assert_eq!(hash("Dev-01"), hash("dEV-01"));
        assert_ne!(hash("dev-01"), hash("dev-10"));
    }
}
