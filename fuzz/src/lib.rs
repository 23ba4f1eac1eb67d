//! Every parser of bytes or text that a stranger can send: peers of devices, clients of the mock, authors of files.
//!
//! A target takes any bytes and must come back without a panic. `fuzz/run` gives each of them to libFuzzer for some
//! seconds; the tests here give them their seeds, and seeds with mistakes in them, in every run of the tests.

mod seeds;
mod targets;

pub use targets::{TARGETS, Target};

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that needs no quality, only to be the same every time.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) as usize) % sides.max(1)
        }
    }

    /// A seed with a few mistakes.
    fn spoiled(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
        const ODD: [u8; 8] = [0, 0xff, 0x7f, 0x80, b'"', b'\n', b'-', b'9'];
        let mut bytes = seed.to_vec();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len() + 1);
            let end = (at + dice.roll(40)).min(bytes.len());
            match dice.roll(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
                1 if at < bytes.len() => bytes[at] = ODD[dice.roll(ODD.len())],
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => bytes.truncate(at.max(bytes.len() / 2)),
            }
        }
        bytes
    }

    #[test]
    fn every_target_takes_its_seeds_and_seeds_with_mistakes() {
        let mut dice = Dice(1);
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            for seed in &seeds {
                (target.run)(seed);
            }
            for _ in 0..target.rounds {
                let seed = &seeds[dice.roll(seeds.len())];
                (target.run)(&spoiled(seed, &mut dice));
            }
        }
    }

    #[test]
    fn targets_have_names_of_their_own() {
        let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TARGETS.len());
    }
}
