#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airlift_helm::fuzzing::kustomize_address(data));
