// SPDX-License-Identifier: MIT

// What does a load report cost? Pick and finish with a report in each answer, against the same
// without reports, and against the policy alone.

#include <string>
#include <vector>

#include <poise/poise.hpp>
#include <poise/weighted_by_reports.hpp>

#include "support/beside.hpp"
#include "support/ratios.hpp"

namespace {

using namespace poise;
using Reporting = Balancer<SmoothWeighted, void, Runtime<CycleClock, WeightedByReports>>;

inline constexpr auto with_report = [](Reporting& servers) {
  auto lease = servers.pick();
  lease.report_load({.cpu_utilization = 0.5, .rps = 100, .eps = 1});
  lease.finish();
};

}  // namespace

int main(int argc, char** argv) {
  bench::enlist("smooth_weighted",
                {{"none", bench::cycle<Balancer<SmoothWeighted>, bench::without_key>},
                 {"silent", bench::cycle<Reporting, bench::without_key>},
                 {"each", bench::cycle<Reporting, with_report>}},
                2'000);
  return bench::run(
      argc, argv,
      {{"silent/smooth_weighted", "none/smooth_weighted", 1, 0, bench::Comparison::least},
       {"each/smooth_weighted", "silent/smooth_weighted", 15, 0, bench::Comparison::least},
       {"each/smooth_weighted", "none/smooth_weighted"}},
      300);
}
