//! `strftime_now` of chat templates: the local time through the C library.

use minijinja::{Error, ErrorKind};
use std::ffi::CString;

pub fn strftime_now(format: String) -> Result<String, Error> {
    if format.len() > 256 {
        return Err(Error::new(ErrorKind::InvalidOperation, "the time format is too long"));
    }
    if format.is_empty() {
        return Ok(String::new());
    }
    let format = CString::new(format)
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, "the time format holds a NUL"))?;
    let mut text = vec![0u8; 4096];
    let written = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&now, &mut parts);
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &parts)
    };
    text.truncate(written);
    Ok(String::from_utf8_lossy(&text).into_owned())
}
