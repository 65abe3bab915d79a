//! `Range` and `Content-Range`: which bytes a client asks for or sends.

use std::ops::Range;

/// What a `Range` header comes to for content of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slice {
    /// No range, or none that we honour: the whole content.
    Whole,
    Part(Range<u64>),
    /// Nothing of it is there: 416.
    Unsatisfiable,
}

/// Reads a `Range` header. One range is honoured; a list of them is answered with the whole, as HTTP allows.
pub(super) fn slice(header: Option<&str>, size: u64) -> Slice {
    let Some(spec) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return Slice::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Slice::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(last)) if first.is_empty() => size.saturating_sub(last)..size,
        _ => return Slice::Whole,
    };
    if range.is_empty() { Slice::Unsatisfiable } else { Slice::Part(range) }
}

/// Reads the `Content-Range` of a chunk: `first-last`, both inclusive. Some clients write HTTP's own form,
/// `bytes first-last/size`.
pub(super) fn chunk(header: &str) -> Option<Range<u64>> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let range = number(first)?..number(last)?.checked_add(1)?;
    (!range.is_empty()).then_some(range)
}

/// Digits only: `u64` would take a plus sign. A number too large for any blob is as good as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: &Slice) {
        assert_eq!(slice(Some(header), 2048), *expected, "{header}");
    }

    #[test]
    fn ranges_that_lie_inside_or_reach_beyond_are_cut_to_what_is_there() {
        check("bytes=500-1499", &Slice::Part(500..1500));
        check("bytes=500-", &Slice::Part(500..2048));
        check("bytes=-500", &Slice::Part(1548..2048));
        check("bytes=-5000", &Slice::Part(0..2048));
        check("bytes=2000-5000", &Slice::Part(2000..2048));
        check("bytes=0-99999999999999999999999999", &Slice::Part(0..2048));
        check("bytes=0-0", &Slice::Part(0..1));
    }

    #[test]
    fn ranges_with_nothing_in_them_cannot_be_satisfied() {
        for header in [
            "bytes=500-0",
            "bytes=5000-10000",
            "bytes=2048-",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            check(header, &Slice::Unsatisfiable);
        }
        assert_eq!(slice(Some("bytes=0-"), 0), Slice::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_byte_range_is_answered_with_the_whole() {
        for header in
            ["lines=1-2", "bytes=1-2,5-6", "bytes=-", "bytes=a-b", "bytes=+1-2", "bytes", ""]
        {
            check(header, &Slice::Whole);
        }
        assert_eq!(slice(None, 5), Slice::Whole);
    }

    #[test]
    fn chunks_name_their_first_and_last_byte() {
        assert_eq!(chunk("0-4"), Some(0..5));
        assert_eq!(chunk("bytes 5-9/10"), Some(5..10));
        for header in ["", "5", "9-5", "a-b", "-5", "0-18446744073709551615", "0--1"] {
            assert_eq!(chunk(header), None, "{header}");
        }
    }
}
