//! exp and ln(1 + x) in single precision, written so that a loop over them becomes vector instructions. The C library's work on
//! one number at a time.

/// e^x to two units in the last place; below -104 it is 0, above 88.72 infinite.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln(2) / 2. The high part of ln 2 has so few digits that n times it is exact.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // 3 * 2^22: added to a small number, it leaves the nearest whole number in the last bits.
    const ROUND: f32 = 12_582_912.0;
    // Beyond these the result is 0 or infinite; NaN passes.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Taylor's series: what is left out is below 0.35^8 / 8!, 5e-9.
    let mut sum = 1.0 / 5040.0;
    for factorial in [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        sum = sum * r + 1.0 / factorial;
    }
    // 2^n in two factors, since n may lie beyond the exponents of normal numbers.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    sum * power(half) * power(n.wrapping_sub(half))
}

/// ln(1 + x) for x from 0 to 1, to two units in the last place.
#[inline(always)]
pub(crate) fn ln_1p(x: f32) -> f32 {
    // 2 artanh(s) with s = x / (2 + x), at most 1/3. What is left out of the series is below s^17 / 17, 5e-10.
    let s = x / (2.0 + x);
    let square = s * s;
    let mut sum = 1.0 / 15.0;
    for odd in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        sum = sum * square + 1.0 / odd;
    }
    let twice = s + s;
    twice + twice * (square * sum)
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_and_ln_1p_are_right_to_two_units_in_the_last_place() {
        let close = |got: f32, expected: f64| (f64::from(got) - expected).abs() <= 2.4e-7 * expected.abs() + 3e-45;
        for step in 0..4_000_000 {
            let x = -104.5 + step as f32 * (193.0 / 4e6);
            let expected = f64::from(x).exp();
            let got = super::exp(x);
            assert!(
                close(got, expected) || expected > f64::from(f32::MAX) && got.is_infinite(),
                "{x}: {got}, {expected}"
            );
            let x = step as f32 / 4e6;
            assert!(close(super::ln_1p(x), f64::from(x).ln_1p()), "{x}: {}", super::ln_1p(x));
        }
        for x in [1e-10, 1e-30, 1e-40] {
            assert_eq!((super::ln_1p(x), super::exp(x), super::exp(-x)), (x, 1.0, 1.0));
        }
        assert_eq!((super::exp(f32::NEG_INFINITY), super::exp(f32::INFINITY)), (0.0, f32::INFINITY));
        assert!(super::exp(f32::NAN).is_nan() && super::ln_1p(f32::NAN).is_nan());
        assert_eq!((super::exp(0.0), super::ln_1p(0.0)), (1.0, 0.0));
    }
}
