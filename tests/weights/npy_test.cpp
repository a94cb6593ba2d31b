#include "weights/npy.h"

#include <gtest/gtest.h>

#include "files.h"

namespace candela {
namespace {

using test::bytes_of;
using test::expect_error;
using test::little;

/// A file of version 1 with this header text.
std::string npy(const std::string& header, const std::string& data) {
  return "\x93NUMPY" + std::string("\1\0", 2) + little(static_cast<uint16_t>(header.size())) +
         header + data;
}

HostArray parse(const std::string& file) {
  return parse_npy(bytes_of(file), "x.npy");
}

TEST(Npy, ReadsWhatNumpyWrites) {
  // numpy.save(f, numpy.array([[1, 2, 3]], '<i4')), padded to 128 bytes as numpy does.
  std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 3), }";
  header.resize(117, ' ');
  header += '\n';
  const std::string data = little(1) + little(2) + little(3);
  const HostArray array = parse(npy(header, data));
  EXPECT_EQ(array.dtype, DType::I32);
  EXPECT_EQ(array.shape, (Shape{1, 3}));
  EXPECT_EQ(array.bytes, bytes_of(data));
  EXPECT_EQ(encode_npy(array), bytes_of(npy(header, data)));
}

TEST(Npy, ReadsVersionTwoScalarsAndEmptyArrays) {
  const std::string header = "{'shape': (), 'fortran_order': False, 'descr': '<f4'}";
  const std::string file = "\x93NUMPY" + std::string("\2\0", 2) +
                           little(static_cast<uint32_t>(header.size())) + header + little(1.5f);
  EXPECT_EQ(parse(file).shape, Shape{});
  EXPECT_EQ(parse(file).bytes, bytes_of(little(1.5f)));
  const HostArray empty =
      parse(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4)}", ""));
  EXPECT_EQ(empty.shape, (Shape{0, 4}));
}

TEST(Npy, RoundTripsEveryDtype) {
  for (const DType dtype : kAllDTypes) {
    if (is_quantized(dtype)) {
      expect_error(ErrorKind::Unsupported, dtype_name(dtype),
                   [&] { (void)encode_npy({dtype, Shape{32}, {}}); });
      continue;
    }
    const auto bytes = static_cast<size_t>(dtype_bytes(dtype, 5));
    const HostArray array{dtype, Shape{5}, std::vector<std::byte>(bytes, std::byte{7})};
    const std::vector<std::byte> file = encode_npy(array);
    EXPECT_EQ((file.size() - bytes) % 64, 0u);
    const HostArray read = parse_npy(file, "x.npy");
    EXPECT_EQ(read.dtype, dtype);
    EXPECT_EQ(read.shape, (Shape{5}));
    EXPECT_EQ(read.bytes, array.bytes);
  }
}

TEST(Npy, RefusesMalformedFiles) {
  const std::string tail = "'fortran_order': False, 'shape': (2,)}";
  const std::string good = npy("{'descr': '<f4', " + tail, std::string(8, '\0'));
  for (size_t size = 0; size < good.size(); ++size) {
    SCOPED_TRACE(size);
    expect_error(ErrorKind::CorruptData, "x.npy", [&] { parse(good.substr(0, size)); });
  }
  const std::string eight(8, '\0');
  const std::pair<std::string, const char*> corrupt[] = {
      {good + "x", "9 bytes of data"},
      {npy("", ""), "not one that numpy writes"},
      {npy("{'descr': '<f4'}", eight), "not one that numpy writes"},
      {npy("{'descr': '<f4', 'descr': '<f4', " + tail, eight), "not one that numpy writes"},
      {npy("{'descr': '<f4', 'x': 1, " + tail, eight), "not one that numpy writes"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", eight), "not one that"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, ", eight), "not one that"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", eight),
       "not one that"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", ""),
       "does not fit"},
  };
  for (const auto& [file, message] : corrupt) {
    SCOPED_TRACE(file.substr(10));
    expect_error(ErrorKind::CorruptData, message, [&, &f = file] { parse(f); });
  }
  for (const char* descr : {"<f8", ">f4", "<c8", "|O"}) {
    expect_error(ErrorKind::Unsupported, descr,
                 [&] { parse(npy(std::string("{'descr': '") + descr + "', " + tail, eight)); });
  }
  expect_error(ErrorKind::Unsupported, "Fortran", [&] {
    parse(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2,)}", eight));
  });
  expect_error(ErrorKind::Unsupported, "dimensions", [&] {
    parse(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,2)}", eight));
  });
}

}  // namespace
}  // namespace candela
