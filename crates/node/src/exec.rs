//! How commands of the host are started: this program starts itself, enters the host's root and becomes the command.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The verb for it.
pub const VERB: &str = "host-exec";

/// What starts a command in the root of a host; nothing if that is our own.
pub fn launcher(root: &Path) -> io::Result<Vec<OsString>> {
    if root == Path::new("/") {
        return Ok(Vec::new());
    }
    Ok(vec![std::env::current_exe()?.into(), VERB.into(), root.into(), "--".into()])
}

/// Enters the root and becomes the command. Comes back only if that fails.
pub fn become_command(root: &Path, command: &[OsString]) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command");
    };
    if let Err(error) = rustix::process::chroot(root) {
        return error.into();
    }
    if let Err(error) = std::env::set_current_dir("/") {
        return error;
    }
    Command::new(program).args(arguments).exec()
}
