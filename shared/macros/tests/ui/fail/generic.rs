use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "a")]
struct Wrapped<T> {
    inner: T,
}

fn main() {}
