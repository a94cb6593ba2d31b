#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/host_memory.h"

namespace candela {

/// A file mapped into memory for reading. Nothing is read until it is touched; spans stay valid as
/// long as the object lives. If another program shortens the file meanwhile, or the disk fails,
/// `read` throws; touching the bytes raises SIGBUS, for whose handler there is `find_fault`.
class MappedFile final : public HostMemory {
 public:
  /// How a range will be used next; a hint for the kernel, never an error.
  enum class Advice { Sequential, Random, WillNeed, DontNeed };

  /// @throws NotFound (no such file), Io (a folder, no permission, no memory), naming the path
  static std::shared_ptr<const MappedFile> open(const std::string& path);

  /// What a SIGBUS at an address says about the file that is mapped there.
  struct Fault {
    const char* path = nullptr;
    bool shortened = false;  ///< else the disk does not give the bytes
  };
  /// Whether a mapped file lies at `address`. Safe in a signal handler.
  static bool find_fault(const void* address, Fault& fault) noexcept;

  ~MappedFile() override;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  HostPiece bytes() const { return {data_, static_cast<size_t>(size_)}; }
  /// Bytes [offset, offset + size).
  /// @throws CorruptData naming the path if they are not all inside of the file
  HostPiece bytes(uint64_t offset, uint64_t size) const;
  bool contains(HostPiece piece) const {
    return piece.data() >= data_ && piece.data() + piece.size() <= data_ + size_;
  }

  /// Reads the file itself instead of the mapping: no page of it is mapped by that.
  /// @throws CorruptData (the file has become shorter), Io, naming the path
  void read(HostPiece from, std::byte* to) const override;
  bool has_whole_pages() const override { return true; }

  /// Applies to the pages that the range touches, clipped to the file. Pages given back with
  /// DontNeed are read again from the file when touched.
  void advise(uint64_t offset, uint64_t size, Advice advice) const;

 private:
  MappedFile(std::string path, int descriptor, const std::byte* data, uint64_t size);

  std::string path_;
  int descriptor_;
  const std::byte* data_;
  uint64_t size_;
};

}  // namespace candela
