#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"

namespace candela {

namespace {

using Level = log::Level;
using Area = log::Area;
using Field = log::Field;

struct Levels {
  Level standard = Level::Warn;
  std::map<std::string, Level, std::less<>> areas;

  Level of(Area area) const {
    const auto found = areas.find(area.name);
    return found == areas.end() ? standard : found->second;
  }
  Level lowest() const {
    Level low = standard;
    for (const auto& [name, level] : areas) {
      low = std::min(low, level);
    }
    return low;
  }
};

std::optional<Level> level_named(std::string_view name) {
  constexpr std::string_view kNames[] = {"trace", "debug", "info", "warn", "error", "off"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name) {
      return static_cast<Level>(i);
    }
  }
  return std::nullopt;
}

Levels parse(std::string_view text) {
  Levels levels;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const size_t equals = part.find('=');
    const bool of_area = equals != std::string_view::npos;
    const std::optional<Level> level = level_named(of_area ? part.substr(equals + 1) : part);
    if (!level) {
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "The log setting \"{}\" names no level; write trace, debug, info, warn, error or off, "
           "or area=level.",
           part);
    }
    if (of_area) {
      levels.areas.insert_or_assign(std::string(part.substr(0, equals)), *level);
    } else {
      levels.standard = *level;
    }
  }
  return levels;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::Trace:
      return spdlog::level::trace;
    case Level::Debug:
      return spdlog::level::debug;
    case Level::Info:
      return spdlog::level::info;
    case Level::Warn:
      return spdlog::level::warn;
    case Level::Error:
      return spdlog::level::err;
    case Level::Off:
      break;
  }
  return spdlog::level::off;
}

// The one piece of global state: levels and the logger behind them.
class Front {
 public:
  Front() : logger_("candela", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger_.set_pattern("%H:%M:%S.%e %l %v");
    logger_.set_level(spdlog::level::trace);
    logger_.flush_on(spdlog::level::warn);
    const char* setting = std::getenv("CANDELA_LOG");
    if (setting == nullptr) {
      return;
    }
    try {
      set(parse(setting));
    } catch (const Error& error) {
      logger_.warn("CANDELA_LOG is ignored: {}", error.what());
    }
  }

  void set(Levels levels) {
    const std::lock_guard lock(mutex_);
    levels_ = std::move(levels);
    lowest_.store(levels_.lowest(), std::memory_order_relaxed);
  }

  bool enabled(Level level, Area area) {
    if (level == Level::Off || level < lowest_.load(std::memory_order_relaxed)) {
      return false;
    }
    const std::lock_guard lock(mutex_);
    return level >= levels_.of(area);
  }

  void write(Level level, const std::string& line) { logger_.log(to_spdlog(level), line); }

 private:
  std::mutex mutex_;
  Levels levels_;
  std::atomic<Level> lowest_{Level::Warn};
  spdlog::logger logger_;
};

Front& front() {
  static Front one;
  return one;
}

// Text with blanks or quotes, and empty text, gets quotes, so that a line can be taken apart.
void append_text(std::string& line, std::string_view text) {
  const bool plain = !text.empty() && text.find_first_of(" \t\r\n\"=") == std::string_view::npos;
  if (plain) {
    line += text;
    return;
  }
  line += '"';
  for (const char c : text) {
    if (c == '\n') {
      line += "\\n";
    } else if (c == '\r') {
      line += "\\r";
    } else {
      if (c == '"' || c == '\\') {
        line += '\\';
      }
      line += c;
    }
  }
  line += '"';
}

void append_value(std::string& line, const Field::Value& value) {
  std::visit(
      [&](const auto& held) {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::same_as<Held, std::string_view>) {
          append_text(line, held);
        } else if constexpr (std::same_as<Held, double>) {
          line += fmt::format("{:.6g}", held);
        } else {
          line += fmt::format("{}", held);
        }
      },
      value);
}

}  // namespace

void log::configure(std::string_view levels) {
  front().set(parse(levels));
}

bool log::enabled(Level level, Area area) {
  return front().enabled(level, area);
}

void log::write(Level level, Area area, std::string_view event, Fields fields) {
  if (!enabled(level, area)) {
    return;
  }
  std::string line;
  if (!area.name.empty()) {
    line += area.name;
    line += ": ";
  }
  line += event;
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  front().write(level, line);
}

}  // namespace candela
