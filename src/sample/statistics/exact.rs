//! Sums of numbers without rounding, so that they are the same in whatever order the numbers come, and quotients of them.

/// Limbs of 32 bits: all that a float can be, and space for carries.
const LIMBS: usize = 70;

/// The exponent of the lowest bit.
const LOWEST: i32 = -1074;

/// Additions until carries are passed on.
const LAZY: u32 = 1 << 28;

/// A sum of finite numbers.
#[derive(Debug, Clone)]
pub struct Sum {
    limbs: [i64; LIMBS],
    added: u32,
}

impl Default for Sum {
    fn default() -> Self {
        Sum { limbs: [0; LIMBS], added: 0 }
    }
}

impl Sum {
    /// Adds a finite number.
    pub fn add(&mut self, number: f64) {
        let bits = number.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        // The place of the lowest bit of the fraction, counted from the lowest there is.
        let (mantissa, place) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let (first, shift) = (place / 32, place % 32);
        let wide = u128::from(mantissa) << shift;
        for (offset, limb) in self.limbs[first..first + 3].iter_mut().enumerate() {
            let part = (wide >> (32 * offset)) as u32;
            *limb += if number.is_sign_negative() { -i64::from(part) } else { i64::from(part) };
        }
        self.added += 1;
        if self.added == LAZY {
            self.carry();
        }
    }

    /// Adds the square of a number, also without rounding unless it is too small or too large for a float.
    pub fn add_square(&mut self, number: f64) {
        let square = number * number;
        self.add(square);
        self.add(number.mul_add(number, -square));
    }

    /// Passes carries on, so that all limbs but the highest have 32 bits.
    fn carry(&mut self) {
        let mut carry = 0;
        let (rest, last) = self.limbs.split_at_mut(LIMBS - 1);
        for limb in rest {
            let sum = *limb + carry;
            *limb = sum & 0xffff_ffff;
            carry = sum >> 32;
        }
        last[0] += carry;
        self.added = 0;
    }

    /// Adds a whole number.
    pub fn add_whole(&mut self, number: i128) {
        self.add_product(number, 1);
    }

    /// Adds the product of two whole numbers.
    pub fn add_product(&mut self, one: i128, other: u128) {
        let is_negative = one < 0;
        let parts = |number: u128| [0, 32, 64, 96].map(|shift| u128::from((number >> shift) as u32));
        let shift = -LOWEST as usize;
        for (first, one) in parts(one.unsigned_abs()).into_iter().enumerate() {
            for (second, other) in parts(other).into_iter().enumerate() {
                // Of 64 bits, and so of 96 where it belongs.
                let wide = (one * other) << (shift % 32);
                for (third, limb) in self.limbs[first + second + shift / 32..][..3].iter_mut().enumerate() {
                    let part = i64::from((wide >> (32 * third)) as u32);
                    *limb += if is_negative { -part } else { part };
                }
            }
        }
        // Less than what a limb holds, whatever came before.
        self.carry();
    }

    /// The float that is nearest to the sum divided by each of these numbers, halves to the even one.
    pub fn quotient(&self, divisors: &[u64]) -> f64 {
        let mut sum = self.clone();
        sum.carry();
        let is_negative = sum.limbs[LIMBS - 1] < 0;
        if is_negative {
            sum.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            sum.carry();
        }
        // Whether anything is left below the lowest bit.
        let mut rest = false;
        for divisor in divisors {
            let mut left = 0u128;
            for limb in sum.limbs.iter_mut().rev() {
                let part = left << 32 | *limb as u128;
                (*limb, left) = ((part / u128::from(*divisor)) as i64, part % u128::from(*divisor));
            }
            rest |= left != 0;
        }
        let size = sum.rounded(rest);
        if is_negative { -size } else { size }
    }

    /// The float nearest to a sum that is not negative and whose carries were passed on; `rest` where it is a little more.
    fn rounded(&self, rest: bool) -> f64 {
        let Some(highest) = self.limbs.iter().rposition(|limb| *limb != 0) else { return 0.0 };
        let lowest = highest.saturating_sub(3);
        let top = self.limbs[lowest..=highest].iter().rev().fold(0u128, |top, limb| top << 32 | *limb as u128);
        // What is below counts where the top is half way between two floats, of which all but the smallest have fewer bits.
        let rest = top >> 54 != 0 && (rest || self.limbs[..lowest].iter().any(|limb| *limb != 0));
        scaled((top | u128::from(rest)) as f64, 32 * lowest as i32 + LOWEST)
    }
}

/// A number times a power of two.
fn scaled(mut number: f64, mut power: i32) -> f64 {
    while power < -1000 {
        number *= 2f64.powi(-1000);
        power += 1000;
    }
    number * 2f64.powi(power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(numbers: &[f64]) -> f64 {
        let mut sum = Sum::default();
        numbers.iter().for_each(|number| sum.add(*number));
        sum.quotient(&[])
    }

    #[test]
    fn nothing_is_lost_between_large_and_small() {
        assert_eq!(sum(&[1e308, 1.0, -1e308]), 1.0);
        assert_eq!(sum(&[1e308, 5e-324, -1e308]), 5e-324);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[-1.5, -2.5]), -4.0);
        assert_eq!((sum(&[]), sum(&[3.0, -3.0])), (0.0, 0.0));
        assert_eq!(sum(&[1.0, 2f64.powi(-53), 2f64.powi(-200)]), 1.0 + 2f64.powi(-52), "just above half way");
        let mut squares = Sum::default();
        [1e8 + 1.0, 3.0].iter().for_each(|number| squares.add_square(*number));
        assert_eq!(squares.quotient(&[]), 10_000_000_200_000_010.0);
    }

    #[test]
    fn a_quotient_is_rounded_once() {
        let (sum, count) = (152_730_750_544_877_626_224_452i128, 20_000u64);
        assert_eq!(quotient(sum, count), 7.636537527243881e+18);
        assert_ne!(quotient(sum, count), sum as f64 / count as f64, "that is rounded twice");
        let mut floats = Sum::default();
        [1e308, 1e308, 1e308].iter().for_each(|number| floats.add(*number));
        assert_eq!(floats.quotient(&[3]), 1e308, "though the sum is no float");
        assert_eq!((quotient(0, 7), quotient(-7, 2), quotient(1, 3)), (0.0, -3.5, 1.0 / 3.0));
        let mut product = Sum::default();
        product.add_product(-(1 << 100), 3 << 100);
        product.add_whole(1 << 100);
        assert_eq!(product.quotient(&[1 << 50, 1 << 50]), -3.0 * 2f64.powi(100) + 1.0);
    }

    fn quotient(sum: i128, count: u64) -> f64 {
        let mut whole = Sum::default();
        whole.add_whole(sum);
        whole.quotient(&[count])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn order_does_not_matter_and_whole_numbers_add_as_whole_numbers(
            mut numbers in prop::collection::vec(any::<f64>().prop_filter("finite", |n| n.is_finite() && n.abs() < 1e300), 0..40),
            whole in prop::collection::vec(-(1i64 << 40)..1 << 40, 0..40),
        ) {
            let first = sum(&numbers);
            numbers.reverse();
            prop_assert_eq!(sum(&numbers).to_bits(), first.to_bits());
            numbers.sort_by(f64::total_cmp);
            prop_assert_eq!(sum(&numbers).to_bits(), first.to_bits());
            let floats: Vec<f64> = whole.iter().map(|number| *number as f64).collect();
            prop_assert_eq!(sum(&floats), whole.iter().sum::<i64>() as f64);
        }

        #[test]
        fn no_float_is_nearer_to_a_quotient(sum in -(1i128 << 30)..1 << 30, count in 1u64..1 << 19) {
            let found = quotient(sum, count);
            // A float of this size is a whole number of 2^-72ths.
            let off = |float: f64| ((float * 2f64.powi(72)) as i128 * i128::from(count) - (sum << 72)).abs();
            prop_assert!(off(found) <= off(found.next_up()) && off(found) <= off(found.next_down()), "{sum} / {count}: {found}");
            let mut large = Sum::default();
            large.add_product(sum, 1 << 90);
            prop_assert_eq!(large.quotient(&[count, 1 << 45, 1 << 45]), found);
        }
    }
}
