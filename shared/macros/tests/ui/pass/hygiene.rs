// The generated code does not depend on what the user's names mean.
#![deny(warnings)]
#![allow(dead_code)]

#[allow(non_camel_case_types)]
struct Option;
struct Default;
struct Duration;
mod core {}
mod longshore_model {}

#[derive(serde::Serialize, serde::Deserialize, ::longshore_macros::Job)]
#[job(topic = "a/b", r#retries = 0, timeout = "1s")]
struct r#Type;

fn main() {
    assert_eq!(<Type as ::longshore_model::Job>::options().retries, Some(0));
}
