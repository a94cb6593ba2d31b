//! Hugging Face `tokenizers` with three ways to read a text: see CandelaEncodeMode.

use crate::border::Failure;
use std::str::FromStr;
use tokenizers::tokenizer::{
    AddedToken, Model, NormalizerWrapper, OffsetReferential, PreTokenizedString, PreTokenizer,
};
use tokenizers::{DecoderWrapper, Normalizer, OffsetType, Tokenizer};

const FLAG_ADDED: u32 = 1;
const FLAG_SPECIAL: u32 = 2;
/// Ids index tables; no published vocabulary comes near.
const MAX_ID: u32 = 1 << 22;

pub enum EncodeMode {
    Parse,
    Plain,
    Marked(char),
}

pub struct TextTokenizer {
    inner: Tokenizer,
}

fn text_of(error: tokenizers::Error) -> Failure {
    Failure::bad_model(error.to_string())
}

impl TextTokenizer {
    pub fn new(json: &[u8], added: &[u8]) -> Result<Self, Failure> {
        let json = std::str::from_utf8(json).map_err(|error| {
            Failure::bad_model(format!("byte {} is not valid UTF-8", error.valid_up_to()))
        })?;
        let mut inner = Tokenizer::from_str(json).map_err(text_of)?;
        // Length limits and padding are for training; a prompt is never cut silently.
        inner.with_truncation(None).map_err(text_of)?;
        inner.with_padding(None);
        match inner.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => {}
            _ => return Err(Failure::unsupported("its decoder is not of the type ByteLevel")),
        }
        let tokenizer = TextTokenizer { inner };
        tokenizer.check_vocabulary()?;
        tokenizer.with_added(json, added)
    }

    /// Ids are dense up to the largest of the base vocabulary, and each belongs to one token.
    fn check_vocabulary(&self) -> Result<(), Failure> {
        let base = self.inner.get_model().get_vocab();
        let count = base.len();
        let mut names: Vec<(u32, String)> = base.into_iter().map(|(name, id)| (id, name)).collect();
        names.sort();
        for pair in names.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(Failure::bad_model(format!(
                    "the tokens {:?} and {:?} share the id {}",
                    pair[0].1, pair[1].1, pair[0].0
                )));
            }
        }
        let Some((largest, name)) = names.last() else {
            return Err(Failure::bad_model("its vocabulary is empty"));
        };
        if *largest >= MAX_ID {
            return Err(Failure::bad_model(format!(
                "the token {name:?} has the id {largest}, more than {MAX_ID}"
            )));
        }
        let added = self.inner.get_added_tokens_decoder();
        let mut expected = 0;
        for (id, name) in &names {
            while expected < *id && added.contains_key(&expected) {
                expected += 1;
            }
            if expected != *id {
                return Err(Failure::bad_model(format!(
                    "its vocabulary of {count} tokens has a gap: no token has the id {expected}, \
                     the next one is {name:?} with the id {id}"
                )));
            }
            expected += 1;
        }
        Ok(())
    }

    /// Appends `added` and checks that every added token has the id the files give it: the crate
    /// numbers them by itself.
    fn with_added(mut self, json: &str, added: &[u8]) -> Result<Self, Failure> {
        let mut wanted = named_tokens(json)?;
        if !added.is_empty() {
            let extra = std::str::from_utf8(added)
                .map_err(|_| Failure::bad_model("its added tokens are not valid UTF-8"))?;
            let mut extra = token_list(
                &serde_json::from_str(extra).map_err(|e| Failure::bad_model(e.to_string()))?,
            )?;
            extra.sort_by_key(|(id, _)| *id);
            let known = self.inner.get_added_vocabulary().get_vocab().clone();
            extra.retain(|(_, token)| !known.contains_key(&token.content));
            self.inner
                .add_tokens(extra.iter().map(|(_, token)| token.clone()))
                .map_err(text_of)?;
            wanted.extend(extra);
        }
        for (id, token) in &wanted {
            if token.content.is_empty() {
                return Err(Failure::bad_model(format!("the added token {id} is empty")));
            }
            let got = self.inner.token_to_id(&token.content);
            if got != Some(*id) {
                return Err(Failure::bad_model(format!(
                    "the added token {:?} should have the id {id}, but the vocabulary before it \
                     leads to {}",
                    token.content,
                    got.map_or("none".to_string(), |id| id.to_string())
                )));
            }
        }
        Ok(self)
    }

    pub fn encode(&self, text: &str, mode: EncodeMode) -> Result<Vec<u32>, Failure> {
        match mode {
            EncodeMode::Parse => {
                let encoding = self.inner.encode_fast(text, false).map_err(text_of)?;
                Ok(encoding.get_ids().to_vec())
            }
            EncodeMode::Plain => {
                let mut ids = Vec::new();
                self.encode_plain(text, &mut ids)?;
                Ok(ids)
            }
            EncodeMode::Marked(mark) => self.encode_marked(text, mark),
        }
    }

    /// Normaliser, splitter and merges, without looking for added tokens.
    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let mut pieces = PreTokenizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            pieces.normalize(|piece| normalizer.normalize(piece)).map_err(text_of)?;
        }
        if let Some(splitter) = self.inner.get_pre_tokenizer() {
            splitter.pre_tokenize(&mut pieces).map_err(text_of)?;
        }
        let model = self.inner.get_model();
        pieces.tokenize(|piece| model.tokenize(piece.get())).map_err(text_of)?;
        let encoding = pieces.into_encoding(None, 0, OffsetType::None).map_err(text_of)?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    /// Added tokens are found while the marks are still in the text; what lies between them is
    /// encoded as plain text without the marks.
    fn encode_marked(&self, text: &str, mark: char) -> Result<Vec<u32>, Failure> {
        let added = self.inner.get_added_vocabulary();
        let pieces = added.extract_and_normalize(None::<&NormalizerWrapper>, text);
        let mut ids = Vec::new();
        for (piece, _, tokens) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            match tokens {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None if piece.contains(mark) => {
                    self.encode_plain(&piece.replace(mark, ""), &mut ids)?
                }
                None => self.encode_plain(piece, &mut ids)?,
            }
        }
        Ok(ids)
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    pub fn vocabulary(&self) -> Vec<u8> {
        let added = self.inner.get_added_tokens_decoder();
        let mut tokens: Vec<(u32, String)> =
            self.inner.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
        tokens.sort();
        let mut out = Vec::with_capacity(tokens.len() * 20);
        for (id, token) in tokens {
            let flags = match added.get(&id) {
                Some(token) if token.special => FLAG_ADDED | FLAG_SPECIAL,
                Some(_) => FLAG_ADDED,
                None => 0,
            };
            for word in [id, flags, token.len() as u32] {
                out.extend_from_slice(&word.to_ne_bytes());
            }
            out.extend_from_slice(token.as_bytes());
        }
        out
    }
}

fn token_list(list: &serde_json::Value) -> Result<Vec<(u32, AddedToken)>, Failure> {
    let Some(list) = list.as_array() else {
        return Err(Failure::bad_model("its added tokens are not a list"));
    };
    list.iter()
        .map(|entry| {
            let id = entry.get("id").and_then(|id| id.as_u64()).filter(|id| *id < MAX_ID.into());
            let content = entry.get("content").and_then(|content| content.as_str());
            let (Some(id), Some(content)) = (id, content) else {
                return Err(Failure::bad_model(format!(
                    "the added token {entry} lacks a usable \"id\" or \"content\""
                )));
            };
            let flag = |name: &str| entry.get(name).and_then(|flag| flag.as_bool()).unwrap_or(false);
            let token = AddedToken::from(content, flag("special"))
                .single_word(flag("single_word"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .normalized(flag("normalized"));
            Ok((id as u32, token))
        })
        .collect()
}

/// The "added_tokens" of a tokenizer.json, with the ids written there.
fn named_tokens(json: &str) -> Result<Vec<(u32, AddedToken)>, Failure> {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(default)]
        added_tokens: serde_json::Value,
    }
    let head: Head =
        serde_json::from_str(json).map_err(|error| Failure::bad_model(error.to_string()))?;
    match head.added_tokens {
        serde_json::Value::Null => Ok(Vec::new()),
        list => token_list(&list),
    }
}
