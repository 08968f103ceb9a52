//! Wall clocks that are wrong: a small library in C, built when it is needed, in front of the C library of a process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("clock.c");

/// The wall clock of one process, or of several.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// Whether one can be made here: there is a C compiler.
    #[must_use]
    pub fn is_possible() -> bool {
        Command::new("cc").arg("--version").output().is_ok_and(|output| output.status.success())
    }

    /// A clock that is right. `directory` is there already and keeps its files.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
        if !library.exists() {
            fs::write(&source, SOURCE).expect("write the clock's source");
            let mut compile = Command::new("cc");
            compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
            assert!(compile.status().is_ok_and(|status| status.success()), "build the clock");
        }
        let clock = Self { library, file: directory.join(format!("{name}.clock")) };
        fs::write(&clock.file, 0_i64.to_ne_bytes()).expect("make the clock's file");
        clock
    }

    /// Sets it so many ms off the true time.
    ///
    /// # Panics
    /// When its file is gone.
    pub fn jump(&self, off_ms: i64) {
        let file = File::options().write(true).open(&self.file).expect("open the clock's file");
        // In place and at once: the process reads these bytes whenever it looks at its clock.
        file.write_all_at(&off_ms.to_ne_bytes(), 0).expect("set the clock");
    }

    /// What a process needs in its environment to go by this clock.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |path: &Path| path.display().to_string();
        vec![("LD_PRELOAD".into(), path(&self.library)), ("WALL_CLOCK_FILE".into(), path(&self.file))]
    }
}
