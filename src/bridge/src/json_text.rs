//! JSON as Python's `json.dumps` writes it, because chat templates were written against it:
//! ", " and ": " between items, nothing escaped for HTML, Python's spelling of floats.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Deep enough for any schema; a template can nest lists without end.
const MAX_DEPTH: usize = 200;

struct Style {
    ascii: bool,
    sort: bool,
    indent: Option<usize>,
    item: String,
    key: String,
}

fn fail(text: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.to_string())
}

/// The filter `tojson`, with the keyword arguments that transformers gives it.
pub fn tojson(state: &State, value: Value, args: Kwargs) -> Result<Value, Error> {
    let indent = args.get::<Option<usize>>("indent")?.map(|width| width.min(16));
    let separators = args.get::<Option<Vec<String>>>("separators")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(fail("separators must be a pair of strings")),
        None if indent.is_some() => (",".to_string(), ": ".to_string()),
        None => (", ".to_string(), ": ".to_string()),
    };
    let style = Style {
        ascii: args.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort: args.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        indent,
        item,
        key,
    };
    args.assert_all_used()?;
    let mut out = String::new();
    write_value(&mut out, state, &value, &style, 0)?;
    Ok(Value::from(out))
}

fn write_value(
    out: &mut String,
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(fail("the value is nested too deeply for JSON"));
    }
    // One unit a value bounds the time and, with 64 bytes a unit, the text.
    state.consume_fuel(1 + value.as_str().map_or(0, |text| text.len() as u64 / 16))?;
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => write_string(out, value.as_str().unwrap_or(""), style.ascii),
        ValueKind::Map => write_map(out, state, value, style, depth)?,
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(out, style, index, depth);
                write_value(out, state, item, style, depth + 1)?;
            }
            close(out, style, items.is_empty(), depth);
            out.push(']');
        }
        other => return Err(fail(&format!("a value of kind {other} has no JSON form"))),
    }
    Ok(())
}

fn write_map(
    out: &mut String,
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
) -> Result<(), Error> {
    let mut keys: Vec<Value> = value.try_iter()?.collect();
    if style.sort {
        keys.sort();
    }
    out.push('{');
    for (index, key) in keys.iter().enumerate() {
        separate(out, style, index, depth);
        let name = match key.as_str() {
            Some(name) => name.to_string(),
            None => key.to_string(),
        };
        state.consume_fuel(1 + name.len() as u64 / 16)?;
        write_string(out, &name, style.ascii);
        out.push_str(&style.key);
        write_value(out, state, &value.get_item(key)?, style, depth + 1)?;
    }
    close(out, style, keys.is_empty(), depth);
    out.push('}');
    Ok(())
}

fn separate(out: &mut String, style: &Style, index: usize, depth: usize) {
    if index > 0 {
        out.push_str(&style.item);
    }
    break_line(out, style, depth + 1);
}

fn close(out: &mut String, style: &Style, empty: bool, depth: usize) {
    if !empty {
        break_line(out, style, depth);
    }
}

fn break_line(out: &mut String, style: &Style, depth: usize) {
    if let Some(width) = style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', width * depth));
    }
}

fn write_string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ascii && (c as u32) > 0x7e) => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, value: &Value) {
    if value.is_integer() {
        out.push_str(&value.to_string());
        return;
    }
    match f64::try_from(value.clone()) {
        Ok(number) => out.push_str(&python_float(number)),
        Err(_) => out.push_str(&value.to_string()),
    }
}

/// The shortest digits that give the number back, laid out by Python's rule: an exponent below -4
/// or from 16 on, of two digits at least.
fn python_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_string();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-Infinity" } else { "Infinity" }.to_string();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) || number == 0.0 {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
