// SPDX-License-Identifier: MIT
#pragma once

// Everything that happened in one run, and the numbers drawn from it.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <poise/outcome.hpp>

#include "scenario.hpp"

namespace demo {

struct Sample {
  Instant due;  ///< When the schedule wanted it sent: latency counts from here, so waiting counts.
  Instant picked;
  Instant ended;
  std::optional<std::size_t> backend;  ///< Empty if the balancer had none to offer.
  poise::Result result;
};

/// One server was killed, and came back.
struct Outage {
  std::size_t victim;
  Instant killed;
  Instant revived;
};

struct Log {
  std::string policy;
  std::vector<Sample> samples;
  Instant start;
  Instant end;
  Instant calm_until;  ///< Up to here all servers were well: what is usual.
  std::optional<Outage> outage;
};

struct Result {
  std::string policy;
  std::size_t requests = 0;
  std::size_t errors = 0;      ///< Requests that got no good answer, whatever the reason.
  std::vector<double> shares;  ///< Of all picks, per backend.
  std::optional<Seconds> p50, p99, p999;  ///< Latencies of the good answers.
  std::optional<Seconds> late;            ///< By which all but 1 % of requests were sent.
  bool had_outage = false;                ///< A server was killed that used to get traffic.
  /// From its death until (nearly) no traffic went to it; empty: never while it was dead.
  std::optional<Seconds> left_after;
  /// From its return until it gave half as many good answers as before; empty: never.
  std::optional<Seconds> back_after;
};

[[nodiscard]] Result evaluate(Log const& log, std::size_t backends);

}  // namespace demo
