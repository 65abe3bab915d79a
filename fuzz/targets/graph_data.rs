#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airlift_oc_mirror::fuzzing::graph_data(data));
