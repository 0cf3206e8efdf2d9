// SPDX-License-Identifier: MIT

#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace simulate {

namespace {

/// Nanoseconds as milliseconds, with three digits that count.
std::string ms(double nanoseconds) {
  auto const value = nanoseconds / 1e6;
  return fmt::format("{:.{}f}", value, value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0);
}

std::size_t widest_name(Table const& table) {
  std::size_t width = 6;
  for (auto const* lines : {&table.bounds, &table.policies})
    for (auto const& line : *lines) width = std::max(width, line.policy.size());
  return width;
}

std::string row(Line const& line, std::size_t width) {
  auto const of = [&](double Summary::* number) {
    return median(line, [&](Summary const& it) { return it.*number; });
  };
  return fmt::format("{:<{}} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8.3f} {:>9.2f} {:>9.3f}\n",
                     line.policy, width, ms(of(&Summary::mean)), ms(of(&Summary::p50)),
                     ms(of(&Summary::p90)), ms(of(&Summary::p99)), ms(of(&Summary::p999)),
                     ms(of(&Summary::max)), 100 * of(&Summary::error_share),
                     of(&Summary::imbalance), median_over_bound(line));
}

std::string watched_rows(Table const& table, std::size_t width) {
  std::string text;
  auto const hosts =
      table.policies.empty() ? std::vector<Watched>{} : table.policies[0].seeds[0].watched;
  for (std::size_t k = 0; k < hosts.size(); ++k) {
    text += fmt::format("\n{:<{}} {:>11} {:>15} {:>9}\n", fmt::format("server {}", hosts[k].host),
                        width, "% of tries", "last quarter %", "p99 ms");
    for (auto const* line : ranked(table)) {
      auto const of = [&](double Watched::* number) {
        return median(*line, [&](Summary const& it) { return it.watched[k].*number; });
      };
      text += fmt::format("{:<{}} {:>11.3f} {:>15.2f} {:>9}\n", line->policy, width,
                          100 * of(&Watched::share), 100 * of(&Watched::last_quarter),
                          ms(of(&Watched::p99)));
    }
  }
  return text;
}

std::string overload(Table const& table) {
  auto const& scenario = table.its_case->scenario;
  if (scenario.load() <= 1) return {};
  auto const growth = (1 - 1 / scenario.load()) * scenario.request_rate() * 1e9;
  auto text = fmt::format(
      "The load is {:.0f} % of what the servers can do: without timeouts the queue would grow by "
      "{:.0f}\nrequests a second, whatever the policy. Waiting at the end of each tenth:",
      100 * scenario.load(), growth);
  for (auto const each : table.bounds[0].seeds[0].in_system) text += fmt::format(" {:.0f}", each);
  return text + "\n";
}

/// Scenarios that differ only in time scale or in a number at the end of their name are one group:
/// clients_1, clients_10, clients_100@1s.
std::string group(Table const& table) {
  auto const& name = table.its_case->name;
  auto const base = name.substr(0, name.find('@'));
  auto const end = base.find_last_not_of("0123456789");
  bool const numbered = end != std::string::npos && end + 1 < base.size() && base[end] == '_';
  return numbered ? base.substr(0, end) : base;
}

/// The geometric mean over groups of the geometric mean over their scenarios of p99 / bound, median
/// of the seeds.
double score(std::vector<Table> const& tables, std::size_t policy) {
  struct Sum {
    double logs = 0;
    double count = 0;
  };
  std::map<std::string, Sum> groups;
  for (auto const& table : tables) {
    auto& sum = groups[group(table)];
    sum.logs += std::log(median_over_bound(table.policies[policy]));
    ++sum.count;
  }
  double logs = 0;
  for (auto const& [name, sum] : groups) logs += sum.logs / sum.count;
  return std::exp(logs / static_cast<double>(groups.size()));
}

std::size_t count_groups(std::vector<Table> const& tables) {
  std::set<std::string> groups;
  for (auto const& table : tables) groups.insert(group(table));
  return groups.size();
}

double errors(std::vector<Table> const& tables, std::size_t policy) {
  double sum = 0;
  for (auto const& table : tables)
    sum += median(table.policies[policy], [](Summary const& it) { return it.error_share; });
  return sum / static_cast<double>(tables.size());
}

}  // namespace

std::vector<Line const*> ranked(Table const& table) {
  std::vector<Line const*> lines;
  for (auto const& line : table.policies) lines.push_back(&line);
  std::stable_sort(lines.begin(), lines.end(), [](auto const* left, auto const* right) {
    return median_over_bound(*left) < median_over_bound(*right);
  });
  return lines;
}

std::string table_text(Table const& table) {
  auto const& scenario = table.its_case->scenario;
  auto const width = widest_name(table);
  auto text = fmt::format(
      "{}: {} client{}, {} servers, {:.0f} requests/s, load {:.0f} %\n{}{:<{}} {:>8} {:>8} {:>8} "
      "{:>8} {:>8} {:>8} {:>8} {:>9} {:>9}\n",
      table.its_case->name, scenario.clients, scenario.clients == 1 ? "" : "s",
      scenario.servers.size(), scenario.request_rate() * 1e9, 100 * scenario.load(),
      overload(table), "policy", width, "mean ms", "p50", "p90", "p99", "p99.9", "max", "errors %",
      "imbalance", "p99/bound");
  for (auto const& line : table.bounds) text += row(line, width);
  for (auto const* line : ranked(table)) text += row(*line, width);
  return text + watched_rows(table, width);
}

std::string advice(std::vector<Table> const& tables) {
  if (tables.empty() || tables[0].policies.empty()) return {};
  auto const& policies = tables[0].policies;
  std::vector<double> scores;
  for (std::size_t i = 0; i < policies.size(); ++i) scores.push_back(score(tables, i));
  std::vector<std::size_t> order(policies.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](auto left, auto right) { return scores[left] < scores[right]; });

  std::string text;
  if (tables.size() > 1) {
    text += fmt::format("p99 / bound, geometric mean of {} scenarios in {} groups:\n",
                        tables.size(), count_groups(tables));
    for (auto const i : order)
      text += fmt::format("  {:<32} {:>7.3f}\n", policies[i].policy, scores[i]);
    text += "\n";
  }
  // Policies are listed from the simplest on: a gain that is within the noise is not worth more.
  constexpr double as_good = 1.03;
  auto const best = order[0];
  auto take = best;
  for (auto const i : order)
    if (scores[i] <= as_good * scores[best] && i < take) take = i;
  text += fmt::format(
      "Take {}: its p99 is {:.2f} times what a dispatcher that sees everything could do",
      policies[take].policy, scores[take]);
  if (take != best)
    text += fmt::format(", which is as good as {} ({:.2f}), and it is simpler",
                        policies[best].policy, scores[best]);
  for (auto const i : order) {
    if (i == take || i == best) continue;
    text += fmt::format(". Next is {} with {:.2f}", policies[i].policy, scores[i]);
    break;
  }
  if (order.back() != take && order.size() > 2)
    text += fmt::format("; the last is {} with {:.2f}", policies[order.back()].policy,
                        scores[order.back()]);
  if (auto const failed = errors(tables, take); failed >= 0.0001)
    text += fmt::format(". {:.2f} % of its requests failed", 100 * failed);
  return text + ".\n";
}

void write_csv(std::ostream& out, std::vector<Table> const& tables,
               std::vector<std::uint64_t> const& seeds) {
  out << "scenario,policy,seed,requests,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms,error_share,"
         "imbalance,bound_p99_ms,p99_over_bound\n";
  for (auto const& table : tables)
    for (auto const& line : table.policies)
      for (std::size_t k = 0; k < seeds.size(); ++k) {
        auto const& it = line.seeds[k];
        // A policy's text may hold commas and quotes.
        auto name = line.policy;
        if (name.find_first_of(",\"") != std::string::npos) {
          for (auto at = name.find('"'); at != std::string::npos; at = name.find('"', at + 2))
            name.insert(at, 1, '"');
          name.insert(0, 1, '"').push_back('"');
        }
        out << fmt::format(
            "{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},"
            "{:.6g},{:.6g}\n",
            table.its_case->name, name, seeds[k], it.requests, it.mean / 1e6, it.p50 / 1e6,
            it.p90 / 1e6, it.p99 / 1e6, it.p999 / 1e6, it.max / 1e6, it.error_share, it.imbalance,
            table.bound_p99[k] / 1e6, line.over_bound[k]);
      }
}

}  // namespace simulate
