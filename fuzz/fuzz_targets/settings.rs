//! Any text as a settings file, and as values of the environment. What must hold is in `longshore_tests::fuzzing::settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| longshore_tests::fuzzing::settings(bytes));
