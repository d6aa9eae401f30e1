//! Lines of web servers' access logs, in the combined and the common format.
//!
//! Common: `address identity user [day/month/year:time zone] "request" status bytes`; combined adds `"referrer"
//! "user agent"`. Within quotes a backslash escapes: `\"`, `\\`, `\xhh`. Further fields after these are ignored.

use std::{borrow::Cow, net::IpAddr};

use jiff::{civil, tz::Offset};
use ringtail_proto::{DropReason, UnixMillis};

/// A longer line is no line of a log.
pub(crate) const LINE_BYTES_MAX: usize = 32 << 10;

/// What a line says.
#[derive(Debug, PartialEq)]
pub(crate) struct Line<'a> {
    /// The address, or the name that the server found for it.
    pub(crate) host: Cow<'a, str>,
    pub(crate) time: UnixMillis,
    /// As the client sent it: `GET /path HTTP/1.1`, or whatever it was.
    pub(crate) request: Cow<'a, str>,
    pub(crate) status: u16,
    /// None in the common format.
    pub(crate) referrer: Option<Cow<'a, str>>,
    /// None in the common format, empty where the combined format says `-`.
    pub(crate) user_agent: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] or [`DropReason::TooLong`].
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, DropReason> {
        if line.len() > LINE_BYTES_MAX {
            return Err(DropReason::TooLong);
        }
        Self::read(&mut Rest(line)).ok_or(DropReason::Malformed)
    }

    fn read(rest: &mut Rest<'a>) -> Option<Self> {
        let host = String::from_utf8_lossy(rest.word()?);
        rest.word()?;
        rest.until_time()?;
        let time = parse_time(rest.until(b']')?)?;
        let request = rest.quoted()?;
        let status = parse_number(rest.word()?)?;
        let bytes = rest.word()?;
        if bytes != b"-" {
            parse_number::<u64>(bytes)?;
        }
        let (referrer, user_agent) = match rest.is_quote_next() {
            true => (
                Some(none_for_dash(rest.quoted()?)),
                Some(none_for_dash(rest.quoted()?)),
            ),
            false => (None, None),
        };
        Some(Self {
            host,
            time,
            request,
            status,
            referrer,
            user_agent,
        })
    }

    /// The address of the client, unless the server wrote a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host
            .parse()
            .ok()
            .map(|address: IpAddr| address.to_canonical())
    }

    /// The requested address, if the line is a page view: a GET with status 2xx or 304 whose last path segment has no
    /// extension or that of a page.
    pub(crate) fn page_view(&self) -> Option<&str> {
        if !matches!(self.status, 200..=299 | 304) {
            return None;
        }
        let target = self.request.strip_prefix("GET ")?.trim_start();
        let target = match target.rsplit_once(' ') {
            Some((target, protocol)) if protocol.starts_with("HTTP/") => target.trim_end(),
            _ => target,
        };
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let segment = path.rsplit('/').next().unwrap_or_default();
        let is_page = match segment.rsplit_once('.') {
            Some((_, extension)) => is_page_extension(extension),
            None => true,
        };
        (is_page && !target.is_empty()).then_some(target)
    }
}

fn is_page_extension(extension: &str) -> bool {
    ["", "html", "htm", "xhtml", "php", "asp", "aspx", "jsp"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

fn none_for_dash(text: Cow<'_, str>) -> Cow<'_, str> {
    if text == "-" { Cow::Borrowed("") } else { text }
}

/// What of a line is still unread.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// Up to the next blank; none when nothing is left.
    fn word(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let end = self
            .0
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Past the user, who may have blanks in their name, and the bracket before the time.
    fn until_time(&mut self) -> Option<()> {
        self.word()?;
        self.until(b'[').map(drop)
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let position = self.0.iter().position(|byte| *byte == end)?;
        let (before, rest) = self.0.split_at(position);
        self.0 = rest.get(1..)?;
        Some(before)
    }

    fn is_quote_next(&mut self) -> bool {
        self.skip_blanks();
        self.0.first() == Some(&b'"')
    }

    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        if !self.is_quote_next() {
            return None;
        }
        let inner = self.0.get(1..)?;
        let mut is_escaped = false;
        let end = inner.iter().position(|byte| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        })?;
        let (text, rest) = inner.split_at(end);
        self.0 = rest.get(1..)?;
        Some(unescaped(text))
    }
}

fn unescaped(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'\\') {
        return String::from_utf8_lossy(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'\\', [b'x', high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    after
                }
                _ => {
                    bytes.push(b'\\');
                    rest.get(1..).unwrap_or_default()
                }
            },
            (b'\\', [escaped @ (b'"' | b'\\'), after @ ..]) => {
                bytes.push(*escaped);
                after
            }
            _ => {
                bytes.push(*byte);
                after
            }
        };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn parse_number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

/// `17/May/2015:10:05:03 +0000`
fn parse_time(text: &[u8]) -> Option<UnixMillis> {
    let text: &[u8; 26] = text.try_into().ok()?;
    let number = |from: usize, digits: usize| parse_number::<i16>(text.get(from..from + digits)?);
    let byte = |at: usize| text.get(at).copied();
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    .iter()
    .position(|name| {
        text.get(3..6)
            .is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
    })?;
    let separators = [
        (2, b'/'),
        (6, b'/'),
        (11, b':'),
        (14, b':'),
        (17, b':'),
        (20, b' '),
    ];
    if separators
        .iter()
        .any(|(at, expect)| byte(*at) != Some(*expect))
    {
        return None;
    }
    let sign = match byte(21)? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let small = |from: usize| number(from, 2).and_then(|number| i8::try_from(number).ok());
    let date = civil::Date::new(number(7, 4)?, month as i8 + 1, small(0)?).ok()?;
    let time = civil::Time::new(small(12)?, small(15)?, small(18)?, 0).ok()?;
    let offset = Offset::from_seconds(
        sign * (i32::from(number(22, 2)?) * 3_600 + i32::from(number(24, 2)?) * 60),
    )
    .ok()?;
    let moment = offset.to_timestamp(date.to_datetime(time)).ok()?;
    Some(UnixMillis(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMBINED: &str = r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /presentations/ HTTP/1.1" 200 203023 "http://semicomplete.com/presentations/" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1)""#;

    #[test]
    fn a_combined_line_is_read_whole() {
        let line = Line::parse(COMBINED.as_bytes()).unwrap();
        assert_eq!(
            line,
            Line {
                host: "83.149.9.216".into(),
                time: UnixMillis(1_431_857_103_000),
                request: "GET /presentations/ HTTP/1.1".into(),
                status: 200,
                referrer: Some("http://semicomplete.com/presentations/".into()),
                user_agent: Some("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1)".into()),
            }
        );
        assert_eq!(line.page_view(), Some("/presentations/"));
    }

    #[test]
    fn formats_escapes_and_oddities_are_understood() {
        let read = |text: &str| {
            let line = Line::parse(text.as_bytes()).unwrap();
            let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
            (
                line.request.clone().into_owned(),
                owned(line.referrer),
                owned(line.user_agent),
            )
        };
        let common = r#"192.0.2.1 - jane [01/Jan/2026:00:00:00 +0130] "GET / HTTP/1.0" 304 -"#;
        assert_eq!(read(common), ("GET / HTTP/1.0".into(), None, None));
        assert_eq!(
            Line::parse(common.as_bytes()).unwrap().time,
            UnixMillis(1_767_220_200_000)
        );
        let dashes = r#"192.0.2.1 - - [01/Jan/2026:00:00:00 -0800] "-" 408 0 "-" "-""#;
        assert_eq!(
            read(dashes),
            ("-".into(), Some(String::new()), Some(String::new()))
        );
        let escaped = r#"::1 - - [01/Jan/2026:00:00:00 +0000] "GET /\"a\"\x41\xzz\\ HTTP/1.1" 200 1 "x\"y" "a\\" extra "field""#;
        assert_eq!(
            read(escaped),
            (
                r#"GET /"a"A\xzz\ HTTP/1.1"#.into(),
                Some("x\"y".into()),
                Some("a\\".into())
            )
        );
        let utf8 = r#"::1 - - [01/Jan/2026:00:00:00 +0000] "GET /\xc3\xbc\xff HTTP/1.1" 200 1"#;
        assert_eq!(read(utf8).0, "GET /ü\u{fffd} HTTP/1.1");
        let named =
            r#"host.example.net - two words [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1"#;
        assert_eq!(Line::parse(named.as_bytes()).unwrap().address(), None);
    }

    #[test]
    fn broken_lines_are_malformed() {
        let check = |line: &[u8], expect: DropReason| {
            assert_eq!(
                Line::parse(line),
                Err(expect),
                "{}",
                String::from_utf8_lossy(line)
            );
        };
        let malformed = DropReason::Malformed;
        check(b"", malformed);
        check(b"   ", malformed);
        check(b"hello world", malformed);
        check(b"\xff\xfe\x00", malformed);
        check(
            br#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" abc 1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 -1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [32/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [30/Feb/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Foo/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Jan/2026:25:00:00 +0000] "GET / HTTP/1.1" 200 1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Jan/2026:00:00:00] "GET / HTTP/1.1" 200 1"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "open"#,
            malformed,
        );
        check(
            br#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "one""#,
            malformed,
        );
        check(&[b'x'; LINE_BYTES_MAX + 1], DropReason::TooLong);
    }

    #[test]
    fn a_page_view_is_a_get_of_a_page_that_was_answered() {
        let check = |request: &str, status: u16, expect: Option<&str>| {
            let line = Line {
                host: "::1".into(),
                time: UnixMillis(0),
                request: request.into(),
                status,
                referrer: None,
                user_agent: None,
            };
            assert_eq!(line.page_view(), expect, "{request} {status}");
        };
        check("GET / HTTP/1.1", 200, Some("/"));
        check("GET / HTTP/1.1", 206, Some("/"));
        check("GET / HTTP/1.1", 304, Some("/"));
        check("GET / HTTP/1.1", 301, None);
        check("GET / HTTP/1.1", 404, None);
        check("GET / HTTP/1.1", 500, None);
        check("POST / HTTP/1.1", 200, None);
        check("HEAD / HTTP/1.1", 200, None);
        check("get / HTTP/1.1", 200, None);
        check(
            "GET /blog/tags/x?flav=rss20 HTTP/1.1",
            200,
            Some("/blog/tags/x?flav=rss20"),
        );
        check("GET /a.html HTTP/1.1", 200, Some("/a.html"));
        check("GET /a.HTM?x=b.png HTTP/1.1", 200, Some("/a.HTM?x=b.png"));
        check("GET /index.php/a.b/ HTTP/1.1", 200, Some("/index.php/a.b/"));
        for page in ["xhtml", "php", "asp", "aspx", "jsp"] {
            let target = format!("/x.{page}");
            check(&format!("GET {target} HTTP/1.1"), 200, Some(&target));
        }
        check("GET /a.png HTTP/1.1", 200, None);
        check("GET /favicon.ico HTTP/1.1", 200, None);
        check("GET /logstash-1.4.2 HTTP/1.1", 200, None);
        check("GET /old", 200, Some("/old"));
        check("GET /with blank HTTP/1.1", 200, Some("/with blank"));
        check("GET  HTTP/1.1", 200, None);
        check("-", 200, None);
        check("", 200, None);
    }
}
