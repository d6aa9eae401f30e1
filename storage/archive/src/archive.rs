//! Objects in the store: put, got back and checked, listed, deleted.

use std::{fmt, path::PathBuf, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use moka::sync::Cache;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart, path::Path,
};
use ringtail_proto::{UnixMillis, stored::ArchiveObject};

use crate::{
    cluster_file,
    error::ArchiveError,
    local_files,
    location::Location,
    object_writer::BuiltObject,
    retry::{Patience, with_retries},
};

/// Where the archive is, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// Where it is.
    pub location: Location,
    /// How long a failing store is tried again: several attempts that hang have to fit.
    pub retry_ms_max: u64,
    /// An attempt that takes longer counts as failed; large objects have a second more for each MiB.
    pub attempt_ms_max: u64,
    /// Objects from this size on are uploaded in parts of this size. S3 wants at least 5 MiB.
    pub part_bytes_max: usize,
    /// No object may be larger: it is held in memory when it is read.
    pub object_bytes_max: u64,
    /// Objects that were read and checked are kept up to this many bytes.
    pub cached_bytes_max: u64,
}

impl ArchiveOptions {
    /// The defaults for a location.
    #[must_use]
    pub const fn new(location: Location) -> Self {
        Self {
            location,
            retry_ms_max: 120_000,
            attempt_ms_max: 20_000,
            part_bytes_max: 8 << 20,
            object_bytes_max: 512 << 20,
            cached_bytes_max: 128 << 20,
        }
    }
}

/// An open archive of this cluster.
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Set when writes have to be made durable by us.
    directory: Option<PathBuf>,
    options: ArchiveOptions,
    /// By hash: what is cached cannot be anything else than what was asked for.
    checked: Cache<Bytes, Bytes>,
}

/// An object as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Below the archive's prefix.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: UnixMillis,
}

impl Archive {
    /// Opens the archive of a cluster; an empty place becomes its archive.
    ///
    /// # Errors
    /// When the place is another cluster's archive or a newer version's, or when it cannot be reached or written.
    pub async fn open(options: ArchiveOptions, cluster: &str) -> Result<Self, ArchiveError> {
        let (store, prefix) = options.location.connect()?;
        let archive = Self::over(store, prefix, options);
        cluster_file::claim(&archive, cluster).await?;
        if let Some(directory) = &archive.directory {
            local_files::sweep(directory).await?;
        }
        Ok(archive)
    }

    /// Opens it over a store that exists already; the options' location then only names it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_store(
        store: Arc<dyn ObjectStore>,
        options: ArchiveOptions,
        cluster: &str,
    ) -> Result<Self, ArchiveError> {
        let archive = Self::over(store, Path::default(), options);
        cluster_file::claim(&archive, cluster).await?;
        Ok(archive)
    }

    fn over(store: Arc<dyn ObjectStore>, prefix: Path, options: ArchiveOptions) -> Self {
        let checked = Cache::builder()
            .max_capacity(options.cached_bytes_max)
            .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            .build();
        Self {
            store,
            prefix,
            directory: options.location.directory().map(PathBuf::from),
            options,
            checked,
        }
    }

    /// What it was opened with.
    #[must_use]
    pub const fn options(&self) -> &ArchiveOptions {
        &self.options
    }

    /// Stores an object. Doing it again, or after a failure, is harmless.
    ///
    /// # Errors
    /// When the store stays unavailable, refuses, or is full. The object may be there after [`ArchiveError::Unavailable`];
    /// nobody reads it unless a log entry names it.
    pub async fn put(&self, built: &BuiltObject) -> Result<(), ArchiveError> {
        let path = path_of(&built.object)?;
        check(&built.object, &built.bytes)?;
        self.write(path, &built.bytes).await
    }

    /// The bytes of an object, which are those that the manifest means.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`], [`ArchiveError::Damaged`], or when the store stays unavailable.
    pub async fn get(&self, object: &ArchiveObject) -> Result<Bytes, ArchiveError> {
        let path = path_of(object)?;
        self.check_size(path, object.bytes)?;
        let bytes = self.read(path, object.bytes).await?;
        if let Err(first) = check(object, &bytes) {
            tracing::warn!(%first, "an object is not what it should be, reading it again");
            let bytes = self.read(path, object.bytes).await?;
            check(object, &bytes)?;
            return Ok(bytes);
        }
        Ok(bytes)
    }

    /// [`Self::get`] for readers that come back to the same objects.
    pub(crate) async fn get_cached(&self, object: &ArchiveObject) -> Result<Bytes, ArchiveError> {
        if let Some(bytes) = self.checked.get(&object.hash) {
            return Ok(bytes);
        }
        let bytes = self.get(object).await?;
        self.checked.insert(object.hash.clone(), bytes.clone());
        Ok(bytes)
    }

    /// True when an object of this path and size is there. Only [`Self::get`] knows whether its bytes are right.
    ///
    /// # Errors
    /// When the store stays unavailable.
    pub async fn holds(&self, object: &ArchiveObject) -> Result<bool, ArchiveError> {
        match self.size(path_of(object)?).await {
            Ok(bytes) => Ok(bytes == object.bytes),
            Err(ArchiveError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stores an object whose bytes come from elsewhere, if they are the ones that the manifest means.
    ///
    /// # Errors
    /// As [`Self::put`]; [`ArchiveError::Damaged`] when the stream breaks off or brings other bytes.
    pub async fn copy_in<Error: fmt::Display>(
        &self,
        object: &ArchiveObject,
        bytes: impl Stream<Item = Result<Bytes, Error>>,
    ) -> Result<(), ArchiveError> {
        let path = path_of(object)?;
        self.check_size(path, object.bytes)?;
        let mut pieces = std::pin::pin!(bytes);
        let mut whole = BytesMut::with_capacity(object.bytes as usize);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| ArchiveError::damaged(path, error))?;
            if (whole.len() + piece.len()) as u64 > object.bytes {
                return Err(ArchiveError::damaged(path, "more bytes came than it has"));
            }
            whole.extend_from_slice(&piece);
        }
        let whole = whole.freeze();
        check(object, &whole)?;
        self.write(path, &whole).await
    }

    /// Deletes what is at a path below the archive's prefix; nothing there is as good.
    ///
    /// # Errors
    /// When the store stays unavailable or refuses.
    pub async fn delete(&self, path: &str) -> Result<(), ArchiveError> {
        let full = self.full(path);
        let attempt = || self.store.delete(&full);
        match with_retries(self.patience(0), "delete", path, attempt).await {
            Err(ArchiveError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    /// All objects below a folder, `v1` for all of the archive, in no order. A store may yet leave out what was written
    /// a moment ago: absence from a list proves nothing.
    pub fn list(&self, folder: &str) -> impl Stream<Item = Result<ListedObject, ArchiveError>> {
        let prefix = self.prefix.clone();
        let asked = folder.to_owned();
        let full = self.full(folder);
        self.store
            .list(Some(&full))
            .map_err(move |error| ArchiveError::Unavailable {
                doing: "list",
                path: asked.clone(),
                attempts: 1,
                message: error.to_string(),
            })
            .map_ok(move |meta| ListedObject {
                path: below(&prefix, &meta.location),
                bytes: meta.size,
                modified: UnixMillis(meta.last_modified.timestamp_millis()),
            })
    }

    /// Writes what is not there yet; what is there stays.
    pub(crate) async fn create(&self, path: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        let full = self.full(path);
        let attempt = || async {
            let create = PutOptions::from(PutMode::Create);
            let payload = PutPayload::from_bytes(bytes.clone());
            match self.store.put_opts(&full, payload, create).await {
                Ok(_)
                | Err(
                    object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. },
                ) => Ok(()),
                // A store without conditional writes: whoever cares has to read what is there in the end.
                Err(
                    object_store::Error::NotImplemented { .. }
                    | object_store::Error::NotSupported { .. },
                ) => {
                    let payload = PutPayload::from_bytes(bytes.clone());
                    self.store.put(&full, payload).await.map(|_| ())
                }
                Err(error) => Err(error),
            }
        };
        with_retries(self.patience(0), "write", path, attempt).await?;
        self.make_durable(&full).await
    }

    async fn write(&self, path: &str, bytes: &Bytes) -> Result<(), ArchiveError> {
        let size = bytes.len() as u64;
        self.check_size(path, size)?;
        let full = self.full(path);
        let attempt = || async {
            match bytes.len() < self.options.part_bytes_max {
                true => {
                    let payload = PutPayload::from_bytes(bytes.clone());
                    self.store.put(&full, payload).await?;
                }
                false => self.upload(&full, bytes).await?,
            }
            // A store that lost the end of an upload says so here, while we still have the bytes.
            let found = self.store.head(&full).await?.size;
            match found == size {
                true => Ok(()),
                false => Err(object_store::Error::Generic {
                    store: "archive",
                    source: format!("{found} of {size} bytes arrived").into(),
                }),
            }
        };
        with_retries(self.patience(size), "write", path, attempt).await?;
        self.make_durable(&full).await
    }

    /// Uploads in parts; a store shows the object only when the last part is confirmed.
    async fn upload(&self, full: &Path, bytes: &Bytes) -> object_store::Result<()> {
        let upload = self.store.put_multipart(full).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, self.options.part_bytes_max);
        upload.put(bytes.clone());
        // It aborts by itself when it fails.
        upload.finish().await.map(|_| ())
    }

    async fn make_durable(&self, full: &Path) -> Result<(), ArchiveError> {
        match &self.directory {
            None => Ok(()),
            Some(directory) => local_files::sync(directory, full).await,
        }
    }

    /// The bytes at a path; what is larger than expected is not read. 0 expects nothing.
    pub(crate) async fn read(&self, path: &str, expected: u64) -> Result<Bytes, ArchiveError> {
        let full = self.full(path);
        let limit = match expected {
            0 => self.options.object_bytes_max,
            expected => expected,
        };
        let attempt = || async {
            let found = self.store.get(&full).await?;
            let size = found.meta.size;
            match size <= limit {
                true => Ok(Ok(found.bytes().await?)),
                false => Ok(Err(size)),
            }
        };
        with_retries(self.patience(expected), "read", path, attempt)
            .await?
            .map_err(|size| {
                ArchiveError::damaged(path, format!("it has {size} bytes instead of {limit}"))
            })
    }

    async fn size(&self, path: &str) -> Result<u64, ArchiveError> {
        let full = self.full(path);
        let attempt = || async { Ok(self.store.head(&full).await?.size) };
        with_retries(self.patience(0), "look at", path, attempt).await
    }

    fn check_size(&self, path: &str, bytes: u64) -> Result<(), ArchiveError> {
        let bytes_max = self.options.object_bytes_max;
        match bytes <= bytes_max {
            true => Ok(()),
            false => Err(ArchiveError::TooLarge {
                path: path.to_owned(),
                bytes,
                bytes_max,
            }),
        }
    }

    const fn patience(&self, bytes: u64) -> Patience {
        Patience {
            retry_ms_max: self.options.retry_ms_max,
            attempt_ms_max: self.options.attempt_ms_max + (bytes >> 20) * 1_000,
        }
    }

    fn full(&self, path: &str) -> Path {
        self.prefix
            .parts()
            .chain(Path::from(path).parts())
            .collect()
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Archive({})", self.options.location)
    }
}

fn below(prefix: &Path, location: &Path) -> String {
    let parts: Option<Path> = location.prefix_match(prefix).map(Iterator::collect);
    parts.unwrap_or_else(|| location.clone()).to_string()
}

pub(crate) fn path_of(object: &ArchiveObject) -> Result<&str, ArchiveError> {
    std::str::from_utf8(&object.path)
        .map_err(|error| ArchiveError::damaged(&String::from_utf8_lossy(&object.path), error))
}

/// Compares bytes with what the manifest says of them.
fn check(object: &ArchiveObject, bytes: &[u8]) -> Result<(), ArchiveError> {
    let path = path_of(object)?;
    if bytes.len() as u64 != object.bytes {
        let what = format!("it has {} bytes instead of {}", bytes.len(), object.bytes);
        return Err(ArchiveError::damaged(path, what));
    }
    if blake3::hash(bytes).as_bytes().as_slice() != object.hash.as_ref() {
        return Err(ArchiveError::damaged(path, "its hash is another"));
    }
    Ok(())
}
