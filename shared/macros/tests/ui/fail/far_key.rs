use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "a", colour = "red")]
struct Thumbnail;

fn main() {}
