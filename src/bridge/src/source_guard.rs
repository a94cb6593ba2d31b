//! Keeps a template from running off the stack, which fuel and recursion limits do not prevent.
//!
//! minijinja walks expressions and values recursively. Expressions are bounded by counting tokens.
//! Values can only grow without bound through `{% set namespace.member = ... %}` in a loop, so each
//! such assignment is rewritten to pass through a filter that refuses deep values.

use crate::border::Failure;
use minijinja::machinery::{tokenize, Span, Token};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

pub const FILTER: &str = "candela_bounded";
/// Published templates have about 5,000 tokens, and 100 in one tag.
const MAX_TOKENS: usize = 30_000;
const MAX_TAG_TOKENS: usize = 1_000;
const MAX_VALUE_DEPTH: usize = 32;

/// The template with guarded assignments. A syntax error is left for the compiler to report.
pub fn guard_source(source: &str, syntax: &SyntaxConfig) -> Result<String, Failure> {
    let mut edits: Vec<(usize, String)> = Vec::new();
    let mut tag: Vec<(Token<'_>, Span)> = Vec::new();
    let mut total = 0;
    for item in tokenize(source, false, syntax.clone()) {
        let Ok((token, span)) = item else { return Ok(source.to_string()) };
        total += 1;
        if total > MAX_TOKENS {
            return Err(Failure::bad_model(format!("it has more than {MAX_TOKENS} tokens")));
        }
        match token {
            Token::TemplateData(_) => continue,
            Token::BlockStart | Token::VariableStart => tag.clear(),
            Token::BlockEnd => guard_assignment(&tag, span, &mut edits)?,
            _ => {}
        }
        tag.push((token, span));
        if tag.len() > MAX_TAG_TOKENS {
            return Err(Failure::bad_model(format!(
                "the tag on line {} has more than {MAX_TAG_TOKENS} tokens",
                span.start_line
            )));
        }
    }
    let mut guarded = String::with_capacity(source.len() + 32 * edits.len());
    let mut copied = 0;
    for (at, text) in edits {
        guarded.push_str(&source[copied..at]);
        guarded.push_str(&text);
        copied = at;
    }
    guarded.push_str(&source[copied..]);
    Ok(guarded)
}

/// `{% set a.b = x %}` becomes `{% set a.b = (x)|candela_bounded %}`. `tag` starts with BlockStart.
fn guard_assignment(
    tag: &[(Token<'_>, Span)],
    end: Span,
    edits: &mut Vec<(usize, String)>,
) -> Result<(), Failure> {
    if !matches!(tag.get(1), Some((Token::Ident("set"), _))) {
        return Ok(());
    }
    let target_end = tag
        .iter()
        .position(|(token, _)| matches!(token, Token::Assign | Token::Pipe))
        .unwrap_or(tag.len());
    if !tag[..target_end].iter().any(|(token, _)| matches!(token, Token::Dot)) {
        return Ok(());
    }
    let refuse = |what: &str| {
        Err(Failure::bad_model(format!("{what} on line {}", tag[0].1.start_line)))
    };
    match tag.get(target_end) {
        None => return Ok(()), // a block whose text is assigned
        Some((Token::Pipe, _)) => return refuse("a filtered block is assigned to a namespace"),
        Some(_) => {}
    }
    let mut open = 0i32;
    for (token, _) in &tag[target_end + 1..] {
        match token {
            Token::ParenOpen => open += 1,
            Token::ParenClose => open -= 1,
            _ => {}
        }
        if open < 0 {
            break;
        }
    }
    if open != 0 {
        return refuse("unbalanced parentheses");
    }
    edits.push((tag[target_end].1.end_offset as usize, " (".to_string()));
    edits.push((end.start_offset as usize, format!(")|{FILTER} ")));
    Ok(())
}

/// The filter: gives the value back, lazy lists as plain ones, unless it is nested deeply or holds
/// something that can hold further values behind its back (a namespace, a macro, a loop).
pub fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Iterable {
        let items: Vec<Value> = value.try_iter()?.collect();
        state.consume_fuel(items.len() as u64 / 16)?;
        let list = Value::from(items);
        check_depth(state, &list, 0)?;
        return Ok(list);
    }
    check_depth(state, &value, 0)?;
    Ok(value)
}

fn check_depth(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    let refuse =
        |text: &str| Err(Error::new(ErrorKind::InvalidOperation, format!("a namespace {text}")));
    let keys = match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => false,
        ValueKind::Map => true,
        ValueKind::Plain | ValueKind::Invalid => return refuse("cannot hold macros or objects"),
        _ => return Ok(()),
    };
    if depth == MAX_VALUE_DEPTH {
        return refuse("is assigned a value nested too deeply");
    }
    let plain_map = value.as_object().is_some_and(|object| object.type_name().contains("Map"));
    if keys && !plain_map {
        return refuse("cannot hold a namespace or a loop");
    }
    state.consume_fuel(1 + value.len().unwrap_or(0) as u64 / 16)?;
    for item in value.try_iter()? {
        if keys {
            check_depth(state, &value.get_item(&item)?, depth + 1)?;
        } else {
            check_depth(state, &item, depth + 1)?;
        }
    }
    Ok(())
}
