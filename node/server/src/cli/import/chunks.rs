//! Cuts files into chunks of whole lines, and skips what the server has already.

use super::SourceFile;
use crate::{
    exit::{Exit, ExitError},
    import_position::{ImportPosition, without_line_end},
};

const CHUNK_BYTES: usize = 2 << 20;
const LINE_BYTES_MAX: usize = 64 << 10;

/// Some lines of the file.
pub(super) enum Chunk {
    /// Lines that the server has applied before.
    Known {
        /// How many.
        lines: u64,
    },
    /// Lines for the server.
    New {
        /// How many.
        lines: u64,
        /// The lines, each with a line end.
        bytes: Vec<u8>,
    },
}

/// The lines of some files, as chunks.
pub(super) struct Chunks {
    files: Vec<SourceFile>,
    current: usize,
    /// A line that was read ahead.
    ahead: Option<Vec<u8>>,
}

impl Chunks {
    pub(super) fn new(files: Vec<SourceFile>) -> Self {
        Self {
            files,
            current: 0,
            ahead: None,
        }
    }

    /// Bytes read from disk so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.files.iter().map(SourceFile::bytes_read).sum()
    }

    /// The first line, which stays to be read.
    pub(super) fn first_line(&mut self) -> Result<Option<Vec<u8>>, ExitError> {
        let mut line = Vec::new();
        if !self.read_line(&mut line)? {
            return Ok(None);
        }
        let first = without_line_end(&line).to_vec();
        self.ahead = Some(line);
        Ok(Some(first))
    }

    /// The next chunk. `position` moves to its end; lines up to `server` are only checked against its hash.
    pub(super) fn next(
        &mut self,
        position: &mut ImportPosition,
        server: ImportPosition,
    ) -> Result<Option<Chunk>, ExitError> {
        if position.lines < server.lines {
            return self.skip(position, server);
        }
        let mut bytes = Vec::with_capacity(CHUNK_BYTES + LINE_BYTES_MAX);
        let before = position.lines;
        while bytes.len() < CHUNK_BYTES {
            let start = bytes.len();
            if !self.read_line(&mut bytes)? {
                break;
            }
            position.advance(without_line_end(bytes.get(start..).unwrap_or_default()));
            if bytes.last() != Some(&b'\n') {
                bytes.push(b'\n');
            }
        }
        let lines = position.lines - before;
        Ok((lines > 0).then_some(Chunk::New { lines, bytes }))
    }

    fn skip(
        &mut self,
        position: &mut ImportPosition,
        server: ImportPosition,
    ) -> Result<Option<Chunk>, ExitError> {
        let before = position.lines;
        let mut line = Vec::new();
        while position.lines < server.lines {
            line.clear();
            if !self.read_line(&mut line)? {
                break;
            }
            position.advance(without_line_end(&line));
        }
        if position.lines == server.lines && position.hash != server.hash {
            return Err(ExitError::new(
                Exit::Refused,
                format!(
                    "the first {} lines are not those that were imported before: give this file its own --source",
                    server.lines
                ),
            ));
        }
        let lines = position.lines - before;
        Ok((lines > 0).then_some(Chunk::Known { lines }))
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, ExitError> {
        if let Some(ahead) = self.ahead.take() {
            line.extend(ahead);
            return Ok(true);
        }
        while let Some(file) = self.files.get_mut(self.current) {
            if file.read_line(line, LINE_BYTES_MAX)? {
                return Ok(true);
            }
            self.current += 1;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, path::Path};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn chunks_of(path: &Path) -> Chunks {
        Chunks::new(vec![SourceFile::open(path).unwrap()])
    }

    fn read_all(path: &Path, server: ImportPosition) -> Result<(u64, Vec<u8>), ExitError> {
        let mut chunks = chunks_of(path);
        let mut position = ImportPosition::default();
        let (mut known, mut new) = (0, Vec::new());
        chunks.first_line()?;
        while let Some(chunk) = chunks.next(&mut position, server)? {
            match chunk {
                Chunk::Known { lines } => known += lines,
                Chunk::New { bytes, .. } => new.extend(bytes),
            }
        }
        Ok((known, new))
    }

    #[test]
    fn plain_and_gzip_files_yield_the_same_lines() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("log");
        fs::write(&plain, "one\ntwo").unwrap();
        let packed = directory.path().join("log.gz");
        let mut encoder = GzEncoder::new(fs::File::create(&packed).unwrap(), Compression::fast());
        encoder.write_all(b"one\ntwo").unwrap();
        encoder.finish().unwrap();
        let start = ImportPosition::default();
        assert_eq!(
            read_all(&plain, start).unwrap(),
            (0, b"one\ntwo\n".to_vec())
        );
        assert_eq!(
            read_all(&packed, start).unwrap(),
            (0, b"one\ntwo\n".to_vec())
        );
    }

    #[test]
    fn a_longer_file_goes_on_and_another_prefix_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "one\ntwo\nthree\n").unwrap();
        let mut server = ImportPosition::default();
        server.advance(b"one");
        server.advance(b"two");
        assert_eq!(read_all(&log, server).unwrap(), (2, b"three\n".to_vec()));
        fs::write(&log, "one\nTWO\nthree\n").unwrap();
        let error = read_all(&log, server).unwrap_err();
        assert_eq!(error.exit, Exit::Refused);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, vec![b'x'; 3 * LINE_BYTES_MAX]).unwrap();
        let (_, bytes) = read_all(&log, ImportPosition::default()).unwrap();
        assert_eq!(bytes.len(), LINE_BYTES_MAX + 1);
    }

    #[test]
    fn an_unreadable_file_is_told_by_name() {
        let error = SourceFile::open(Path::new("no/such/file")).err().unwrap();
        assert_eq!(error.exit, Exit::Input);
        assert!(error.message.contains("no/such/file"), "{}", error.message);
    }
}
