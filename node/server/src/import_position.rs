//! Where an import stands in its file: a count of lines and a hash over all of them, line by line.

/// A position after some line of an imported file.
///
/// The hash of a position is `blake3(hash before ‖ line)`, so that either side can go on from a position without
/// the lines before it, and two files agree on it only when all lines up to it are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportPosition {
    /// Lines so far.
    pub lines: u64,
    /// Hash over them; zero before the first.
    pub hash: [u8; 32],
}

impl ImportPosition {
    /// Steps over one line, given without its line end.
    pub(crate) fn advance(&mut self, line: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.hash);
        hasher.update(line);
        self.hash = *hasher.finalize().as_bytes();
        self.lines += 1;
    }

    /// The hash as text.
    #[must_use]
    pub(crate) fn hash_text(&self) -> String {
        hex::encode(self.hash)
    }
}

/// The default name of an import: a hash of its first line.
#[must_use]
pub(crate) fn default_source(first_line: &[u8]) -> String {
    let hash = blake3::hash(first_line).to_hex();
    hash.as_str().chars().take(16).collect()
}

/// The line without its line end, `\n` or `\r\n`.
#[must_use]
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_agree_only_over_equal_lines() {
        let over = |lines: &[&str]| {
            let mut position = ImportPosition::default();
            for line in lines {
                position.advance(without_line_end(line.as_bytes()));
            }
            position
        };
        assert_eq!(over(&["a\n", "b\n"]), over(&["a\r\n", "b"]));
        assert_ne!(over(&["a", "b"]).hash, over(&["ab"]).hash);
        assert_ne!(over(&["a", "b"]).hash, over(&["b", "a"]).hash);
        assert_eq!(over(&["a", "b"]).lines, 2);
    }
}
