//! A store that fails as stores do: on command, and counted.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use ringtail_archive::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart, memory::InMemory, path::Path,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 503: nothing was done.
    Unavailable,
    /// It is done, but the answer is lost.
    AnswerLost,
    /// No answer within any patience.
    Hang,
    /// A write that says that it worked and kept only half.
    HalfWritten,
    /// A read that brings a wrong bit.
    Altered,
    /// A read that brings half and then nothing more.
    CutRead,
    /// No room.
    Full,
}

/// Memory with faults in front.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<InMemory>,
    /// How many of the next operations each fault hits.
    faults: Arc<Mutex<HashMap<Fault, u64>>>,
    /// Objects that lists do not show yet.
    unlisted: Arc<Mutex<Vec<Path>>>,
    lists_lag: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    /// Writes wait as long as somebody else holds it.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// Reads likewise.
    read_gate: Arc<tokio::sync::RwLock<()>>,
}

/// Every operation from now on.
pub const ALWAYS: u64 = u64::MAX;

impl FaultStore {
    pub fn new() -> Self {
        Self {
            inner: Arc::new(InMemory::new()),
            faults: Arc::default(),
            unlisted: Arc::default(),
            lists_lag: Arc::default(),
            writes: Arc::default(),
            gate: Arc::default(),
            read_gate: Arc::default(),
        }
    }

    /// The next so many operations that it can hit meet the fault.
    pub fn set(&self, fault: Fault, operations: u64) {
        self.faults.lock().unwrap().insert(fault, operations);
    }

    /// Lists leave out what is written from now on; or show all again.
    pub fn let_lists_lag(&self, is_lagging: bool) {
        self.lists_lag
            .store(u64::from(is_lagging), Ordering::Relaxed);
        if !is_lagging {
            self.unlisted.lock().unwrap().clear();
        }
    }

    /// Attempts to write.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Writes that begin from now on wait until what this returns is dropped; they are counted before.
    pub async fn hold_writes(&self) -> tokio::sync::OwnedRwLockWriteGuard<()> {
        self.gate.clone().write_owned().await
    }

    /// Reads that begin from now on wait until what this returns is dropped.
    pub async fn hold_reads(&self) -> tokio::sync::OwnedRwLockWriteGuard<()> {
        self.read_gate.clone().write_owned().await
    }

    fn meets(&self, fault: Fault) -> bool {
        let mut faults = self.faults.lock().unwrap();
        match faults.get_mut(&fault) {
            None | Some(0) => false,
            Some(&mut ALWAYS) => true,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    async fn before(&self) -> Result<()> {
        if self.meets(Fault::Hang) {
            tokio::time::sleep(Duration::from_secs(1 << 30)).await;
        }
        match self.meets(Fault::Unavailable) {
            true => Err(failure("503 Service Unavailable: slow down".into())),
            false => Ok(()),
        }
    }

    fn after(&self) -> Result<()> {
        match self.meets(Fault::AnswerLost) {
            true => Err(failure("connection reset by peer".into())),
            false => Ok(()),
        }
    }
}

fn failure(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic {
        store: "faulty",
        source,
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FaultStore")
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FaultStore")
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        drop(self.gate.read().await);
        self.before().await?;
        if self.meets(Fault::Full) {
            return Err(failure(io::Error::from(io::ErrorKind::StorageFull).into()));
        }
        let mut bytes = Bytes::from(payload);
        if self.meets(Fault::HalfWritten) {
            bytes.truncate(bytes.len() / 2);
        }
        if self.lists_lag.load(Ordering::Relaxed) > 0 {
            self.unlisted.lock().unwrap().push(location.clone());
        }
        let put = self.inner.put_opts(location, bytes.into(), options).await?;
        self.after().map(|()| put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.before().await?;
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(FaultyUpload {
            store: self.clone(),
            upload,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        drop(self.read_gate.read().await);
        self.before().await?;
        let mut result = self.inner.get_opts(location, options).await?;
        if is_head {
            return Ok(result);
        }
        if self.meets(Fault::CutRead) {
            let (meta, range) = (result.meta.clone(), result.range.clone());
            let bytes = result.bytes().await?;
            let pieces = [
                Ok(bytes.slice(..bytes.len() / 2)),
                Err(failure("connection closed before message completed".into())),
            ];
            return Ok(GetResult {
                payload: GetResultPayload::Stream(futures::stream::iter(pieces).boxed()),
                meta,
                range,
                attributes: Default::default(),
            });
        }
        if self.meets(Fault::Altered) {
            let (meta, range) = (result.meta.clone(), result.range.clone());
            let mut bytes = result.bytes().await?.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            let piece = futures::stream::iter([Ok(bytes.into())]);
            result = GetResult {
                payload: GetResultPayload::Stream(piece.boxed()),
                meta,
                range,
                attributes: Default::default(),
            };
        }
        self.after().map(|()| result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (store, inner) = (self.clone(), self.inner.clone());
        let locations = locations.then(move |location| {
            let store = store.clone();
            async move {
                store.before().await?;
                location
            }
        });
        inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let unlisted = self.unlisted.lock().unwrap().clone();
        let is_down = self.meets(Fault::Unavailable);
        self.inner
            .list(prefix)
            .filter(move |meta| {
                let is_hidden = meta
                    .as_ref()
                    .is_ok_and(|meta| unlisted.contains(&meta.location));
                std::future::ready(!is_hidden)
            })
            .map(move |meta| match is_down {
                true => Err(failure("503 Service Unavailable".into())),
                false => meta,
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    store: FaultStore,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let store = self.store.clone();
        let part = self.upload.put_part(data);
        Box::pin(async move {
            store.before().await?;
            part.await?;
            store.after()
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.before().await?;
        let done = self.upload.complete().await?;
        self.store.after().map(|()| done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
