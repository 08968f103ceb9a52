//! The demo as a process: what it leaves, what it says, how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore::demo::samples;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn demo(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    // Settings come from the arguments alone; temporary files stay where the test can see them.
    command.arg("demo").args(args).env_clear().env("TMPDIR", dir.join("tmp")).current_dir(dir).stdin(Stdio::null());
    fs::create_dir_all(dir.join("tmp")).unwrap();
    command.output().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_sample_picture_is_ingested_though_a_worker_is_stopped_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let ran = demo(dir.path(), &["--output", "json"]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert!(ran.stderr.is_empty(), "{ran:?}");
    let summary: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let figures = ["pictures", "succeeded", "failed", "lost"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(figures, [13, 12, 1, 0], "{summary}");
    assert_eq!(summary["as_expected"], true);

    // Who was stopped had something in hand, and that ended on the other one.
    let stopped = summary["stopped"].as_str().unwrap();
    let images = summary["images"].as_array().unwrap();
    let moved: Vec<&Value> = images.iter().filter(|image| image["runs"][0]["worker"] != image["worker"]).collect();
    assert!(!moved.is_empty() && summary["moved"] == moved.len(), "{summary}");
    for image in moved {
        assert_eq!(image["runs"][0]["worker"], stopped, "{image}");
        assert!(image["attempts"].as_u64() >= Some(2), "{image}");
    }
    // The author sends and runs nothing.
    assert!(images.iter().all(|image| image["worker"].as_str().unwrap().starts_with("worker-")), "{summary}");

    let out = dir.path().join("longshore-demo-out");
    for image in images {
        let name = image["image"].as_str().unwrap();
        if name == samples::BROKEN {
            assert_eq!(image["state"], "error");
            assert!(image["reason"].as_str().unwrap().starts_with("broken png file: "), "{image}");
            assert!(!out.join(name).exists());
            continue;
        }
        assert_eq!((&image["state"], &image["reason"]), (&"succeeded".into(), &Value::Null), "{image}");
        assert!(image["metadata"]["width"].as_u64().unwrap() > 0, "{image}");
        let mut made = Vec::new();
        for rendition in image["renditions"].as_array().unwrap() {
            let file = rendition["file"].as_str().unwrap();
            let bytes = fs::read(out.join(name).join(file)).unwrap();
            assert_eq!(rendition["bytes"], bytes.len(), "{file}");
            let picture = image::load_from_memory(&bytes).unwrap();
            assert_eq!(
                (&rendition["width"], &rendition["height"]),
                (&picture.width().into(), &picture.height().into())
            );
            made.push(file.to_owned());
        }
        made.sort();
        assert_eq!(names(&out.join(name)), made);
    }
    let written: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(written, summary);
    // Nothing is left in the temporary directory.
    assert_eq!(names(&dir.path().join("tmp")), Vec::<String>::new());
}

#[test]
fn a_broken_picture_of_ones_own_fails_with_a_reason_and_does_not_stop_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = dir.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    image::RgbImage::from_pixel(300, 200, image::Rgb([200, 30, 30])).save(pictures.join("red.png")).unwrap();
    fs::write(pictures.join("words.jpg"), "not a picture at all").unwrap();
    fs::write(pictures.join("notes.txt"), "not looked at").unwrap();

    let ran = demo(dir.path(), &["pictures", "--out", "made"]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let text = String::from_utf8(ran.stdout).unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("red.png").contains("300x200 140x93 48x48") && line("red.png").contains("succeeded"), "{text}");
    assert!(line("words.jpg").contains("error") && line("words.jpg").contains("not a picture"), "{text}");
    assert!(text.contains("1 of 2 pictures") && text.contains("0 lost"), "{text}");
    assert_eq!(names(&dir.path().join("made")), ["red.png", "summary.json"]);
    assert_eq!(names(&dir.path().join("made/red.png")), ["red-icon.webp", "red-thumbnail.png", "red-web.jpg"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_told_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    for (args, word) in [(["nowhere"], "nowhere"), (["tmp"], "no picture")] {
        let ran = demo(dir.path(), &args);
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        assert!(String::from_utf8(ran.stderr).unwrap().contains(word));
        assert_eq!(names(dir.path()), ["tmp"]);
    }
}
