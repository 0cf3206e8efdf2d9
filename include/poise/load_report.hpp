// SPDX-License-Identifier: MIT
#pragma once

// What a backend says about its own load, in its answers or when it is asked.
//
// Names and meanings are those of ORCA's OrcaLoadReport, which servers of gRPC and Envoy's
// upstreams write. orca/header.hpp reads it from an HTTP header or trailer.
//
// Source: github.com/cncf/xds, xds/data/orca/v3/orca_load_report.proto.

#include <cmath>
#include <initializer_list>
#include <limits>

namespace poise::inline v0_1_0 {

/// Numbers that are not known are 0. An application may be above 1: it is loaded beyond what it was
/// meant for.
struct LoadReport {
  double application_utilization = 0;  ///< 0 to 1 and above, as the application defines it.
  double cpu_utilization = 0;          ///< 0 to 1, above 1 if there are more cores than quota.
  double memory_utilization = 0;       ///< 0 to 1.
  double rps = 0;                      ///< Requests a second, of all clients.
  double eps = 0;                      ///< Errors a second, likewise.

  /// The application's if there is one, else the processor's.
  [[nodiscard]] double utilization() const noexcept {
    return application_utilization > 0 ? application_utilization : cpu_utilization;
  }
  /// False if a number is negative or not finite: such a report is to be ignored as a whole.
  [[nodiscard]] bool is_valid() const noexcept {
    bool valid = true;
    for (auto const each : {application_utilization, cpu_utilization, memory_utilization, rps, eps})
      valid = valid && each >= 0 && std::isfinite(each);
    return valid;
  }
  /// For what can't be read: not valid, so that WeightedByReports can tell of it.
  [[nodiscard]] static LoadReport unreadable() noexcept {
    return {.rps = std::numeric_limits<double>::quiet_NaN()};
  }
  friend bool operator==(LoadReport const&, LoadReport const&) = default;
};

}  // namespace poise::inline v0_1_0
