//! A version byte, then postcard: the form of every stored metadata value.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::MetadataError;

/// The version that this binary writes in front of each entry and row.
pub const FORMAT_VERSION: u8 = 1;

pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    encode_as(FORMAT_VERSION, value)
}

/// Encodes a value of which there are several versions.
pub(crate) fn encode_as<T: Serialize>(version: u8, value: &T) -> Bytes {
    let mut bytes = BytesMut::with_capacity(128);
    bytes.put_u8(version);
    let writer = postcard::to_io(value, bytes.writer())
        .expect("the buffer grows and no metadata type lacks a length");
    writer.into_inner().freeze()
}

pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, MetadataError> {
    decode_as(FORMAT_VERSION, what, bytes)
}

/// Reads what [`encode_as`] wrote.
pub(crate) fn decode_as<T: DeserializeOwned>(
    known: u8,
    what: &str,
    bytes: &[u8],
) -> Result<T, MetadataError> {
    let Some((version, body)) = bytes.split_first() else {
        return Err(MetadataError::unreadable(what, "it is empty"));
    };
    if *version != known {
        let message = format!("it has version {version}, this binary knows {known}");
        return Err(MetadataError::unreadable(what, message));
    }
    let (value, rest) =
        postcard::take_from_bytes(body).map_err(|error| MetadataError::unreadable(what, error))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        let message = format!("{} bytes follow its end", rest.len());
        Err(MetadataError::unreadable(what, message))
    }
}
