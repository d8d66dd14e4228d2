//! Quantities of CPU and memory, as far as room on a node is counted.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The number behind a quantity, in thousandths: `250m` is 250, `1` is 1000, `1Ki` is 1024000. `None` if it is none.
pub fn thousandths(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (multiplier, exponent) = match suffix {
        "" => (1, 0),
        "n" => return Some(decimal(number, 0)? / 1_000_000_000),
        "u" => return Some(decimal(number, 0)? / 1_000_000),
        "m" => return Some(decimal(number, 0)? / 1_000),
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
            let exponent =
                suffix.strip_prefix(['e', 'E'])?.parse::<u32>().ok().filter(|exponent| *exponent <= 18)?;
            (1, exponent)
        }
    };
    decimal(number, exponent)?.checked_mul(multiplier)
}

/// A decimal number times ten to the exponent, in thousandths, rounded down.
fn decimal(text: &str, exponent: u32) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let value: i128 = if digits.is_empty() { return None } else { digits.parse().ok()? };
    let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 18)?;
    value.checked_mul(10_i128.checked_pow(exponent + 3)?)?.checked_div(10_i128.checked_pow(places)?)
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
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "m", "abc", "1X", "1e99", "--1", "1.2.3"] {
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
