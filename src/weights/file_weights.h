#pragma once

#include "base/mapped_file.h"
#include "weights/source.h"

namespace candela {

/// What all file formats share: tensors, found by name, inside of mapped files.
class FileWeights : public WeightSource,
                    public HostMemory,
                    public std::enable_shared_from_this<FileWeights> {
 public:
  using Files = std::vector<std::shared_ptr<const MappedFile>>;

  /// @param tensors  Point into `files`, in order.
  /// @throws CorruptData if two tensors have one name.
  FileWeights(std::string path, Files files, std::vector<WeightInfo> tensors);

  const std::vector<WeightInfo>& tensors() const override { return tensors_; }
  const WeightInfo* find(std::string_view name) const override;
  std::shared_ptr<const HostMemory> owner() const override { return shared_from_this(); }
  void read(HostPiece from, std::byte* to) const override;
  bool has_whole_pages() const override { return true; }
  const std::string& path() const override { return path_; }
  void release(const WeightInfo& info) const override;

 private:
  const MappedFile& file_of(HostPiece piece) const;

  std::string path_;
  Files files_;
  std::vector<WeightInfo> tensors_;
  NameTable names_;
};

}  // namespace candela
