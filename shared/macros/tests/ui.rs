//! What the compiler says to every mistake in `#[job(…)]`, and odd surroundings that must compile.
//!
//! After a change of a message, look at the difference and accept it with `TRYBUILD=overwrite`.

#[test]
fn mistakes_are_explained_by_the_compiler() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
