//! As much of ELF as tells a static binary from one that asks its host for a loader.

/// A program header that names the loader: `PT_INTERP`.
const INTERPRETER: u32 = 3;

/// Whether the program `elf` needs an interpreter; `None` if it is no 64-bit little-endian ELF
/// file or is cut short.
pub(super) fn has_interpreter(elf: &[u8]) -> Option<bool> {
    let is_known = elf.starts_with(b"\x7fELF\x02\x01");
    if !is_known {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(field(elf, 0x20)?)).ok()?;
    let entry_size = usize::from(u16::from_le_bytes(field(elf, 0x36)?));
    let entries = usize::from(u16::from_le_bytes(field(elf, 0x38)?));
    for entry in 0..entries {
        let offset = table.checked_add(entry * entry_size)?;
        if u32::from_le_bytes(field(elf, offset)?) == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

fn field<const N: usize>(elf: &[u8], offset: usize) -> Option<[u8; N]> {
    elf.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with program headers of these types.
    fn elf(types: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x20] = 64;
        file[0x36] = 56;
        file[0x38] = u8::try_from(types.len()).unwrap();
        for kind in types {
            file.extend(kind.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn an_interpreter_is_found_wherever_its_header_stands() {
        assert_eq!(has_interpreter(&elf(&[6, 3, 1])), Some(true));
        assert_eq!(has_interpreter(&elf(&[6, 1, 3])), Some(true));
        assert_eq!(has_interpreter(&elf(&[6, 1, 2])), Some(false));
    }

    #[test]
    fn what_is_no_whole_elf_file_gets_no_answer() {
        let whole = elf(&[1, 1]);
        assert_eq!(has_interpreter(&whole[..100]), None);
        assert_eq!(has_interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(has_interpreter(b""), None);
        let mut far = whole;
        far[0x20..0x28].fill(0xff);
        assert_eq!(has_interpreter(&far), None);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
    fn this_test_program_is_seen_to_be_dynamic() {
        let file = fs_err::read("/proc/self/exe").unwrap();
        assert_eq!(has_interpreter(&file), Some(true));
    }
}
