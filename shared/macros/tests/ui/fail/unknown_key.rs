use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "a", retry = 5)]
struct Thumbnail;

fn main() {}
