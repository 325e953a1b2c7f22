//! Sums of floats without rounding, so that they are the same in whatever order the numbers come.

/// Limbs of 32 bits: all that a float can be, and space for carries.
const LIMBS: usize = 70;

/// The exponent of the lowest bit.
const LOWEST: i32 = -1074;

/// Additions until carries are passed on.
const LAZY: u32 = 1 << 28;

/// A sum of finite floats.
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

    /// The nearest float.
    pub fn value(&self) -> f64 {
        let mut sum = self.clone();
        sum.carry();
        let is_negative = sum.limbs[LIMBS - 1] < 0;
        if is_negative {
            sum.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            sum.carry();
        }
        let Some(highest) = sum.limbs.iter().rposition(|limb| *limb != 0) else { return 0.0 };
        let lowest = highest.saturating_sub(3);
        let top = sum.limbs[lowest..=highest].iter().rev().fold(0u128, |top, limb| top << 32 | *limb as u128);
        // What is below counts where the top is half way between two floats.
        let rest = u128::from(sum.limbs[..lowest].iter().any(|limb| *limb != 0));
        let size = scaled((top | rest) as f64, 32 * lowest as i32 + LOWEST);
        if is_negative { -size } else { size }
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
        sum.value()
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
        assert_eq!(squares.value(), 10_000_000_200_000_010.0);
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
    }
}
