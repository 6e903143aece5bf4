//! Numbers as people read them.

/// Four significant digits, without zeros at the end that say nothing.
pub(super) fn figure(value: f64) -> String {
    digits(value, 4)
}

/// Three significant digits, where there is little room.
pub(super) fn short(value: f64) -> String {
    digits(value, 3)
}

fn digits(value: f64, significant: i32) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..6).contains(&magnitude) {
        let decimals = significant as usize - 1;
        return format!("{value:.decimals$e}");
    }
    let decimals = (significant - 1 - magnitude).max(0) as usize;
    let mut text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if magnitude >= 4 {
        grouped(value.round() as i64)
    } else {
        text
    }
}

/// With a comma before every three digits.
pub(super) fn grouped(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// Bytes in the unit that devices are sold by.
pub(super) fn bytes(bytes: usize) -> String {
    let kibi = bytes as f64 / 1024.0;
    if bytes < 1024 {
        format!("{bytes}\u{a0}B")
    } else if kibi < 1024.0 {
        format!("{kibi:.1}\u{a0}KiB")
    } else {
        format!("{:.2}\u{a0}MiB", kibi / 1024.0)
    }
}

/// A share from 0 to 1.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 9.95 {
        format!("{percent:.0}\u{a0}%")
    } else if percent < 0.1 {
        "<\u{a0}0.1\u{a0}%".into()
    } else {
        format!("{percent:.1}\u{a0}%")
    }
}

/// A span of time.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 99.5 {
        format!("{seconds:.1}\u{a0}s")
    } else if seconds < 5970.0 {
        format!("{:.0}\u{a0}min", seconds / 60.0)
    } else {
        format!("{:.1}\u{a0}h", seconds / 3600.0)
    }
}

/// `1 unit`, `2 units`.
pub(super) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no line is broken at.
    fn unbroken(text: &str) -> String {
        text.replace('_', "\u{a0}")
    }

    #[test]
    fn numbers_are_as_long_as_they_have_to_be() {
        let written = [
            0.0,
            0.010_534_9,
            0.5,
            17.456,
            1234.6,
            115_670.3,
            1e-9,
            -0.25,
        ]
        .map(figure);
        assert_eq!(
            written,
            [
                "0", "0.01053", "0.5", "17.46", "1235", "115,670", "1.000e-9", "-0.25"
            ]
        );
        assert_eq!(
            [999, 1000, 1_234_567].map(grouped),
            ["999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 0.0004, 0.063, 0.88, 1.0].map(percent),
            ["0_%", "<_0.1_%", "6.3_%", "88_%", "100_%"].map(unbroken)
        );
        assert_eq!(
            [512, 404_884, 3 << 20].map(bytes),
            ["512_B", "395.4_KiB", "3.00_MiB"].map(unbroken)
        );
        assert_eq!(
            [1.5, 120.0, 7200.0].map(seconds),
            ["1.5_s", "2_min", "2.0_h"].map(unbroken)
        );
    }
}
