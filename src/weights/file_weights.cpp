#include "weights/file_weights.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/assert.h"
#include "base/error.h"

namespace candela {

NameTable::NameTable(const std::vector<WeightInfo>& tensors) : order_(tensors.size()) {
  if (tensors.size() > std::numeric_limits<uint32_t>::max()) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} tensors are more than any model has.",
         tensors.size());
  }
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
  for (size_t i = 1; i < order_.size(); ++i) {
    const WeightInfo& a = tensors[order_[i - 1]];
    const WeightInfo& b = tensors[order_[i]];
    if (a.name == b.name) {
      fail(ErrorKind::CorruptData, Subject::Model, "Tensor {} stands in {} and again in {}.",
           a.name, a.file, b.file);
    }
  }
}

const WeightInfo* NameTable::find(const std::vector<WeightInfo>& tensors,
                                  std::string_view name) const {
  const auto at = std::lower_bound(
      order_.begin(), order_.end(), name,
      [&](uint32_t index, std::string_view wanted) { return tensors[index].name < wanted; });
  return at != order_.end() && tensors[*at].name == name ? &tensors[*at] : nullptr;
}

FileWeights::FileWeights(std::string path, Files files, std::vector<WeightInfo> tensors)
    : path_(std::move(path)),
      files_(std::move(files)),
      tensors_(std::move(tensors)),
      names_(tensors_) {}

const WeightInfo* FileWeights::find(std::string_view name) const {
  return names_.find(tensors_, name);
}

const MappedFile& FileWeights::file_of(HostPiece piece) const {
  const auto at = std::ranges::find_if(files_, [&](const auto& f) { return f->contains(piece); });
  CANDELA_ASSERT(at != files_.end(), "bytes of a weight lie in none of its files");
  return **at;
}

void FileWeights::read(HostPiece from, std::byte* to) const {
  if (!from.empty()) {
    file_of(from).read(from, to);
  }
}

void FileWeights::release(const WeightInfo& info) const {
  if (info.bytes.empty()) {
    return;
  }
  const MappedFile& file = file_of(info.bytes);
  const auto offset = static_cast<uint64_t>(info.bytes.data() - file.bytes().data());
  file.advise(offset, info.bytes.size(), MappedFile::Advice::DontNeed);
}

}  // namespace candela
