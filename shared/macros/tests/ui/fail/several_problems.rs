use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "a//b", retries = -2, timeout = "2 minutes", version = 0)]
struct Thumbnail;

fn main() {}
