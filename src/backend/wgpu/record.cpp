#include "backend/wgpu/record.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "backend/wgpu/context.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/stream.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const void* data, size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  if (!file) {
    fail(ErrorKind::Io, Subject::Device, "The recording {} cannot be written.", path.string());
  }
}

std::vector<std::byte> read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open()) {
    fail(ErrorKind::Io, Subject::Device, "The recording {} cannot be read.", path.string());
  }
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> contents(Stream& stream, const Operand& operand) {
  std::vector<std::byte> bytes(operand.buffer->capacity());
  stream.download(operand, 0, bytes);
  return bytes;
}

/// Line breaks of a substitution, which a recording keeps in a line: no kernel has this character.
constexpr char kBreak = '\\';

std::string in_one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', kBreak);
  return text;
}

std::string from_one_line(std::string text) {
  std::replace(text.begin(), text.end(), kBreak, '\n');
  return text;
}

struct Recorded {
  std::string kernel;
  KernelId id{""};
  Grid grid;
  std::vector<std::byte> params;
  std::vector<bool> written;
};

Recorded parse(const fs::path& folder) {
  const std::vector<std::byte> bytes = read_file(folder / "dispatch.txt");
  std::istringstream text(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  Recorded recorded;
  std::string line;
  while (std::getline(text, line)) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    if (key == "kernel") {
      recorded.kernel = value;
    } else if (key == "define") {
      recorded.id.defines.push_back(value);
    } else if (key == "substitute") {
      const size_t at = line.find(value) + value.size() + 1;
      recorded.id.substitutions.emplace_back(
          value, at < line.size() ? from_one_line(line.substr(at)) : "");
    } else if (key == "grid") {
      std::istringstream numbers(line.substr(5));
      numbers >> recorded.grid.x >> recorded.grid.y >> recorded.grid.z;
    } else if (key == "operand") {
      recorded.written.push_back(value == "written");
    } else {
      fail(ErrorKind::CorruptData, Subject::Input, "The recording {} has an unknown line: {}.",
           folder.string(), line);
    }
  }
  recorded.params = read_file(folder / "params.bin");
  return recorded;
}

}  // namespace

Recorder::Recorder(const std::string& folder) : root_(folder) {
  std::error_code error;
  fs::create_directories(root_, error);
  if (error) {
    fail(ErrorKind::Io, Subject::Usage, "The folder {} for recordings cannot be made: {}.", folder,
         error.message());
  }
}

void Recorder::before(Stream& stream,
                      const KernelId& kernel,
                      const Grid& grid,
                      std::span<const std::byte> params,
                      std::span<const Operand> operands) {
  current_ = root_ / fmt::format("{:06}", next_++);
  std::error_code error;
  fs::create_directories(current_, error);
  std::array<uint32_t, 3> groups{grid.x, grid.y, grid.z};
  if (grid.counted) {
    stream.download({grid.counted, false}, grid.counted_at,
                    std::as_writable_bytes(std::span(groups)));
  }
  std::string text =
      fmt::format("kernel {}\ngrid {} {} {}\n", kernel.name, groups[0], groups[1], groups[2]);
  for (const std::string& define : kernel.defines) {
    text += fmt::format("define {}\n", define);
  }
  for (const auto& [name, value] : unrolled(kernel).substitutions) {
    text += fmt::format("substitute {} {}\n", name, in_one_line(value));
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    text += operands[i].written ? "operand written\n" : "operand read\n";
    const std::vector<std::byte> bytes = contents(stream, operands[i]);
    write_file(current_ / fmt::format("before_{}.bin", i), bytes.data(), bytes.size());
  }
  write_file(current_ / "dispatch.txt", text.data(), text.size());
  write_file(current_ / "params.bin", params.data(), params.size());
}

void Recorder::after(Stream& stream, std::span<const Operand> operands) {
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].written) {
      const std::vector<std::byte> bytes = contents(stream, operands[i]);
      write_file(current_ / fmt::format("after_{}.bin", i), bytes.data(), bytes.size());
    }
  }
}

ReplayResult replay(Context& context, Stream& stream, const std::string& folder) {
  Recorded recorded = parse(folder);
  recorded.id.name = recorded.kernel.c_str();
  std::vector<Operand> operands;
  for (size_t i = 0; i < recorded.written.size(); ++i) {
    const auto bytes = read_file(fs::path(folder) / fmt::format("before_{}.bin", i));
    const BufferPtr buffer = context.pool().acquire(bytes.size(), false, "replay");
    operands.push_back({buffer, recorded.written[i]});
    stream.upload(operands.back(), 0, bytes);
  }
  stream.dispatch_bytes(recorded.id, recorded.grid, recorded.params, operands);
  ReplayResult result;
  result.kernel = recorded.kernel;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (!operands[i].written) {
      continue;
    }
    const auto expected = read_file(fs::path(folder) / fmt::format("after_{}.bin", i));
    const auto got = contents(stream, operands[i]);
    result.bytes += got.size();
    for (size_t j = 0; j < got.size(); ++j) {
      result.different += j >= expected.size() || got[j] != expected[j] ? 1 : 0;
    }
  }
  return result;
}

}  // namespace candela::wgpu
