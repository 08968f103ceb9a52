use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "a", topic = "b")]
struct Thumbnail;

fn main() {}
