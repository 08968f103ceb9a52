use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = 5, retries = "5", timeout = 30, version)]
struct Thumbnail;

fn main() {}
