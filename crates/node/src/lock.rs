//! One agent at a time on a host.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};

use crate::error::{Error, Result};
use crate::host::Host;

/// Gone with the next start of the machine; shared by all pods of the node.
const FOLDER: &str = "/run/osc-node";
const FILE: &str = "/run/osc-node/lock";

/// Held as long as it lives; the kernel lets go of it when the process ends, however that happens.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or tells who has it.
    pub fn take(host: &Host, name: &str) -> Result<std::result::Result<Self, String>> {
        let told = |source| Error::file("lock", FILE, source);
        host.create_dir(FOLDER)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(host.at(FILE)?)
            .map_err(told)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| file.write_all(name.as_bytes()))
                    .map_err(told)?;
                Ok(Ok(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                Ok(Err(holder))
            }
            Err(TryLockError::Error(source)) => Err(told(source)),
        }
    }
}
