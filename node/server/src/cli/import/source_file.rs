//! A file to import: plain or gzip, a path or standard input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

use crate::exit::{Exit, ExitError};

const BUFFER_BYTES: usize = 256 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An open file; what it yields is never compressed.
pub(super) struct SourceFile {
    path: PathBuf,
    size: Option<u64>,
    reader: Box<dyn BufRead>,
    read: Arc<AtomicU64>,
}

impl SourceFile {
    /// Opens a path, `-` for standard input.
    pub(super) fn open(path: &Path) -> Result<Self, ExitError> {
        let fail = |error: io::Error| {
            ExitError::new(
                Exit::Input,
                format!("{} cannot be read: {error}", path.display()),
            )
        };
        let read = Arc::new(AtomicU64::new(0));
        let (raw, size): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(fail)?;
            let metadata = file.metadata().map_err(fail)?;
            if metadata.is_dir() {
                return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let counted = Counted {
            inner: raw,
            read: Arc::clone(&read),
        };
        let mut buffered = BufReader::with_capacity(BUFFER_BYTES, counted);
        let is_gzip = buffered.fill_buf().map_err(fail)?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn BufRead> = if is_gzip {
            let decoder = MultiGzDecoder::new(buffered);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Box::new(buffered)
        };
        Ok(Self {
            path: path.to_owned(),
            size,
            reader,
            read,
        })
    }

    /// Bytes on disk; none for a stream.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes read from the disk so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Appends the next line with its line end; false at the end. What is over `line_bytes_max` is cut off.
    pub(super) fn read_line(
        &mut self,
        line: &mut Vec<u8>,
        line_bytes_max: usize,
    ) -> Result<bool, ExitError> {
        let start = line.len();
        loop {
            let available = self.reader.fill_buf().map_err(|error| {
                let path = self.path.display();
                ExitError::new(Exit::Input, format!("{path} cannot be read: {error}"))
            })?;
            if available.is_empty() {
                return Ok(line.len() > start);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(available.len(), |end| end + 1);
            let room = line_bytes_max.saturating_sub(line.len() - start);
            line.extend(available.iter().take(used.min(room)));
            self.reader.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

/// Counts the bytes that pass, for the progress bar.
struct Counted {
    inner: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
