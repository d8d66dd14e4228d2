//! Ages as `kubectl` prints them.

use jiff::Timestamp;

/// `3m12s`, `34m`, `9h`, `2d3h`, ...: the more time has passed, the coarser.
pub fn since(time: Timestamp, now: Timestamp) -> String {
    duration(now.duration_since(time).as_secs())
}

/// The same for a number of seconds.
pub fn duration(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let pair = |big: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => pair(days, 'd', hours % 24, 'h'),
        _ if days < 365 * 2 => format!("{days}d"),
        _ if days < 365 * 8 => pair(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let cases = [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (192, "3m12s"),
            (2040, "34m"),
            (10_740, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (32_400, "9h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (8 * 86_400, "8d"),
            (3 * 365 * 86_400, "3y"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(duration(seconds), wanted, "{seconds}");
        }
    }
}
