//! Two searches for something small that still fails: over lists, and over numbers.

/// The elements without which a list that fails does not: `ddmin` of Zeller and Hildebrandt, "Simplifying and Isolating
/// Failure-Inducing Input" (IEEE Transactions on Software Engineering 28(2), 2002). What it returns fails, and does not
/// fail with any one element less.
pub(super) fn ddmin<T: Clone>(mut list: Vec<T>, fails: &mut impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut parts = 2;
    while list.len() >= 2 {
        let cuts: Vec<usize> = (0..=parts).map(|part| part * list.len() / parts).collect();
        let inside = |part: usize, at: usize| (cuts[part]..cuts[part + 1]).contains(&at);
        let taken = |part: usize, kept: bool| -> Vec<T> {
            let elements = list.iter().enumerate();
            elements.filter(|(at, _)| inside(part, *at) == kept).map(|(_, element)| element.clone()).collect()
        };
        if let Some(subset) = (0..parts).map(|part| taken(part, true)).find(|subset| fails(subset)) {
            (list, parts) = (subset, 2);
            continue;
        }
        // Of two parts each is the other's complement, and both were tried.
        let complements = if parts > 2 { parts } else { 0 };
        if let Some(rest) = (0..complements).map(|part| taken(part, false)).find(|rest| fails(rest)) {
            (list, parts) = (rest, parts - 1);
        } else if parts < list.len() {
            parts = (2 * parts).min(list.len());
        } else {
            break;
        }
    }
    list
}

/// A number is small enough if none that is smaller by more than this factor was found to fail.
const NEAR: f64 = 1.1;

/// The smallest number from `low` on that was found to fail; `high` is known to. Numbers in between have two digits
/// other than zero, so that a person can read them. Whether a number fails need not grow with it: then what is found
/// fails, and there may be smaller ones.
pub(super) fn least(low: u64, high: u64, fails: &mut impl FnMut(u64) -> bool) -> u64 {
    if low >= high || fails(low) {
        return low.min(high);
    }
    let (mut holds, mut failing) = (low, high);
    while failing as f64 > NEAR * holds as f64 {
        let middle = two_digits((holds as f64 * failing as f64).sqrt());
        if middle <= holds || middle >= failing {
            break;
        }
        if fails(middle) {
            failing = middle;
        } else {
            holds = middle;
        }
    }
    failing
}

/// The next number with two digits other than zero.
fn two_digits(number: f64) -> u64 {
    let step = 10f64.powf((number.max(1.0).log10().floor() - 1.0).max(0.0));
    ((number / step).round() * step) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_cut_down_to_what_fails_in_round_steps() {
        let (mut runs, mut seen) = (0, Vec::new());
        let found = least(1, 3_000, &mut |number| {
            runs += 1;
            seen.push(number);
            number >= 37
        });
        assert!((37..=41).contains(&found), "{found}");
        assert!(runs <= 9, "{seen:?}");
        assert_eq!(seen.iter().find(|number| **number >= 100 && **number % 10 != 0), None);
        assert_eq!(least(1, 500, &mut |_| true), 1);
        assert_eq!(least(1, 500, &mut |number| number == 500), 500);
        assert_eq!(least(7, 7, &mut |_| panic!("it is known to fail")), 7);
    }

    #[test]
    fn a_number_is_rounded_to_two_digits() {
        assert_eq!([0.3, 7.4, 37.2, 1_449.0, 98_600.0].map(two_digits), [0, 7, 37, 1_400, 99_000]);
    }

    proptest! {
        /// Whatever elements a failure needs, just they are left.
        #[test]
        fn what_is_left_is_what_the_failure_needs(size in 1..40usize, picks in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
            let mut needed: Vec<usize> = picks.iter().map(|pick| pick.index(size)).collect();
            needed.sort_unstable();
            needed.dedup();
            let left = ddmin((0..size).collect(), &mut |list| needed.iter().all(|element| list.contains(element)));
            prop_assert_eq!(left, needed);
        }

        /// With any failure at all, what is left fails, and not with one element less.
        #[test]
        fn nothing_that_is_left_can_be_spared(size in 1..12usize, salt in any::<u64>()) {
            let fails = |list: &[usize]| {
                let mixed = list.iter().fold(salt, |hash, element| {
                    (hash ^ *element as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
                });
                list.len() == size || mixed.is_multiple_of(3)
            };
            let left = ddmin((0..size).collect(), &mut |list| fails(list));
            prop_assert!(fails(&left));
            for spared in 0..left.len() {
                let mut fewer = left.clone();
                fewer.remove(spared);
                prop_assert!(left.len() == 1 || !fails(&fewer));
            }
        }
    }
}
