//! One embedded file, with what an HTTP answer says about it.

use std::borrow::Cow;
use std::fmt::Write;

use rust_embed::EmbeddedFile;

/// A file ready to be sent.
#[derive(Clone, Debug)]
pub struct Asset {
    /// The whole body, uncompressed.
    pub bytes: Cow<'static, [u8]>,
    /// Value of `Content-Type`, with the charset where it is text.
    pub content_type: String,
    /// Value of `ETag`, in its quotes: the SHA-256 of the bytes.
    pub etag: String,
    /// True if the file's name changes whenever its content does, so that it may be cached for ever.
    pub immutable: bool,
}

impl Asset {
    pub(crate) fn new(path: &str, file: EmbeddedFile, names_carry_hashes: bool) -> Self {
        Self {
            content_type: content_type(path),
            etag: etag(&file.metadata.sha256_hash()),
            // Vite puts the content's hash into the name of everything under assets/, and of nothing else.
            immutable: names_carry_hashes && path.starts_with("assets/"),
            bytes: file.data,
        }
    }
}

fn content_type(path: &str) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    if mime.type_() == "text" || mime.subtype() == "javascript" {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_string()
    }
}

fn etag(hash: &[u8]) -> String {
    let mut etag = String::with_capacity(hash.len() * 2 + 2);
    etag.push('"');
    for byte in hash {
        write!(etag, "{byte:02x}").expect("writing to a String cannot fail");
    }
    etag.push('"');
    etag
}
