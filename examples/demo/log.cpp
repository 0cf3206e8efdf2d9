// SPDX-License-Identifier: MIT
// From samples to numbers.

#include "log.hpp"

#include <algorithm>
#include <cmath>

namespace demo {

namespace {

/// The smallest value that at least this share of all values does not exceed.
std::optional<Seconds> quantile(std::vector<Seconds> const& sorted, double share) {
  if (sorted.empty()) return std::nullopt;
  auto const rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

/// How many requests per second the victim used to get.
double usual_rate(Log const& log, Outage const& outage) {
  auto const count = std::ranges::count_if(log.samples, [&](Sample const& sample) {
    return sample.backend == outage.victim && sample.picked < log.calm_until;
  });
  return static_cast<double>(count) / Seconds{log.calm_until - log.start}.count();
}

/// The first moment after which, until the victim was back, it got less than 5 % of what is usual.
/// A trickle is allowed, for that is how one finds out whether a server is back; but the quiet must
/// last a quarter of the outage, or it is none.
std::optional<Seconds> until_left(Log const& log, Outage const& outage, double usual) {
  std::vector<Instant> picks;
  for (auto const& sample : log.samples)
    if (sample.backend == outage.victim && sample.picked >= outage.killed &&
        sample.picked < outage.revived)
      picks.push_back(sample.picked);
  std::ranges::sort(picks);
  auto const latest = outage.revived - (outage.revived - outage.killed) / 4;
  auto quiet_from = outage.killed;
  for (std::size_t later = picks.size();; --later) {
    if (quiet_from > latest) return std::nullopt;
    if (static_cast<double>(later) <= 0.05 * usual * Seconds{outage.revived - quiet_from}.count())
      return quiet_from - outage.killed;
    if (later == 0) return std::nullopt;
    quiet_from = picks[picks.size() - later];
  }
}

/// The first moment from which on, for a while, the victim gave half as many good answers as usual.
std::optional<Seconds> until_back(Log const& log, Outage const& outage, double usual) {
  std::vector<Instant> answers;
  for (auto const& sample : log.samples)
    if (sample.backend == outage.victim && sample.result == poise::Result::success &&
        sample.ended >= outage.revived)
      answers.push_back(sample.ended);
  std::ranges::sort(answers);
  constexpr Seconds least{0.1};
  auto const span = std::max(least, Seconds{10 / usual});  // about ten requests
  auto const enough = static_cast<std::size_t>(std::ceil(usual * span.count() / 2));
  for (std::size_t i = 0; i + enough <= answers.size(); ++i)
    if (answers[i + enough - 1] - answers[i] < span) return answers[i] - outage.revived;
  return std::nullopt;
}

}  // namespace

Result evaluate(Log const& log, std::size_t backends) {
  Result result;
  result.policy = log.policy;
  result.requests = log.samples.size();
  result.shares.resize(backends);
  std::vector<Seconds> latencies;
  std::vector<Seconds> delays;
  for (auto const& sample : log.samples) {
    if (sample.backend)
      result.shares[*sample.backend] += 1 / static_cast<double>(log.samples.size());
    delays.emplace_back(sample.picked - sample.due);
    if (sample.result == poise::Result::success) latencies.emplace_back(sample.ended - sample.due);
    else ++result.errors;
  }
  std::ranges::sort(latencies);
  result.p50 = quantile(latencies, 0.50);
  result.p99 = quantile(latencies, 0.99);
  result.p999 = quantile(latencies, 0.999);
  std::ranges::sort(delays);
  result.late = quantile(delays, 0.99);
  if (!log.outage) return result;
  auto const& outage = *log.outage;
  auto const usual = usual_rate(log, outage);
  if (usual == 0) return result;
  result.had_outage = true;
  result.left_after = until_left(log, outage, usual);
  result.back_after = until_back(log, outage, usual);
  return result;
}

}  // namespace demo
