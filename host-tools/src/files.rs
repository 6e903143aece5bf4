//! Files that are written whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes a file so that at every moment, whatever fails, there is the old one, or none, or the whole new one.
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
        let mut options = tempfile::Builder::new();
        #[cfg(unix)]
        options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = options.prefix(".narrows-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(Error::file(path, "write"))
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
