//! Fields of JSON bodies, as tolerant as the clients in the wild are sloppy, and no more.

use std::{borrow::Cow, fmt, marker::PhantomData};

use ringtail_proto::{CurrencyCode, Revenue};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Unexpected, Visitor},
};

/// A text, or null for none. Borrows from the body unless it holds escapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JsonText<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Text<'a> {
            type Value = JsonText<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonText(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonText(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonText::default())
            }
        }
        deserializer.deserialize_any(Text(PhantomData))
    }
}

/// True, false, 1, 0, or one of them as text; null for none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct JsonFlag(pub(crate) Option<bool>);

impl<'de> Deserialize<'de> for JsonFlag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Flag;
        impl Visitor<'_> for Flag {
            type Value = JsonFlag;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true or false")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(JsonFlag(Some(flag)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(JsonFlag(Some(number != 0)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "true" | "1" => Ok(JsonFlag(Some(true))),
                    "false" | "0" => Ok(JsonFlag(Some(false))),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonFlag(None))
            }
        }
        deserializer.deserialize_any(Flag)
    }
}

/// A number that is not negative; null for none. Fractions are cut, what is too large becomes the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct JsonNumber(pub(crate) Option<u32>);

impl<'de> Deserialize<'de> for JsonNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = JsonNumber;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number that is not negative")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(JsonNumber(Some(u32::try_from(number).unwrap_or(u32::MAX))))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Err(E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                if number < 0.0 {
                    return Err(E::invalid_value(Unexpected::Float(number), &self));
                }
                // A cast of a float saturates.
                Ok(JsonNumber(Some(number as u32)))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonNumber(None))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Properties in their order: texts, numbers and flags by name; null leaves one out. An object in a text is read, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JsonProperties<'a>(pub(crate) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonProperties<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Properties<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Properties<'a> {
            type Value = JsonProperties<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of texts, numbers and flags")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut properties = Vec::new();
                while let Some((key, value)) = map.next_entry::<JsonText<'a>, JsonScalar<'a>>()? {
                    if let Some(value) = value.0 {
                        properties.push((key.0, value));
                    }
                }
                Ok(JsonProperties(properties))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                if text.is_empty() {
                    return Ok(JsonProperties::default());
                }
                let inner: JsonProperties<'_> = serde_json::from_str(text).map_err(E::custom)?;
                let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
                Ok(JsonProperties(
                    inner
                        .0
                        .into_iter()
                        .map(|(key, value)| (owned(key), owned(value)))
                        .collect(),
                ))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonProperties::default())
            }
        }
        deserializer.deserialize_any(Properties(PhantomData))
    }
}

/// One property's value as text.
struct JsonScalar<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonScalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Scalar<'a> {
            type Value = JsonScalar<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, a number or a flag")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonScalar(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonScalar(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(JsonScalar(Some(Cow::Borrowed(if flag {
                    "true"
                } else {
                    "false"
                }))))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(JsonScalar(Some(number.to_string().into())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(JsonScalar(Some(number.to_string().into())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(JsonScalar(Some(number.to_string().into())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonScalar(None))
            }
        }
        deserializer.deserialize_any(Scalar(PhantomData))
    }
}

/// An amount and its currency; null for none. An object in a text is read, too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct JsonRevenue(pub(crate) Option<Revenue>);

impl<'de> Deserialize<'de> for JsonRevenue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Money;
        impl<'de> Visitor<'de> for Money {
            type Value = JsonRevenue;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with amount and currency")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut amount, mut currency) = (None, None);
                while let Some(key) = map.next_key::<JsonText<'de>>()? {
                    match key.0.as_ref() {
                        "amount" => amount = map.next_value::<JsonScalar<'de>>()?.0,
                        "currency" => currency = Some(map.next_value::<JsonText<'de>>()?.0),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let amount = amount.ok_or_else(|| A::Error::missing_field("amount"))?;
                let currency = currency.ok_or_else(|| A::Error::missing_field("currency"))?;
                let revenue = parse_revenue(&amount, &currency).map_err(A::Error::custom)?;
                Ok(JsonRevenue(Some(revenue)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                if text.is_empty() {
                    return Ok(JsonRevenue(None));
                }
                serde_json::from_str(text).map_err(E::custom)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonRevenue(None))
            }
        }
        deserializer.deserialize_any(Money)
    }
}

/// Money from a decimal number and a currency code.
///
/// # Errors
/// What is wrong, to be shown.
pub(crate) fn parse_revenue(amount: &str, currency: &str) -> Result<Revenue, &'static str> {
    Ok(Revenue {
        amount_micros: parse_micros(amount)
            .ok_or("the amount is not a decimal number below 9,000,000,000,000")?,
        currency: CurrencyCode::parse(currency.as_bytes())
            .ok_or("the currency is not a code of three letters")?,
    })
}

/// `12.50` → 12,500,000. Digits beyond the sixth decimal are cut.
fn parse_micros(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    if whole.len() + fraction.len() == 0
        || whole.len() > 18
        || !is_number(whole)
        || !is_number(fraction)
    {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let micros = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0_i64, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    whole
        .checked_mul(1_000_000)?
        .checked_add(micros)?
        .checked_mul(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_to_the_millionth() {
        let check =
            |text: &str, expect: Option<i64>| assert_eq!(parse_micros(text), expect, "{text}");
        check("12.50", Some(12_500_000));
        check("12", Some(12_000_000));
        check(" -0.000001 ", Some(-1));
        check(".5", Some(500_000));
        check("5.", Some(5_000_000));
        check("0.1234569", Some(123_456));
        check("9000000000000", Some(9_000_000_000_000_000_000));
        check("10000000000000", None);
        check("", None);
        check(".", None);
        check("-", None);
        check("1e3", None);
        check("12,50", None);
        check("NaN", None);
        check("１", None);
    }

    #[test]
    fn fields_take_what_clients_send_and_refuse_the_rest() {
        fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
            serde_json::from_str(json).ok()
        }
        assert_eq!(read::<JsonText<'_>>("\"a\\u00fc\"").unwrap().0, "aü");
        assert_eq!(read::<JsonText<'_>>("null").unwrap().0, "");
        assert!(read::<JsonText<'_>>("1").is_none());
        assert_eq!(read::<JsonFlag>("1").unwrap().0, Some(true));
        assert_eq!(read::<JsonFlag>("false").unwrap().0, Some(false));
        assert!(read::<JsonFlag>("[]").is_none());
        assert!(read::<JsonFlag>("\"maybe\"").is_none());
        assert_eq!(read::<JsonNumber>("99999999999").unwrap().0, Some(u32::MAX));
        assert_eq!(read::<JsonNumber>("41.7").unwrap().0, Some(41));
        assert!(read::<JsonNumber>("-1").is_none());
        assert!(read::<JsonNumber>("\"1\"").is_none());
        let properties =
            read::<JsonProperties<'_>>(r#"{"a":"x","b":2,"c":true,"d":null,"e":-1.5}"#)
                .unwrap()
                .0;
        let shown: Vec<_> = properties
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(shown, ["a=x", "b=2", "c=true", "e=-1.5"]);
        assert_eq!(
            read::<JsonProperties<'_>>(r#""{\"a\":1}""#)
                .unwrap()
                .0
                .len(),
            1
        );
        assert!(read::<JsonProperties<'_>>(r#"{"a":{"b":1}}"#).is_none());
        assert!(read::<JsonProperties<'_>>("[1]").is_none());
        let revenue = read::<JsonRevenue>(r#"{"amount":13.29,"currency":"usd","x":[]}"#)
            .unwrap()
            .0
            .unwrap();
        assert_eq!(
            (revenue.amount_micros, revenue.currency.as_str()),
            (13_290_000, "USD")
        );
        assert!(read::<JsonRevenue>(r#"{"amount":"1"}"#).is_none());
        assert!(read::<JsonRevenue>(r#"{"amount":"1","currency":"EURO"}"#).is_none());
    }
}
