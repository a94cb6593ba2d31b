#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "weights/file_weights.h"
#include "weights/gguf.h"
#include "weights/index.h"
#include "weights/safetensors.h"

namespace candela {

namespace {

namespace fs = std::filesystem;

using FilePtr = std::shared_ptr<const MappedFile>;

/// "a, b, c and 4 more"
std::string first_few(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  return names.size() > kShown ? fmt::format("{} and {} more", text, names.size() - kShown) : text;
}

std::shared_ptr<const WeightSource> open_single(const std::string& path) {
  const FilePtr file = MappedFile::open(path);
  if (is_gguf(file->bytes())) {
    return GgufFile::open(file);
  }
  std::vector<WeightInfo> tensors = parse_safetensors(file->bytes(), file->path()).tensors;
  return std::make_shared<FileWeights>(path, FileWeights::Files{file}, std::move(tensors));
}

FileWeights::Files open_shards(const ShardIndex& index,
                               const fs::path& folder,
                               const std::string& name) {
  std::vector<std::string> missing;
  for (const std::string& shard : index.shards) {
    std::error_code ignored;
    if (!fs::exists(folder / shard, ignored)) {
      missing.push_back(shard);
    }
  }
  if (!missing.empty()) {
    fail(ErrorKind::NotFound, Subject::Model,
         "{} of {} files that {} names are missing: {}; finish the download.", missing.size(),
         index.shards.size(), name, first_few(missing));
  }
  FileWeights::Files files;
  std::map<fs::path, std::string> known;
  for (const std::string& shard : index.shards) {
    files.push_back(MappedFile::open((folder / shard).string()));
    const auto [same, added] = known.emplace(fs::canonical(folder / shard), shard);
    if (!added) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "{} names the shards {} and {}, which are one file; download the model again.", name,
           same->second, shard);
    }
  }
  return files;
}

/// The shards hold exactly what the index promises, each tensor in its place.
void check_against_index(const ShardIndex& index,
                         const FileWeights& weights,
                         const FileWeights::Files& files,
                         const std::string& name) {
  std::vector<std::string> absent;
  for (const auto& [tensor, shard] : index.tensors) {
    const WeightInfo* info = weights.find(tensor);
    if (info == nullptr) {
      absent.push_back(fmt::format("{} (of {})", tensor, index.shards[shard]));
    } else if (info->file != files[shard]->path()) {
      fail(ErrorKind::CorruptData, Subject::Model, "{} puts tensor {} into {}, but it lies in {}.",
           name, tensor, index.shards[shard], info->file);
    }
  }
  if (!absent.empty()) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "{} tensors that {} promises are not in their files: {}.", absent.size(), name,
         first_few(absent));
  }
  std::vector<std::string> extra;
  for (const WeightInfo& info : weights.tensors()) {
    const auto at = std::lower_bound(
        index.tensors.begin(), index.tensors.end(), info.name,
        [](const auto& entry, const std::string& wanted) { return entry.first < wanted; });
    if (at == index.tensors.end() || at->first != info.name) {
      extra.push_back(fmt::format("{} (in {})", info.name, info.file));
    }
  }
  if (!extra.empty()) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} tensors are not listed in {}: {}.",
         extra.size(), name, first_few(extra));
  }
}

std::shared_ptr<const WeightSource> open_index(const std::string& path, const std::string& shown) {
  const FilePtr text = MappedFile::open(path);
  const ShardIndex index = parse_index(text->bytes(), path);
  const FileWeights::Files files = open_shards(index, fs::path(path).parent_path(), path);
  std::vector<WeightInfo> tensors;
  tensors.reserve(index.tensors.size());
  for (const FilePtr& file : files) {
    Safetensors shard = parse_safetensors(file->bytes(), file->path());
    std::move(shard.tensors.begin(), shard.tensors.end(), std::back_inserter(tensors));
  }
  auto weights = std::make_shared<FileWeights>(shown, files, std::move(tensors));
  check_against_index(index, *weights, files, path);
  return weights;
}

std::vector<std::string> files_ending_in(const fs::path& folder, const std::string& extension) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == extension) {
      found.push_back(it->path().filename().string());
    }
  }
  if (error) {
    fail(ErrorKind::Io, Subject::Model, "Listing the folder {} fails: {}.", folder.string(),
         error.message());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::shared_ptr<const WeightSource> open_folder(const std::string& path) {
  const fs::path folder(path);
  std::error_code ignored;
  if (const fs::path index = folder / "model.safetensors.index.json"; fs::exists(index, ignored)) {
    return open_index(index.string(), path);
  }
  if (const fs::path whole = folder / "model.safetensors"; fs::exists(whole, ignored)) {
    return open_single(whole.string());
  }
  for (const char* extension : {".safetensors", ".gguf"}) {
    const std::vector<std::string> found = files_ending_in(folder, extension);
    if (found.size() == 1) {
      return open_single((folder / found[0]).string());
    }
    if (found.size() > 1) {
      fail(ErrorKind::NotFound, Subject::Model,
           "{} has {} files that end in {} ({}) and no model.safetensors.index.json that joins "
           "them; name one file or add the index.",
           path, found.size(), extension, first_few(found));
    }
  }
  fail(ErrorKind::NotFound, Subject::Model,
       "{} holds no weights: neither model.safetensors.index.json nor a .safetensors or .gguf "
       "file; check the path, or convert other formats to safetensors.",
       path);
}

}  // namespace

std::shared_ptr<const WeightSource> open_weights(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::directory) {
    return open_folder(path);
  }
  if (status.type() == fs::file_type::regular) {
    return fs::path(path).extension() == ".json" ? open_index(path, path) : open_single(path);
  }
  if (error && status.type() != fs::file_type::not_found) {
    fail(ErrorKind::Io, Subject::Model, "Looking at {} fails: {}.", path, error.message());
  }
  if (status.type() == fs::file_type::not_found) {
    fail(ErrorKind::NotFound, Subject::Model, "{} does not exist.", path);
  }
  fail(ErrorKind::Io, Subject::Model, "{} is neither a file nor a folder.", path);
}

}  // namespace candela
