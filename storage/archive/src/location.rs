//! Where an archive is.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder,
    local::LocalFileSystem, path::Path,
};
use url::Url;

use crate::error::ArchiveError;

/// A directory of this node, or a bucket that all nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory; it is created when it is not there.
    Local(PathBuf),
    /// A bucket of an S3-compatible store.
    S3 {
        /// Its name; it has to exist.
        bucket: String,
        /// Folder in the bucket; may be empty.
        prefix: String,
        /// Address of the store; none for Amazon's own.
        endpoint: Option<String>,
        /// Region; none for `us-east-1`.
        region: Option<String>,
        /// Allows an endpoint without TLS.
        allow_http: bool,
        /// Who we are there.
        keys: Keys,
    },
}

/// Credentials for an object store.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Keys {
    /// From `AWS_ACCESS_KEY_ID` and the like, else from the machine's own role.
    #[default]
    Environment,
    /// Given.
    Explicit {
        /// The key's id.
        access_key_id: String,
        /// The secret.
        secret_access_key: String,
    },
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => formatter.write_str("Environment"),
            // The secret stays out of logs.
            Self::Explicit { access_key_id, .. } => write!(formatter, "Explicit({access_key_id})"),
        }
    }
}

impl Location {
    /// Reads `file:///var/lib/archive` or
    /// `s3://bucket/prefix?endpoint=https://store.example&region=eu-1&allow_http=false`.
    ///
    /// # Errors
    /// When it is neither, or has parameters that are not known.
    pub fn parse(text: &str) -> Result<Self, ArchiveError> {
        let wrong = |message: &str| ArchiveError::Location {
            url: text.to_owned(),
            message: message.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ArchiveError::Location {
                url: url.scheme().to_owned(),
                message: "keys do not belong into the address".to_owned(),
            });
        }
        match url.scheme() {
            "file" if url.query().is_some() => Err(wrong("a directory has no parameters")),
            "file" => match url.to_file_path() {
                Ok(path) => Ok(Self::Local(path)),
                Err(()) => Err(wrong("not an absolute path of this machine")),
            },
            "s3" => Self::parse_s3(&url).map_err(|message| wrong(&message)),
            _ => Err(wrong("it begins neither with file: nor with s3:")),
        }
    }

    fn parse_s3(url: &Url) -> Result<Self, String> {
        let bucket = url.host_str().unwrap_or_default().to_owned();
        if bucket.is_empty() {
            return Err("the bucket is missing".to_owned());
        }
        let (mut endpoint, mut region, mut allow_http) = (None, None, false);
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "endpoint" => endpoint = Some(value.trim_end_matches('/').to_owned()),
                "region" => region = Some(value.into_owned()),
                "allow_http" => {
                    allow_http = value
                        .parse()
                        .map_err(|_| "allow_http is neither true nor false".to_owned())?;
                }
                _ => return Err(format!("parameter `{name}` is not known")),
            }
        }
        Ok(Self::S3 {
            bucket,
            prefix: url.path().trim_matches('/').to_owned(),
            endpoint,
            region,
            allow_http,
            keys: Keys::Environment,
        })
    }

    /// The directory of a local archive.
    #[must_use]
    pub fn directory(&self) -> Option<&std::path::Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::S3 { .. } => None,
        }
    }

    /// True when all nodes see the same objects, so that nobody has to copy them.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::S3 { .. })
    }

    /// The store, and the folder in it.
    pub(crate) fn connect(&self) -> Result<(Arc<dyn ObjectStore>, Path), ArchiveError> {
        let wrong = |message: String| ArchiveError::Location {
            url: self.to_string(),
            message,
        };
        match self {
            Self::Local(path) => {
                std::fs::create_dir_all(path).map_err(|error| wrong(error.to_string()))?;
                let store = LocalFileSystem::new_with_prefix(path)
                    .map_err(|error| wrong(error.to_string()))?;
                Ok((Arc::new(store), Path::default()))
            }
            Self::S3 { prefix, .. } => {
                let prefix = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
                let store = self
                    .s3()
                    .build()
                    .map_err(|error| wrong(error.to_string()))?;
                Ok((Arc::new(store), prefix))
            }
        }
    }

    fn s3(&self) -> AmazonS3Builder {
        let Self::S3 {
            bucket,
            endpoint,
            region,
            allow_http,
            keys,
            ..
        } = self
        else {
            return AmazonS3Builder::new();
        };
        let mut builder = match keys {
            Keys::Environment => AmazonS3Builder::from_env(),
            Keys::Explicit {
                access_key_id,
                secret_access_key,
            } => AmazonS3Builder::new()
                .with_access_key_id(access_key_id)
                .with_secret_access_key(secret_access_key),
        };
        // Retries are ours, so that all stores have the same; this one is for a connection that died in the pool.
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 1,
            retry_timeout: Duration::from_secs(10),
        };
        let client = ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_allow_http(*allow_http);
        builder = builder
            .with_bucket_name(bucket)
            .with_client_options(client)
            .with_allow_http(*allow_http)
            .with_retry(retry);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        builder
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(formatter, "file://{}", path.display()),
            Self::S3 { bucket, prefix, .. } => write!(formatter, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_where_the_archive_is() {
        assert_eq!(
            Location::parse("file:///var/lib/archive").unwrap(),
            Location::Local("/var/lib/archive".into())
        );
        let text = "s3://events/ring/a?endpoint=http://127.0.0.1:9000/&region=eu-1&allow_http=true";
        assert_eq!(
            Location::parse(text).unwrap(),
            Location::S3 {
                bucket: "events".to_owned(),
                prefix: "ring/a".to_owned(),
                endpoint: Some("http://127.0.0.1:9000".to_owned()),
                region: Some("eu-1".to_owned()),
                allow_http: true,
                keys: Keys::Environment,
            }
        );
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for text in [
            "archive",
            "http://store/bucket",
            "s3://",
            "file://host/path",
            "file:///a?b=c",
            "s3://bucket?colour=red",
            "s3://bucket?allow_http=yes",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(
                matches!(error, ArchiveError::Location { .. }),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_secret_is_neither_accepted_in_an_address_nor_shown() {
        let error = Location::parse("s3://key:hunter2@bucket").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let keys = Keys::Explicit {
            access_key_id: "id".to_owned(),
            secret_access_key: "hunter2".to_owned(),
        };
        assert!(!format!("{keys:?}").contains("hunter2"));
    }
}
