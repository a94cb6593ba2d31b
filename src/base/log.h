#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <variant>

namespace candela {

/// One line an event on standard error: the event first, then its pairs.
///
///     log::info("weights loaded", {{"tensors", n}, {"seconds", seconds}});
///     log::debug(kLogWgpu, "pipeline compiled", {{"kernel", name}});
///
/// The environment variable CANDELA_LOG chooses the levels: "info", or "info,wgpu=debug" for one
/// area. Levels: trace, debug, info, warn (the default), error, off. Threads may log at once.
///
/// A class of static functions, not a namespace: `log` is also the elementwise function of
/// tensor/ops.h, and a function may share its name with a class only.
struct log {
  enum class Level { Trace, Debug, Info, Warn, Error, Off };

  /// Part of the program whose level can be set apart: `constexpr log::Area kLogWgpu{"wgpu"};`
  struct Area {
    std::string_view name;
  };

  /// One pair of a line. Holds its value unformatted: a line below the level costs no formatting.
  struct Field {
    using Value = std::variant<std::string_view, int64_t, uint64_t, double, bool>;

    template <typename T>
    Field(std::string_view name, const T& what) : key(name), value(convert(what)) {}

    std::string_view key;
    Value value;

   private:
    template <typename T>
    static Value convert(const T& what) {
      if constexpr (std::same_as<T, bool>) {
        return what;
      } else if constexpr (std::signed_integral<T>) {
        return static_cast<int64_t>(what);
      } else if constexpr (std::unsigned_integral<T>) {
        return static_cast<uint64_t>(what);
      } else if constexpr (std::floating_point<T>) {
        return static_cast<double>(what);
      } else {
        return std::string_view(what);
      }
    }
  };

  using Fields = std::initializer_list<Field>;

  /// Replaces the levels, in the form of CANDELA_LOG.
  /// @throws InvalidArgument naming the part that is no level
  static void configure(std::string_view levels);

  /// Whether a line would be written; to skip work that only serves it.
  static bool enabled(Level level, Area area = {});

  static void write(Level level, Area area, std::string_view event, Fields fields);

  static void trace(std::string_view event, Fields fields = {}) {
    write(Level::Trace, {}, event, fields);
  }
  static void debug(std::string_view event, Fields fields = {}) {
    write(Level::Debug, {}, event, fields);
  }
  static void info(std::string_view event, Fields fields = {}) {
    write(Level::Info, {}, event, fields);
  }
  static void warn(std::string_view event, Fields fields = {}) {
    write(Level::Warn, {}, event, fields);
  }
  static void error(std::string_view event, Fields fields = {}) {
    write(Level::Error, {}, event, fields);
  }
  static void trace(Area area, std::string_view event, Fields fields = {}) {
    write(Level::Trace, area, event, fields);
  }
  static void debug(Area area, std::string_view event, Fields fields = {}) {
    write(Level::Debug, area, event, fields);
  }
  static void info(Area area, std::string_view event, Fields fields = {}) {
    write(Level::Info, area, event, fields);
  }
  static void warn(Area area, std::string_view event, Fields fields = {}) {
    write(Level::Warn, area, event, fields);
  }
  static void error(Area area, std::string_view event, Fields fields = {}) {
    write(Level::Error, area, event, fields);
  }
};

}  // namespace candela
