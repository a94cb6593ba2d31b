#include "weights/index.h"

#include <algorithm>

#include "weights/json.h"

namespace candela {

namespace {

namespace dom = simdjson::dom;

/// Larger than any index: the one of 28,010 tensors has 3 MB.
constexpr size_t kMaxIndexBytes = 100'000'000;

/// Only plain components: nothing that leaves the folder and no two spellings of one file.
bool is_plain_path(std::string_view path) {
  if (path.find('\\') != path.npos || path.find('\0') != path.npos) {
    return false;
  }
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    if (slash == path.npos) {
      return true;
    }
    path.remove_prefix(slash + 1);
  }
}

using NamePair = std::pair<std::string_view, std::string_view>;

std::vector<NamePair> read_map(const dom::object& map, std::string_view name) {
  std::vector<NamePair> pairs;
  for (const auto& [tensor, value] : map) {
    std::string_view shard;
    if (value.get(shard)) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "weight_map of {} gives tensor {} something else than a file name.", name, tensor);
    }
    if (!is_plain_path(shard)) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "weight_map of {} puts tensor {} into '{}', which is no file name inside the model's "
           "folder.",
           name, tensor, shard);
    }
    pairs.emplace_back(tensor, shard);
  }
  std::sort(pairs.begin(), pairs.end());
  const auto twice =
      std::adjacent_find(pairs.begin(), pairs.end(),
                         [](const NamePair& a, const NamePair& b) { return a.first == b.first; });
  if (twice != pairs.end()) {
    fail(ErrorKind::CorruptData, Subject::Model, "Tensor {} stands twice in weight_map of {}.",
         twice->first, name);
  }
  return pairs;
}

}  // namespace

ShardIndex parse_index(HostPiece text, std::string_view name) {
  if (text.size() > kMaxIndexBytes) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "The index {} has {} bytes; at most {} are allowed.", name, text.size(), kMaxIndexBytes);
  }
  dom::parser parser;
  dom::object root;
  dom::object map;
  // metadata may hold anything of reasonable depth; it is not looked at.
  if (parse_json(parser, text, 32, "The text", name).get(root)) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} is not a JSON object.", name);
  }
  const auto maps = std::count_if(root.begin(), root.end(),
                                  [](const auto& field) { return field.key == "weight_map"; });
  if (maps != 1 || root["weight_map"].get(map)) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "{} must have one object \"weight_map\" of tensor names and file names.", name);
  }
  const std::vector<NamePair> pairs = read_map(map, name);
  ShardIndex index;
  for (const auto& [tensor, shard] : pairs) {
    index.shards.emplace_back(shard);
  }
  std::sort(index.shards.begin(), index.shards.end());
  index.shards.erase(std::unique(index.shards.begin(), index.shards.end()), index.shards.end());
  index.tensors.reserve(pairs.size());
  for (const auto& [tensor, shard] : pairs) {
    const auto at = std::lower_bound(index.shards.begin(), index.shards.end(), shard);
    index.tensors.emplace_back(tensor, static_cast<uint32_t>(at - index.shards.begin()));
  }
  return index;
}

}  // namespace candela
