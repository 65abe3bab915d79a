#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airlift_upstream::fuzzing::oci_layout(data));
