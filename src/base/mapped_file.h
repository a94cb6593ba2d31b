#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace candela {

/// A file mapped into memory for reading. Nothing is read until it is touched; spans stay valid as
/// long as the object lives. Another program that shortens the file meanwhile is not survived.
class MappedFile {
 public:
  /// How a range will be used next; a hint for the kernel, never an error.
  enum class Advice { Sequential, Random, WillNeed, DontNeed };

  /// @throws NotFound (no such file), Io (a folder, no permission, no memory), naming the path
  static std::shared_ptr<const MappedFile> open(const std::string& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(size_)}; }
  /// Bytes [offset, offset + size).
  /// @throws CorruptData naming the path if they are not all inside of the file
  std::span<const std::byte> bytes(uint64_t offset, uint64_t size) const;

  /// Applies to the pages that the range touches, clipped to the file. Pages given back with
  /// DontNeed are read again from the file when touched.
  void advise(uint64_t offset, uint64_t size, Advice advice) const;

 private:
  MappedFile(std::string path, const std::byte* data, uint64_t size);

  std::string path_;
  const std::byte* data_;
  uint64_t size_;
};

}  // namespace candela
