// SPDX-License-Identifier: MIT

#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "../terminal.hpp"
#include "policies.hpp"

namespace simulate {

using examples::wrapped;

namespace {

/// Three digits that count, and whole numbers in full.
std::string rounded(double value) {
  return value < 100 ? fmt::format("{:.3g}", value) : fmt::format("{:.0f}", value);
}

bool empty(Table const& table) {
  return std::all_of(table.bounds[0].seeds.begin(), table.bounds[0].seeds.end(),
                     [](auto const& it) { return it.requests == 0; });
}

std::size_t widest_name(Table const& table) {
  std::size_t width = 6;
  for (auto const* lines : {&table.bounds, &table.policies})
    for (auto const& line : *lines) width = std::max(width, line.policy.size());
  return width;
}

/// Rows of a name and of numbers, each right-aligned in its column. A name that is too wide stands
/// on a line of its own; numbers that do not fit follow on further lines.
class Grid {
 public:
  Grid(std::size_t columns, std::size_t widest, std::vector<std::size_t> widths)
      : columns_{columns}, widths_{std::move(widths)} {
    auto const numbers =
        std::accumulate(widths_.begin(), widths_.end(), widths_.size());  // a blank before each
    name_ = std::min(widest, columns > numbers + least_name ? columns - numbers : least_name);
  }
  [[nodiscard]] std::string row(std::string const& name,
                                std::vector<std::string> const& numbers) const {
    auto text = fmt::format("{:<{}}", name, name_);
    if (name.size() > name_) text += '\n' + std::string(name_, ' ');
    auto used = name_;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (used + 1 + widths_[i] > columns_) {
        text += '\n' + std::string(least_name, ' ');
        used = least_name;
      }
      text += fmt::format(" {:>{}}", numbers[i], widths_[i]);
      used += 1 + widths_[i];
    }
    return text + '\n';
  }

 private:
  static constexpr std::size_t least_name = 6;
  std::size_t columns_;
  std::vector<std::size_t> widths_;
  std::size_t name_ = 0;
};

/// Five letters up to 100 %.
std::string percent(double share) {
  auto const value = 100 * share;
  return fmt::format("{:.{}f}", value, value < 10 ? 3 : value < 100 ? 2 : 1);
}

std::string row(Line const& line, Grid const& grid) {
  auto const of = [&](double Summary::* number) {
    return median(line, [&](Summary const& it) { return it.*number; });
  };
  return grid.row(
      line.policy,
      {in_ms(of(&Summary::mean)), in_ms(of(&Summary::p50)), in_ms(of(&Summary::p90)),
       in_ms(of(&Summary::p99)), in_ms(of(&Summary::p999)), in_ms(of(&Summary::max)),
       percent(of(&Summary::error_share)), fmt::format("{:.2f}", of(&Summary::imbalance)),
       fmt::format("{:.3f}", median_over_bound(line))});
}

std::string watched_rows(Table const& table, std::size_t columns) {
  std::string text;
  Grid const grid{columns, widest_name(table), {11, 15, 9}};
  auto const hosts =
      table.policies.empty() ? std::vector<Monitored>{} : table.policies[0].seeds[0].watched;
  for (std::size_t k = 0; k < hosts.size(); ++k) {
    text += '\n' + grid.row(fmt::format("server {}", hosts[k].host),
                            {"% of tries", "last quarter %", "p99 ms"});
    for (auto const* line : ranked(table)) {
      auto const of = [&](double Monitored::* number) {
        return median(*line, [&](Summary const& it) { return it.watched[k].*number; });
      };
      text += grid.row(line->policy, {fmt::format("{:.3f}", 100 * of(&Monitored::share)),
                                      fmt::format("{:.2f}", 100 * of(&Monitored::last_quarter)),
                                      in_ms(of(&Monitored::p99))});
    }
  }
  return text;
}

/// Policies whose p99 is the timeout: their order by p99 says nothing.
std::string ties(Table const& table) {
  auto const timeout = table.its_case->scenario.patience();
  std::string names;
  std::size_t count = 0;
  for (auto const* line : ranked(table)) {
    if (median(*line, [](Summary const& it) { return it.p99; }) < 0.999 * timeout) continue;
    names += (count++ == 0 ? "" : ", ") + line->policy;
  }
  if (count < 2) return {};
  return fmt::format(
      "The p99 of {} is the timeout, {} ms: more than 1 % of their requests fail or wait as long. "
      "So p99 does not say which is better; compare errors and the mean.\n",
      names, in_ms(timeout));
}

std::string overload(Table const& table) {
  auto const& scenario = table.its_case->scenario;
  if (scenario.load() <= 1) return {};
  auto const growth = (1 - 1 / scenario.load()) * scenario.request_rate() * 1e9;
  auto text = fmt::format(
      "The load is {:.0f} % of what the servers can do: without timeouts the queue would grow by "
      "{:.0f} requests a second, whatever the policy. Waiting at the end of each tenth:",
      100 * scenario.load(), growth);
  for (auto const each : table.bounds[0].seeds[0].in_system) text += fmt::format(" {:.0f}", each);
  return text + "\n";
}

/// Why the numbers may say little.
std::string load_remark(Table const& table) {
  return empty(table) ? "No request came within the window: it is too short, or the rate too low.\n"
                      : overload(table);
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

/// The scores of the policies, and the policies from the best to the worst.
struct Scores {
  explicit Scores(std::vector<Table> const& tables) {
    for (std::size_t i = 0; i < tables[0].policies.size(); ++i) {
      values.push_back(score(tables, i));
      order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](auto left, auto right) { return values[left] < values[right]; });
  }
  std::vector<double> values{};
  std::vector<std::size_t> order{};
};

std::size_t count_groups(std::vector<Table> const& tables) {
  std::set<std::string> groups;
  for (auto const& table : tables) groups.insert(group(table));
  return groups.size();
}

/// Of several scenarios; else nothing.
std::string means_text(std::vector<Table> const& tables, std::size_t columns) {
  if (tables.size() < 2) return {};
  auto text = wrapped(fmt::format("p99 / bound, geometric mean of {} scenarios in {} groups:\n",
                                  tables.size(), count_groups(tables)),
                      columns);
  Scores const scores{tables};
  Grid const grid{columns, std::max<std::size_t>(widest_name(tables[0]), 32), {7}};
  for (auto const i : scores.order)
    text += grid.row(tables[0].policies[i].policy, {fmt::format("{:.3f}", scores.values[i])});
  return text + "\n";
}

double errors(std::vector<Table> const& tables, std::size_t policy) {
  double sum = 0;
  for (auto const& table : tables)
    sum += median(table.policies[policy], [](Summary const& it) { return it.error_share; });
  return sum / static_cast<double>(tables.size());
}

/// The geometric mean over tables of the mean latency: only good to compare policies.
double mean_latency(std::vector<Table> const& tables, std::size_t policy) {
  double logs = 0;
  for (auto const& table : tables)
    logs += std::log(median(table.policies[policy], [](Summary const& it) { return it.mean; }));
  return std::exp(logs / static_cast<double>(tables.size()));
}

/// Small for simple policies, whatever the order that they were asked for in.
std::size_t complexity(std::string const& policy) {
  static auto const simplest_first = all_policies();
  auto const found = std::find(simplest_first.begin(), simplest_first.end(), policy);
  return static_cast<std::size_t>(found - simplest_first.begin());
}

/// The policies whose number is at most 3 % (a difference that is within the noise) and `more`
/// above the least.
template <class Of>
std::vector<std::size_t> about_least(std::vector<std::size_t> const& policies, Of const& of,
                                     double more = 0) {
  double least = std::numeric_limits<double>::infinity();
  for (auto const i : policies) least = std::min(least, of(i));
  std::vector<std::size_t> good;
  for (auto const i : policies)
    if (of(i) <= 1.03 * least + more) good.push_back(i);
  return good;
}
bool among(std::vector<std::size_t> const& policies, std::size_t policy) {
  return std::find(policies.begin(), policies.end(), policy) != policies.end();
}

/// Which policy to take, and why not the one that is first by p99.
struct Choice {
  std::size_t policy = 0;
  std::string why{};
};
/// The simplest of the policies with the best p99, failure rate and mean.
Choice choose(std::vector<Table> const& tables, std::vector<std::size_t> const& order,
              std::vector<double> const& scores) {
  auto const& policies = tables[0].policies;
  auto const near = about_least(order, [&](auto i) { return scores[i]; });
  auto const sound = about_least(near, [&](auto i) { return errors(tables, i); }, 0.001);
  auto const quick = about_least(sound, [&](auto i) { return mean_latency(tables, i); });
  auto const best = order[0];
  if (quick.empty()) return {best};  // numbers that can't be compared
  auto const take = *std::min_element(quick.begin(), quick.end(), [&](auto left, auto right) {
    return complexity(policies[left].policy) < complexity(policies[right].policy);
  });
  if (take == best) return {best};
  return {take, fmt::format(", which is as good as {} ({:.2f}), and {}", policies[best].policy,
                            scores[best],
                            !among(sound, best)   ? "fewer of its requests fail"
                            : !among(quick, best) ? "its mean is shorter"
                                                  : "it is simpler")};
}

}  // namespace

std::string in_ms(double nanoseconds) {
  auto const value = nanoseconds / 1e6;
  return fmt::format("{:.{}f}", value, value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0);
}

std::vector<Line const*> ranked(Table const& table) {
  std::vector<Line const*> lines;
  for (auto const& line : table.policies) lines.push_back(&line);
  std::stable_sort(lines.begin(), lines.end(), [](auto const* left, auto const* right) {
    return median_over_bound(*left) < median_over_bound(*right);
  });
  return lines;
}

std::string conditions(Table const& table) {
  auto const& scenario = table.its_case->scenario;
  return fmt::format("{} client{}, {} server{}, {} requests/s, load {} %", scenario.clients,
                     scenario.clients == 1 ? "" : "s", scenario.servers.size(),
                     scenario.servers.size() == 1 ? "" : "s",
                     rounded(scenario.request_rate() * 1e9), rounded(100 * scenario.load()));
}

std::string remarks(Table const& table) { return load_remark(table) + ties(table); }

std::string table_text(Table const& table, std::size_t columns) {
  Grid const grid{columns, widest_name(table), {5, 5, 5, 5, 5, 5, 5, 6, 9}};
  auto text = wrapped(fmt::format("{}: {}; times in ms\n{}", table.its_case->name,
                                  conditions(table), load_remark(table)),
                      columns);
  text += grid.row("policy",
                   {"mean", "p50", "p90", "p99", "p99.9", "max", "err %", "imbal.", "p99/bound"});
  for (auto const& line : table.bounds) text += row(line, grid);
  for (auto const* line : ranked(table)) text += row(*line, grid);
  return text + wrapped(ties(table), columns) + watched_rows(table, columns);
}

Advice recommend(std::vector<Table> const& tables) {
  if (tables.empty() || tables[0].policies.empty()) return {};
  if (std::all_of(tables.begin(), tables.end(), empty))
    return {.why = "There is nothing to compare."};
  auto const& policies = tables[0].policies;
  Scores const scores{tables};
  auto const& order = scores.order;
  auto const [take, why] = choose(tables, order, scores.values);
  auto sentence =
      fmt::format("its p99 is {:.2f} times what a dispatcher that sees everything could do{}",
                  scores.values[take], why);
  for (auto const i : order) {
    if (i == take || (i == order[0] && !why.empty())) continue;
    sentence += fmt::format(". Next is {} with {:.2f}", policies[i].policy, scores.values[i]);
    break;
  }
  if (order.back() != take && order.size() > 2)
    sentence += fmt::format("; the last is {} with {:.2f}", policies[order.back()].policy,
                            scores.values[order.back()]);
  if (auto const failed = errors(tables, take); failed >= 0.0001)
    sentence += fmt::format(". {:.2f} % of its requests failed", 100 * failed);
  return {policies[take].policy, sentence + '.'};
}

std::string text_of(Advice const& advice) {
  return (advice.policy.empty() ? "" : "Take " + advice.policy + ": ") + advice.why;
}

std::string advice(std::vector<Table> const& tables, std::size_t columns) {
  auto const result = recommend(tables);
  if (result.why.empty()) return {};
  return (result.policy.empty() ? std::string{} : means_text(tables, columns)) +
         wrapped(text_of(result) + '\n', columns);
}

namespace {

/// Names may hold commas and quotes.
std::string csv_cell(std::string text) {
  if (text.find_first_of(",\"") == std::string::npos) return text;
  for (auto at = text.find('"'); at != std::string::npos; at = text.find('"', at + 2))
    text.insert(at, 1, '"');
  return '"' + text + '"';
}

}  // namespace

void write_csv(std::ostream& out, std::vector<Table> const& tables,
               std::vector<std::uint64_t> const& seeds) {
  out << "scenario,policy,seed,requests,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms,error_share,"
         "imbalance,bound_p99_ms,p99_over_bound\n";
  for (auto const& table : tables)
    for (auto const& line : table.policies)
      for (std::size_t k = 0; k < seeds.size(); ++k) {
        auto const& it = line.seeds[k];
        out << fmt::format(
            "{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},"
            "{:.6g},{:.6g}\n",
            csv_cell(table.its_case->name), csv_cell(line.policy), seeds[k], it.requests,
            it.mean / 1e6, it.p50 / 1e6, it.p90 / 1e6, it.p99 / 1e6, it.p999 / 1e6, it.max / 1e6,
            it.error_share, it.imbalance, table.bound_p99[k] / 1e6, line.over_bound[k]);
      }
}

}  // namespace simulate
