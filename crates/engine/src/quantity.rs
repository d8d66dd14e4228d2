//! Quantities of Kubernetes: `250m`, `1.5`, `64Gi`, `1e3`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The number behind a quantity, in thousandths: `250m` is 250, `1` is 1000, `1Ki` is 1024000. `None` if it is none.
pub fn thousandths(quantity: &Quantity) -> Option<i128> {
    parse(&quantity.0)
}

/// The same of a text. What is finer than a thousandth is rounded up, as Kubernetes does: who asks for a little gets
/// that, not nothing.
pub fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (multiplier, exponent) = match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1_i128 << 50, 0),
        "Ei" => (1_i128 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok();
            (1, exponent.filter(|exponent| (-18..=18).contains(exponent))?)
        }
    };
    decimal(number, multiplier, exponent)
}

/// A decimal number times `multiplier` times ten to the `exponent`, in thousandths, rounded up.
fn decimal(text: &str, multiplier: i128, exponent: i32) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let value: i128 = if digits.is_empty() { return None } else { digits.parse().ok()? };
    let value = value.checked_mul(multiplier)?;
    let places = i32::try_from(fraction.len()).ok().filter(|places| *places <= 18)?;
    let shift = exponent + 3 - places;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift < 0 { Some(-(-value).div_euclid(power)) } else { value.checked_mul(power) }
}

/// CPU for people: `12.5`.
pub fn cpu(thousandths: i128) -> String {
    let tenths = thousandths / 100;
    if tenths % 10 == 0 { (tenths / 10).to_string() } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

/// Memory for people: `3.4Ti`, of thousandths of bytes.
pub fn memory(thousandths: i128) -> String {
    let bytes = thousandths / 1000;
    let units = [(1_i128 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi")];
    let (size, unit) = units.into_iter().find(|(size, _)| bytes >= *size).unwrap_or((1 << 10, "Ki"));
    let tenths = bytes * 10 / size;
    if tenths >= 100 || tenths % 10 == 0 {
        format!("{}{unit}", tenths / 10)
    } else {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<i128> {
        thousandths(&Quantity(text.to_owned()))
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        assert_eq!(of("250m"), Some(250));
        assert_eq!(of("15500m"), Some(15_500));
        assert_eq!(of("1.5"), Some(1_500));
        assert_eq!(of("2"), Some(2_000));
        assert_eq!(of("350Mi"), Some(350 * 1024 * 1024 * 1000));
        assert_eq!(of("64658564Ki"), Some(64_658_564 * 1024 * 1000));
        assert_eq!(of("1e3"), Some(1_000_000));
        assert_eq!(of("1k"), Some(1_000_000));
        assert_eq!(of("5000000n"), Some(5));
        assert_eq!(of("0.1"), Some(100));
        assert_eq!(of("1.5Gi"), Some(1_536 * 1024 * 1024 * 1000));
        assert_eq!(of("0.1Ki"), Some(102_400));
        assert_eq!(of("25e-2"), Some(250));
        assert_eq!(of("1E"), Some(1_000_000_000_000_000_000_000));
        assert_eq!(of("9223372036854775807"), Some(9_223_372_036_854_775_807_000));
    }

    #[test]
    fn what_is_finer_than_a_thousandth_is_rounded_up() {
        assert_eq!(of("1n"), Some(1));
        assert_eq!(of("1000500u"), Some(1_001));
        assert_eq!(of("0.0001"), Some(1));
        assert_eq!(of("1000000n"), Some(1));
        assert_eq!(of("-1n"), Some(0));
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in
            ["", "m", "abc", "1X", "1e99", "--1", "1.2.3", "1-2", ".", "Gi", "1 Gi", "1e", "1e1.5", "1_000"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn room_reads_well() {
        assert_eq!((cpu(12_540), cpu(15_000), cpu(80)), ("12.5".to_owned(), "15".to_owned(), "0".to_owned()));
        assert_eq!(memory(of("64658564Ki").unwrap()), "61Gi");
        assert_eq!(memory(of("1536Mi").unwrap()), "1.5Gi");
        assert_eq!(memory(of("1").unwrap()), "0Ki");
    }
}
