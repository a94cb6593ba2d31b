#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "engine/budget.h"

namespace candela::cli {

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

bool is_terminal(std::FILE* stream) {
  return isatty(fileno(stream)) == 1;
}

bool use_color(std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  return is_terminal(stream) && (no_color == nullptr || *no_color == '\0');
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c0 = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
    // C1 controls are U+0080 to U+009F: 0xC2 and a byte below 0xA0.
    const bool c1 =
        byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) {
      ++i;
    } else if (!c0) {
      out += text[i];
    }
  }
  return out;
}

bool write_out(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
         std::fflush(stdout) == 0;
}

void note(std::string_view line) {
  fmt::print(stderr, "{}\n", line);
}

void note_error(std::string_view text) {
  fmt::print(stderr, "{} {}\n",
             use_color(stderr) ? "\x1b[31merror:\x1b[0m" : "error:", printable(text));
}

ProgressBar::ProgressBar(std::string what, bool quiet, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      quiet_(quiet),
      terminal_(is_terminal(stderr)),
      start_(now()),
      last_line_(start_) {}

ProgressBar::~ProgressBar() {
  if (terminal_ && last_percent_ >= 0) {
    fmt::print(stderr, "\r{:79}\r", "");
  }
}

bool ProgressBar::due(int percent, double now) const {
  if (terminal_) {
    return percent != last_percent_;
  }
  constexpr double kQuickSeconds = 2.0;
  constexpr double kLineSeconds = 5.0;
  const bool further = last_percent_ < 0 || percent / 10 > last_percent_ / 10;
  return now - start_ >= kQuickSeconds && (further || now - last_line_ >= kLineSeconds);
}

std::string ProgressBar::counted(uint64_t count) const {
  return unit_.empty() ? engine::format_bytes(count) : fmt::format("{} {}", count, unit_);
}

void ProgressBar::update(uint64_t done, uint64_t total) {
  const int percent =
      total == 0 ? 100
                 : static_cast<int>(static_cast<double>(done) * 100.0 / static_cast<double>(total));
  const double time = now();
  if (quiet_ || !due(percent, time)) {
    return;
  }
  last_percent_ = percent;
  last_line_ = time;
  const double seconds = time - start_;
  const double rate = seconds > 0.0 ? static_cast<double>(done) / seconds : 0.0;
  const double left = rate > 0.0 ? static_cast<double>(total - done) / rate : 0.0;
  const std::string text =
      fmt::format("{} {:3} %  {} of {}, {}/s, {:.0f} s left", what_, percent, counted(done),
                  counted(total), counted(static_cast<uint64_t>(rate)), left);
  if (terminal_) {
    fmt::print(stderr, "\r{:79}", text);
  } else {
    fmt::print(stderr, "{}\n", text);
  }
  std::fflush(stderr);
}

}  // namespace candela::cli
