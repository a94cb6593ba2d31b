//! What crosses the C border, and the guard that turns errors and panics into a status.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

#[repr(C)]
#[derive(Clone, Copy)]
pub enum Status {
    Ok = 0,
    BadInput = 1,
    BadModel = 2,
    Limit = 3,
    Unsupported = 4,
    Panic = 5,
}

pub struct Failure {
    pub status: Status,
    pub text: String,
}

impl Failure {
    pub fn bad_input(text: impl Into<String>) -> Self {
        Failure { status: Status::BadInput, text: text.into() }
    }

    pub fn bad_model(text: impl Into<String>) -> Self {
        Failure { status: Status::BadModel, text: text.into() }
    }

    pub fn limit(text: impl Into<String>) -> Self {
        Failure { status: Status::Limit, text: text.into() }
    }

    pub fn unsupported(text: impl Into<String>) -> Self {
        Failure { status: Status::Unsupported, text: text.into() }
    }

    pub fn as_bad_model(self) -> Self {
        Failure { status: Status::BadModel, ..self }
    }
}

/// Borrowed bytes of the caller.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    data: *const u8,
    size: usize,
}

impl Text {
    /// The caller keeps the bytes alive for the duration of the call.
    pub fn bytes(&self) -> &[u8] {
        if self.data.is_null() || self.size == 0 {
            return &[];
        }
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }

    pub fn utf8(&self) -> Result<&str, Failure> {
        std::str::from_utf8(self.bytes()).map_err(|error| {
            Failure::bad_input(format!("byte {} is not valid UTF-8", error.valid_up_to()))
        })
    }
}

/// Bytes handed to the caller, who gives them back to be freed.
#[repr(C)]
pub struct OwnedText {
    data: *mut u8,
    size: usize,
}

impl OwnedText {
    pub fn new(bytes: Vec<u8>) -> Self {
        let size = bytes.len();
        OwnedText { data: Box::into_raw(bytes.into_boxed_slice()).cast(), size }
    }

    pub unsafe fn release(self) {
        if !self.data.is_null() {
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.data, self.size)));
        }
    }
}

/// Token ids handed to the caller, who gives them back to be freed.
#[repr(C)]
pub struct Ids {
    data: *mut u32,
    size: usize,
}

impl Ids {
    pub fn new(ids: Vec<u32>) -> Self {
        let size = ids.len();
        Ids { data: Box::into_raw(ids.into_boxed_slice()).cast(), size }
    }

    pub unsafe fn release(self) {
        if !self.data.is_null() {
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.data, self.size)));
        }
    }
}

fn panic_text(payload: Box<dyn Any + Send>) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_string();
    }
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "no message".to_string(),
    }
}

/// Runs `body`; an error or a panic becomes a status and one line of text in `error`.
pub unsafe fn guard(error: *mut OwnedText, body: impl FnOnce() -> Result<(), Failure>) -> Status {
    // The message reaches the caller as an error; Rust's own report on stderr would be a second one.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let text = panic_text(payload);
            // The regular-expression engine reports its backtracking limits by panicking.
            if text.starts_with("Onig:") {
                Failure::limit(text)
            } else {
                Failure { status: Status::Panic, text }
            }
        }
    };
    let line = failure.text.split_whitespace().collect::<Vec<_>>().join(" ");
    *error = OwnedText::new(line.into_bytes());
    failure.status
}
