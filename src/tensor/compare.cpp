#include "tensor/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace candela {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void require_same_length(size_t actual, size_t expected) {
  if (actual != expected) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "Arrays of {} and {} elements cannot be compared.", actual, expected);
  }
}

// |a - e|, 0 for equal non-finite values, infinite for unequal ones.
double distance(double actual, double expected) {
  if (actual == expected || (std::isnan(actual) && std::isnan(expected))) {
    return 0.0;
  }
  const double apart = std::fabs(actual - expected);
  return std::isfinite(apart) ? apart : kInfinity;
}

template <typename T>
Difference measure(std::span<const T> actual, std::span<const T> expected) {
  require_same_length(actual.size(), expected.size());
  Difference out;
  double power = 0.0;
  double error = 0.0;
  size_t finite = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const auto e = static_cast<double>(expected[i]);
    const double apart = distance(static_cast<double>(actual[i]), e);
    if (std::isfinite(e)) {
      power += e * e;
      ++finite;
    }
    error += apart * apart;
    if (apart > out.max_error) {
      out.max_error = apart;
      out.worst = static_cast<int64_t>(i);
    }
  }
  out.rms = finite == 0 ? 0.0 : std::sqrt(power / static_cast<double>(finite));
  if (out.max_error > 0.0) {
    out.nmse = power > 0.0 ? error / power : kInfinity;
    out.max_over_rms = out.rms > 0.0 ? out.max_error / out.rms : kInfinity;
  }
  return out;
}

template <typename T>
int64_t search(std::span<const T> actual, std::span<const T> expected, const Tolerance& tolerance) {
  require_same_length(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const auto e = static_cast<double>(expected[i]);
    const double apart = distance(static_cast<double>(actual[i]), e);
    const double allowed = tolerance.absolute + tolerance.relative * std::fabs(e);
    if (apart > 0.0 && !(apart <= allowed && std::isfinite(apart))) {
      return static_cast<int64_t>(i);
    }
  }
  return -1;
}

}  // namespace

Difference difference(std::span<const double> actual, std::span<const double> expected) {
  return measure(actual, expected);
}

Difference difference(std::span<const float> actual, std::span<const float> expected) {
  return measure(actual, expected);
}

int64_t first_difference(std::span<const double> actual,
                         std::span<const double> expected,
                         const Tolerance& tolerance) {
  return search(actual, expected, tolerance);
}

int64_t first_difference(std::span<const float> actual,
                         std::span<const float> expected,
                         const Tolerance& tolerance) {
  return search(actual, expected, tolerance);
}

bool allclose(std::span<const float> actual,
              std::span<const float> expected,
              const Tolerance& tolerance) {
  return first_difference(actual, expected, tolerance) < 0;
}

std::string to_string(const Difference& difference) {
  return fmt::format("nmse {:.2g}, worst {:.2g} of rms at {}", difference.nmse,
                     difference.max_over_rms, difference.worst);
}

}  // namespace candela
