//! Files that are written whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes a file so that at every moment, whatever fails, there is the old one, or none, or the whole new one.
///
/// Until it is whole, it has a name of its own beside the old one, `.narrows-` and more. A program that is killed leaves
/// that behind; the next one that writes the same file takes it away.
///
/// # Errors
/// [`Error::File`]; nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || {
        // A device or a pipe is written to, not replaced.
        if path
            .metadata()
            .is_ok_and(|old| !old.is_file() && !old.is_dir())
        {
            return std::fs::write(path, bytes);
        }
        let prefix = prefix(path);
        remove_stale(folder, &prefix);
        let mut file = temporary(folder, &prefix)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(Error::file(path, "write"))
}

/// How the names of all temporaries of a file begin. They are short even where the file's own is as long as can be.
fn prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    let digest = crc32fast::hash(name.as_encoded_bytes());
    format!(".narrows-{digest:08x}-")
}

/// A new file that is locked, which tells others that it is being written.
fn temporary(folder: &Path, prefix: &str) -> io::Result<tempfile::NamedTempFile> {
    loop {
        let mut options = tempfile::Builder::new();
        #[cfg(unix)]
        options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = options.prefix(prefix).tempfile_in(folder)?;
        // Where a file system knows no locks, nobody takes anything away.
        let locked = file.as_file().lock().is_ok();
        // Another writer may have come upon it before it was locked.
        if !locked || file.path().exists() {
            return Ok(file);
        }
    }
}

/// Takes away what writers that were killed have left. The system has released their locks.
fn remove_stale(folder: &Path, prefix: &str) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = File::open(entry.path()).map(|file| {
                // The lock is held until it is gone.
                file.try_lock().map(|()| std::fs::remove_file(entry.path()))
            });
        }
    }
}

/// Reads a file.
///
/// # Errors
/// [`Error::File`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::file(path, "read"))
}

/// Makes sure that a folder is there.
///
/// # Errors
/// [`Error::File`].
pub fn make_folder(path: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(path).map_err(Error::file(path, "make the folder"))?;
    Ok(path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn what_a_killed_writer_left_is_taken_away_by_the_next_one_of_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.narrows");
        let kept = |name: &str| {
            let file = temporary(folder.path(), &prefix(&folder.path().join(name))).unwrap();
            file.keep().unwrap()
        };
        let (locked, stale) = kept("model.narrows");
        write_whole(&path, b"whole").unwrap();
        assert!(stale.exists(), "one that is being written is not stale");
        drop(locked);
        let (_, other) = kept("other.narrows");
        write_whole(&path, b"whole").unwrap();
        assert!(!stale.exists() && other.exists());
        assert_eq!(names(folder.path()).len(), 2);
        assert_eq!(read(&path).unwrap(), b"whole");
    }

    #[test]
    fn writers_of_the_same_file_do_not_get_into_each_others_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.narrows");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        write_whole(path, &[writer; 5000]).unwrap();
                        let found = read(path).unwrap();
                        assert!(found == [found[0]; 5000], "half of a file");
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["model.narrows"]);
    }

    #[test]
    fn a_name_as_long_as_the_system_allows_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(255));
        write_whole(&path, b"whole").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
    }
}
