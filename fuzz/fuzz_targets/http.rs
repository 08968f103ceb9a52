//! Any bytes as what the endpoint of an HTTP handler answers. What must hold is in `longshore_tests::fuzzing::http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longshore_tests::fuzzing::http(bytes));
