//! Any bytes as the body of a message. What must hold is in `longshore_tests::fuzzing::envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longshore_tests::fuzzing::envelope(bytes));
