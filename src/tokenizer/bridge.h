#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/candela_bridge.h"

namespace candela {

struct FreeTokenizer {
  void operator()(CandelaTokenizer* tokenizer) const { candela_tokenizer_free(tokenizer); }
};
using TokenizerHandle = std::unique_ptr<CandelaTokenizer, FreeTokenizer>;

struct FreeTemplate {
  void operator()(CandelaTemplate* chat_template) const { candela_template_free(chat_template); }
};
using TemplateHandle = std::unique_ptr<CandelaTemplate, FreeTemplate>;

inline CandelaText bridge_text(std::string_view text) {
  return {text.data(), text.size()};
}

/// A string of the bridge while it is being filled; freed with the object.
class BridgeString {
 public:
  BridgeString() = default;
  BridgeString(const BridgeString&) = delete;
  BridgeString& operator=(const BridgeString&) = delete;
  ~BridgeString() { candela_string_free(text_); }

  CandelaString* out() { return &text_; }
  std::string_view view() const {
    return text_.size == 0 ? std::string_view() : std::string_view(text_.data, text_.size);
  }

 private:
  CandelaString text_{nullptr, 0};
};

/// As BridgeString, for token ids.
class BridgeIds {
 public:
  BridgeIds() = default;
  BridgeIds(const BridgeIds&) = delete;
  BridgeIds& operator=(const BridgeIds&) = delete;
  ~BridgeIds() { candela_ids_free(ids_); }

  CandelaIds* out() { return &ids_; }
  std::vector<uint32_t> take() const {
    return ids_.size == 0 ? std::vector<uint32_t>()
                          : std::vector<uint32_t>(ids_.data, ids_.data + ids_.size);
  }

 private:
  CandelaIds ids_{nullptr, 0};
};

/// Throws the Error that belongs to `status` unless it is CANDELA_OK. `what` names the thing
/// ("The tokenizer x"), `reason` is the bridge's text.
void check_bridge(CandelaStatus status, std::string_view what, const BridgeString& reason);

}  // namespace candela
