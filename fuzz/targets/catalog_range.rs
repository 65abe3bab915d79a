#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airlift_catalog::fuzzing::catalog_range(data));
