//! Money as answers show it.

use ringtail_proto::CurrencyCode;
use serde::Serialize;

/// An amount in Plausible's shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MoneyValue {
    /// In units of the currency.
    pub(crate) value: f64,
    /// ISO 4217.
    currency: String,
    /// `$1.2K`
    short: String,
    /// `$1,234.50`
    long: String,
}

const MICROS: i128 = 1_000_000;

impl MoneyValue {
    /// A sum of millionths, divided by a number of events.
    pub(crate) fn new(currency: CurrencyCode, amount_micros: i128, divisor: u64) -> Self {
        let micros = divide_rounded(amount_micros, i128::from(divisor.max(1)));
        let decimals = decimals(currency.as_str());
        Self {
            value: micros as f64 / MICROS as f64,
            currency: currency.as_str().to_owned(),
            short: short(currency, micros, decimals),
            long: long(currency, micros, decimals),
        }
    }
}

/// Digits after the decimal point (ISO 4217's minor unit).
fn decimals(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

fn symbol(currency: CurrencyCode) -> String {
    match currency.as_str() {
        "USD" => "$".to_owned(),
        "EUR" => "€".to_owned(),
        "GBP" => "£".to_owned(),
        "JPY" => "¥".to_owned(),
        "INR" => "₹".to_owned(),
        code => format!("{code} "),
    }
}

fn long(currency: CurrencyCode, micros: i128, decimals: u32) -> String {
    let scale = 10_i128.pow(decimals);
    let minor = divide_rounded(micros * scale, MICROS);
    let units = group_thousands((minor.abs() / scale).to_string());
    let sign = if minor < 0 { "-" } else { "" };
    let symbol = symbol(currency);
    if decimals == 0 {
        return format!("{sign}{symbol}{units}");
    }
    let fraction = minor.abs() % scale;
    let width = decimals as usize;
    format!("{sign}{symbol}{units}.{fraction:0width$}")
}

fn short(currency: CurrencyCode, micros: i128, decimals: u32) -> String {
    let units = micros.abs() / MICROS;
    let (scale, suffix) = match units {
        0..1_000 => return long(currency, micros, decimals),
        1_000..1_000_000 => (1_000, "K"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "B"),
    };
    let tenths = micros.abs() * 10 / (MICROS * scale);
    let sign = if micros < 0 { "-" } else { "" };
    let symbol = symbol(currency);
    format!("{sign}{symbol}{}.{}{suffix}", tenths / 10, tenths % 10)
}

fn group_thousands(digits: String) -> String {
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Halves round away from zero.
fn divide_rounded(value: i128, divisor: i128) -> i128 {
    let half = divisor / 2;
    let shifted = if value < 0 {
        value - half
    } else {
        value + half
    };
    shifted / divisor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str, micros: i128, divisor: u64, expect: (&str, &str)) {
        let currency = CurrencyCode::parse(code.as_bytes()).expect("a code");
        let money = MoneyValue::new(currency, micros, divisor);
        assert_eq!((money.short.as_str(), money.long.as_str()), expect);
    }

    #[test]
    fn money_is_shown_in_its_own_minor_unit() {
        check("EUR", 12_500_000, 1, ("€12.50", "€12.50"));
        check("USD", 1_234_567_890_000, 1, ("$1.2M", "$1,234,567.89"));
        check("JPY", 1_499_600_000, 1, ("¥1.4K", "¥1,500"));
        check("KWD", 1_234_500, 1, ("KWD 1.235", "KWD 1.235"));
        check("CHF", -5_005_000, 1, ("-CHF 5.01", "-CHF 5.01"));
        check("EUR", 10_000_000, 3, ("€3.33", "€3.33"));
    }
}
