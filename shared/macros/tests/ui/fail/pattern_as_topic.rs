use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "media/*")]
struct Thumbnail;

fn main() {}
