//! The text engines of candela behind a C interface: see candela_bridge.h.
//!
//! `border` holds what crosses the border and the guard against panics, `tokenizer` and `template`
//! the two engines; this file is the list of exported functions.

mod border;
mod clock;
mod json_text;
mod source_guard;
mod template;
mod tokenizer;

use border::{guard, Failure, Ids, OwnedText, Status, Text};
use template::ChatTemplate;
use tokenizer::{EncodeMode, TextTokenizer};

#[no_mangle]
pub unsafe extern "C" fn candela_string_free(text: OwnedText) {
    text.release();
}

#[no_mangle]
pub unsafe extern "C" fn candela_ids_free(ids: Ids) {
    ids.release();
}

#[no_mangle]
pub unsafe extern "C" fn candela_tokenizer_new(
    json: Text,
    added: Text,
    out: *mut *mut TextTokenizer,
    error: *mut OwnedText,
) -> Status {
    guard(error, || {
        let tokenizer = TextTokenizer::new(json.bytes(), added.bytes())?;
        *out = Box::into_raw(Box::new(tokenizer));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn candela_tokenizer_free(tokenizer: *mut TextTokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

#[no_mangle]
pub unsafe extern "C" fn candela_tokenizer_encode(
    tokenizer: *const TextTokenizer,
    text: Text,
    mode: i32,
    mark: u32,
    out: *mut Ids,
    error: *mut OwnedText,
) -> Status {
    guard(error, || {
        let mode = match mode {
            1 => EncodeMode::Plain,
            2 => EncodeMode::Marked(
                char::from_u32(mark)
                    .ok_or_else(|| Failure::bad_input("the mark is not a Unicode character"))?,
            ),
            _ => EncodeMode::Parse,
        };
        *out = Ids::new((*tokenizer).encode(text.utf8()?, mode)?);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn candela_tokenizer_vocabulary(
    tokenizer: *const TextTokenizer,
    out: *mut OwnedText,
    error: *mut OwnedText,
) -> Status {
    guard(error, || {
        *out = OwnedText::new((*tokenizer).vocabulary());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn candela_tokenizer_token_to_id(
    tokenizer: *const TextTokenizer,
    token: Text,
    id: *mut u32,
) -> i32 {
    let Ok(token) = token.utf8() else { return 0 };
    match (*tokenizer).token_to_id(token) {
        Some(found) => {
            *id = found;
            1
        }
        None => 0,
    }
}

#[no_mangle]
pub unsafe extern "C" fn candela_template_new(
    source: Text,
    out: *mut *mut ChatTemplate,
    error: *mut OwnedText,
) -> Status {
    guard(error, || {
        let source = source.utf8().map_err(Failure::as_bad_model)?;
        *out = Box::into_raw(Box::new(ChatTemplate::new(source)?));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn candela_template_free(chat_template: *mut ChatTemplate) {
    if !chat_template.is_null() {
        drop(Box::from_raw(chat_template));
    }
}

#[no_mangle]
pub unsafe extern "C" fn candela_template_render(
    chat_template: *const ChatTemplate,
    variables: Text,
    fuel: u64,
    out: *mut OwnedText,
    error: *mut OwnedText,
) -> Status {
    guard(error, || {
        let rendered = (*chat_template).render(variables.bytes(), fuel)?;
        *out = OwnedText::new(rendered.into_bytes());
        Ok(())
    })
}
