#include "tokenizer/tokenizer.h"

#include <cstring>

#include "base/assert.h"
#include "base/error.h"
#include "tokenizer/bridge.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"

namespace candela {

namespace {

constexpr uint32_t kAddedFlag = 1;
constexpr uint32_t kSpecialFlag = 2;

/// Strings one behind the other in one block: 150,000 small allocations less.
class TextTable {
 public:
  void append(std::string_view text) {
    block_ += text;
    ends_.push_back(block_.size());
  }
  size_t size() const { return ends_.size(); }
  std::string_view operator[](size_t index) const {
    const size_t start = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(block_).substr(start, ends_[index] - start);
  }

 private:
  std::string block_;
  std::vector<size_t> ends_;
};

}  // namespace

struct Tokenizer::State {
  std::string name;
  TokenizerHandle handle;
  TextTable tokens;  // index = id; empty where an id has no token
  TextTable bytes;
  std::vector<bool> special;
  std::vector<AddedToken> added;
  std::vector<uint32_t> eos_ids;
  std::optional<uint32_t> bos_id;
  bool add_bos = false;
  nlohmann::json roles;

  void read_vocabulary();
  std::optional<uint32_t> id_of(std::string_view token) const;
  std::optional<uint32_t> id_of_role(const char* role) const;
  std::vector<uint32_t> encode(std::string_view text, CandelaEncodeMode mode, char32_t mark) const;
};

void Tokenizer::State::read_vocabulary() {
  BridgeString table;
  BridgeString error;
  check_bridge(candela_tokenizer_vocabulary(handle.get(), table.out(), error.out()), name, error);
  std::string_view rest = table.view();
  while (!rest.empty()) {
    uint32_t head[3];
    std::memcpy(head, rest.data(), sizeof(head));
    const auto [id, flags, length] = head;
    const std::string_view token = rest.substr(sizeof(head), length);
    rest.remove_prefix(sizeof(head) + length);
    while (tokens.size() < id) {
      tokens.append("");
      bytes.append("");
      special.push_back(false);
    }
    // The bridge has refused vocabularies in which two tokens share an id.
    CANDELA_ASSERT(tokens.size() == id, "token ids ascend");
    tokens.append(token);
    bytes.append(bytes_of_token(token));
    special.push_back((flags & kSpecialFlag) != 0);
    if ((flags & kAddedFlag) != 0) {
      added.push_back({id, std::string(token), (flags & kSpecialFlag) != 0});
    }
  }
}

std::optional<uint32_t> Tokenizer::State::id_of(std::string_view token) const {
  uint32_t id = 0;
  if (candela_tokenizer_token_to_id(handle.get(), bridge_text(token), &id) == 0) {
    return std::nullopt;
  }
  return id;
}

std::optional<uint32_t> Tokenizer::State::id_of_role(const char* role) const {
  const auto found = roles.find(role);
  if (found == roles.end()) {
    return std::nullopt;
  }
  return id_of(found->get_ref<const std::string&>());
}

std::vector<uint32_t> Tokenizer::State::encode(std::string_view text,
                                               CandelaEncodeMode mode,
                                               char32_t mark) const {
  BridgeIds ids;
  BridgeString error;
  const CandelaStatus status = candela_tokenizer_encode(
      handle.get(), bridge_text(text), mode, static_cast<uint32_t>(mark), ids.out(), error.out());
  check_bridge(status, name, error);
  return ids.take();
}

Tokenizer::Tokenizer(const TokenizerSource& source) : state_(std::make_unique<State>()) {
  state_->name = "The tokenizer " + source.name;
  state_->roles = source.roles;
  state_->add_bos = source.add_bos;
  CandelaTokenizer* handle = nullptr;
  BridgeString error;
  const CandelaStatus status = candela_tokenizer_new(
      bridge_text(source.json), bridge_text(source.added), &handle, error.out());
  state_->handle.reset(handle);
  check_bridge(status, state_->name, error);
  state_->read_vocabulary();
  state_->bos_id = state_->id_of_role("bos_token");
  for (const char* role : {"eos_token", "eot_token"}) {
    const auto id = state_->id_of_role(role);
    if (id && (state_->eos_ids.empty() || state_->eos_ids.front() != *id)) {
      state_->eos_ids.push_back(*id);
    }
  }
}

Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder) {
  return Tokenizer(source_from_folder(folder));
}

Tokenizer Tokenizer::from_gguf_metadata(const GgufTokenizerSpec& spec) {
  return Tokenizer(source_from_gguf(spec));
}

std::vector<uint32_t> Tokenizer::encode(std::string_view text, ParseSpecial parse) const {
  const bool yes = parse == ParseSpecial::Yes;
  return state_->encode(text, yes ? CANDELA_ENCODE_PARSE : CANDELA_ENCODE_PLAIN, 0);
}

std::vector<uint32_t> Tokenizer::encode_marked(std::string_view text, char32_t mark) const {
  return state_->encode(text, CANDELA_ENCODE_MARKED, mark);
}

std::string Tokenizer::decode(std::span<const uint32_t> ids, SkipSpecial skip) const {
  std::string text;
  Utf8Decoder decoder;
  for (const uint32_t id : ids) {
    if (skip == SkipSpecial::No || !is_special(id)) {
      decoder.push(bytes_of(id), text);
    }
  }
  decoder.finish(text);
  return text;
}

std::string_view Tokenizer::bytes_of(uint32_t id) const {
  return id < state_->bytes.size() ? state_->bytes[id] : std::string_view();
}

std::optional<std::string_view> Tokenizer::id_to_token(uint32_t id) const {
  if (id >= state_->tokens.size() || state_->tokens[id].empty()) {
    return std::nullopt;
  }
  return state_->tokens[id];
}

std::optional<uint32_t> Tokenizer::token_to_id(std::string_view token) const {
  return state_->id_of(token);
}

uint32_t Tokenizer::vocab_size() const {
  return static_cast<uint32_t>(state_->tokens.size());
}

bool Tokenizer::is_special(uint32_t id) const {
  return id < state_->special.size() && state_->special[id];
}

std::span<const AddedToken> Tokenizer::added_tokens() const {
  return state_->added;
}

std::span<const uint32_t> Tokenizer::eos_ids() const {
  return state_->eos_ids;
}

std::optional<uint32_t> Tokenizer::bos_id() const {
  return state_->bos_id;
}

bool Tokenizer::adds_bos() const {
  return state_->add_bos;
}

const nlohmann::json& Tokenizer::roles() const {
  return state_->roles;
}

}  // namespace candela
