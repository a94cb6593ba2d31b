#include "weights/weights.h"

#include <algorithm>
#include <optional>

#include "base/assert.h"
#include "base/error.h"
#include "weights/near_names.h"
#include "weights/synthetic.h"

namespace candela {

namespace {

/// Elements that one output of a matrix or convolution sums over.
int64_t inputs_of(const Shape& shape) {
  return shape.rank() < 2 ? 1
                          : std::max<int64_t>(1, shape.elements() / std::max<int64_t>(1, shape[0]));
}

}  // namespace

struct Weights::State {
  std::shared_ptr<const WeightSource> source;  ///< null if synthetic
  std::optional<SyntheticWeights> synthetic;
  Device device;
  std::vector<bool> used;  ///< read or ignored, by position in the source
  uint64_t done = 0;
  uint64_t total = 0;
  LoadProgress progress;

  void mark(const WeightInfo& info) {
    used[static_cast<size_t>(&info - source->tensors().data())] = true;
  }
  void advance(uint64_t bytes) {
    done += bytes;
    if (progress) {
      progress(done, std::max(done, total));
    }
  }
};

Weights::Weights(std::shared_ptr<const WeightSource> source, Device device)
    : state_(
          std::make_shared<State>(State{std::move(source), {}, std::move(device), {}, 0, 0, {}})) {
  state_->used.resize(state_->source ? state_->source->tensors().size() : 0);
}

Weights Weights::synthetic(Device device, uint64_t seed) {
  Weights weights(nullptr, std::move(device));
  weights.state_->synthetic.emplace(seed);
  return weights;
}

bool Weights::is_synthetic() const {
  return state_->synthetic.has_value();
}

Weights Weights::pp(std::string_view name) const {
  Weights below = *this;
  below.prefix_ = full_name(name);
  return below;
}

Weights Weights::pp(int64_t index) const {
  return pp(std::to_string(index));
}

Weights Weights::with_renamer(Renamer rename) const {
  Weights renamed = *this;
  renamed.rename_ = rename ? std::make_shared<const Renamer>(std::move(rename)) : nullptr;
  return renamed;
}

const Device& Weights::device() const {
  return state_->device;
}

const WeightSource& Weights::source() const {
  if (state_->source == nullptr) {
    fail(ErrorKind::Unsupported, Subject::Model, "Random weights have no files to look into.");
  }
  return *state_->source;
}

std::string Weights::full_name(std::string_view name) const {
  if (prefix_.empty() || name.empty()) {
    return prefix_ + std::string(name);
  }
  return fmt::format("{}.{}", prefix_, name);
}

bool Weights::contains(std::string_view name) const {
  if (is_synthetic()) {
    return true;
  }
  const std::string full = full_name(name);
  return state_->source->find(rename_ ? (*rename_)(full) : full) != nullptr;
}

const WeightInfo& Weights::require(std::string_view name) const {
  const std::string full = full_name(name);
  if (auto& synthetic = state_->synthetic) {
    return synthetic->info(full);
  }
  const std::string in_file = rename_ ? (*rename_)(full) : full;
  if (const WeightInfo* info = state_->source->find(in_file)) {
    return *info;
  }
  const std::string alias = in_file == full ? "" : fmt::format(" (for {})", full);
  fail(ErrorKind::NotFound, Subject::Model, "{} has no tensor {}{}{}.", state_->source->path(),
       in_file, alias, near_names_hint(state_->source->tensors(), in_file));
}

const WeightInfo& Weights::info(std::string_view name) const {
  return require(name);
}

Tensor Weights::load(std::span<const WeightInfo* const> pieces, const Shape& shape) const {
  const WeightInfo& first = *pieces.front();
  if (!device().limits().holds(first.dtype)) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "Tensor {} in {} is {}, which {} cannot hold; convert it to I32, BF16 or F32.", first.name,
         first.file, dtype_name(first.dtype), device().name());
  }
  const int64_t row = shape.rank() == 0 ? 1 : shape[-1];
  const auto row_bytes = static_cast<uint64_t>(dtype_bytes(first.dtype, row));
  std::vector<HostPiece> bytes;
  uint64_t total = 0;
  for (const WeightInfo* piece : pieces) {
    state_->mark(*piece);
    bytes.push_back(piece->bytes);
    total += piece->bytes.size();
  }
  const int64_t unit = block_bytes(first.dtype);
  const Imported imported = device().backend().import_host(
      bytes, state_->source->owner(), row_bytes, static_cast<uint64_t>(unit), first.name);
  state_->advance(total);
  const int64_t offset = static_cast<int64_t>(imported.offset) / unit * block_elements(first.dtype);
  return Tensor(View{imported.storage, Layout(shape, offset), first.dtype}, device());
}

Tensor Weights::get(std::string_view name, const Shape& expected) const {
  if (auto& synthetic = state_->synthetic) {
    Tensor made = synthetic->make(full_name(name), expected, inputs_of(expected), device());
    state_->advance(made.view().storage->bytes());
    return made;
  }
  const WeightInfo& info = require(name);
  if (info.shape != expected) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "Tensor {} in {} has shape {}, but the model's configuration asks for {}.", info.name,
         info.file, to_string(info.shape), to_string(expected));
  }
  const WeightInfo* piece = &info;
  return load(std::span(&piece, 1), expected);
}

Tensor Weights::get(std::string_view name) const {
  if (is_synthetic()) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "Random weights need to be told the shape of {}; none was given.", full_name(name));
  }
  return get(name, require(name).shape);
}

Tensor Weights::get_stacked(int64_t count, std::string_view name, const Shape& expected) const {
  if (count < 1) {
    fail(ErrorKind::InvalidArgument, Subject::Model, "{} tensors {}.*.{} cannot be stacked.", count,
         prefix_, name);
  }
  const Shape stacked = expected.inserted(0, count);
  if (auto& synthetic = state_->synthetic) {
    Tensor made = synthetic->make(full_name(fmt::format("*.{}", name)), stacked,
                                  inputs_of(expected), device());
    state_->advance(made.view().storage->bytes());
    return made;
  }
  std::vector<const WeightInfo*> pieces;
  pieces.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    pieces.push_back(&require(fmt::format("{}.{}", i, name)));
  }
  if (count > 1 && pieces.front() == pieces.back()) {
    pieces.resize(1);
  }
  const WeightInfo& first = *pieces.front();
  const bool in_one = pieces.size() == 1 && first.shape.rank() == stacked.rank();
  const Shape& wanted = in_one || static_cast<int64_t>(pieces.size()) != count ? stacked : expected;
  for (const WeightInfo* piece : pieces) {
    if (piece->shape != wanted || piece->dtype != first.dtype) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "Tensor {} in {} is {} {}, but {} {} is needed to stack {} of them.", piece->name,
           piece->file, dtype_name(piece->dtype), to_string(piece->shape), dtype_name(first.dtype),
           to_string(wanted), count);
    }
  }
  return load(pieces, stacked);
}

Tensor Weights::get_joined(std::span<const std::string> names,
                           std::span<const Shape> expected) const {
  CANDELA_ASSERT(!names.empty() && names.size() == expected.size(), "names without shapes");
  Shape joined = expected.front();
  for (const Shape& shape : expected.subspan(1)) {
    joined[0] += shape[0];
  }
  if (auto& synthetic = state_->synthetic) {
    Tensor made = synthetic->make(full_name(fmt::format("{}", fmt::join(names, "+"))), joined,
                                  inputs_of(expected.front()), device());
    state_->advance(made.view().storage->bytes());
    return made;
  }
  std::vector<const WeightInfo*> pieces;
  for (size_t i = 0; i < names.size(); ++i) {
    const WeightInfo& piece = require(names[i]);
    const DType dtype = pieces.empty() ? piece.dtype : pieces.front()->dtype;
    if (piece.shape != expected[i] || piece.dtype != dtype) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "Tensor {} in {} is {} {}, but the model's configuration asks for {} {}.", piece.name,
           piece.file, dtype_name(piece.dtype), to_string(piece.shape), dtype_name(dtype),
           to_string(expected[i]));
    }
    pieces.push_back(&piece);
  }
  return load(pieces, joined);
}

void Weights::ignore(std::string_view prefix) const {
  if (is_synthetic()) {
    return;
  }
  std::string below = full_name(prefix);
  if (rename_) {
    below = (*rename_)(below);
  }
  while (below.ends_with('.')) {
    below.pop_back();
  }
  const std::vector<WeightInfo>& tensors = state_->source->tensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string& name = tensors[i].name;
    const bool inside =
        below.empty() || name == below || (name.starts_with(below) && name[below.size()] == '.');
    if (inside) {
      state_->used[i] = true;
    }
  }
}

std::vector<std::string> Weights::unread() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < state_->used.size(); ++i) {
    if (!state_->used[i]) {
      names.push_back(state_->source->tensors()[i].name);
    }
  }
  return names;
}

void Weights::on_progress(uint64_t total_bytes, LoadProgress progress) const {
  state_->total = total_bytes;
  if (total_bytes == 0 && state_->source != nullptr) {
    for (const WeightInfo& info : state_->source->tensors()) {
      state_->total += info.bytes.size();
    }
  }
  state_->progress = std::move(progress);
}

}  // namespace candela
