// A crate that re-exports Longshore names the path itself.
mod facade {
    pub mod jobs {
        pub use longshore_macros::Job;
        pub use longshore_model::{Job, JobOptions};
    }
}

use facade::jobs::Job;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "mail/send", crate = "crate::facade::jobs")]
struct Mail;

fn main() {
    assert_eq!(Mail::TOPIC, "mail/send");
}
