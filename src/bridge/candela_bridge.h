#pragma once

// The C border of the Rust static library that holds Hugging Face `tokenizers` and `minijinja`.
// Every function that can fail returns a CandelaStatus and, unless that is CANDELA_OK, leaves one
// line of text in `error`, which the caller frees. No Rust panic leaves the library. Objects may be
// used by several threads at once as long as none of them frees.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CandelaTokenizer CandelaTokenizer;
typedef struct CandelaTemplate CandelaTemplate;

typedef enum {
  CANDELA_OK = 0,
  CANDELA_BAD_INPUT = 1,    ///< The caller's text or variables cannot be used.
  CANDELA_BAD_MODEL = 2,    ///< The tokenizer or template itself is malformed.
  CANDELA_LIMIT = 3,        ///< The work exceeds a limit (fuel, recursion, regex retries).
  CANDELA_UNSUPPORTED = 4,  ///< Well-formed, but not of a kind that is supported.
  CANDELA_PANIC = 5         ///< A fault inside the library.
} CandelaStatus;

/// Borrowed bytes; `data` may be null when `size` is 0.
typedef struct {
  const char* data;
  size_t size;
} CandelaText;

/// Owned bytes, to be freed with candela_string_free.
typedef struct {
  char* data;
  size_t size;
} CandelaString;

/// Owned token ids, to be freed with candela_ids_free.
typedef struct {
  uint32_t* data;
  size_t size;
} CandelaIds;

typedef enum {
  CANDELA_ENCODE_PARSE = 0,  ///< Added tokens in the text become their ids.
  CANDELA_ENCODE_PLAIN = 1,  ///< Added tokens in the text are ordinary characters.
  CANDELA_ENCODE_MARKED = 2  ///< As PARSE, but `mark` keeps a token apart and is then dropped.
} CandelaEncodeMode;

void candela_string_free(CandelaString text);
void candela_ids_free(CandelaIds ids);

/// `json` is the text of a tokenizer.json; `added` a JSON array of objects as in its
/// "added_tokens", appended where the tokenizer does not know their content yet. Both lists must
/// end up with the ids they name.
CandelaStatus candela_tokenizer_new(CandelaText json,
                                    CandelaText added,
                                    CandelaTokenizer** out,
                                    CandelaString* error);
void candela_tokenizer_free(CandelaTokenizer* tokenizer);

/// Token ids of UTF-8 `text`, without beginning or end tokens. `mark` is a Unicode scalar value
/// and only read in mode MARKED.
CandelaStatus candela_tokenizer_encode(const CandelaTokenizer* tokenizer,
                                       CandelaText text,
                                       CandelaEncodeMode mode,
                                       uint32_t mark,
                                       CandelaIds* out,
                                       CandelaString* error);

/// All tokens in ascending order of id, each as {uint32 id, uint32 flags, uint32 length, bytes} in
/// host byte order. Flag 1: added token, 2: special.
CandelaStatus candela_tokenizer_vocabulary(const CandelaTokenizer* tokenizer,
                                           CandelaString* out,
                                           CandelaString* error);

/// Writes the id of the token spelled `token` and returns 1, or returns 0.
int candela_tokenizer_token_to_id(const CandelaTokenizer* tokenizer,
                                  CandelaText token,
                                  uint32_t* id);

/// Compiles a Jinja chat template.
CandelaStatus candela_template_new(CandelaText source, CandelaTemplate** out, CandelaString* error);
void candela_template_free(CandelaTemplate* chat_template);

/// Renders with the members of the JSON object `variables`. `fuel` bounds the work: about one
/// instruction or 64 bytes of text each.
CandelaStatus candela_template_render(const CandelaTemplate* chat_template,
                                      CandelaText variables,
                                      uint64_t fuel,
                                      CandelaString* out,
                                      CandelaString* error);

#ifdef __cplusplus
}
#endif
