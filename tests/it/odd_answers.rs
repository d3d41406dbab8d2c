//! Answers that no calendar gives, as bytes.

/// A gzip member (RFC 1952) of that many runs of 258 zeros, in 13 bits each: one deflate block (RFC
/// 1951) with the fixed codes, of a zero and then its repetitions.
pub(crate) fn gzip_bomb(runs: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, of the fixed codes.
    bits.put("110");
    // A zero; then its repetition, length 258, distance 1.
    bits.put("00110000");
    for _ in 0..runs {
        bits.put("1100010100000");
    }
    // The block's end.
    bits.put("0000000");
    let len = 1 + runs * 258;
    let checksum = crc32fast::hash(&vec![0; len]);
    let len = u32::try_from(len).expect("a small bomb");
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    [&head[..], &bits.bytes, &checksum.to_le_bytes(), &len.to_le_bytes()].concat()
}

/// Bits, from the lowest of each byte on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, bits: &str) {
        for bit in bits.bytes() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("it was pushed");
            *last |= u8::from(bit == b'1') << (self.count % 8);
            self.count += 1;
        }
    }
}
