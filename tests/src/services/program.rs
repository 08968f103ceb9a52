//! Where the servers' programs are.
//!
//! The directories are fixed, not taken from `PATH`: Debian's `rabbitmq-server` on the path is a wrapper that changes
//! to a fixed user and directory, and the servers' own directories are often not on it.

use std::path::PathBuf;

/// The first of `directories` that holds `program`.
///
/// # Panics
/// When none does, naming the package to install.
pub(super) fn find(program: &str, directories: &[&str], package: &str) -> PathBuf {
    directories
        .iter()
        .map(|directory| PathBuf::from(directory).join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "tests need the program {program}: install the package {package} (deploy/test does); \
                 looked in {directories:?}"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_any_of_the_directories() {
        assert_eq!(find("sh", &["/nowhere", "/bin"], "dash"), PathBuf::from("/bin/sh"));
    }

    #[test]
    #[should_panic(expected = "install the package no-such-package")]
    fn a_missing_program_names_its_package() {
        find("no-such-program", &["/bin"], "no-such-package");
    }
}
