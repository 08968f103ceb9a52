//! A topic and a pattern, parted by a line end. What must hold is in `longshore_tests::fuzzing::topic`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longshore_tests::fuzzing::topic(bytes));
