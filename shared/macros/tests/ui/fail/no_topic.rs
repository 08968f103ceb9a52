use longshore_macros::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(retries = 5)]
struct Thumbnail;

fn main() {}
