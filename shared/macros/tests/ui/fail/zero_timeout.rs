use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "a", timeout = "0", expires_in = "0s", retry_delay = "400d")]
struct Thumbnail;

fn main() {}
