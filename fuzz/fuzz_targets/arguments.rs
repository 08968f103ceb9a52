//! Any text as a command line, one word a line. What must hold is in `longshore_tests::fuzzing::arguments`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longshore_tests::fuzzing::arguments(bytes));
