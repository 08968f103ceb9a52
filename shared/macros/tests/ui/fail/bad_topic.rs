use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "media.thumbnail")]
struct Thumbnail;

fn main() {}
