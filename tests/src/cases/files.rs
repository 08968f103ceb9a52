//! Payload files go in before the handler starts, outputs come back before the job has succeeded.

use std::collections::BTreeMap;

use bytes::Bytes;
use longshore_consumer::{Ctx, Outcome};

use super::Fleet;

const TOPIC: &str = "test/files";

/// Small files travel in the envelope, large ones through the blob store; the handler sees no difference.
pub async fn payload_files_reach_the_handler_and_its_outputs_come_back(fleet: &Fleet) {
    let work = |ctx: Ctx| async move {
        let input = ctx.input_dir().ok_or_else(|| std::io::Error::other("no input directory"))?;
        let mut sizes = BTreeMap::new();
        for entry in std::fs::read_dir(input)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let mut content = std::fs::read(entry.path())?;
            sizes.insert(name.clone(), content.len());
            content.reverse();
            std::fs::write(ctx.output_dir()?.join(format!("{name}.reversed")), content)?;
        }
        Ok::<_, std::io::Error>(Outcome::result(sizes))
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let job = fleet.producer().raw(TOPIC, "{}").file_bytes("small.txt", "tiny").file_bytes("empty", Bytes::new());
    let sent = fleet.send(job.file_bytes("large.bin", large.clone())).await;
    let report = fleet.end(&sent).await;
    let sizes = report.result::<BTreeMap<String, usize>>().unwrap();
    let expected = [("empty", 0), ("large.bin", 300_000), ("small.txt", 4)];
    assert_eq!(sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect::<Vec<_>>(), expected);
    let names: Vec<_> = report.outputs().iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["empty.reversed", "large.bin.reversed", "small.txt.reversed"]);
    let dir = tempfile::tempdir().unwrap();
    report.save_outputs(dir.path()).await.unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert_eq!(read("small.txt.reversed"), b"ynit");
    assert_eq!(read("empty.reversed"), b"");
    assert!(read("large.bin.reversed").iter().eq(large.iter().rev()));
    running.drain().await;
}
