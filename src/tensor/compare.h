#pragma once

#include <cstdint>
#include <span>
#include <string>

/// How far two arrays on the host are apart; tests, `doctor` and `trace` judge with it.
namespace candela {

/// What is still equal: |actual - expected| <= absolute + relative * |expected|.
struct Tolerance {
  double relative = 1e-5;
  double absolute = 1e-8;
};

/// Pairs that are both NaN or the same infinity count as equal; a non-finite value against anything
/// else makes `nmse`, `max_error` and `max_over_rms` infinite.
struct Difference {
  double rms = 0.0;           ///< root mean square of the finite expected values
  double nmse = 0.0;          ///< sum (a - e)^2 / sum e^2; 0 if a equals e
  double max_error = 0.0;     ///< largest |a - e|
  double max_over_rms = 0.0;  ///< max_error / rms; infinite if only rms is 0
  int64_t worst = -1;         ///< where max_error lies; -1 if all are equal
};

/// @throws InvalidArgument if the lengths differ
Difference difference(std::span<const double> actual, std::span<const double> expected);
Difference difference(std::span<const float> actual, std::span<const float> expected);

/// Index of the first element outside of the tolerance, -1 if there is none.
/// @throws InvalidArgument if the lengths differ
int64_t first_difference(std::span<const double> actual,
                         std::span<const double> expected,
                         const Tolerance& tolerance = {});
int64_t first_difference(std::span<const float> actual,
                         std::span<const float> expected,
                         const Tolerance& tolerance = {});

/// numpy.allclose; NaN equals NaN.
bool allclose(std::span<const float> actual,
              std::span<const float> expected,
              const Tolerance& tolerance = {});

/// "nmse 1.2e-12, worst 3.4e-07 of rms at 17"
std::string to_string(const Difference& difference);

}  // namespace candela
