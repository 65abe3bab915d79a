//! What the exit code says: a bit for each kind of content that failed.

use crate::mapping::Kind;

/// Everything but content: arguments, configuration, `delete`.
pub const GENERIC: u8 = 1;

/// The code for a run in which images of these kinds failed; zero where there are none.
pub fn exit_code(failed: impl IntoIterator<Item = Kind>) -> u8 {
    failed.into_iter().map(bit).fold(0, |code, bit| code | bit)
}

fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Release | Kind::ReleaseContent | Kind::Graph => 2,
        Kind::Related | Kind::Bundle | Kind::Catalog => 4,
        Kind::Additional => 8,
        Kind::Helm => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_content_has_a_bit() {
        assert_eq!(exit_code([]), 0);
        assert_eq!(exit_code([Kind::Helm, Kind::Bundle, Kind::Catalog]), 20);
        assert_eq!(exit_code([Kind::Graph, Kind::Additional]), 10);
    }
}
