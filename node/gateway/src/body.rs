//! Bodies under a cap: counted while they arrive, and while they are inflated.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;

use crate::CollectError;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
}

impl Encoding {
    /// Reads `Content-Encoding`.
    ///
    /// # Errors
    /// When it is an encoding that we do not read.
    pub fn from_header(header: Option<&str>) -> Result<Self, CollectError> {
        let name = header.map(str::trim).unwrap_or_default();
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            Ok(Self::Identity)
        } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            Ok(Self::Gzip)
        } else {
            Err(CollectError::malformed(
                "content-encoding",
                "only gzip is understood",
            ))
        }
    }
}

/// Small bodies may have any ratio: `{}` repeated is no bomb.
const RATIO_FREE_BYTES: usize = 64 << 10;
const STEP_BYTES: usize = 16 << 10;

/// The body as its sender wrote it.
///
/// # Errors
/// When it is broken, or grows over one of its caps; it is not inflated any further then.
pub(crate) fn inflate(
    body: &[u8],
    encoding: Encoding,
    bytes_max: usize,
    ratio_max: usize,
) -> Result<Cow<'_, [u8]>, CollectError> {
    if body.len() > bytes_max {
        return Err(CollectError::BodyTooLarge { bytes_max });
    }
    if encoding == Encoding::Identity {
        return Ok(Cow::Borrowed(body));
    }
    let ratio_bytes_max = body.len().saturating_mul(ratio_max).max(RATIO_FREE_BYTES);
    let mut decoder = MultiGzDecoder::new(body);
    let mut inflated = Vec::new();
    loop {
        let before = inflated.len();
        let step = (&mut decoder)
            .take(STEP_BYTES as u64)
            .read_to_end(&mut inflated);
        if inflated.len() > bytes_max {
            return Err(CollectError::BodyTooLarge { bytes_max });
        }
        if inflated.len() > ratio_bytes_max {
            return Err(CollectError::InflateRatio { ratio_max });
        }
        step.map_err(|error| CollectError::malformed("body", format!("not gzip: {error}")))?;
        if inflated.len() == before {
            return Ok(Cow::Owned(inflated));
        }
    }
}

/// The body as text.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) fn text(body: &[u8]) -> Result<&str, CollectError> {
    std::str::from_utf8(body).map_err(|error| {
        CollectError::malformed(
            "body",
            format!("not UTF-8 from byte {} on", error.valid_up_to()),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn an_honest_body_is_inflated() {
        let text = br#"{"domain":"example.com"}"#;
        let inflated = inflate(&gzip(text), Encoding::Gzip, 1_000, 10)
            .unwrap()
            .into_owned();
        assert_eq!(inflated, text);
        let two = [gzip(b"{}"), gzip(b"[]")].concat();
        assert_eq!(
            inflate(&two, Encoding::Gzip, 1_000, 10).unwrap().as_ref(),
            b"{}[]"
        );
    }

    #[test]
    fn a_bomb_stops_at_its_cap() {
        let bomb = gzip(&vec![b' '; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(
            inflate(&bomb, Encoding::Gzip, 1_000_000, 2_000),
            Err(CollectError::BodyTooLarge {
                bytes_max: 1_000_000
            })
        );
        assert_eq!(
            inflate(&bomb, Encoding::Gzip, 100_000_000, 200),
            Err(CollectError::InflateRatio { ratio_max: 200 })
        );
    }

    #[test]
    fn broken_gzip_and_foreign_encodings_are_refused() {
        let mut cut = gzip(b"hello, hello, hello");
        cut.truncate(cut.len() - 6);
        for broken in [b"plain".as_slice(), b"", &cut] {
            assert!(matches!(
                inflate(broken, Encoding::Gzip, 1_000, 200),
                Err(CollectError::Malformed { .. })
            ));
        }
        assert_eq!(Encoding::from_header(None), Ok(Encoding::Identity));
        assert_eq!(Encoding::from_header(Some("GZIP")), Ok(Encoding::Gzip));
        assert!(Encoding::from_header(Some("br")).is_err());
        assert!(Encoding::from_header(Some("gzip, gzip")).is_err());
    }
}
