//! Chat templates: minijinja set up to behave as transformers sets up Jinja.

use crate::border::Failure;
use crate::{clock, json_text, source_guard};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

const NAME: &str = "chat";
/// Templates of published models stay below 20 kB.
const MAX_SOURCE: usize = 1 << 20;
/// Jinja's own value; keeps a recursive macro far from the end of the stack.
const MAX_RECURSION: usize = 200;

pub struct ChatTemplate {
    environment: Environment<'static>,
}

fn describe(error: &Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        text = format!("{text}: {detail}");
    }
    if let Some(line) = error.line() {
        text = format!("{text} (line {line})");
    }
    text
}

/// What a template says with `raise_exception` is about the conversation, not about the template.
fn raise_exception(text: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::BadSerialization, text))
}

impl ChatTemplate {
    pub fn new(source: &str) -> Result<Self, Failure> {
        if source.len() > MAX_SOURCE {
            return Err(Failure::bad_model(format!(
                "it is {} bytes long, more than {MAX_SOURCE}",
                source.len()
            )));
        }
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| Failure::bad_model(describe(&error)))?;
        let guarded = source_guard::guard_source(source, &syntax)?;
        let mut environment = Environment::new();
        environment.set_syntax(syntax);
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        // Both lay out whole values with an indentation that grows with their depth.
        environment.remove_filter("pprint");
        environment.remove_global("debug");
        environment.add_filter("tojson", json_text::tojson);
        environment.add_filter(source_guard::FILTER, source_guard::bounded);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", clock::strftime_now);
        environment
            .add_template_owned(NAME, guarded)
            .map_err(|error| Failure::bad_model(describe(&error)))?;
        Ok(ChatTemplate { environment })
    }

    pub fn render(&self, variables: &[u8], fuel: u64) -> Result<String, Failure> {
        let variables: serde_json::Value = serde_json::from_slice(variables)
            .map_err(|error| Failure::bad_input(format!("the variables are not JSON: {error}")))?;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let template =
            environment.get_template(NAME).map_err(|error| Failure::bad_model(describe(&error)))?;
        template.render(Serde(&variables)).map_err(|error| match error.kind() {
            ErrorKind::BadSerialization => {
                Failure::bad_input(error.detail().unwrap_or("no reason given"))
            }
            ErrorKind::OutOfFuel => Failure::limit("it does more work than a chat template needs"),
            _ if describe(&error).contains("recursion") => Failure::limit(describe(&error)),
            _ => Failure::bad_model(describe(&error)),
        })
    }
}
