//! Random numbers that a seed decides, and what is drawn with them.

/// A generator of random numbers: the same seed, the same numbers.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// A generator for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (`SplitMix64`).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    /// One of several; there is at least one.
    pub fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    /// Random bytes, at most so many.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    /// The bytes with a few changes of the kinds that find holes: bits flipped, parts left out, doubled, put
    /// elsewhere, replaced by what parsers trip over.
    pub fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        const PARTS: [&[u8]; 24] = [
            b"\0",
            b"\"",
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"\xff",
            b"\xc3\x28",
            b"\xef\xbb\xbf",
            b"\\ud800",
            b"null",
            b"-0",
            b"1e400",
            b"18446744073709551616",
            b"-1",
            b"NaN",
            b"\n",
            b"\r\n",
            b"::set ",
            b"/",
            b"*",
        ];
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len() + 1);
            let end = at + self.below(out.len() - at + 1);
            match self.below(6) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 => drop(out.drain(at..end)),
                2 => {
                    let part = out[at..end].to_vec();
                    let to = self.below(out.len() + 1);
                    out.splice(to..to, part);
                }
                3 => out.truncate(at),
                4 => {
                    let part = self.bytes(8);
                    out.splice(at..at, part);
                }
                _ => {
                    let part = *self.one(&PARTS);
                    out.splice(at..at, part.iter().copied());
                }
            }
        }
        out
    }
}
