//! Payload files.

use longshore_link::blobs::Content;
use longshore_model::envelope::FileRef;
use longshore_model::limits;
use longshore_producer::{FileError, Producer, Refusal};
use tokio::io::AsyncReadExt;

pub(crate) async fn payload_files_small_and_large_come_back_as_they_were(producer: Producer) {
    let dir = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let path = dir.path().join("large.bin");
    std::fs::write(&path, &large).unwrap();
    let job = producer.raw("files", "{}").file(&path).file_as("again.bin", &path).file_bytes("small.txt", "tiny");
    let sent = job.file_bytes("empty", "").file_bytes("large-bytes", large.clone()).send().await.unwrap();
    let view = producer.show(sent.id).await.unwrap().unwrap();
    let names: Vec<_> = view.inputs.iter().map(|file| (file.name.as_str(), file.inline.is_some())).collect();
    let expected =
        [("large.bin", false), ("again.bin", false), ("small.txt", true), ("empty", true), ("large-bytes", false)];
    assert_eq!(names, expected);
    let out = dir.path().join("out/deep");
    let saved = producer.save_files(&view.inputs, &out).await.unwrap();
    for (path, content) in saved.iter().zip([&large[..], &large, b"tiny", b"", &large]) {
        assert_eq!(std::fs::read(path).unwrap(), content, "{}", path.display());
    }
    // Another content under the same digest, and a name that leaves the directory, are noticed.
    let mut forged = view.inputs[2].clone();
    forged.inline = Some("dGlueSE=".into());
    assert!(matches!(producer.save_files(&[forged.clone()], &out).await, Err(FileError::Blob { .. })));
    forged.name = "../up".into();
    assert!(matches!(producer.save_files(&[forged], &out).await, Err(FileError::Name(_))));
    // Payload and inline files stay within the limit together.
    let payload = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES - 40));
    let sent = producer.raw("files", &payload).file_bytes("a", vec![0; 100]).send().await.unwrap();
    assert!(producer.show(sent.id).await.unwrap().unwrap().inputs[0].inline.is_none());
}

pub(crate) async fn a_file_that_cannot_be_sent_is_refused_and_nothing_is_stored(producer: Producer) {
    let dir = tempfile::tempdir().unwrap();
    let good = || producer.raw("files", "{}");
    let cases = [
        (good().file(dir.path().join("missing")), "missing"),
        (good().file(dir.path()), "not a regular file"),
        (good().file_bytes("a", "x").file_bytes("a", "y"), "two are named `a`"),
        (good().file_bytes("big", vec![0; 33 * 1024 * 1024]), "blobs.max_file_bytes"),
        ((0..65).fold(good(), |job, n| job.file_bytes(n.to_string(), "x")), "files: 65 is more than 64"),
    ];
    for (job, why) in cases {
        let error = job.send().await.expect_err(why);
        assert!(matches!(error.refusal(), Some(Refusal::File(_) | Refusal::OutOfBounds(_))), "{error}");
        assert!(error.to_string().contains(why), "{error} does not say `{why}`");
    }
    assert_eq!(producer.jobs().ids().await.unwrap(), []);
}

pub(crate) async fn o03_a_stream_is_sent_once_and_read_as_it_comes(producer: Producer) {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let job = producer.raw("files", "{}").file_stream("large", std::io::Cursor::new(large.clone()));
    let job = job.file_stream("small", &b"tiny"[..]);
    let again = job.clone();
    let sent = job.send().await.unwrap();
    let view = producer.show(sent.id).await.unwrap().unwrap();
    let [large_ref, small] = &view.inputs[..] else { panic!("two files: {:?}", view.inputs) };
    assert!(large_ref.inline.is_none() && small.inline.is_some());
    for (file, content) in [(large_ref, &large[..]), (small, b"tiny")] {
        let mut read = Vec::new();
        producer.read_file(file).await.unwrap().read_to_end(&mut read).await.unwrap();
        assert!(read == content, "{}", file.name);
    }
    // What is not what its reference says ends with an error.
    let forged = FileRef { size: large_ref.size, ..Content::of(b"other").named("large") };
    assert!(matches!(producer.read_file(&forged).await, Err(FileError::Blob { .. })));
    let short = FileRef { size: large_ref.size - 1, ..large_ref.clone() };
    let error = producer.read_file(&short).await.unwrap().read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let refused = again.send().await.expect_err("a stream is over");
    assert!(refused.to_string().contains("sent once"), "{refused}");
    let endless = producer.raw("files", "{}").file_stream("endless", tokio::io::repeat(1)).send().await;
    assert!(endless.expect_err("no end").to_string().contains("blobs.max_file_bytes"));
}
