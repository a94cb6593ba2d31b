#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace candela {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  int take() { return std::exchange(number_, -1); }

 private:
  int number_;
};

[[noreturn]] void fail_with(int error, const std::string& path, const char* doing) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  fail(missing ? ErrorKind::NotFound : ErrorKind::Io, Subject::Model, "{} {} fails: {}.", doing,
       path, std::generic_category().message(error));
}

/// The files that are mapped now, for a signal handler, which can take no lock. Those beyond the
/// table only lack its better message.
using MappedNow = std::array<std::atomic<const MappedFile*>, 256>;

MappedNow& mapped_now() {
  static MappedNow files{};
  return files;
}

void replace(const MappedFile* old_file, const MappedFile* new_file) {
  for (auto& place : mapped_now()) {
    const MappedFile* expected = old_file;
    if (place.compare_exchange_strong(expected, new_file)) {
      return;
    }
  }
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.number() < 0) {
    fail_with(errno, path, "Opening");
  }
  struct stat info{};
  if (::fstat(file.number(), &info) != 0) {
    fail_with(errno, path, "Reading the size of");
  }
  if (!S_ISREG(info.st_mode)) {
    fail(ErrorKind::Io, Subject::Model, "{} is not a regular file and cannot be mapped.", path);
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number(), 0);
    if (mapped == MAP_FAILED) {
      fail_with(errno, path, "Mapping");
    }
    data = static_cast<const std::byte*>(mapped);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, file.take(), data, size));
}

MappedFile::MappedFile(std::string path, int descriptor, const std::byte* data, uint64_t size)
    : path_(std::move(path)), descriptor_(descriptor), data_(data), size_(size) {
  replace(nullptr, this);
}

MappedFile::~MappedFile() {
  replace(this, nullptr);
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_), size_);
  }
  ::close(descriptor_);
}

bool MappedFile::find_fault(const void* address, Fault& fault) noexcept {
  const auto* at = static_cast<const std::byte*>(address);
  for (const auto& place : mapped_now()) {
    const MappedFile* file = place.load();
    if (file != nullptr && at >= file->data_ && at < file->data_ + file->size_) {
      struct stat info{};
      fault.path = file->path_.c_str();
      fault.shortened = ::fstat(file->descriptor_, &info) == 0 &&
                        static_cast<uint64_t>(info.st_size) < file->size_;
      return true;
    }
  }
  return false;
}

void MappedFile::read(HostPiece from, std::byte* to) const {
  auto offset = static_cast<uint64_t>(from.data() - data_);
  const uint64_t end = offset + from.size();
  while (offset < end) {
    const ssize_t got =
        ::pread(descriptor_, to, static_cast<size_t>(end - offset), static_cast<off_t>(offset));
    if (got < 0 && errno != EINTR) {
      fail_with(errno, path_, "Reading");
    }
    if (got == 0) {
      fail(
          ErrorKind::CorruptData, Subject::Model,
          "{} has become shorter while it was being read: it had {} bytes and ends at byte {} now; "
          "download it again.",
          path_, size_, offset);
    }
    const uint64_t step = got > 0 ? static_cast<uint64_t>(got) : 0;
    offset += step;
    to += step;
  }
}

HostPiece MappedFile::bytes(uint64_t offset, uint64_t size) const {
  if (offset > size_ || size > size_ - offset) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "{} is too short: {} bytes from byte {} on are asked for, it has {}.", path_, size, offset,
         size_);
  }
  return bytes().subspan(static_cast<size_t>(offset), static_cast<size_t>(size));
}

void MappedFile::advise(uint64_t offset, uint64_t size, Advice advice) const {
  if (offset >= size_ || size == 0) {
    return;
  }
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t end = offset + std::min(size, size_ - offset);
  const uint64_t begin = offset / page * page;
  int value = MADV_NORMAL;
  switch (advice) {
    case Advice::Sequential:
      value = MADV_SEQUENTIAL;
      break;
    case Advice::Random:
      value = MADV_RANDOM;
      break;
    case Advice::WillNeed:
      value = MADV_WILLNEED;
      break;
    case Advice::DontNeed:
      value = MADV_DONTNEED;
      break;
  }
  // A hint: a kernel that does not know it changes nothing for the reader.
  (void)::madvise(const_cast<std::byte*>(data_) + begin, end - begin, value);
}

}  // namespace candela
