// The table of kinds and subjects to exit codes, and the texts that a terminal may see.
#include "cli/exit_code.h"

#include <gtest/gtest.h>

#include "cli/options.h"
#include "cli/terminal.h"

namespace candela::cli {
namespace {

struct Row {
  ErrorKind kind;
  Subject subject;
  int code;
};

TEST(ExitCode, Table) {
  using enum ErrorKind;
  using enum Subject;
  const Row rows[] = {
      {InvalidArgument, Usage, 2}, {Unsupported, Usage, 2},
      {NotFound, Model, 3},        {Io, Model, 3},
      {CorruptData, Model, 4},     {Unsupported, Model, 4},
      {InvalidArgument, Model, 4}, {Unavailable, Device, 5},
      {NotFound, Device, 5},       {Unsupported, Device, 5},
      {OutOfMemory, Device, 6},    {OutOfMemory, Model, 6},
      {NotFound, Input, 7},        {CorruptData, Input, 7},
      {InvalidArgument, Input, 7}, {Io, Input, 7},
      {Unavailable, Network, 8},   {Internal, Device, 1},
      {Internal, Model, 1},        {Internal, Input, 1},
      {Cancelled, Usage, 130},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(exit_code(Error(row.kind, row.subject, "")), row.code)
        << static_cast<int>(row.kind) << " " << static_cast<int>(row.subject);
  }
}

TEST(ExitCode, HelpNamesEveryCode) {
  for (const char* code :
       {"0 done", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7 ", "8 ", "10 ", "130 ", "143 "}) {
    EXPECT_NE(std::string(exit_code_help()).find(code), std::string::npos) << code;
  }
}

TEST(Printable, DropsControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31mb\rc\x07"
                      "d\x7f"),
            "a[31mbcd");
  EXPECT_EQ(printable("line\n\tnext"), "line\n\tnext");
  EXPECT_EQ(printable("x\xc2\x9bJy\xc2\xa0z"), "xJy\xc2\xa0z") << "U+009B goes, U+00A0 stays";
  EXPECT_EQ(printable("\xe4\xbd\xa0"), "\xe4\xbd\xa0");
}

TEST(ParseBytes, Units) {
  EXPECT_EQ(parse_bytes("1000"), 1000u);
  EXPECT_EQ(parse_bytes("2K"), 2048u);
  EXPECT_EQ(parse_bytes("96G"), uint64_t{96} << 30);
  EXPECT_EQ(parse_bytes("1T"), uint64_t{1} << 40);
  for (const char* text :
       {"", "G", "1X", "1GB", "-1", "1.5G", "18446744073709551615K", "99999999999999999999"}) {
    EXPECT_THROW(parse_bytes(text), Error) << text;
  }
}

}  // namespace
}  // namespace candela::cli
