//! The few lines of tar, zstd and ELF that samples need, written by hand so that every byte is ours and stays the same.

use std::io::Write as _;

/// One file of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path within the image, without a leading slash and at most 100 bytes long.
    pub path: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
}

impl File {
    /// A plain file that anyone may read.
    pub fn new(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), mode: 0o644, bytes: bytes.into() }
    }

    /// A file that may be run.
    pub fn program(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), mode: 0o755, bytes: bytes.into() }
    }
}

/// `files` as a ustar archive with its two closing blocks.
pub fn tar(files: &[File]) -> Vec<u8> {
    let mut archive = Vec::new();
    for file in files {
        archive.extend_from_slice(&header(file));
        archive.extend_from_slice(&file.bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn header(file: &File) -> [u8; 512] {
    assert!(file.path.len() <= 100, "`{}` does not fit into a ustar name", file.path);
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, file.path.as_bytes());
    put(100, format!("{:07o}", file.mode).as_bytes());
    put(108, b"0000000\x000000000");
    put(124, format!("{:011o}", file.bytes.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// `bytes` behind gzip, without a name or time in the header.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a Vec takes every byte")
}

/// `bytes` as a zstd frame of raw blocks: nothing gets smaller, every reader accepts it.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    const MAX_BLOCK: usize = 128 << 10;
    let mut frame = 0xFD2F_B528_u32.to_le_bytes().to_vec();
    // One segment, its length in eight bytes, no checksum.
    frame.push(0b1110_0000);
    frame.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    let mut blocks = bytes.chunks(MAX_BLOCK).peekable();
    if blocks.peek().is_none() {
        frame.extend_from_slice(&[1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let length = u32::try_from(block.len()).expect("at most 128 KiB");
        let head = length << 3 | u32::from(blocks.peek().is_none());
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    frame
}

/// What the program of [`hello`] prints.
pub const HELLO: &str = "hello from a sample\n";

/// A static Linux program that prints [`HELLO`] and ends with 0; none for an architecture we cannot write.
///
/// It needs no C library, so an image with nothing else in it runs.
pub fn hello(architecture: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(HELLO.len()).expect("short");
    let (machine, mut code): (u16, Vec<u8>) = match architecture {
        // mov eax,1; mov edi,1; lea rsi,[rip+16]; mov edx,LENGTH; syscall; mov eax,60; xor edi,edi; syscall
        "amd64" => {
            let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 16, 0, 0, 0];
            code.extend([0xba, length, 0, 0, 0, 0x0f, 0x05]);
            code.extend([0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
            (62, code)
        }
        // mov x0,1; adr x1,+28; mov x2,LENGTH; mov x8,64; svc 0; mov x0,0; mov x8,93; svc 0
        "arm64" => {
            let words = [
                0xd280_0020,
                0x1000_00e1,
                0xd280_0002 | u32::from(length) << 5,
                0xd280_0808,
                0xd400_0001,
                0xd280_0000,
                0xd280_0ba8,
                0xd400_0001,
            ];
            (183, words.into_iter().flat_map(u32::to_le_bytes).collect())
        }
        _ => return None,
    };
    code.extend(HELLO.as_bytes());
    Some(elf(machine, &code))
}

/// A 64-bit little-endian ELF file with `code` as its only segment.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let total = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let u16s = |file: &mut Vec<u8>, values: &[u16]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    u16s(&mut file, &[2, machine, 1, 0]);
    file.extend([BASE + HEADERS, 64, 0].iter().flat_map(|value: &u64| value.to_le_bytes()));
    u16s(&mut file, &[0, 0, 64, 56, 1, 64, 0, 0]);
    // One segment, loaded whole, readable and executable.
    u16s(&mut file, &[1, 0, 5, 0]);
    file.extend([0, BASE, BASE, total, total, 0x1_0000].iter().flat_map(|v: &u64| v.to_le_bytes()));
    file.extend(code);
    file
}
