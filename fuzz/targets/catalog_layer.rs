#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airlift_upstream::fuzzing::catalog_layer(data));
