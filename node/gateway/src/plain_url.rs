//! Addresses that a parser would leave as they are, as most are: they are only cut into parts.

/// An address of the web without port, user, fragment, escapes or anything else that has to be rewritten.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainUrl<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

impl<'a> PlainUrl<'a> {
    /// The parts; none when it takes a parser to tell them.
    pub(crate) fn split(url: &'a str) -> Option<Self> {
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let host_len = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at_checked(host_len)?;
        let path = if path.is_empty() { "/" } else { path };
        let is_plain = is_plain_host(host)
            && path.bytes().all(|byte| is_plain(byte) || byte == b'/')
            && !path.contains("/.")
            && query.bytes().all(|byte| is_plain(byte) || byte == b'%');
        is_plain.then_some(Self { host, path, query })
    }
}

/// A name in lower case that is neither an address in numbers nor an encoded one.
fn is_plain_host(host: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends_in_name =
        |(_, top): (&str, &str)| top.starts_with(|first: char| first.is_ascii_lowercase());
    host.bytes().all(|byte| is_letter(byte) || byte == b'.')
        && !host.starts_with('.')
        && !host.contains("..")
        && !host.contains("xn--")
        && host.rsplit_once('.').is_some_and(ends_in_name)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'=' | b'&' | b',')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn check_against_parser(text: &str) {
        let Some(plain) = PlainUrl::split(text) else {
            return;
        };
        let url = Url::parse(text).unwrap();
        let parsed = PlainUrl {
            host: url.host_str().unwrap(),
            path: url.path(),
            query: url.query().unwrap_or_default(),
        };
        assert_eq!(plain, parsed, "{text}");
        assert_eq!(url.fragment(), None, "{text}");
    }

    proptest! {
        #[test]
        fn what_is_plain_is_what_the_parser_finds(
            host in "[a-z0-9.-]{1,12}|[a-z]{1,5}\\.(example|x|1|0x1|xn--a)",
            rest in "[/?]?[a-zA-Z0-9/._~+=&,%#:@ ü?-]{0,12}",
        ) {
            check_against_parser(&format!("https://{host}{rest}"));
            check_against_parser(&format!("http://{host}/{rest}"));
        }
    }

    #[test]
    fn usual_addresses_are_plain_and_special_ones_are_not() {
        let check = |url: &str, expect: bool| {
            assert_eq!(PlainUrl::split(url).is_some(), expect, "{url}");
            check_against_parser(url);
        };
        check("https://example.com", true);
        check("https://example.com/", true);
        check("http://www.example.com/a/b-c_d.html?page=2&q=x%20y", true);
        check("https://example.com?utm_source=a", true);
        check("https://Example.com/", false);
        check("https://example.com:8443/", false);
        check("https://user@example.com/", false);
        check("https://example.com/a/../b", false);
        check("https://example.com/%61", false);
        check("https://example.com/#top", false);
        check("https://example.com/a b", false);
        check("https://192.0.2.1/", false);
        check("https://example.0x7f/", false);
        check("https://xn--mnchen-3ya.de/", false);
        check("https://localhost/", false);
        check("app://shop/cart", false);
        check("https://", false);
    }
}
