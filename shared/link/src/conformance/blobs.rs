//! Payload files (O03): whole, checked, or not at all.

use super::bench::Bench;
use crate::blobs::{Content, inline};
use bytes::Bytes;
use std::path::PathBuf;

fn file(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn is_empty(dir: &tempfile::TempDir) -> bool {
    std::fs::read_dir(dir.path()).unwrap().next().is_none()
}

pub async fn o03_bytes_come_back(bench: &Bench) {
    let dir = dir();
    for bytes in ["", "a small file"] {
        let content = bench.a.blobs.put_bytes(Bytes::from(bytes)).await.unwrap();
        assert_eq!(content, Content::of(bytes.as_bytes()));
        bench.b.blobs.fetch_to(&content.named("f"), &file(&dir, "f")).await.unwrap();
        assert_eq!(std::fs::read_to_string(file(&dir, "f")).unwrap(), bytes);
    }
}

pub async fn o03_a_large_file_comes_back(bench: &Bench) {
    let dir = dir();
    let bytes: Vec<u8> = (0_u32..3_200_000).flat_map(u32::to_le_bytes).collect();
    std::fs::write(file(&dir, "in"), &bytes).unwrap();
    let content = bench.a.blobs.put_file(&file(&dir, "in")).await.unwrap();
    assert_eq!(content, Content::of(&bytes));
    bench.b.blobs.fetch_to(&content.named("out"), &file(&dir, "out")).await.unwrap();
    assert!(std::fs::read(file(&dir, "out")).unwrap() == bytes);
}

pub async fn the_same_content_is_the_same_blob(bench: &Bench) {
    let dir = dir();
    std::fs::write(file(&dir, "in"), "same").unwrap();
    let first = bench.a.blobs.put_bytes(Bytes::from("same")).await.unwrap();
    assert!(bench.b.blobs.exists(&first).await.unwrap());
    assert_eq!(bench.b.blobs.put_file(&file(&dir, "in")).await.unwrap(), first);
    assert!(!bench.a.blobs.exists(&Content::of(b"other")).await.unwrap());
}

pub async fn what_is_missing_may_come_later(bench: &Bench) {
    let (dir, content) = (dir(), Content::of(b"not yet"));
    let reference = content.named("f");
    let fault = bench.a.blobs.fetch_to(&reference, &file(&dir, "f")).await.unwrap_err();
    assert!(fault.is_passing() && !fault.is_unknown(), "{fault}");
    assert!(is_empty(&dir));
    bench.b.blobs.put_bytes(Bytes::from("not yet")).await.unwrap();
    bench.a.blobs.fetch_to(&reference, &file(&dir, "f")).await.unwrap();
}

pub async fn a_wrong_size_is_refused(bench: &Bench) {
    let (dir, content) = (dir(), bench.a.blobs.put_bytes(Bytes::from("four")).await.unwrap());
    for size in [3, 5] {
        let mut reference = content.clone().named("f");
        reference.size = size;
        let fault = bench.a.blobs.fetch_to(&reference, &file(&dir, "f")).await.unwrap_err();
        assert!(!fault.is_passing(), "{fault}");
        assert!(is_empty(&dir), "no half file is left");
    }
}

pub async fn wrong_inline_content_is_refused(bench: &Bench) {
    let dir = dir();
    let mut reference = inline("f", b"right");
    bench.a.blobs.fetch_to(&reference, &file(&dir, "f")).await.unwrap();
    assert_eq!(std::fs::read(file(&dir, "f")).unwrap(), b"right");
    for content in ["d3Jvbmc=", "not base64!", ""] {
        reference.inline = Some(content.into());
        let fault = bench.a.blobs.fetch_to(&reference, &file(&dir, "g")).await.unwrap_err();
        assert!(!fault.is_passing(), "{fault}");
        assert!(!file(&dir, "g").exists());
    }
}

pub async fn a_dangerous_name_is_refused(bench: &Bench) {
    let dir = dir();
    for name in ["..", "a/b", ""] {
        let fault = bench.a.blobs.fetch_to(&inline(name, b"x"), &file(&dir, "f")).await.unwrap_err();
        assert!(!fault.is_passing(), "{fault}");
    }
    assert!(is_empty(&dir));
}

pub async fn both_processes_see_the_same_place(bench: &Bench) {
    let id = bench.a.blobs.id().await.unwrap();
    assert!(id.len() >= 16);
    assert_eq!((bench.b.blobs.id().await.unwrap(), bench.a.blobs.id().await.unwrap()), (id.clone(), id));
}
