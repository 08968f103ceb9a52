//! Any bytes as what the program of an exec handler writes. What must hold is in `longshore_tests::fuzzing::exec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longshore_tests::fuzzing::exec(bytes));
